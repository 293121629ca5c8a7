//! Network interfaces.

use super::fd::own;
use super::{Call, Result, check, syscall};
use std::os::fd::AsRawFd;

/// Brings the loopback interface of the current network namespace up.
pub fn bring_loopback_up() -> Result<()> {
    let socket =
        own(syscall!(Call::Socket, libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)?);
    // SAFETY: an all-zero ifreq is a valid value.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq.
    check(Call::Ioctl, unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
        .map(drop)
}
