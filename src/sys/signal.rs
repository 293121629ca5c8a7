//! Signals: names, masks and waiting for them.

use super::{Call, Errno, Error, Result, check, fd, syscall};
use core::mem::zeroed;
use core::ptr;
use std::os::fd::{BorrowedFd, OwnedFd};

pub use libc::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGSTOP, SIGSYS, SIGTERM, SIGTSTP, SIGTTOU, SIGURG,
    SIGWINCH,
};

fn full_set() -> libc::sigset_t {
    // SAFETY: an all-zero sigset is a valid value, and sigfillset fills it.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigfillset(&mut set);
        set
    }
}

/// Blocks every signal, so that they can be read from [`open_queue`].
/// But for those of job control, by which a background process waits until it is in the foreground (termios(3)).
pub fn block_all() -> Result<()> {
    let mut set = full_set();
    // SAFETY: `set` is a signal set.
    unsafe {
        libc::sigdelset(&mut set, libc::SIGTTIN);
        libc::sigdelset(&mut set, libc::SIGTTOU);
    }
    // SAFETY: `set` is a signal set.
    check(Call::Sigprocmask, unsafe { libc::sigprocmask(libc::SIG_SETMASK, &set, ptr::null_mut()) }).map(drop)
}

/// Blocks some signals, or lets them come again.
pub fn set_blocked(signals: &[i32], blocked: bool) -> Result<()> {
    // SAFETY: an all-zero sigset is the empty set, and sigaddset adds to it.
    let set = unsafe {
        let mut set: libc::sigset_t = zeroed();
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    };
    let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: `set` is a signal set.
    check(Call::Sigprocmask, unsafe { libc::sigprocmask(how, &set, ptr::null_mut()) }).map(drop)
}

/// What a new program expects: nothing blocked, and nothing ignored. (nohup(1), a shell's `&` and Rust's runtime ignore
/// signals, and execve would hand that on: a `trap` in the container would have no effect.)
pub fn reset() -> Result<()> {
    for signal in (1..=LAST).filter(|signal| ![SIGKILL, libc::SIGSTOP].contains(signal)) {
        // The kernel's own structure, all zero: SIG_DFL without flags. The C library keeps two signals to itself.
        let action = [0u64; 4];
        let nothing = ptr::null::<u8>();
        syscall!(Call::Sigaction, libc::SYS_rt_sigaction, signal, action.as_ptr(), nothing, size_of::<u64>())?;
    }
    let (set, nothing) = (0u64, ptr::null::<u8>());
    syscall!(Call::Sigprocmask, libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, nothing, size_of::<u64>())
        .map(drop)
}

/// _NSIG of the kernel.
const LAST: i32 = 64;

/// Waits for the next blocked signal; its number.
pub fn next() -> i32 {
    let set = full_set();
    let mut signal = 0;
    loop {
        // SAFETY: sigwait reads a set and writes a number.
        if unsafe { libc::sigwait(&set, &mut signal) } == 0 {
            return signal;
        }
    }
}

/// Waits for the next blocked signal: its number, and whether a process has sent it and not the kernel.
pub fn next_sent() -> (i32, bool) {
    let set = full_set();
    loop {
        // SAFETY: an all-zero siginfo is a valid value, which sigwaitinfo fills.
        let (signal, info) = unsafe {
            let mut info: libc::siginfo_t = zeroed();
            (libc::sigwaitinfo(&set, &mut info), info)
        };
        if signal > 0 {
            // sigaction(2): SI_USER, SI_QUEUE and SI_TKILL are not positive.
            return (signal, info.si_code <= 0);
        }
    }
}

/// Has this process sent a signal after so long, once. It ends with the process.
pub fn send_after(time: core::time::Duration, signal: i32) -> Result<()> {
    // SAFETY: an all-zero sigevent, and an all-zero itimerspec, are valid values.
    let (mut event, mut when): (libc::sigevent, libc::itimerspec) = unsafe { (zeroed(), zeroed()) };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    // The kernel's own number of a timer.
    let mut timer: libc::c_int = 0;
    syscall!(Call::Timer, libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw const event, &raw mut timer)?;
    when.it_value.tv_sec = time.as_secs() as _;
    when.it_value.tv_nsec = time.subsec_nanos().max(1) as libc::c_long;
    syscall!(Call::Timer, libc::SYS_timer_settime, timer, 0, &raw const when, ptr::null::<u8>()).map(drop)
}

/// What a timer of ours sends.
pub const TIME_IS_UP: i32 = LAST;
/// What the kernel sends when this process's parent ends.
pub const PARENT_ENDS: i32 = LAST - 1;

/// signalfd(2) of every signal, not blocking.
pub fn open_queue() -> Result<OwnedFd> {
    open_queue_of_set(&full_set())
}

/// signalfd(2) of some signals, not blocking.
pub fn open_queue_of(signals: &[i32]) -> Result<OwnedFd> {
    // SAFETY: an all-zero sigset is the empty set, and sigaddset adds to it.
    let set = unsafe {
        let mut set: libc::sigset_t = zeroed();
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    };
    open_queue_of_set(&set)
}

fn open_queue_of_set(set: &libc::sigset_t) -> Result<OwnedFd> {
    // SAFETY: `set` is a signal set; -1 asks for a new descriptor.
    let raw = check(Call::Signalfd, unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
    Ok(fd::own(raw.into()))
}

/// The signals by which people and supervisors end a command, without those that the caller has it ignore.
pub fn endings() -> Vec<i32> {
    let is_ignored = |signal: &i32| {
        // SAFETY: an all-zero sigaction is a valid value, and sigaction fills it.
        let mut action: libc::sigaction = unsafe { zeroed() };
        // SAFETY: nothing is changed.
        unsafe { libc::sigaction(*signal, ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN }
    };
    [SIGTERM, libc::SIGINT, SIGHUP, libc::SIGQUIT].into_iter().filter(|signal| !is_ignored(signal)).collect()
}

/// Keeps back the signals that end a command, as long as it lives: for what must not end half-way.
#[derive(Debug)]
pub struct Held(Vec<i32>);

impl Held {
    /// From now on.
    pub fn new() -> Result<Held> {
        let signals = endings();
        set_blocked(&signals, true).map(|()| Held(signals))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = set_blocked(&self.0, false);
    }
}

/// Ends this process by a signal that is pending, and by no other one.
pub fn let_end(signal: i32) {
    // SAFETY: an all-zero sigset is the empty set, sigaddset adds to it, and nothing is written elsewhere.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigaddset(&mut set, signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
    }
}

/// Ends this process by a signal, so that whoever waits for it knows; returns where the signal does not end it.
pub fn die_of(signal: i32) {
    // SAFETY: raise(3) only sends.
    if unsafe { libc::raise(signal) } == 0 {
        let_end(signal);
    }
}

/// Mends what a caller may have set and rootlet cannot do with. Where the ends of children are ignored, they cannot be waited
/// for; a file that may not grow (RLIMIT_FSIZE) is an error, and no reason to end half-way; and what is blocked does not
/// end a command that its user wants to end.
pub fn normalize() {
    // SAFETY: an all-zero sigset is the empty set, and the signals exist.
    unsafe {
        libc::signal(SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let set: libc::sigset_t = zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &set, ptr::null_mut());
    }
}

/// True if a blocked signal waits to be delivered.
pub fn is_pending(signal: i32) -> bool {
    // SAFETY: an all-zero sigset is the empty set, which sigpending fills and sigismember reads.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigpending(&mut set) == 0 && libc::sigismember(&set, signal) == 1
    }
}

/// Takes a blocked signal that is pending, so that nobody gets it.
fn forget(signal: i32) {
    // SAFETY: an all-zero sigset is the empty set, sigaddset adds to it; the time is none.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigaddset(&mut set, signal);
        let now: libc::timespec = zeroed();
        libc::sigtimedwait(&set, ptr::null_mut(), &now);
    }
}

/// Writes a line to somebody who may not read, or be gone: after `milliseconds` in which there was no room, and where nobody is any more, it is
/// an error, and no SIGPIPE is left pending, which must be blocked. The line has less than PIPE_BUF bytes.
pub fn write_to_reader(reader: BorrowedFd, line: &[u8], milliseconds: i32) -> Result<()> {
    if !fd::wait_for_room(reader, milliseconds)? {
        return Err(Error::new(Call::Write, Errno::EAGAIN));
    }
    let was_pending = is_pending(libc::SIGPIPE);
    let written = fd::write_all(reader, line);
    if written.as_ref().is_err_and(|error| error.errno == Errno::EPIPE) && !was_pending {
        forget(libc::SIGPIPE);
    }
    written
}

/// The number of the next signal in a queue, or `None` if it is empty.
pub fn take(queue: &OwnedFd) -> Option<i32> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    let length = fd::read(std::os::fd::AsFd::as_fd(queue), &mut info).ok()?;
    let number = info.first_chunk::<4>().filter(|_| length == info.len())?;
    Some(i32::from_ne_bytes(*number))
}

/// True if the signal ends a process that does nothing about it (signal(7)).
pub fn ends_by_default(signal: i32) -> bool {
    let others = [
        0,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    !others.contains(&signal)
}

/// The number of a signal given as `TERM`, `SIGTERM` (in any case) or `15`, up to SIGRTMAX; 0 only asks whether there is somebody.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (0..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        return offset
            .parse::<i32>()
            .ok()
            .map(|offset| libc::SIGRTMIN() + offset)
            .filter(|number| *number <= libc::SIGRTMAX());
    }
    if let Some(offset) = name.strip_prefix("RTMAX-") {
        return offset
            .parse::<i32>()
            .ok()
            .map(|offset| libc::SIGRTMAX() - offset)
            .filter(|number| *number >= libc::SIGRTMIN());
    }
    match name {
        "RTMIN" => return Some(libc::SIGRTMIN()),
        "RTMAX" => return Some(libc::SIGRTMAX()),
        "POLL" => return Some(libc::SIGIO),
        "CLD" => return Some(libc::SIGCHLD),
        "IOT" => return Some(libc::SIGABRT),
        _ => {}
    }
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_signal_has_three_forms() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(super::parse(text), Some(15), "{text}");
        }
        assert_eq!(super::parse("0"), Some(0));
        assert_eq!(super::parse("RTMIN+1"), Some(libc::SIGRTMIN() + 1));
        for text in ["", "-9", "65", "SIG", "FOO", "SIGSIGTERM", "RTMIN+99"] {
            assert_eq!(super::parse(text), None, "{text}");
        }
    }
}
