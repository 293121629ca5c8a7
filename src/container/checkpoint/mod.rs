//! `checkpoint`: a container is written to files, by CRIU.

pub mod external;
pub mod images;
pub mod restore;
mod stage;

use super::delete::delete;
use super::state::directory::NOTIFY;
use super::state::{Container, not_running};
use super::status::Status;
use crate::cgroup::tree;
use crate::criu::{Request, Streams, Task, Worker};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Log;
use crate::property::{self, CgroupManager, compile};
use crate::sys::process;
use images::Images;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

/// The names of the standard streams, in the images' directory; runc's, too.
pub const DESCRIPTORS: &str = "descriptors.json";

const LOG: &str = "dump.log";

/// How a container is to be written.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the images go, and what CRIU is told.
    pub images: Images,
    /// The images of an earlier pre-dump, relative to these.
    pub parent: Option<PathBuf>,
    /// Only the memory, while it runs on.
    pub pre_dump: bool,
    /// Let it run after that.
    pub leave_running: bool,
    /// Pass over connections that are being made.
    pub tcp_skip_in_flight: bool,
    /// Link deleted files back for the time being.
    pub link_remap: bool,
    /// Told when the page server is ready.
    pub status: Option<i32>,
    /// Where pages are sent: address and port.
    pub page_server: Option<(String, i32)>,
}

/// Writes a container to files, and deletes it unless it is to run on.
pub fn checkpoint(container: &Container, options: &Options, log: &Log) -> Result<()> {
    match container.status()? {
        Status::Running | Status::Paused => {}
        status => {
            return Err(Error::new(format!("container cannot be checkpointed in {status} state"))
                .remedy("see `rootlet list`: its program must have begun"));
        }
    }
    let state = container.state()?;
    let host = Host::new()?;
    let unprivileged = images::check_privileges(&host)?;
    if state.has_init {
        return Err(Error::in_config("annotations", "org.rootlet.init: the container cannot be written to files")
            .because("its first process is rootlet's own, and not a program that could be started again")
            .remedy("leave the annotation out of what is to be checkpointed"));
    }
    let spec = container.config()?;
    let path = container.directory.path().join(NOTIFY);
    let asked = property::Request {
        id: container.id.clone(),
        bundle: state.bundle.clone(),
        cgroup_manager: CgroupManager::Disabled,
        try_limits: true,
        notify: container.directory.has(NOTIFY)?.then_some(path),
        ..property::Request::default()
    };
    let plan = compile(&spec, &asked, &host)?;
    external::check(&plan)?;
    // Nobody deletes it meanwhile; a foreground run has the lock to its end.
    let lock = match state.is_attached {
        true => None,
        false => Some(container.directory.wait_for_lock()?.ok_or_else(not_running)?),
    };
    let opened = options.images.open(LOG, true)?;
    check_parent(options)?;
    let mut external = Vec::new();
    if !options.pre_dump {
        external.extend(external::external_mounts(&plan, state.pid)?);
        external.extend(write_descriptors(&options.images, state.pid)?);
        let mark = options.images.path.join(images::ATTACHED);
        let _ = std::fs::remove_file(&mark);
        let marked = if state.is_attached { std::fs::write(&mark, "") } else { Ok(()) };
        marked.map_err(|error| Error::from_io(format!("cannot write {}", mark.display()), &error))?;
        for (short, name, _) in external::outer_namespaces(&spec) {
            let path = format!("/proc/{}/ns/{short}", state.pid);
            let inode = std::fs::metadata(&path).map_err(|error| Error::from_io(path, &error))?.ino();
            external.push(format!("{short}[{inode}]:{name}"));
        }
    }
    let cgroup = state.cgroup.as_ref().map(|cgroup| cgroup.path()).transpose()?.flatten().filter(|_| !options.pre_dump);
    let request = Request {
        pid: Some(state.pid),
        root: state.rootfs.to_string_lossy().into_owned(),
        parent: options.parent.as_ref().map(|parent| parent.to_string_lossy().into_owned()),
        tracks_memory: options.pre_dump || options.parent.is_some(),
        leave_running: options.leave_running,
        tcp_skip_in_flight: options.tcp_skip_in_flight,
        link_remap: options.link_remap,
        status: options.status,
        page_server: options.page_server.clone(),
        freezer: cgroup.map(|path| path.to_string_lossy().into_owned()),
        external,
        config: options.images.criu_config(&spec)?,
        unprivileged,
        cgroups: options.images.cgroup_mode(&host)?,
        ..options.images.request(&opened, LOG)
    };
    let was_paused = container.is_paused()?;
    let mut worker = Worker::start(Streams::None)?;
    let task = if options.pre_dump { Task::PreDump } else { Task::Dump };
    let done = worker.run(task, &request, &mut |_| Ok(()));
    drop(worker);
    if let (Some(path), true) = (cgroup, done.is_err() && !was_paused) {
        // Where it fails half-way, CRIU may leave it frozen.
        let _ = tree::thaw(path);
    }
    done.map_err(|error| opened.explain(error))?;
    if options.pre_dump || options.leave_running {
        return Ok(());
    }
    if let Some(pidfd) = container.pidfd()? {
        // CRIU has killed it.
        let _ = process::wait_readable(pidfd.as_fd(), 10_000);
    }
    drop(lock);
    delete(container, false, log)
}

/// True for what another descriptor takes the place of: pipes, and files and terminals of the host.
pub fn is_replaced(name: &str) -> bool {
    ["pipe:", "file[", "tty["].iter().any(|kind| name.starts_with(kind))
}

fn check_parent(options: &Options) -> Result<()> {
    let Some(parent) = &options.parent else { return Ok(()) };
    if parent.is_absolute() {
        return Err(Error::new("--parent-path must be relative to the images' directory")
            .because("images are moved together")
            .remedy("write ../NAME for a directory beside --image-path"));
    }
    match options.images.path.join(parent).is_dir() {
        true => Ok(()),
        false => Err(Error::new(format!("--parent-path {} is no directory", parent.display()))
            .because(format!("it counts from {}", options.images.path.display()))
            .remedy("name the --image-path of an earlier --pre-dump, as seen from this one")),
    }
}

/// Keeps the names of the standard streams, by which `restore` puts others in their place; those that are files of the
/// host are not the container's.
fn write_descriptors(images: &Images, pid: i32) -> Result<Vec<String>> {
    let own = external::mount_ids(pid);
    let mut names = Vec::new();
    for number in 0..3 {
        let path = format!("/proc/{pid}/fd/{number}");
        let link = std::fs::read_link(&path).unwrap_or_default();
        let outer = external::mount_id(pid, number).filter(|id| !own.contains(id));
        names.push(match (std::fs::metadata(&path), outer) {
            (Ok(file), Some(id)) if file.is_file() => format!("file[{id:x}:{:x}]", file.ino()),
            (Ok(file), Some(_)) if file.file_type().is_char_device() => {
                if !images.shell_job {
                    return Err(Error::new(format!(
                        "descriptor {number} of the container is {}, the caller's",
                        link.display()
                    ))
                    .because("a terminal that is not the container's cannot be in the images")
                    .remedy("give --shell-job here and to `restore`, which puts its own in the place"));
                }
                format!("tty[{:x}:{:x}]", file.rdev(), file.dev())
            }
            _ => link.to_string_lossy().into_owned(),
        });
    }
    let text = serde_json::to_vec(&names).unwrap_or_default();
    let path = images.path.join(DESCRIPTORS);
    std::fs::write(&path, text).map_err(|error| Error::from_io(format!("cannot write {}", path.display()), &error))?;
    Ok(names.into_iter().filter(|name| is_replaced(name) && !name.starts_with("pipe:")).collect())
}
