//! The creation of a container, as one story.

use super::fuse::Serving;
use super::root::{Reservation, Root};
use super::state::{Container, State, status_of};
use super::{console, fuse, hooks, listener, publish};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::init::{Equipment, Init, Message, prepare, seal, spawn};
use crate::log::Log;
use crate::plan::{Decision, Entry, Phase, Plan, Step};
use crate::property::{Request, compile, heed};
use crate::spec::{self, Spec};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::SystemTime;

/// When the program is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// When `start` says so.
    Later,
    /// At once; it ends with its maker.
    Now,
}

/// How a container is to be created.
#[derive(Debug)]
pub struct Options<'a> {
    /// Where its state goes.
    pub root: &'a Root,
    /// What the plan depends on.
    pub request: Request,
    /// When it starts.
    pub start: Start,
    /// Where the pid of its first process is written.
    pub pid_file: Option<PathBuf>,
    /// Who gets its terminal; without one, the caller.
    pub console_socket: Option<PathBuf>,
    /// Who gets the pidfd of its first process.
    pub pidfd_socket: Option<PathBuf>,
}

/// A container that was just created.
#[derive(Debug)]
pub struct Created {
    /// Its state.
    pub container: Container,
    /// Its first process.
    pub init: Init,
    /// Its terminal, if there is one and no console socket took it.
    pub terminal: Option<OwnedFd>,
    reservation: Reservation,
}

/// Creates a container: its first process is in its namespaces and its root, and waits for `start`, or has started.
pub fn create(options: &Options, log: &Log) -> Result<Created> {
    let loaded = spec::load(&options.request.bundle)?;
    let host = Host::new();
    seal::ensure(&loaded.spec, &host)?;
    let mut plan = compile(&loaded.spec, &options.request, &host)?;
    heed(&mut plan, loaded.warnings(), &options.request)?;
    let spec = loaded.spec;
    publish::check_descriptors(options.request.preserved_descriptors)?;
    console::check(&plan, options)?;
    tell(log, &plan);

    let mut undo = Undo { reservation: Some(options.root.reserve(&options.request.id)?), init: None, state: None };
    let equipment = Equipment {
        start: undo.listen(options.start)?,
        console: options.console_socket.as_deref().map(publish::connect).transpose()?,
        slots: prepare(&plan, hooks::output(&spec)?)?,
    };
    let output = equipment.slots.hook_output.as_ref().and_then(|output| output.try_clone().ok());
    let init = undo.init.insert(spawn(&plan, equipment)?);
    let reservation = undo.reservation.as_ref().ok_or_else(lost)?;
    let state = undo.state.insert(describe(&spec, &host, options, &plan, init.pid));
    state.save(reservation)?;
    init.run_born_steps(&plan)?;
    let (terminal, tolerated) = follow(init, &plan, state, options, output)?;
    if !tolerated.is_empty() {
        tolerated.iter().for_each(|decision| log.debug(&decision.to_string()));
        state.decisions.extend(tolerated);
        state.save(reservation)?;
    }
    if options.start == Start::Later {
        init.go()?;
    }
    if let Some(socket) = &options.pidfd_socket {
        publish::send_pidfd(socket, init)?;
    }
    if let Some(path) = &options.pid_file {
        publish::write_pid_file(path, init.pid)?;
    }
    undo.disarm(terminal)
}

/// Listens to the child until it is ready, or has started.
fn follow(
    init: &Init,
    plan: &Plan,
    state: &State,
    options: &Options,
    output: Option<OwnedFd>,
) -> Result<(Option<OwnedFd>, Vec<Decision>)> {
    let mut servers = Vec::new();
    let followed = answer(init, plan, state, options, output, &mut servers);
    if followed.is_err() {
        fuse::end(&servers);
    }
    followed
}

fn answer(
    init: &Init,
    plan: &Plan,
    state: &State,
    options: &Options,
    output: Option<OwnedFd>,
    servers: &mut Vec<Serving>,
) -> Result<(Option<OwnedFd>, Vec<Decision>)> {
    let (mut terminal, mut tolerated) = (None, Vec::new());
    let mut may_start = options.start == Start::Now && !plan.is_filtered_early();
    loop {
        fuse::wait_for_word(init, servers)?;
        match init.receive()? {
            Some((Message::Console, master)) => terminal = master,
            Some((Message::Hooks, _)) => {
                hooks::run_before_start(state)?;
                init.run_steps(plan, Phase::Hooked)?;
                init.go()?;
            }
            Some((Message::Serve { step }, device)) => {
                servers.push(fuse::serve(init, plan, step, device)?);
                init.go()?;
            }
            Some((Message::Notify, fd)) => {
                let container = Container::new(PathBuf::new(), state.clone());
                listener::hand_over(plan.listener.as_ref(), &container, "creating", fd)?;
                init.go()?;
            }
            Some((Message::Tolerated { step, error }, _)) => {
                let blame = plan.blame(step as usize, error);
                let done = "it failed, and the container goes on without".to_owned();
                tolerated.push(Decision { property: blame.property.clone(), done, reason: blame.to_string() });
            }
            Some((Message::Ready, _)) if options.start == Start::Now => may_start = true,
            Some((Message::Ready, _)) => return Ok((terminal, tolerated)),
            Some((Message::Fail { step, error }, _)) => {
                let failed = plan.entries.get(step as usize).map(|entry| &entry.step);
                let blame = hooks::with_output(plan.blame(step as usize, error), output);
                return Err(fuse::with_output(blame, failed, servers));
            }
            None if may_start => return Ok((terminal, tolerated)),
            _ => return Err(init.death()),
        }
    }
}

fn describe(spec: &Spec, host: &Host, options: &Options, plan: &Plan, pid: i32) -> State {
    let bundle = &options.request.bundle;
    let rootfs = spec.root.as_ref().map_or(bundle.clone(), |root| bundle.join(&root.path));
    let last =
        (0..).zip(&plan.entries).filter(|(_, entry)| entry.phase == Phase::Last && options.start == Start::Later);
    State {
        oci_version: spec.oci_version.clone(),
        id: options.request.id.clone(),
        pid,
        start_time: status_of(pid).map_or(0, |(_, start_time)| start_time),
        bundle: bundle.clone(),
        rootfs,
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        annotations: spec.annotations.clone(),
        owner: host.uid,
        hooks: spec.hooks.clone(),
        has_own_pids: spec.has_new_namespace("pid"),
        is_attached: options.start == Start::Now,
        decisions: plan.decisions.clone(),
        is_filtered: plan.is_filtered(),
        listener: plan.listener.clone(),
        last_steps: last.map(|(index, entry)| (index, name_of(entry))).collect(),
    }
}

/// What `start` calls a step: its property, and the program for the last one.
fn name_of(entry: &Entry) -> String {
    match &entry.step {
        Step::Execute { arguments, .. } => {
            let program = arguments.as_slice().first().map(|name| name.to_string_lossy().into_owned());
            format!("{}: {}", entry.origin, program.unwrap_or_default())
        }
        _ => entry.origin.to_string(),
    }
}

fn tell(log: &Log, plan: &Plan) {
    plan.warnings.iter().for_each(|warning| log.warn(warning));
    plan.decisions.iter().for_each(|decision| log.debug(&decision.to_string()));
}

fn lost() -> Error {
    Error::new("the reservation is gone")
}

/// What creation has made so far. Dropped before [`Undo::disarm`], it takes everything back, in reverse.
struct Undo {
    reservation: Option<Reservation>,
    init: Option<Init>,
    state: Option<State>,
}

impl Undo {
    fn listen(&self, start: Start) -> Result<Option<OwnedFd>> {
        match (start, &self.reservation) {
            (Start::Later, Some(reservation)) => publish::listen(&reservation.lock).map(Some),
            _ => Ok(None),
        }
    }

    fn disarm(mut self, terminal: Option<OwnedFd>) -> Result<Created> {
        let (reservation, init, state) = (self.reservation.take(), self.init.take(), self.state.take());
        let (reservation, init, state) =
            (reservation.ok_or_else(lost)?, init.ok_or_else(lost)?, state.ok_or_else(lost)?);
        let container = Container::new(reservation.directory.clone(), state);
        Ok(Created { container, init, terminal, reservation })
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(init) = &self.init {
            init.kill();
        }
        let Some(reservation) = self.reservation.take() else { return };
        if let Some(state) = self.state.take() {
            let container = Container::new(reservation.directory.clone(), state);
            hooks::run_poststop(&container);
            let _ = container.forget();
        } else {
            let _ = std::fs::remove_file(reservation.directory.join("start.sock"));
            let _ = std::fs::remove_dir(&reservation.directory);
        }
    }
}

impl Created {
    /// Ends the foreground run's hold on the container, and removes its state.
    pub fn forget(self) -> Result<()> {
        hooks::run_poststop(&self.container);
        self.container.forget()?;
        drop(self.reservation);
        Ok(())
    }

    /// Ends the foreground run's hold on the container, and leaves its state to `delete`.
    pub fn keep(mut self) -> Result<()> {
        if let Some(state) = &mut self.container.state {
            state.is_attached = false;
            state.save(&self.reservation)?;
        }
        Ok(())
    }

    /// Ends the process and removes all traces, after a failure.
    pub fn destroy(self) {
        self.init.kill();
        let _ = self.forget();
    }
}
