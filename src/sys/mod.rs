//! The kernel: every system call that rootlet makes, and the only `unsafe` code.
//!
//! Nothing here allocates, formats or panics: all of it may run in the child between clone and execve, where the
//! allocator's lock may be held by a thread that does not exist. Arguments are integers, file descriptors and
//! `&CStr`; an error is the call that failed and its errno.

pub mod attribute;
pub mod bpf;
pub mod copy;
pub mod creds;
pub mod fd;
pub mod landlock;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod notification;
pub mod process;
pub mod program;
mod raw;
pub mod resolve;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stamps;
pub mod tty;

pub use nix::errno::Errno;

/// Result of a system call.
pub type Result<T> = core::result::Result<T, Error>;

/// Which call failed, and why. Small enough to be sent over the handshake socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The call that failed.
    pub call: Call,
    /// Its errno.
    pub errno: Errno,
}

macro_rules! calls {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// The operations that an error can name. A number, because it crosses processes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Call { $(#[doc = $text] $name),* }

        impl Call {
            const ALL: &[Call] = &[$(Call::$name),*];

            /// The name as in the manual.
            pub const fn name(self) -> &'static str {
                match self { $(Call::$name => $text),* }
            }

            /// The call with that number, as received from another process.
            pub fn from_number(number: u8) -> Option<Call> {
                Call::ALL.get(usize::from(number)).copied()
            }
        }
    };
}

calls! {
    Access = "faccessat", Bpf = "bpf", Capget = "capget", Capset = "capset", Chdir = "chdir", Chmod = "fchmodat", Chown = "fchownat", Chroot = "chroot", Clone = "clone3", CloseRange = "close_range",
    Connect = "connect", Dup = "dup", Execve = "execve", Fchown = "fchown", Fcntl = "fcntl", Flock = "flock", Fork = "clone", Fsopen = "fsopen",
    Fstat = "fstat", Fstatfs = "fstatfs", Getcwd = "getcwd", Getdents = "getdents64", Getxattr = "fgetxattr",
    Ioctl = "ioctl", IoprioSet = "ioprio_set", Keyctl = "keyctl", Kill = "pidfd_send_signal", Landlock = "landlock", Link = "linkat", Listen = "listen",
    MapMount = "mount_setattr MOUNT_ATTR_IDMAP", MemfdCreate = "memfd_create", Mkdir = "mkdirat", Mknod = "mknodat", Mount = "mount", MountSetattr = "mount_setattr", MoveMount = "move_mount", Netlink = "netlink",
    Open = "openat", Openat2 = "openat2", OpenTree = "open_tree", Personality = "personality", PidfdOpen = "pidfd_open", PivotRoot = "pivot_root", Poll = "poll",
    Prctl = "prctl", Prlimit = "prlimit64", Read = "read", Readlink = "readlinkat", Rename = "renameat2", Receive = "recvmsg", SchedSetaffinity = "sched_setaffinity",
    SchedSetattr = "sched_setattr", Seccomp = "seccomp", Send = "sendmsg", Setdomainname = "setdomainname", Setgid = "setresgid", Setgroups = "setgroups",
    SetMempolicy = "set_mempolicy", Sethostname = "sethostname", Setns = "setns", Setsid = "setsid", Setuid = "setresuid", Setxattr = "fsetxattr", Sigaction = "rt_sigaction", Signalfd = "signalfd4",
    Sigprocmask = "rt_sigprocmask", Socket = "socket", Socketpair = "socketpair", Stat = "newfstatat", Symlink = "symlinkat", Terminal = "open terminal", Timer = "timer_create",
    Umount = "umount2", Unlink = "unlinkat", Uname = "uname", Unshare = "unshare", Utimens = "utimensat", Wait = "waitid", Write = "write",
}

impl Call {
    /// The kernel that has it first, for calls that an older one may lack.
    pub const fn since(self) -> Option<&'static str> {
        Some(match self {
            Call::Clone | Call::PidfdOpen => "5.3",
            Call::CloseRange => "5.9",
            Call::Fsopen | Call::MoveMount | Call::OpenTree => "5.2",
            Call::Kill => "5.1",
            Call::Landlock => "5.13",
            Call::MapMount | Call::MountSetattr => "5.12",
            Call::Openat2 => "5.6",
            _ => return None,
        })
    }
}

impl Error {
    /// An error that rootlet itself finds, such as a file of the wrong type.
    pub const fn new(call: Call, errno: Errno) -> Error {
        Error { call, errno }
    }

    fn last(call: Call) -> Error {
        Error { call, errno: Errno::last() }
    }
}

/// Makes a result of libc's -1 convention.
fn check<T: Into<i64> + Copy>(call: Call, ret: T) -> Result<T> {
    if ret.into() == -1 { Err(Error::last(call)) } else { Ok(ret) }
}

/// Makes a result of the kernel's convention.
fn check_raw(call: Call, result: i64) -> Result<i64> {
    if (-4095..0).contains(&result) { Err(Error { call, errno: Errno::from_raw(-result as i32) }) } else { Ok(result) }
}

/// A raw system call whose pointer arguments come from references that live through it.
macro_rules! syscall {
    ($call:expr, $number:expr $(, $arg:expr)* $(,)?) => {{
        let mut arguments = [0i64; 6];
        for (slot, argument) in arguments.iter_mut().zip([$($arg as i64),*]) {
            *slot = argument;
        }
        // SAFETY: the callers in this floor pass integers, or pointers taken from references (with their true
        // lengths) that outlive the call; the kernel writes only through pointers that come from `&mut`.
        let result = unsafe { $crate::sys::raw::call($number, arguments) };
        $crate::sys::check_raw($call, result)
    }};
}
use syscall;

/// True if this process was started setuid, setgid or with file capabilities, where the caller's environment must not
/// be trusted (getauxval(3), AT_SECURE).
pub fn started_privileged() -> bool {
    // SAFETY: getauxval only reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Ends this process at once: no destructor, no buffer, no exit handler (they belong to the parent).
pub fn exit_now(status: i32) -> ! {
    loop {
        let _ = syscall!(Call::Kill, libc::SYS_exit_group, status);
    }
}
