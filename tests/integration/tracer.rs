//! A tracer that knows every system call of a command and of the processes that it makes, until these are programs of their
//! own; and that makes one of them fail, or ends a process behind it. By ptrace(2), which is many times as fast as strace(1).

use crate::sandbox::{Done, Sandbox, binary, finish_by};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use syscalls::Sysno;

/// A system call: of which process, in the order in which they are made, and which of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub process: usize,
    pub number: usize,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// This call fails, and is not made.
    Fail(Place, Errno),
    /// A process is ended by SIGKILL when this call has returned.
    Kill(Place),
    /// These calls fail in all processes.
    Refuse(Vec<Sysno>, Errno),
    /// Something is done before this call, while all wait.
    Meanwhile(Place, Deed),
}

/// What is done meanwhile.
#[derive(Clone)]
pub struct Deed(pub Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Deed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("something")
    }
}

/// What was seen.
#[derive(Debug)]
pub struct Traced {
    pub done: Done,
    /// Whether it was ended because it took too long.
    pub hung: bool,
    /// All calls, as far as a fault in them is one of rootlet's.
    pub calls: BTreeMap<Place, Sysno>,
    /// Where the directory of the container `box` was opened.
    pub looked: Option<Place>,
}

/// Longer than any command takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// A call of rootlet's first statement: what is before is the C library's.
const FIRST: (Sysno, u64) = (Sysno::rt_sigaction, nix::libc::SIGCHLD as u64);

/// Runs rootlet with a fault.
pub fn trace(sandbox: &Sandbox, arguments: &[&str], fault: &Fault) -> Traced {
    // Who is seized there is stopped, and has made no call of rootlet's.
    let begin = ["-c", "kill -STOP $$; exec \"$@\"", "sh", binary().to_str().unwrap()];
    let command = sandbox.program("/bin/sh".as_ref(), &[&begin, arguments].concat());
    let pids = Arc::new(Mutex::new(Vec::new()));
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        // Whoever it traces is let go with the thread.
        let known = pids.clone();
        scope.spawn(move || {
            let mut seen = (BTreeMap::new(), None);
            let done = finish_by(command, |child| {
                let mut tracer = Tracer::new(Pid::from_raw(child.id() as i32), fault.clone(), known);
                let code = tracer.attend();
                seen = (tracer.calls, tracer.looked);
                code
            });
            tell.send((done, seen)).unwrap();
        });
        let (hung, (done, (calls, looked))) = match told.recv_timeout(PATIENCE) {
            Ok(seen) => (false, seen),
            Err(_) => {
                for pid in pids.lock().unwrap().iter() {
                    let _ = kill(*pid, Signal::SIGKILL);
                }
                (true, told.recv().unwrap())
            }
        };
        Traced { done, hung, calls, looked }
    })
}

struct Tracer {
    main: Pid,
    fault: Fault,
    /// All that were seen, in their order.
    known: Arc<Mutex<Vec<Pid>>>,
    /// How many calls each has made.
    counts: BTreeMap<Pid, usize>,
    /// Whose call is being made to fail.
    failing: BTreeMap<Pid, Errno>,
    /// Who has come to rootlet's own.
    begun: BTreeSet<Pid>,
    calls: BTreeMap<Place, Sysno>,
    looked: Option<Place>,
}

impl Tracer {
    fn new(main: Pid, fault: Fault, known: Arc<Mutex<Vec<Pid>>>) -> Tracer {
        let (counts, failing, begun, calls, looked) = Default::default();
        Tracer { main, fault, known, counts, failing, begun, calls, looked }
    }

    /// Until the command has ended; its exit code, or 128 + its signal.
    fn attend(&mut self) -> i32 {
        let main = self.main;
        while !matches!(waitpid(main, Some(WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(..)) {}
        let all = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
        ptrace::seize(main, all | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD).unwrap();
        self.index(main);
        kill(main, Signal::SIGCONT).unwrap();
        // Of this thread alone: other tests have children, too.
        let own = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = waitpid(None, Some(own)).unwrap();
            match status {
                WaitStatus::Exited(pid, code) if pid == main => return code,
                WaitStatus::Signaled(pid, signal, _) if pid == main => return 128 + signal as i32,
                WaitStatus::PtraceEvent(pid, _, event) => self.heed(pid, event),
                WaitStatus::PtraceSyscall(pid) => {
                    self.meet(pid);
                    let _ = ptrace::syscall(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => drop(ptrace::syscall(pid, signal)),
                _ => {}
            }
        }
    }

    /// Which process that is.
    fn index(&self, pid: Pid) -> usize {
        let mut known = self.known.lock().unwrap();
        known.iter().position(|other| *other == pid).unwrap_or_else(|| {
            known.push(pid);
            known.len() - 1
        })
    }

    fn heed(&mut self, pid: Pid, event: i32) {
        match event {
            nix::libc::PTRACE_EVENT_EXEC if pid == self.main => {
                // rootlet, or rootlet again from a sealed copy.
                self.begun.remove(&pid);
            }
            nix::libc::PTRACE_EVENT_EXEC => {
                let _ = ptrace::detach(pid, None);
                return;
            }
            nix::libc::PTRACE_EVENT_CLONE | nix::libc::PTRACE_EVENT_FORK | nix::libc::PTRACE_EVENT_VFORK => {
                if let (Ok(new), true) = (ptrace::getevent(pid), self.begun.contains(&pid)) {
                    let new = Pid::from_raw(new as i32);
                    self.index(new);
                    self.begun.insert(new);
                }
            }
            _ => {}
        }
        let _ = ptrace::syscall(pid, None);
    }

    /// The begin or the end of a call.
    fn meet(&mut self, pid: Pid) {
        // It may be gone.
        let Ok(info) = ptrace::syscall_info(pid) else { return };
        if info.op == nix::libc::PTRACE_SYSCALL_INFO_EXIT {
            if let Some(errno) = self.failing.remove(&pid)
                && let Ok(mut registers) = ptrace::getregs(pid)
            {
                registers.rax = (-i64::from(errno as i32)) as u64;
                let _ = ptrace::setregs(pid, registers);
            }
            let process = self.index(pid);
            let number = self.counts.get(&pid).copied().unwrap_or(0);
            if matches!(self.fault, Fault::Kill(place) if place == Place { process, number } && number > 0) {
                let _ = kill(pid, Signal::SIGKILL);
            }
            return;
        }
        if info.op != nix::libc::PTRACE_SYSCALL_INFO_ENTRY {
            return;
        }
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        let Some(call) = Sysno::new(registers.orig_rax as usize) else { return };
        if pid == self.main && !self.begun.contains(&pid) {
            if (call, registers.rdi) != FIRST {
                return;
            }
            self.begun.insert(pid);
        }
        if IGNORED.contains(&call) {
            return;
        }
        let number = self.counts.entry(pid).and_modify(|count| *count += 1).or_insert(1);
        let place = Place { process: 0, number: *number };
        let place = Place { process: self.index(pid), ..place };
        self.calls.insert(place, call);
        let path = || ptrace::read(pid, registers.rsi as ptrace::AddressType).unwrap_or(0).to_le_bytes();
        if call == Sysno::openat && self.looked.is_none() && path().starts_with(b"box\0") {
            self.looked = Some(place);
        }
        let errno = match &self.fault {
            Fault::Fail(fault, errno) if *fault == place => *errno,
            Fault::Refuse(calls, errno) if calls.contains(&call) => *errno,
            Fault::Meanwhile(at, deed) if *at == place => return (deed.0)(),
            _ => return,
        };
        registers.orig_rax = u64::MAX;
        if ptrace::setregs(pid, registers).is_ok() {
            self.failing.insert(pid, errno);
        }
    }
}

/// What cannot fail, and what the allocator and the C library do with memory: there the process ends with a message.
const IGNORED: &[Sysno] = &[
    Sysno::brk,
    // The kernel closes, whatever it says; if the call is not made, others wait for the end of a socket.
    Sysno::close,
    Sysno::clock_nanosleep,
    Sysno::exit,
    Sysno::exit_group,
    Sysno::futex,
    Sysno::getegid,
    Sysno::geteuid,
    Sysno::getgid,
    Sysno::getpid,
    Sysno::getrandom,
    Sysno::gettid,
    Sysno::getuid,
    Sysno::madvise,
    Sysno::mmap,
    Sysno::mprotect,
    Sysno::mremap,
    Sysno::munmap,
    Sysno::restart_syscall,
    Sysno::rseq,
    Sysno::rt_sigreturn,
    Sysno::sched_yield,
    Sysno::set_robust_list,
    Sysno::sigaltstack,
    Sysno::umask,
];

/// The errnos with which a call may be expected to fail.
pub fn errnos(call: Sysno) -> Vec<Errno> {
    let mut errnos = vec![Errno::EPERM, Errno::ENOMEM, Errno::EIO];
    let name = call.name();
    if MAKERS.contains(&name) {
        errnos.push(Errno::EMFILE);
    }
    if WRITERS.contains(&name) {
        errnos.push(Errno::ENOSPC);
    }
    if SLOW.contains(&name) {
        errnos.push(Errno::EINTR);
    }
    if ["clone", "clone3", "setresuid", "vfork", "fork", "recvmsg", "sendmsg"].contains(&name) {
        errnos.push(Errno::EAGAIN);
    }
    if NEW.contains(&name) {
        errnos.push(Errno::ENOSYS);
    }
    errnos
}

const MAKERS: &[&str] = &[
    "accept4",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "fsmount",
    "fsopen",
    "inotify_init1",
    "memfd_create",
    "open",
    "openat",
    "openat2",
    "open_tree",
    "pidfd_open",
    "pipe2",
    "signalfd4",
    "socket",
    "socketpair",
];

const WRITERS: &[&str] =
    &["bind", "link", "mkdir", "mkdirat", "mknodat", "open", "openat", "rename", "renameat", "symlinkat", "write"];

const SLOW: &[&str] = &[
    "accept4", "connect", "flock", "open", "openat", "poll", "ppoll", "read", "recvmsg", "sendmsg", "wait4", "waitid",
    "write",
];

/// What is newer than Linux 5.4.
const NEW: &[&str] = &[
    "clone3",
    "close_range",
    "faccessat2",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat2",
    "pidfd_getfd",
    "pidfd_open",
];
