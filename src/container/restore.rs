//! `restore`: a container is made again from files, by CRIU.
//!
//! The processes come from CRIU, already in their namespaces and in their cgroup; all else is as in `create`.

use super::cgroup::Making;
use super::checkpoint::{DESCRIPTORS, is_replaced};
use super::create::{Created, Options, Start, Undo, describe, lost, rootfs_of, tell};
use super::directory::{STAGE, c_path};
use super::external;
use super::images::{self, Images};
use super::interrupt::Interrupt;
use super::{console, hooks, publish};
use crate::criu::{Notice, Request, Streams, Task, Worker};
use crate::error::{Error, Result};
use crate::host::{Cgroups, Host, hierarchy_root};
use crate::log::Log;
use crate::plan::Plan;
use crate::plan::step::MountStep;
use crate::plan::step::trees::Bind;
use crate::property::compile;
use crate::spec;
use crate::sys::fd::Kind;
use crate::sys::process::Process;
use crate::sys::{self, Errno, fd, mount, namespace, resolve, socket};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const LOG: &str = "restore.log";

/// How a container is to be made again.
#[derive(Debug)]
pub struct Wanted {
    /// From what.
    pub images: Images,
    /// Close TCP connections.
    pub tcp_close: bool,
    /// A label of AppArmor or SELinux in place of the images'.
    pub lsm_profile: Option<String>,
    /// A context for mounts in place of the images'.
    pub lsm_mount_context: Option<String>,
}

/// Makes a container again: its processes go on when this returns.
pub fn restore(options: &Options, wanted: &Wanted, log: &Log) -> Result<Created> {
    let text = spec::load::read(&options.request.bundle.join(&options.config))?;
    let spec = spec::load::parse(&text)?.spec;
    let host = Host::new()?;
    let plan = compile(&spec, &options.request, &host)?;
    external::check(&plan)?;
    console::check(&plan, options.console_socket.as_deref(), options.start == Start::Now)?;
    tell(log, &plan);
    let mark = wanted.images.path.join(images::ATTACHED);
    let was_attached = mark.try_exists().map_err(|error| Error::from_io(mark.display(), &error))?;
    if options.start == Start::Later && was_attached {
        return Err(Error::new("a container that was run in the foreground cannot be restored in the background")
            .because("it ends with whoever makes it, and its images say so")
            .remedy("leave --detach out; or run it with --detach before the checkpoint"));
    }
    let unprivileged = images::check_privileges(&host)?;

    let mut undo = Undo::default();
    undo.reservation = Some(options.root.reserve(&options.request.id)?);
    let directory = undo.reservation.as_ref().ok_or_else(lost)?.directory.clone();
    let notify = undo.notify(options, log)?;
    let cgroup = undo.cgroup.insert(Making::begin(&plan, options.start == Start::Now, directory.path())?);
    let system = |error| Error::from_call("criu", error);
    // Whoever is root in a user namespace must get there; where that is the caller, nothing else need be hidden.
    let is_other = plan.id_maps().is_some();
    let place = if is_other { options.root.place("") } else { directory.path().join(STAGE) };
    let _ = std::fs::create_dir(directory.path().join(STAGE));
    let stage = Stage::enter(place).map_err(system)?;
    let rootfs = rootfs_of(&spec, &options.request.bundle);
    let root = open(&c_path(&rootfs))
        .map_err(|error| Error { property: "root.path".to_owned(), ..Error::from_call(rootfs.display(), error) })?;
    make_places(&plan, &root)?;
    let mut opened = wanted.images.open(LOG, false)?;
    opened.give_to_root_of(&plan);
    let mut outer = Vec::new();
    for (_, name, path) in external::outer_namespaces(&spec) {
        outer.push((name.to_owned(), inherit(path)?));
    }
    let is_mapped = plan.namespaces & namespace::CLONE_NEWUSER != 0;
    let replaced = external::replaced_mounts(&plan, is_mapped, &stage.place);
    stage.cover().map_err(system)?;
    let root = stage.bind("root", &root, true).map_err(system)?;
    let mut external = Vec::new();
    for (number, (name, source, tree)) in replaced.into_iter().enumerate() {
        let place = match tree {
            Some(tree) => stage.bind(&number.to_string(), &tree, false).map_err(system)?,
            None => source,
        };
        external.push(format!("mnt[{name}]:{}", place.display()));
    }
    fd::chdir(open(c"/").map_err(system)?.as_fd()).map_err(system)?;
    outer.extend(standard_streams(&wanted.images.path)?);
    let inherited = outer.iter().map(|(name, file)| (name.clone(), file.as_raw_fd())).collect();
    let mut worker = Worker::start(Streams::Callers)?;
    drop(stage);
    // Whoever makes the processes is where they are to be.
    cgroup.adopt(&options.request.id, worker.pid())?;
    let request = Request {
        cgroup_root: match host.cgroups()? {
            Cgroups::Unified => cgroup_root(cgroup)?,
            Cgroups::Legacy => None,
        },
        root: root.to_string_lossy().into_owned(),
        external,
        inherited,
        joined: external::joined_namespaces(&spec),
        tcp_close: wanted.tcp_close,
        lsm_profile: wanted.lsm_profile.clone(),
        lsm_mount_context: wanted.lsm_mount_context.clone(),
        config: wanted.images.criu_config(&spec)?,
        unprivileged,
        cgroups: wanted.images.cgroup_mode(&host)?,
        ..wanted.images.request(&opened, LOG)
    };
    let record = cgroup.record.clone();
    let (process, container) = (&mut undo.process, &mut undo.container);
    let mut terminal = None;
    let mut on_notice = |notice: Notice| -> Result<()> {
        match notice.event.as_str() {
            "orphan-pts-master" => terminal = notice.attached,
            "setup-namespaces" => {
                let made = Process::open(notice.pid).map_err(|error| Error::from_call("container", error))?;
                let state = describe(&spec, &host, options, &plan, &made)?;
                let container = container.insert(super::Container::new(directory.clone(), state, false));
                container.save(&text)?;
                hooks::run_before_start(container, &Interrupt::default())?;
            }
            "post-restore" => {
                let made = Process::open(notice.pid).map_err(|error| Error::from_call("container", error))?;
                let made = process.insert(made);
                let mut state = describe(&spec, &host, options, &plan, made)?;
                (state.is_creating, state.cgroup) = (false, record.clone());
                container.insert(super::Container::new(directory.clone(), state, false)).save(&text)?;
            }
            _ => {}
        }
        Ok(())
    };
    let mut own = None;
    let mut on_notice = |notice| on_notice(notice).inspect_err(|error| own = Some(error.clone()));
    let done = worker.run(Task::Restore, &request, &mut on_notice);
    drop(worker);
    let _ = std::fs::remove_dir(directory.path().join(STAGE));
    done.map_err(|error| own.unwrap_or_else(|| opened.explain(error)))?;
    cgroup.complete()?;
    let made = undo.process.as_ref().ok_or_else(lost)?;
    if let (Some(socket), Some(master)) = (&options.console_socket, &terminal) {
        let console = publish::connect(socket)?;
        socket::send(console.as_fd(), b"/dev/ptmx", Some(master.as_fd()))
            .map_err(|error| Error::from_call("--console-socket", error))?;
        terminal = None;
    }
    if let Some(socket) = &options.pidfd_socket {
        publish::send_pidfd(socket, made)?;
    }
    if let Some(path) = &options.pid_file {
        publish::write_pid_file(path, made.pid)?;
    }
    let mut created = undo.disarm(terminal.map(console::set_up).transpose()?)?;
    created.notify = notify;
    Ok(created)
}

/// The container's cgroup, as CRIU names it.
fn cgroup_root(cgroup: &Making) -> Result<Option<String>> {
    let (Some(record), Some(root)) = (&cgroup.record, hierarchy_root()?) else { return Ok(None) };
    Ok(record.path.strip_prefix(root).ok().map(|below| format!("/{}", below.display())))
}

/// Opens a file for CRIU, which inherits it.
fn inherit(path: &str) -> Result<OwnedFd> {
    let name = CString::new(path).unwrap_or_default();
    let open = || {
        let file = fd::open(&name, fd::O_RDONLY, 0)?;
        fd::dup_to(file.as_fd(), file.as_raw_fd()).map(|()| file)
    };
    open().map_err(|error| Error::from_call(path, error).because("linux.namespaces names it, and it must be there"))
}

/// The caller's standard streams take the place of those that were not the container's.
fn standard_streams(images: &Path) -> Result<Vec<(String, OwnedFd)>> {
    let path = images.join(DESCRIPTORS);
    let failed = |message: String| {
        Error::new(format!("{}: {message}", path.display()))
            .because("`checkpoint` writes it beside CRIU's images")
            .remedy("name the directory of a checkpoint with --image-path")
    };
    let text = std::fs::read(&path).map_err(|error| Error {
        errno: error.raw_os_error().map(Errno::from_raw),
        ..failed("cannot be read".to_owned())
    })?;
    let names: Vec<String> = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let mut streams = Vec::new();
    for (number, name) in (0..3).zip(names) {
        if name.starts_with("file[") && !fd::status(fd::borrow(number)).is_ok_and(|status| status.is_regular()) {
            return Err(Error::new(format!("descriptor {number} of the container was a file, and here it is none"))
                .because("CRIU sets the position in it")
                .remedy(format!("redirect it to a file, as in `rootlet restore ... {number}>FILE`")));
        }
        if is_replaced(&name) {
            // CRIU takes what it is given away from its place, and wants its own standard input as well.
            let copy = fd::duplicate_above(fd::borrow(number), 3);
            let copy = copy.and_then(|copy| fd::dup_to(copy.as_fd(), copy.as_raw_fd()).map(|()| copy));
            streams.push((name, copy.map_err(|error| Error::from_call(format!("descriptor {number}"), error))?));
        }
    }
    Ok(streams)
}

/// A mount namespace for CRIU alone, in which the container's root is a mount, as CRIU asks for. Nothing is left of it when
/// CRIU has gone. The caller is back where it was when this is dropped.
struct Stage {
    home: OwnedFd,
    here: OwnedFd,
    place: PathBuf,
}

impl Stage {
    /// Enters it.
    fn enter(place: PathBuf) -> sys::Result<Stage> {
        let home = fd::open(c"/proc/self/ns/mnt", fd::O_RDONLY, 0)?;
        let here = open(c".")?;
        namespace::unshare(namespace::CLONE_NEWNS)?;
        let stage = Stage { home, here, place };
        mount::propagate_root(mount::MS_SLAVE | mount::MS_REC)?;
        Ok(stage)
    }

    /// Covers the place, in this namespace alone: whoever the container's root is must be able to get there.
    fn cover(&self) -> sys::Result<()> {
        let place = open(&c_path(&self.place))?;
        // A descriptor is named by its number there.
        fd::chdir(open(c"/proc/self/fd")?.as_fd())?;
        mount::mount(c"tmpfs", &place, c"tmpfs", mount::MS_NOSUID | mount::MS_NODEV, Some(c"mode=0711"))
    }

    /// Binds something under a name.
    fn bind(&self, name: &str, source: &OwnedFd, recursive: bool) -> sys::Result<PathBuf> {
        let directory = open(&c_path(&self.place))?;
        let file = CString::new(name).unwrap_or_default();
        match fd::status(source.as_fd())?.kind() {
            Kind::Directory => fd::make_dir_at(directory.as_fd(), &file, 0o755)?,
            _ => fd::make_file_at(directory.as_fd(), &file)?,
        }
        mount::bind_fd(source, &fd::open_at(directory.as_fd(), &file, fd::O_PATH, 0)?, recursive)?;
        Ok(self.place.join(name))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = namespace::join(self.home.as_fd(), namespace::CLONE_NEWNS);
        let _ = fd::chdir(self.here.as_fd());
    }
}

fn open(directory: &CStr) -> sys::Result<OwnedFd> {
    fd::open(directory, fd::O_PATH | fd::O_DIRECTORY, 0)
}

/// Makes the places that mounts need in the root, as a fresh copy of it may lack them.
fn make_places(plan: &Plan, root: &OwnedFd) -> Result<()> {
    let mut covered: Vec<&CStr> = Vec::new();
    for entry in &plan.entries {
        let (target, kind) = match entry.mount_step() {
            Some(MountStep::Mount(mount)) => (&mount.target, Kind::Directory),
            Some(MountStep::MakeTree(tree)) => (&tree.target, Kind::Directory),
            Some(MountStep::Bind(Bind { source, target, .. })) => {
                let status = fd::open(source, fd::O_PATH, 0).and_then(|file| fd::status(file.as_fd()));
                let kind = status.map_or(Kind::Directory, |status| status.kind());
                (target, if kind == Kind::Directory { kind } else { Kind::File })
            }
            _ => continue,
        };
        // What lies in another mount comes with it.
        if !covered.iter().any(|above| target.as_bytes().starts_with(&[above.to_bytes(), b"/"].concat())) {
            resolve::make_in_root(root.as_fd(), target, kind).map_err(|error| Error {
                property: entry.origin.to_string(),
                ..Error::from_call(target.to_string_lossy(), error)
            })?;
        }
        covered.push(target);
    }
    Ok(())
}
