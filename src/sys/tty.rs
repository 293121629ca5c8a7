//! Terminals: a pty of the container's devpts, raw mode, window sizes.

use super::fd::own;
use super::{Call, Errno, Error, Result, check, fd, syscall};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The side of the terminal emulator.
    pub master: OwnedFd,
    /// The side of the program.
    pub slave: OwnedFd,
}

/// Opens a new pty by the ptmx below `devpts`, which must be a devpts file system. The slave comes from TIOCGPTPEER and
/// not from a path (CVE-2025-52565: /dev/pts/N could be a symlink).
pub fn open_pty(devpts: BorrowedFd) -> Result<Pty> {
    if fd::file_system(devpts)? != fd::DEVPTS_MAGIC {
        return Err(Error::new(Call::Terminal, Errno::ENOTTY));
    }
    let master = fd::open_at(devpts, c"ptmx", fd::O_RDWR | libc::O_NOCTTY | fd::O_NOFOLLOW, 0)?;
    let unlock: libc::c_int = 0;
    syscall!(Call::Ioctl, libc::SYS_ioctl, master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock)?;
    let flags = fd::O_RDWR | libc::O_NOCTTY | fd::O_CLOEXEC;
    let slave = own(syscall!(Call::Ioctl, libc::SYS_ioctl, master.as_raw_fd(), libc::TIOCGPTPEER, flags)?);
    Ok(Pty { master, slave })
}

/// Makes a terminal the controlling one of this session.
pub fn take_control(terminal: BorrowedFd) -> Result<()> {
    syscall!(Call::Ioctl, libc::SYS_ioctl, terminal.as_raw_fd(), libc::TIOCSCTTY, 0).map(drop)
}

/// Makes this process's group the one that is typed to, if that is a terminal, and its session's (tcsetpgrp(3)). From the background, that
/// is SIGTTOU, which must be blocked.
pub fn put_in_foreground(terminal: BorrowedFd) -> Result<()> {
    let group = own_group();
    match syscall!(Call::Ioctl, libc::SYS_ioctl, terminal.as_raw_fd(), libc::TIOCSPGRP, &raw const group) {
        // It is none, or another session's, or closed.
        Err(Error { errno: Errno::ENOTTY | Errno::EBADF | Errno::EINVAL | Errno::EIO, .. }) => Ok(()),
        other => other.map(drop),
    }
}

fn own_group() -> libc::pid_t {
    syscall!(Call::Setsid, libc::SYS_getpgid, 0).unwrap_or(0) as libc::pid_t
}

/// Whether this process's group is the one that is typed to at a terminal.
pub fn is_in_foreground(terminal: BorrowedFd) -> bool {
    let mut group: libc::pid_t = 0;
    let asked = syscall!(Call::Ioctl, libc::SYS_ioctl, terminal.as_raw_fd(), libc::TIOCGPGRP, &raw mut group);
    asked.is_ok() && group == own_group()
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The size of the terminal's window.
pub fn size(terminal: BorrowedFd) -> Result<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    syscall!(Call::Ioctl, libc::SYS_ioctl, terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size)?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size of the terminal's window; its foreground process group gets SIGWINCH.
pub fn set_size(terminal: BorrowedFd, size: Size) -> Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    syscall!(Call::Ioctl, libc::SYS_ioctl, terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size).map(drop)
}

/// True if the descriptor is a terminal.
pub fn is_terminal(fd: BorrowedFd) -> bool {
    size(fd).is_ok()
}

/// The terminal on standard input in raw mode; dropping it restores what was.
pub struct Raw {
    before: libc::termios,
}

impl Raw {
    /// Puts the terminal on standard input into raw mode.
    pub fn enter() -> Result<Raw> {
        // SAFETY: cfmakeraw changes a termios.
        let before = change(standard_input(), |termios| unsafe { libc::cfmakeraw(termios) })?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // In the background, it is another's to set: this process would be stopped.
        // SAFETY: plain system calls.
        if unsafe { libc::tcgetpgrp(0) == libc::getpgrp() } {
            // SAFETY: `before` came from tcgetattr.
            unsafe { libc::tcsetattr(0, libc::TCSADRAIN, &self.before) };
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// Something can be read, or the other side is gone.
    Readable(BorrowedFd<'a>),
    /// There is room to write.
    Writable(BorrowedFd<'a>),
    /// Nothing.
    Never,
}

/// Which of some events have come, waiting for the first.
pub fn wait_for_any<const N: usize>(events: [Event; N]) -> Result<[bool; N]> {
    let mut polls = events.map(|event| match event {
        Event::Readable(fd) => libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        Event::Writable(fd) => libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 },
        Event::Never => libc::pollfd { fd: -1, events: 0, revents: 0 },
    });
    loop {
        // SAFETY: `polls` are N pollfds.
        match check(Call::Poll, unsafe { libc::poll(polls.as_mut_ptr(), N as libc::nfds_t, -1) }) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => other?,
        };
        return Ok(polls.map(|poll| poll.revents != 0));
    }
}

/// Standard input.
pub fn standard_input<'a>() -> BorrowedFd<'a> {
    fd::borrow(0)
}

/// Standard output.
pub fn standard_output<'a>() -> BorrowedFd<'a> {
    fd::borrow(1)
}

/// Standard error.
pub fn standard_error<'a>() -> BorrowedFd<'a> {
    fd::borrow(2)
}

/// The terminal that this command was called at: the first standard stream that is one, or else the controlling one.
pub fn find_own() -> Result<Option<OwnedFd>> {
    if let Some(stream) = (0..3).map(fd::borrow).find(|stream| is_terminal(*stream)) {
        return fd::duplicate_above(stream, 3).map(Some);
    }
    match fd::open(c"/dev/tty", fd::O_RDWR | libc::O_NOCTTY, 0) {
        Ok(terminal) => Ok(is_terminal(terminal.as_fd()).then_some(terminal)),
        // Where a session has none, or there is no such file.
        Err(Error { errno: Errno::ENXIO | Errno::ENOENT | Errno::EACCES | Errno::EIO | Errno::ENODEV, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Leaves newlines as they are: whoever shows the output of a pty puts a carriage return before each.
pub fn leave_newlines(pty: BorrowedFd) -> Result<()> {
    change(pty, |termios| termios.c_oflag &= !libc::ONLCR).map(drop)
}

/// The character that says at a terminal that there is no more.
pub fn end_of_file(pty: BorrowedFd) -> Result<u8> {
    change(pty, |_| {}).map(|termios| termios.c_cc[libc::VEOF])
}

/// Changes the settings of a terminal; what they were.
fn change(terminal: BorrowedFd, change: impl Fn(&mut libc::termios)) -> Result<libc::termios> {
    // SAFETY: an all-zero termios is a valid value.
    let mut before: libc::termios = unsafe { core::mem::zeroed() };
    // SAFETY: tcgetattr writes a termios.
    check(Call::Ioctl, unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut before) })?;
    let mut after = before;
    change(&mut after);
    if after != before {
        // SAFETY: tcsetattr reads a termios.
        check(Call::Ioctl, unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &after) })?;
    }
    Ok(before)
}
