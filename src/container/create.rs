//! The creation of a container, as one story.

use super::beside::publish::{self, Audience};
use super::beside::{console, hooks, network, notify};
use super::cgroup::{Keeper, Making};
use super::follow::{Follow, Followed};
use super::interrupt::{self, Interrupt};
use super::layer::Layer;
use super::state::directory::DATA;
use super::state::identity::{Identity, pid_namespace};
use super::state::states::{Reservation, States};
use super::state::{Container, State};
use super::trace::Trace;
use super::{cgroup, start};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::init::{Beginning, Birthplace, Equipment, prepare, seal, spawn};
use crate::log::Log;
use crate::plan::step::ProgramStep;
use crate::plan::{Entry, Phase, Plan, Step, print};
use crate::property::annotations;
use crate::property::{ADD_PROCESS, Request, add_warnings, compile, without_process};
use crate::spec::{self, Spec, default};
use crate::sys::process::Process;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
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
    /// The root of states that the container's is in.
    pub root: &'a States,
    /// What the caller asks for, on which the plan depends.
    pub request: Request,
    /// The config, from the bundle.
    pub config: PathBuf,
    /// When it starts.
    pub start: Start,
    /// Where the pid of its first process is written.
    pub pid_file: Option<PathBuf>,
    /// Who gets its terminal; without one, the caller.
    pub console_socket: Option<PathBuf>,
    /// Who gets the pidfd of its first process.
    pub pidfd_socket: Option<PathBuf>,
    /// The text of the config, where it is not the bundle's.
    pub text: Option<String>,
    /// The writable layer that an overlay of the config is about.
    pub layer: Option<Layer>,
    /// What its config names in its state's directory.
    pub data: Option<Data>,
    /// `--seccomp-audit`: where system calls are written down.
    pub audit: Option<OwnedFd>,
    /// What is noted of the time that it takes.
    pub trace: Trace,
}

/// Files as `data/0` and so on in a state's directory, and beside them the directory `data/root`.
#[derive(Debug, Default)]
pub struct Data {
    /// What is in them, and their modes.
    pub files: Vec<(Vec<u8>, u32)>,
    /// Whether that directory has mount points for what a container of the host's programs shows, instead of nothing.
    pub has_host_directories: bool,
}

impl<'a> Options<'a> {
    /// A container of that name from the config.json of a bundle; it waits for `start` and tells nobody.
    pub fn new(root: &'a States, id: &str, bundle: PathBuf) -> Options<'a> {
        // Hooks and later commands have working directories of their own.
        let bundle = std::path::absolute(&bundle).unwrap_or(bundle);
        Options {
            root,
            request: Request { id: id.to_owned(), bundle, state: Some(root.directory(id)), ..Request::default() },
            config: PathBuf::from("config.json"),
            start: Start::Later,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            text: None,
            layer: None,
            data: None,
            audit: None,
            trace: Trace::default(),
        }
    }
}

/// A container that was just created, with its lock: as long as this lives, others wait who would pause or delete it. Let it go by
/// [`Created::keep`] or by dropping it, and find the container by [`States::find`]; or end it by [`Created::forget`].
#[derive(Debug)]
pub struct Created {
    /// The container, with its state.
    pub container: Container,
    /// The first process.
    pub process: Process,
    /// Its terminal, if there is one and no console socket took it.
    pub terminal: Option<OwnedFd>,
    /// What its program says to systemd, if it has started and the caller wants to know.
    pub notify: Option<notify::Relay>,
    /// Who writes its system calls down, until the last of its processes has ended.
    pub audit: Option<i32>,
    reservation: Reservation,
    keeper: Option<Keeper>,
}

/// Creates a container that waits for `start`, and takes it back if a signal ends this command meanwhile.
pub fn create_waiting(options: &Options, log: &Log) -> Result<Created> {
    debug_assert_eq!(options.start, Start::Later);
    interrupt::hold(log, || create(options, log))
}

/// Creates a container: its first process is in its namespaces and its root, and waits for `start`, or has started. It is a child
/// of the calling process, which has to wait for it, and its standard streams are the caller's.
///
/// A caller that may get signals that end it blocks them meanwhile, or calls [`create_waiting`]. Where the container could write
/// to the binary of the calling program, as to one that is its user's own, that program is started again from its begin, as a sealed
/// copy in memory (`init::seal`; CVE-2019-5736): call this before anything that must not be done twice.
pub fn create(options: &Options, log: &Log) -> Result<Created> {
    make(options, log).map_err(|error| error.of_file(&options.config))
}

fn make(options: &Options, log: &Log) -> Result<Created> {
    let trace = &options.trace;
    trace.begin("load the config");
    let text = match &options.text {
        Some(text) => text.clone(),
        None => spec::load::read(&options.request.bundle.join(&options.config))?,
    };
    let loaded = spec::load::parse(&text)?;
    trace.begin("compile the plan");
    // What is there by then can be hidden from the container.
    options.root.make()?;
    let host = Host::new()?;
    if loaded.spec.process.is_none() && options.start == Start::Now {
        return Err(without_process().remedy(ADD_PROCESS));
    }
    seal::ensure(&loaded.spec, &host)?;
    let mut plan = compile(&loaded.spec, &options.request, &host)?;
    add_warnings(&mut plan, loaded.warnings(), &options.request)?;
    plan.warnings = plan.warnings.into_iter().map(|warning| warning.of_file(&options.config)).collect();
    let (spec, plan) = (loaded.spec, Rc::new(plan));
    console::check(&plan, options.console_socket.as_deref(), options.start == Start::Now)?;
    tell(log, &plan);
    let receiver = annotations::find(&spec, annotations::PIDFD_RECEIVER).map(Path::new);
    let audience = Audience::find(options.pid_file.as_deref(), options.pidfd_socket.as_deref().or(receiver))?;

    trace.begin("reserve the id");
    let mut undo = Undo::default();
    undo.reservation = Some(options.root.reserve(&options.request.id)?);
    undo.layer(options, &spec)?;
    undo.data(options.data.as_ref())?;
    undo.resolver(&plan)?;
    let start = undo.listen(options.start)?;
    let notify = undo.notify(options, log)?;
    let directory = undo.reservation.as_ref().ok_or_else(lost)?.directory.clone();
    trace.begin("make the cgroup");
    let cgroup = undo.cgroup.insert(Making::begin(&plan, options.start == Start::Now, directory.path())?);
    let (directory, is_scope) = (cgroup.open(!plan.joins.is_empty())?, cgroup.is_scope());
    trace.begin("steps of the host");
    trace.begin_child(&plan)?;
    let mut take = |pid| cgroup.take(&options.request.id, pid);
    let equipment = Equipment {
        start,
        cgroup: match directory {
            Some(directory) => Birthplace::Directory(directory),
            None if is_scope => Birthplace::Taken(&mut take),
            None => Birthplace::Same,
        },
        console: options.console_socket.as_deref().map(publish::connect).transpose()?,
        slots: prepare(&plan, hooks::outputs(&spec)?)?,
        ..Equipment::default()
    };
    let outputs = [&equipment.slots.hook_output, &equipment.slots.image_output];
    let [first, second] = outputs.map(|output| output.as_ref().map(OwnedFd::try_clone).transpose());
    let failed = |error: std::io::Error| Error::from_io("outputs of hooks", &error);
    let outputs = [first.map_err(failed)?, second.map_err(failed)?];
    let interrupt = Interrupt::open()?;
    trace.begin("clone");
    let init = spawn(&plan, equipment)?;
    trace.begin("write the state");
    undo.process = Some(init.process.duplicate().map_err(|error| Error::from_call("container", error))?);
    let reservation = undo.reservation.as_ref().ok_or_else(lost)?;
    let state = State { cgroup: cgroup.record.clone(), ..describe(&spec, &host, options, &plan, &init.process)? };
    let is_waiting = options.start == Start::Later;
    let container = undo.container.insert(Container::new(reservation.directory.clone(), state, is_waiting));
    container.save(&text)?;
    cgroup.complete()?;
    trace.begin("steps of the parent");
    init.run_born_steps(&plan)?;
    trace.begin("wait for the child");
    let starts_now = options.start == Start::Now;
    let follow = Follow {
        init: &init,
        plan: &plan,
        container,
        status: "creating",
        starts_now,
        is_alone: false,
        outputs,
        audit: options.audit.as_ref(),
        interrupt,
    };
    let followed = follow.to_the_end();
    trace.begin("complete the state");
    let Followed { terminal, mut tolerated, pid_namespace, audit } = followed.inspect_err(|_| {
        // How far it came is what is looked for then.
        let _ = trace.write(&plan, init.process.pid);
    })?;
    cgroup.tell_what_is_left_out(log);
    tolerated.append(&mut cgroup.left_out);
    container.complete(tolerated, pid_namespace, log)?;
    if options.start == Start::Later {
        init.go()?;
    }
    audience.tell(&init.process)?;
    trace.write(&plan, init.process.pid)?;
    Ok(Created { notify, audit, ..undo.disarm(terminal)? })
}

pub(super) fn describe(spec: &Spec, host: &Host, options: &Options, plan: &Plan, process: &Process) -> Result<State> {
    let bundle = &options.request.bundle;
    let last =
        (0..).zip(&plan.entries).filter(|(_, entry)| entry.phase == Phase::Last && options.start == Start::Later);
    Ok(State {
        oci_version: spec.oci_version.clone(),
        id: options.request.id.clone(),
        pid: process.pid,
        identity: Identity::of(process.pid, process.pidfd.as_fd())?,
        pids: pid_namespace()?,
        bundle: bundle.clone(),
        rootfs: rootfs_of(spec, bundle),
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        annotations: spec.annotations.clone(),
        owner: host.uid,
        hooks: spec.hooks.clone(),
        namespaces: print::namespace_names(plan.all_namespaces()).map(str::to_owned).collect(),
        no_new_keyring: options.request.no_new_keyring,
        no_pivot: options.request.no_pivot,
        has_own_pids: spec.has_new_namespace("pid"),
        is_attached: options.start == Start::Now || options.request.is_held,
        decisions: plan.decisions.clone(),
        is_filtered: plan.is_filtered(),
        has_no_program: spec.process.is_none(),
        has_init: annotations::find(spec, annotations::INIT) == Some("true"),
        listener: plan.listener.clone(),
        cgroup: None,
        pid_namespace: None,
        is_creating: true,
        is_suspended: false,
        is_followed: false,
        last_steps: last.map(|(index, entry)| (index, name_of(entry))).collect(),
    })
}

/// Where the root file system is.
pub fn rootfs_of(spec: &Spec, bundle: &Path) -> PathBuf {
    spec.root.as_ref().map_or(bundle.to_owned(), |root| bundle.join(&root.path))
}

/// What `start` calls a step: its property, and the program for the last one.
fn name_of(entry: &Entry) -> String {
    match &entry.step {
        Step::Program(ProgramStep::Execute { arguments, .. }) => {
            let program = arguments.as_slice().first().map(|name| name.to_string_lossy().into_owned());
            format!("{}: {}", entry.origin, program.unwrap_or_default())
        }
        _ => entry.origin.to_string(),
    }
}

/// Logs what the plan leaves out, or does otherwise than asked: its decisions.
pub fn tell(log: &Log, plan: &Plan) {
    plan.warnings.iter().for_each(|warning| log.warn(warning));
    plan.decisions.iter().for_each(|decision| log.debug(&decision.to_string()));
}

pub(super) fn lost() -> Error {
    Error::new("the reservation is gone")
}

/// What creation has made so far. Dropped before [`Undo::disarm`], it takes everything back, in reverse.
#[derive(Default)]
pub(super) struct Undo<'a> {
    pub(super) reservation: Option<Reservation>,
    pub(super) cgroup: Option<Making<'a>>,
    pub(super) process: Option<Process>,
    pub(super) container: Option<Container>,
}

impl Undo<'_> {
    fn listen(&self, start: Start) -> Result<Beginning> {
        match (start, &self.reservation) {
            (Start::Later, Some(reservation)) => publish::listen(&reservation.directory).map(Beginning::Later),
            _ => Ok(Beginning::Now),
        }
    }

    /// Makes the layer that the container writes to.
    fn layer(&self, options: &Options, spec: &Spec) -> Result<()> {
        let (Some(layer), Some(reservation)) = (&options.layer, &self.reservation) else { return Ok(()) };
        layer.make(&rootfs_of(spec, &options.request.bundle), &reservation.directory)
    }

    /// Writes files of the command line's, with an owner but no names elsewhere: the state's directory is nobody else's.
    fn data(&self, data: Option<&Data>) -> Result<()> {
        let (Some(data), Some(reservation)) = (data, &self.reservation) else { return Ok(()) };
        let directory = reservation.directory.path().join(DATA);
        let failed = |error: std::io::Error| Error::from_io(format!("cannot write to {}", directory.display()), &error);
        let root = directory.join("root");
        // Whatever the caller's umask leaves to a group, the container's root directory is its owner's.
        let make = |path: &Path| std::fs::DirBuilder::new().mode(0o755).create(path);
        make(&directory).and_then(|()| make(&root)).map_err(failed)?;
        if data.has_host_directories {
            default::make_host_rootfs(&root)?;
        }
        for (number, (content, mode)) in data.files.iter().enumerate() {
            let path = directory.join(number.to_string());
            std::fs::write(&path, content).map_err(failed)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes the container's resolv.conf, if its network is not the caller's.
    fn resolver(&self, plan: &Plan) -> Result<()> {
        let (Some(helper), Some(reservation)) = (plan.resolver, &self.reservation) else { return Ok(()) };
        network::write_resolver(helper, &reservation.directory)
    }

    /// Makes the directory for the program's notifications, and listens there if it starts at once.
    pub(super) fn notify(&self, options: &Options, log: &Log) -> Result<Option<notify::Relay>> {
        let (Some(directory), Some(reservation)) = (&options.request.notify, &self.reservation) else {
            return Ok(None);
        };
        notify::make_directory(directory)?;
        if options.start == Start::Now { notify::Relay::open(&reservation.directory, log) } else { Ok(None) }
    }

    pub(super) fn disarm(mut self, terminal: Option<OwnedFd>) -> Result<Created> {
        let (reservation, process, container) = (self.reservation.take(), self.process.take(), self.container.take());
        let (reservation, process, container) =
            (reservation.ok_or_else(lost)?, process.ok_or_else(lost)?, container.ok_or_else(lost)?);
        let keeper = self.cgroup.take().and_then(Making::into_keeper);
        Ok(Created { container, process, terminal, notify: None, audit: None, reservation, keeper })
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            process.end();
        }
        let Some(reservation) = self.reservation.take() else { return };
        if let Some(making) = &mut self.cgroup {
            making.take_back();
        }
        match self.container.take() {
            Some(container) => {
                hooks::run_poststop(&container);
                let _ = container.forget();
            }
            None => {
                let _ = reservation.directory.destroy(&[]);
            }
        }
    }
}

impl Created {
    /// What is said if the kernel has ended one of its processes for want of memory.
    pub fn explain_out_of_memory(&self) -> Option<Error> {
        cgroup::explain_out_of_memory(self.container.state.as_ref()?.cgroup.as_ref()?)
    }

    /// Says in the state that its hooks have been run, if there are some: by then, it can be deleted by force although whoever made
    /// it has it.
    pub fn note_that_it_is_followed(&mut self) -> Result<()> {
        match hooks::runs_some_before_its_end(&self.container) {
            true => self.container.change(|state| state.is_followed = true),
            false => Ok(()),
        }
    }

    /// Starts it, as [`start`](super::start()) does; if that fails, nothing is left of it.
    pub fn start(self, log: &Log) -> Result<Created> {
        match Interrupt::open().and_then(|interrupt| start::start_own(&self.container, &interrupt, log)) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.destroy();
                Err(error)
            }
        }
    }

    /// Ends the foreground run's hold on the container, and removes its state. What poststop hooks have failed at.
    pub fn forget(mut self) -> Result<Vec<Error>> {
        self.keeper = None;
        // Somebody who has deleted it by force has run its last hooks, or is at it.
        let directory = &self.container.directory;
        let _end = match hooks::has_poststop(&self.container) {
            true => match directory.claim_end()? {
                None => return Ok(Vec::new()),
                end => end,
            },
            false if !directory.is_there()? => return Ok(Vec::new()),
            false => None,
        };
        let mut failures = hooks::run_poststop(&self.container);
        self.container.forget()?;
        failures.extend(self.container.may_have_left());
        drop(self.reservation);
        Ok(failures)
    }

    /// Lets go of the container, and leaves its state to `delete`.
    pub fn keep(mut self) -> Result<()> {
        self.container.change(|state| state.is_attached = false)
    }

    /// Ends the process and removes all traces, after a failure.
    pub fn destroy(self) {
        self.process.end();
        let _ = self.forget();
    }
}
