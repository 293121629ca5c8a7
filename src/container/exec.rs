//! `exec`: one more process in a container, by the same properties as its first one.

use super::beside::console;
use super::beside::publish::{self, Audience};
use super::cgroup::Record;
use super::create::tell;
use super::follow::{Follow, Followed};
use super::foreground::Watch;
use super::interrupt::{self, Interrupt};
use super::state::Container;
use super::state::identity::{has_executed, is_exiting};
use super::{entrance, run, start, users};
use crate::cgroup::tree;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::init::{Beginning, Birthplace, Equipment, prepare, seal, spawn};
use crate::log::Log;
use crate::plan::print;
use crate::property::{Request, add_warnings, annotations, compile_exec};
use crate::spec::{Capabilities, Process, Spec, load};
use crate::sys::{memory, process, signal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;

/// What the command line says of the process. What it leaves out is as in the container's config.
#[derive(Debug, Default)]
pub struct Changes {
    /// A whole `process` of config.json, to begin with.
    pub file: Option<PathBuf>,
    /// A directory in the container.
    pub cwd: Option<String>,
    /// Whether the process gets a terminal of its own.
    pub terminal: bool,
    /// `UID`, `UID:GID`, `NAME` or `NAME:GROUP`.
    pub user: Option<String>,
    /// Added supplementary groups.
    pub additional_gids: Vec<u32>,
    /// A label of SELinux.
    pub selinux_label: Option<String>,
    /// A profile of AppArmor.
    pub apparmor_profile: Option<String>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: Option<bool>,
    /// Added capabilities.
    pub capabilities: Vec<String>,
}

/// How a process is to be added; by default in the foreground, and nobody is told.
#[derive(Debug, Default)]
pub struct Options {
    /// What is different from the container's own process.
    pub changes: Changes,
    /// What its plan depends on, besides.
    pub request: Request,
    /// Return when it runs.
    pub detach: bool,
    /// Also if the container is paused; the process waits for `resume`.
    pub ignore_paused: bool,
    /// A cgroup below the container's, which exists.
    pub cgroup: Option<String>,
    /// File that the process' pid is written to.
    pub pid_file: Option<PathBuf>,
    /// Who gets its terminal; without one, the caller.
    pub console_socket: Option<PathBuf>,
    /// Socket that the process' pidfd is sent to.
    pub pidfd_socket: Option<PathBuf>,
}

/// Adds a process to a container, and in the foreground stays to its end. Its exit code, 128 + its signal, or 0.
pub fn exec(container: &Container, mut options: Options, log: &Log) -> Result<i32> {
    let system = |error| Error::from_call("exec", error);
    let state = container.state()?;
    let stopped = || Error::new("cannot exec in a stopped container").remedy("see `rootlet list`");
    let process = container.pidfd()?.ok_or_else(stopped)?;
    if state.is_creating {
        // Its first process may still be in the host's root.
        return Err(Error::new("cannot exec in a container that is being created").remedy("wait until it is created"));
    }
    if state.is_suspended && container.is_paused()? {
        return Err(Error::new("cannot exec in a paused container")
            .because("it has no cgroup that could hold the new process back until it is resumed")
            .remedy(format!("`rootlet resume {}` first", container.id)));
    }
    if container.is_paused()? && !options.ignore_paused {
        return Err(Error::new("cannot exec in a paused container")
            .remedy(format!("`rootlet resume {}` first, or give --ignore-paused", container.id)));
    }
    let mut spec = container.config()?;
    let host = Host::new()?;
    // First of all: it may start this program again, and standard input can be read only once.
    seal::ensure(&spec, &host)?;
    let mut handed = entrance::ask(container)?;
    let root = handed.root.take();
    let looked_into = container.looked_into()?;
    let process = match looked_into == state.pid {
        true => process,
        // It is no other's as long as its parent is that one.
        false => process::find_pidfd(looked_into).map_err(system)?.ok_or_else(stopped)?,
    };
    spec.process = Some(changed_process(&spec, &users::Root { process: looked_into, opened: root }, &options.changes)?);
    let entrance = handed.into_entrance(process);
    options.request.bundle = state.bundle.clone();
    options.request.no_new_keyring = state.no_new_keyring;
    options.request.no_pivot = state.no_pivot;
    let namespaces = print::namespace_flags(&state.namespaces);
    let mut plan = compile_exec(namespaces, &spec, &options.request, &host)?;
    add_warnings(&mut plan, std::iter::empty(), &options.request)?;
    if !options.changes.additional_gids.is_empty() {
        // What this very call asks for is not left out in silence.
        let left_out = plan.decisions.iter().filter(|decision| decision.property == "process.user.additionalGids");
        let warnings: Vec<_> = left_out.map(|decision| Error::new(decision.to_string())).collect();
        plan.warnings.extend(warnings);
    }
    console::check(&plan, options.console_socket.as_deref(), !options.detach)?;
    tell(log, &plan);
    let audience = Audience::find(options.pid_file.as_deref(), options.pidfd_socket.as_deref())?;

    if !options.detach {
        signal::block_all().map_err(system)?;
    }
    let cgroup = find_cgroup(container, options.cgroup.as_deref())?;
    if !options.ignore_paused
        && let Some((record, directory)) = &cgroup
        && let Some(frozen) = tree::find_frozen(directory, &record.path)?
    {
        return Err(Error::new(format!("cgroup {}, in which the process would be, is frozen", frozen.display()))
            .because("it would wait until somebody thaws it")
            .remedy("write 0 to cgroup.freeze there, or give --ignore-paused"));
    }
    let mut take = |pid| match &cgroup {
        Some((record, directory)) => record.take(directory, &host, pid),
        None => Err(super::state::not_running()),
    };
    let equipment = Equipment {
        start: if options.detach { Beginning::Alone } else { Beginning::Now },
        container: entrance,
        cgroup: match &cgroup {
            None => Birthplace::Same,
            Some((record, _)) if record.is_out_of_reach(&host)? => Birthplace::Taken(&mut take),
            Some((_, directory)) => Birthplace::Directory(tree::open_alone(directory)?),
        },
        console: options.console_socket.as_deref().map(publish::connect).transpose()?,
        slots: prepare(&plan, [None, None])?,
    };
    // Asked for while there is an environment.
    host.bus()?;
    let interrupt = if options.detach { Interrupt::default() } else { Interrupt::open()? };
    // Who is in the container already may look at the new process before it is a program, and it has this memory.
    memory::wipe_traces();
    let plan = Rc::new(plan);
    let init = spawn(&plan, equipment).map_err(|error| match container.pidfd() {
        // It is at its end, which may take a moment: nothing can be born in its pid namespace then (ENOMEM).
        // It is not gone before each of its processes is reaped, by whoever that may be.
        Ok(Some(_)) if is_exiting(state.pid).is_ok_and(|exits| exits) => stopped(),
        Ok(Some(pidfd)) if process::wait_readable(pidfd.as_fd(), start::GRACE_MILLISECONDS) == Ok(false) => error,
        Ok(_) => stopped(),
        Err(_) => error,
    })?;
    let (init, plan, status, starts_now, is_alone) = (&init, &plan, "running", true, options.detach);
    let (outputs, audit) = ([None, None], None);
    let follow = Follow { init, plan, container, status, starts_now, is_alone, outputs, audit, interrupt };
    let publish = |Followed { terminal, tolerated, .. }| {
        tolerated.iter().for_each(|decision| log.debug(&decision.to_string()));
        audience.tell(&init.process)?;
        Ok(terminal)
    };
    let terminal = init
        .run_born_steps(plan)
        .and_then(|()| follow.to_the_end())
        .and_then(publish)
        .inspect_err(|_| init.process.end())
        .inspect_err(|error| interrupt::obey(error, log))
        // Whoever ends the container ends this process, too.
        .map_err(|error| if matches!(container.pidfd(), Ok(None)) { stopped() } else { error })?;
    if options.detach {
        // It is this command's child, and so still to be seen.
        let has_executed = has_executed(init.process.pid, init.process.pidfd.as_fd());
        return match has_executed.inspect_err(|_| init.process.end())? {
            Some(false) => Err(super::state::has_not_begun(None)),
            _ => Ok(0),
        };
    }
    run::follow(&init.process, terminal, &mut Watch::of_program())
        .map(process::Ended::code)
        .inspect_err(|_| init.process.end())
}

/// The container's cgroup and its record, or a cgroup below it.
fn find_cgroup<'a>(container: &'a Container, below: Option<&str>) -> Result<Option<(&'a Record, PathBuf)>> {
    let refused = |message: String, remedy: &str| Err(Error::new(format!("--cgroup: {message}")).remedy(remedy));
    match (&container.state()?.cgroup, below) {
        (None, None) => Ok(None),
        (Some(record), None) => {
            if record.path()?.is_none() {
                // Its first process was moved, and has taken the container along.
                let inits = tree::find_of_process(container.state()?.pid)?;
                return inits.map(|path| Some((record, path))).ok_or_else(super::state::not_running);
            }
            // Where the container divides its cgroup itself, as systemd does, processes can be only in a part of it.
            let has_leaf =
                container.state()?.annotations.iter().flatten().any(|(name, _)| name == annotations::DELEGATED);
            let is_divided = has_leaf || !tree::words(&record.path, "cgroup.subtree_control")?.is_empty();
            let inits = if is_divided { tree::find_of_process(container.state()?.pid)? } else { None };
            Ok(Some((record, inits.filter(|path| path.starts_with(&record.path)).unwrap_or(record.path.clone()))))
        }
        (None, Some(_)) => refused("the container has no cgroup".to_owned(), "leave it out; see `rootlet plan`"),
        (Some(record), Some(below)) => {
            // As runc's: [controllers:]path; version 2 has one hierarchy for all of them.
            let path = below.rsplit(':').next().unwrap_or_default().trim_matches('/');
            let directory = record.path.join(path);
            if path.split('/').any(|part| matches!(part, "." | "..")) || !tree::exists(&directory, "cgroup.procs")? {
                let remedy = "name one that exists below the container's own";
                return refused(format!("{below:?} is not a cgroup of the container"), remedy);
            }
            Ok(Some((record, directory)))
        }
    }
}

/// The process that is changes: that of the file or of the config, changed by the command line.
fn changed_process(spec: &Spec, root: &users::Root, changes: &Changes) -> Result<Process> {
    let own = spec.process();
    let mut process = match &changes.file {
        Some(path) => complete(load::process(path)?, own),
        None => Process { terminal: false, console_size: None, ..own.clone() },
    };
    process.terminal |= changes.terminal;
    process.no_new_privileges = changes.no_new_privileges.unwrap_or(process.no_new_privileges);
    if let Some(cwd) = changes.cwd.as_ref().filter(|cwd| !cwd.is_empty()) {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = &changes.user {
        users::resolve(user, root, &mut process.user)?;
    }
    process.user.additional_gids.0.extend_from_slice(&changes.additional_gids);
    process.selinux_label = changes.selinux_label.clone().or(process.selinux_label);
    process.apparmor_profile = changes.apparmor_profile.clone().or(process.apparmor_profile);
    if !changes.capabilities.is_empty() {
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        // CVE-2022-29162: never inheritable, or a program of another user could gain them by its file.
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.0.extend_from_slice(&changes.capabilities);
        }
        // capabilities(7): only what is inheritable can be ambient.
        let inheritable: Vec<_> =
            changes.capabilities.iter().filter(|name| sets.inheritable.contains(name)).cloned().collect();
        sets.ambient.0.extend(inheritable);
    }
    Ok(process)
}

/// As runc, what a `process` leaves out is the container's.
fn complete(process: Process, own: &Process) -> Process {
    let own = own.clone();
    Process {
        capabilities: process.capabilities.or(own.capabilities),
        rlimits: if process.rlimits.is_empty() { own.rlimits } else { process.rlimits },
        apparmor_profile: process.apparmor_profile.or(own.apparmor_profile),
        oom_score_adj: process.oom_score_adj.or(own.oom_score_adj),
        scheduler: process.scheduler.or(own.scheduler),
        selinux_label: process.selinux_label.or(own.selinux_label),
        io_priority: process.io_priority.or(own.io_priority),
        exec_cpu_affinity: process.exec_cpu_affinity.or(own.exec_cpu_affinity),
        // Each is named: a new property is not forgotten here.
        terminal: process.terminal,
        console_size: process.console_size,
        user: process.user,
        args: process.args,
        command_line: process.command_line,
        env: process.env,
        cwd: process.cwd,
        no_new_privileges: process.no_new_privileges,
    }
}
