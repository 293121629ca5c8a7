//! CRIU, which writes processes to files and makes them again: its requests and answers (criu.org/RPC, images/rpc.proto),
//! and a conversation with one that works for us alone (`criu swrk`).

pub mod protobuf;

use crate::error::{Error, Result, quote};
use crate::sys::{fd, socket};
use protobuf::{Message, fields};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What CRIU is asked to do: criu_req_type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Write a process tree, and end it unless it is left running.
    Dump = 1,
    /// Make it again.
    Restore = 2,
    /// Write its memory, and let it run on.
    PreDump = 4,
    /// Say its version.
    Version = 10,
}

const NOTIFY: i64 = 6;

/// How a container's cgroups are treated: criu_cg_mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupMode {
    /// CRIU leaves cgroups alone.
    Ignore = 0,
    /// Made again; their properties only where they were missing.
    Soft = 3,
    /// Made again with their properties.
    Full = 4,
    /// Made again; one that exists already is an error.
    Strict = 5,
}

/// What is said of the task: criu_opts. Descriptors are the caller's.
#[derive(Debug, Default)]
pub struct Request {
    /// Directory of the images.
    pub images: RawFd,
    /// Directory of the log; the images' without one.
    pub work: Option<RawFd>,
    /// Name of the log.
    pub log: &'static str,
    /// The first process, for a dump.
    pub pid: Option<i32>,
    /// The root of its mounts: as the container sees it for a dump, a mount of the caller's for a restore.
    pub root: String,
    /// Images of an earlier pre-dump, relative to the images' directory.
    pub parent: Option<String>,
    /// Remember which memory changes from now on, for the next one.
    pub tracks_memory: bool,
    /// Let it run after the dump.
    pub leave_running: bool,
    /// Keep connections.
    pub tcp_established: bool,
    /// Pass over connections that are being made.
    pub tcp_skip_in_flight: bool,
    /// Close connections instead of keeping them.
    pub tcp_close: bool,
    /// Take in unix sockets whose peer is outside.
    pub ext_unix_sk: bool,
    /// The terminal is the caller's.
    pub shell_job: bool,
    /// Keep file locks.
    pub file_locks: bool,
    /// Link deleted files back for the time being.
    pub link_remap: bool,
    /// Punch out of the parent's images what is written anew.
    pub auto_dedup: bool,
    /// Leave memory to a page server, which gives it when it is touched.
    pub lazy_pages: bool,
    /// Told when the page server is ready.
    pub status: Option<RawFd>,
    /// Where pages are sent: address and port.
    pub page_server: Option<(String, i32)>,
    /// Namespaces (CLONE_NEW*) of which only the shell is made.
    pub empty_namespaces: i32,
    /// How CRIU treats cgroups.
    pub cgroups: Option<CgroupMode>,
    /// The cgroup that a restore puts what it makes into, as its file system is mounted: "/" is its root.
    pub cgroup_root: Option<String>,
    /// The cgroup that is frozen for a dump.
    pub freezer: Option<String>,
    /// What is not the container's: `mnt[MOUNTPOINT]:COOKIE` and the like.
    pub external: Vec<String>,
    /// Descriptors that take the place of what is not the container's, by its key.
    pub inherited: Vec<(String, RawFd)>,
    /// Namespaces that are joined: their short names and files.
    pub joined: Vec<(&'static str, String)>,
    /// Labels of security modules.
    pub lsm_profile: Option<String>,
    /// Context for mounts.
    pub lsm_mount_context: Option<String>,
    /// A file with more options.
    pub config: Option<String>,
    /// Without all privileges (since 3.18).
    pub unprivileged: bool,
}

impl Request {
    fn message(&self, task: Task) -> Message {
        let mut options = Message::default();
        options.number(1, i64::from(self.images));
        let numbers = [(2, self.pid), (17, self.work), (49, self.status)];
        for (field, value) in numbers {
            value.iter().for_each(|value| options.number(field, i64::from(*value)));
        }
        let is_restore = task == Task::Restore;
        let flags = [
            (3, self.leave_running),
            (4, self.ext_unix_sk),
            (5, self.tcp_established),
            (6, is_restore), // A device may have got another number.
            (7, self.shell_job),
            (8, self.file_locks),
            (12, true), // Tell what happens.
            (15, self.tracks_memory),
            (16, self.auto_dedup),
            (18, self.link_remap),
            (24, true),       // Before there were modes.
            (26, is_restore), // The process is our child, not CRIU's.
            (46, self.tcp_skip_in_flight),
            (48, self.lazy_pages),
            (50, true), // The other end of its terminal is given away.
            (52, self.tcp_close),
            (67, self.unprivileged),
        ];
        flags.iter().for_each(|(field, value)| options.flag(*field, *value));
        options.number(9, 4); // Everything goes to the log.
        let texts = [
            (10, Some(self.log.to_owned())),
            (13, Some(self.root.clone())),
            (14, self.parent.clone()),
            (44, self.freezer.clone()),
            (51, self.config.clone()),
            (53, self.lsm_profile.clone()),
            (63, self.lsm_mount_context.clone()),
        ];
        for (field, value) in texts {
            value.iter().for_each(|value| options.text(field, value));
        }
        if let Some((address, port)) = &self.page_server {
            let mut server = Message::default();
            server.text(1, address);
            server.number(2, i64::from(*port));
            options.message(11, &server);
        }
        for (key, descriptor) in &self.inherited {
            let mut inherited = Message::default();
            inherited.text(1, key);
            inherited.number(2, i64::from(*descriptor));
            options.message(27, &inherited);
        }
        if let Some(path) = &self.cgroup_root {
            let mut root = Message::default();
            root.text(2, path);
            options.message(25, &root);
        }
        self.cgroups.iter().for_each(|mode| options.number(34, *mode as i64));
        self.external.iter().for_each(|external| options.text(37, external));
        if self.empty_namespaces != 0 {
            options.number(38, i64::from(self.empty_namespaces));
        }
        for (name, file) in &self.joined {
            let mut joined = Message::default();
            joined.text(1, name);
            joined.text(2, file);
            options.message(39, &joined);
        }
        let mut message = Message::default();
        message.number(1, task as i64);
        message.message(2, &options);
        message
    }
}

/// What CRIU tells on the way.
#[derive(Debug)]
pub struct Notice {
    /// What has happened, such as `post-restore`.
    pub event: String,
    /// The first process.
    pub pid: i32,
    /// Descriptor that came with the notification.
    pub attached: Option<OwnedFd>,
}

/// A CRIU that works for us alone.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    socket: Option<OwnedFd>,
}

/// Where the standard streams of CRIU lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// The caller's, which a restored process may get.
    Callers,
    /// None; there is a log.
    None,
    /// What it says is kept, as long as that is short.
    Kept,
}

impl Drop for Worker {
    /// Lets it go, and waits until it has gone.
    fn drop(&mut self) {
        self.socket = None;
        let _ = self.child.wait();
    }
}

impl Worker {
    /// Starts one.
    pub fn start(streams: Streams) -> Result<Worker> {
        let system = |error| Error::from_call("criu", error);
        let (socket, theirs) = socket::pair().map_err(system)?;
        // Its end must be inherited, by the number that it is told.
        let handed = theirs.as_raw_fd();
        let missing = || {
            Error::new("checkpoint and restore need CRIU, and there is no program criu in PATH or /usr/sbin")
                .remedy("install it (`apt-get install criu`)")
        };
        let mut command = Command::new(program().ok_or_else(missing)?);
        command.args(["swrk", &handed.to_string()]);
        match streams {
            Streams::Callers => &mut command,
            Streams::None => command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
            Streams::Kept => command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        fd::dup_to(theirs.as_fd(), handed).map_err(system)?;
        let child = command.spawn().map_err(|error| Error::from_io("cannot start criu", &error))?;
        Ok(Worker { child, socket: Some(socket) })
    }

    /// Pid of CRIU itself.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Has a task done; `on_notice` is told what happens on the way, and CRIU waits for it.
    pub fn run(
        &mut self,
        task: Task,
        request: &Request,
        on_notice: &mut dyn FnMut(Notice) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let system = |error| Error::from_call("criu", error);
        let Some(socket) = &self.socket else { return Err(Error::new("criu has gone")) };
        socket::send(socket.as_fd(), request.message(task).bytes(), None).map_err(system)?;
        let mut buffer = [0; 16384];
        loop {
            let (length, attached) = socket::receive(socket.as_fd(), &mut buffer).map_err(system)?;
            let answer = buffer.get(..length).unwrap_or_default();
            if answer.is_empty() {
                return Err(Error::new("criu has ended without an answer"));
            }
            let number =
                |wanted| fields(answer).iter().find(|(field, _)| *field == wanted).map(|(_, value)| value.number());
            let bytes =
                |wanted| fields(answer).iter().find(|(field, _)| *field == wanted).map(|(_, value)| value.bytes());
            if number(2) != Some(1) {
                let errno = number(7).filter(|errno| *errno != 0).map(|errno| format!(" (errno {errno})"));
                return Err(Error::new(format!("criu failed{}", errno.unwrap_or_default())));
            }
            if number(1) != Some(NOTIFY) {
                return Ok(answer.to_vec());
            }
            let mut notice = Notice { event: String::new(), pid: 0, attached };
            for (field, value) in fields(bytes(5).unwrap_or_default()) {
                match field {
                    1 => notice.event = value.text(),
                    2 => notice.pid = value.number() as i32,
                    _ => {}
                }
            }
            let answered = on_notice(notice);
            let mut reply = Message::default();
            reply.number(1, NOTIFY);
            reply.number(3, i64::from(answered.is_ok()));
            socket::send(socket.as_fd(), reply.bytes(), None).map_err(system)?;
            answered?;
        }
    }

    /// What it said before it ended, if that was kept.
    fn last_words(mut self) -> String {
        self.socket = None;
        let mut said = Vec::new();
        let _ = self.child.stderr.take().map(|mut stderr| stderr.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// Where CRIU is. An ordinary user's PATH often lacks its directory.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|directory| directory.join("criu")).find(|path| path.is_file())
}

/// The version of the CRIU that is installed, as major * 10000 + minor * 100 + sublevel.
pub fn version() -> Result<i64> {
    let mut worker = Worker::start(Streams::Kept)?;
    let answer = match worker.run(Task::Version, &Request { images: -1, ..Request::default() }, &mut |_| Ok(())) {
        Ok(answer) => answer,
        Err(error) => {
            let said = errors(&worker.last_words());
            return Err(match said.is_empty() {
                true => error,
                false => error.because(format!("it said: {said}")),
            }
            .remedy(
                "see `criu check`: CRIU may be older than this kernel, or the kernel lacks CONFIG_CHECKPOINT_RESTORE",
            ));
        }
    };
    drop(worker);
    let mut version = [0; 3];
    for (field, value) in
        fields(&answer).iter().filter(|(field, _)| *field == 10).flat_map(|(_, value)| fields(value.bytes()))
    {
        match field {
            1 => version[0] = value.number(),
            2 => version[1] = value.number(),
            4 => version[2] = value.number(),
            _ => {}
        }
    }
    Ok(version[0] * 10_000 + version[1] * 100 + version[2])
}

/// The errors in the log of a task.
pub fn errors_in(log: &Path) -> String {
    errors(&String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()))
}

/// The lines of a log that are errors, the last ones of them, on one line.
fn errors(log: &str) -> String {
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("Error (")).filter_map(|line| line.split_once("): ")).collect();
    let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default();
    quote(&last.iter().map(|(_, text)| text.trim()).collect::<Vec<_>>().join("; "))
}
