//! Unix sockets: short messages, with or without a descriptor.

use super::fd::own;
use super::{Call, Errno, Error, Result, syscall};
use core::ffi::CStr;
use core::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Which unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SOCK_STREAM, as console and pidfd sockets are.
    Stream,
    /// SOCK_SEQPACKET: one message stays one message, and the end of the peer is seen.
    Packets,
}

impl Kind {
    fn flags(self) -> i32 {
        libc::SOCK_CLOEXEC
            | match self {
                Kind::Stream => libc::SOCK_STREAM,
                Kind::Packets => libc::SOCK_SEQPACKET,
            }
    }
}

/// socketpair(2) of packets.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0 as RawFd; 2];
    syscall!(Call::Socketpair, libc::SYS_socketpair, libc::AF_UNIX, Kind::Packets.flags(), 0, ends.as_mut_ptr())?;
    Ok((own(ends[0].into()), own(ends[1].into())))
}

fn address(path: &CStr) -> Result<libc::sockaddr_un> {
    // SAFETY: an all-zero sockaddr_un is a valid value.
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.to_bytes_with_nul();
    if bytes.len() > address.sun_path.len() {
        return Err(Error::new(Call::Connect, Errno::ENAMETOOLONG));
    }
    for (slot, byte) in address.sun_path.iter_mut().zip(bytes) {
        *slot = *byte as libc::c_char;
    }
    Ok(address)
}

/// How long a connection is waited for where many wait already, in steps of [`STEP_MILLISECONDS`]: 10 s.
const STEPS: usize = 1000;
const STEP_MILLISECONDS: i32 = 10;

/// Connects to the socket at `path`, at most 107 bytes long. Where nobody accepts, that is EAGAIN in the end.
pub fn connect(path: &CStr, kind: Kind) -> Result<OwnedFd> {
    let address = address(path)?;
    let flags = kind.flags() | libc::SOCK_NONBLOCK;
    let socket = own(syscall!(Call::Socket, libc::SYS_socket, libc::AF_UNIX, flags, 0)?);
    let size = size_of::<libc::sockaddr_un>();
    for step in 0..=STEPS {
        match syscall!(Call::Connect, libc::SYS_connect, socket.as_raw_fd(), &raw const address, size) {
            // Somebody listens, and has not accepted those who came before.
            Err(Error { errno: Errno::EAGAIN, .. }) if step < STEPS => super::process::sleep(STEP_MILLISECONDS),
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    super::fd::set_blocking(std::os::fd::AsFd::as_fd(&socket))?;
    Ok(socket)
}

/// Whether somebody listens at `path`, at most 107 bytes long. It is not waited for.
pub fn is_listening(path: &CStr, kind: Kind) -> Result<bool> {
    let address = address(path)?;
    let flags = kind.flags() | libc::SOCK_NONBLOCK;
    let socket = own(syscall!(Call::Socket, libc::SYS_socket, libc::AF_UNIX, flags, 0)?);
    match syscall!(
        Call::Connect,
        libc::SYS_connect,
        socket.as_raw_fd(),
        &raw const address,
        size_of::<libc::sockaddr_un>()
    ) {
        Err(Error { errno: Errno::ECONNREFUSED | Errno::ENOENT, .. }) => Ok(false),
        // So many wait already.
        Err(Error { errno: Errno::EAGAIN, .. }) => Ok(true),
        other => other.map(|_| true),
    }
}

/// Makes a listening socket of packets at `path`, at most 107 bytes long.
pub fn listen(path: &CStr) -> Result<OwnedFd> {
    let address = address(path)?;
    let socket = own(syscall!(Call::Socket, libc::SYS_socket, libc::AF_UNIX, Kind::Packets.flags(), 0)?);
    syscall!(Call::Listen, libc::SYS_bind, socket.as_raw_fd(), &raw const address, size_of::<libc::sockaddr_un>())?;
    syscall!(Call::Listen, libc::SYS_listen, socket.as_raw_fd(), 16)?;
    Ok(socket)
}

/// accept4(2).
pub fn accept(listener: BorrowedFd) -> Result<OwnedFd> {
    loop {
        match syscall!(Call::Listen, libc::SYS_accept4, listener.as_raw_fd(), 0, 0, libc::SOCK_CLOEXEC) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => return other.map(own),
        }
    }
}

/// Room for one descriptor in a control message, aligned as cmsghdr is.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// sendmsg(2) of `bytes`, with a copy of `attached`.
pub fn send(socket: BorrowedFd, bytes: &[u8], attached: Option<BorrowedFd>) -> Result<()> {
    let mut control = Control([0; 24]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is a valid value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    if let Some(attached) = attached {
        header.msg_control = (&raw mut control).cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute sizes.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
        // SAFETY: `control` is aligned and large enough for a header and one descriptor.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(first).cast::<RawFd>().write_unaligned(attached.as_raw_fd());
        }
    }
    // musl's msghdr and cmsghdr have padding in the place of the kernel's upper halves, which is zero here.
    syscall!(Call::Send, libc::SYS_sendmsg, socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL).map(drop)
}

/// recvmsg(2): how many bytes came (0: the peer is gone), and the descriptor that came with them.
pub fn receive(socket: BorrowedFd, bytes: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut control = Control([0; 24]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is a valid value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>() as _;
    let length = loop {
        match syscall!(Call::Receive, libc::SYS_recvmsg, socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            // The peer ended with our message unread.
            Err(Error { errno: Errno::ECONNRESET, .. }) => return Ok((0, None)),
            other => break other? as usize,
        }
    };
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        // A descriptor was sent, and there is no room for it in this process.
        return Err(Error::new(Call::Receive, Errno::EMFILE));
    }
    // SAFETY: the kernel filled `control`; a control message of SCM_RIGHTS holds a descriptor that is now ours.
    let attached = unsafe {
        let first = libc::CMSG_FIRSTHDR(&header);
        let has_descriptor =
            !first.is_null() && (*first).cmsg_level == libc::SOL_SOCKET && (*first).cmsg_type == libc::SCM_RIGHTS;
        has_descriptor.then(|| own(libc::CMSG_DATA(first).cast::<RawFd>().read_unaligned().into()))
    };
    Ok((length, attached))
}
