//! `restore`: a container is made again from files, by CRIU.
//!
//! The processes come from CRIU, already in their namespaces and in their cgroup; all else is as in `create`.

use super::external;
use super::images::{self, Images};
use super::stage::Stage;
use crate::container::beside::publish::{self, Audience};
use crate::container::beside::{console, hooks};
use crate::container::cgroup::Making;
use crate::container::create::{self, Created, Start, Undo, describe, lost, rootfs_of, tell};
use crate::container::interrupt::Interrupt;
use crate::container::state::Container;
use crate::container::state::directory::STAGE;
use crate::criu::{Notice, Request, Streams, Task, Worker};
use crate::error::{Error, Result};
use crate::host::{Cgroups, Host, hierarchy_root};
use crate::log::Log;
use crate::property::compile;
use crate::spec;
use crate::sys::process::Process;
use std::os::fd::AsRawFd;

const LOG: &str = "restore.log";

/// How a container is to be made again.
#[derive(Debug)]
pub struct Options {
    /// Where the images are, and what CRIU is told.
    pub images: Images,
    /// Close TCP connections.
    pub tcp_close: bool,
    /// A label of AppArmor or SELinux in place of the images'.
    pub lsm_profile: Option<String>,
    /// A context for mounts in place of the images'.
    pub lsm_mount_context: Option<String>,
}

/// Makes a container again, as `create` would with `as_created`: its processes go on when this returns.
pub fn restore(options: &Options, as_created: &create::Options, log: &Log) -> Result<Created> {
    let text = spec::load::read(&as_created.request.bundle.join(&as_created.config))?;
    let spec = spec::load::parse(&text)?.spec;
    let host = Host::new()?;
    let plan = compile(&spec, &as_created.request, &host)?;
    external::check(&plan)?;
    console::check(&plan, as_created.console_socket.as_deref(), as_created.start == Start::Now)?;
    tell(log, &plan);
    check_attachment(options, as_created.start)?;
    let unprivileged = images::check_privileges(&host)?;
    let audience = Audience::find(as_created.pid_file.as_deref(), as_created.pidfd_socket.as_deref())?;

    let mut undo = Undo::default();
    undo.reservation = Some(as_created.root.reserve(&as_created.request.id)?);
    let directory = undo.reservation.as_ref().ok_or_else(lost)?.directory.clone();
    let notify = undo.notify(as_created, log)?;
    let cgroup = undo.cgroup.insert(Making::begin(&plan, as_created.start == Start::Now, directory.path())?);
    // Whoever is root in a user namespace must get there; where that is the caller, nothing else need be hidden.
    let is_other = plan.id_maps().is_some();
    let covered = if is_other { as_created.root.directory("") } else { directory.path().join(STAGE) };
    let _ = std::fs::create_dir(directory.path().join(STAGE));
    let stage = Stage::enter(covered).map_err(|error| Error::from_call("criu", error))?;
    // Opened there: CRIU mounts something in the directory of its images, which must be one of its own mount namespace's.
    let mut opened = options.images.open(LOG, false)?;
    opened.give_to_root_of(&plan);
    let rootfs = rootfs_of(&spec, &as_created.request.bundle);
    let scenery = stage.set(&spec, &rootfs, &plan, &options.images.path)?;
    let mut worker = Worker::start(Streams::Callers)?;
    drop(stage);
    // Whoever makes the processes is where they are to be.
    cgroup.adopt(&as_created.request.id, worker.pid())?;
    let request = Request {
        cgroup_root: match host.cgroups()? {
            Cgroups::Unified => cgroup_root(cgroup)?,
            Cgroups::Legacy => None,
        },
        root: scenery.root.to_string_lossy().into_owned(),
        external: scenery.external,
        inherited: scenery.inherited.iter().map(|(name, file)| (name.clone(), file.as_raw_fd())).collect(),
        joined: external::joined_namespaces(&spec),
        tcp_close: options.tcp_close,
        lsm_profile: options.lsm_profile.clone(),
        lsm_mount_context: options.lsm_mount_context.clone(),
        config: options.images.criu_config(&spec)?,
        unprivileged,
        cgroups: options.images.cgroup_mode(&host)?,
        ..options.images.request(&opened, LOG)
    };
    let (process, container) = (&mut undo.process, &mut undo.container);
    let mut terminal = None;
    let mut follow = |notice: Notice| -> Result<()> {
        let made = || Process::open(notice.pid).map_err(|error| Error::from_call("container", error));
        let save = |container: &mut Option<Container>, made: &Process, is_creating: bool| {
            let mut state = describe(&spec, &host, as_created, &plan, made)?;
            if !is_creating {
                (state.is_creating, state.cgroup) = (false, cgroup.record.clone());
            }
            let container = container.insert(Container::new(directory.clone(), state, false));
            container.save(&text).map(|()| container.clone())
        };
        match notice.event.as_str() {
            "orphan-pts-master" => terminal = notice.attached,
            "setup-namespaces" => {
                let container = save(container, &made()?, true)?;
                hooks::run_before_start(&container, &Interrupt::default())?;
            }
            "post-restore" => drop(save(container, process.insert(made()?), false)?),
            _ => {}
        }
        Ok(())
    };
    let mut own = None;
    let mut on_notice = |notice| follow(notice).inspect_err(|error| own = Some(error.clone()));
    let done = worker.run(Task::Restore, &request, &mut on_notice);
    drop(worker);
    let _ = std::fs::remove_dir(directory.path().join(STAGE));
    done.map_err(|error| own.unwrap_or_else(|| opened.explain(error)))?;
    cgroup.complete()?;
    if let (Some(socket), Some(master)) = (&as_created.console_socket, &terminal) {
        publish::send_terminal(socket, master)?;
        terminal = None;
    }
    audience.tell(undo.process.as_ref().ok_or_else(lost)?)?;
    let mut created = undo.disarm(terminal.map(console::set_up).transpose()?)?;
    created.notify = notify;
    Ok(created)
}

/// What was run in the foreground ends with whoever makes it.
fn check_attachment(options: &Options, start: Start) -> Result<()> {
    let mark = options.images.path.join(images::ATTACHED);
    let was_attached = mark.try_exists().map_err(|error| Error::from_io(mark.display(), &error))?;
    if start == Start::Later && was_attached {
        return Err(Error::new("a container that was run in the foreground cannot be restored in the background")
            .because("it ends with whoever makes it, and its images say so")
            .remedy("leave --detach out; or run it with --detach before the checkpoint"));
    }
    Ok(())
}

/// The container's cgroup, as CRIU names it.
fn cgroup_root(cgroup: &Making) -> Result<Option<String>> {
    let (Some(record), Some(root)) = (&cgroup.record, hierarchy_root()?) else { return Ok(None) };
    Ok(record.path.strip_prefix(root).ok().map(|below| format!("/{}", below.display())))
}
