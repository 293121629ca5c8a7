//! Network interfaces: bringing one up, and moving one into another network namespace with its addresses.

use super::fd::{self, own};
use super::{Call, Errno, Error, Result, namespace, syscall};
use core::ffi::CStr;
use core::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Brings the loopback interface of the current network namespace up.
pub fn bring_loopback_up() -> Result<()> {
    let socket =
        own(syscall!(Call::Socket, libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)?);
    // SAFETY: an all-zero ifreq is a valid value.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    syscall!(Call::Ioctl, libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).map(drop)
}

/// Moves a device of the caller's network namespace into `theirs` as `new_name`, and brings it up there. Its global,
/// permanent addresses go along, which the kernel would drop (config-linux.md, network devices).
pub fn move_device(name: &CStr, new_name: &CStr, theirs: BorrowedFd) -> Result<()> {
    let ours = fd::open(c"/proc/thread-self/ns/net", fd::O_RDONLY, 0)?;
    let socket = open_route_socket()?;
    let device = index_of(name)?;
    let mut addresses = [0u8; 8192];
    let length = collect_addresses(&socket, device, &mut addresses)?;

    let mut message = Message::new(libc::RTM_NEWLINK, 0);
    message.put(&InterfaceInfo { index: device, ..InterfaceInfo::default() })?;
    message.attribute(libc::IFLA_NET_NS_FD, &theirs.as_raw_fd().to_ne_bytes())?;
    message.attribute(libc::IFLA_IFNAME, new_name.to_bytes_with_nul())?;
    message.send_and_wait(&socket)?;

    namespace::join(theirs, namespace::CLONE_NEWNET)?;
    let arrived = arrive(new_name, addresses.get(..length).unwrap_or_default());
    namespace::join(ours.as_fd(), namespace::CLONE_NEWNET)?;
    arrived
}

/// In the new namespace: the number may be another.
fn arrive(name: &CStr, addresses: &[u8]) -> Result<()> {
    let socket = open_route_socket()?;
    let device = index_of(name)?;
    let mut rest = addresses;
    while let Some((address, others)) = split_message(rest) {
        let mut message = Message::new(libc::RTM_NEWADDR, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16);
        let mut info = AddressInfo::read(address).ok_or(Error::new(Call::Netlink, Errno::EPROTO))?;
        info.index = device as u32;
        message.put(&info)?;
        let mut attributes = address.get(size_of::<AddressInfo>()..).unwrap_or_default();
        while let Some((kind, attribute, others)) = split_attribute(attributes) {
            // The label of an IPv4 address is the old name of the device.
            if kind != libc::IFA_LABEL {
                message.append(attribute)?;
            }
            attributes = others;
        }
        message.send_and_wait(&socket)?;
        rest = others;
    }
    let mut message = Message::new(libc::RTM_NEWLINK, 0);
    let up = libc::IFF_UP as u32;
    message.put(&InterfaceInfo { index: device, flags: up, change: up, ..InterfaceInfo::default() })?;
    message.send_and_wait(&socket)
}

fn index_of(name: &CStr) -> Result<i32> {
    // SAFETY: if_nametoindex reads a string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(Error::new(Call::Netlink, Errno::ENODEV)),
        index => Ok(index as i32),
    }
}

fn open_route_socket() -> Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    Ok(own(syscall!(Call::Socket, libc::SYS_socket, libc::AF_NETLINK, kind, libc::NETLINK_ROUTE)?))
}

/// struct ifinfomsg of linux/rtnetlink.h.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct InterfaceInfo {
    family: u8,
    padding: u8,
    kind: u16,
    index: i32,
    flags: u32,
    change: u32,
}

/// struct ifaddrmsg of linux/if_addr.h.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct AddressInfo {
    family: u8,
    prefix: u8,
    flags: u8,
    scope: u8,
    index: u32,
}

impl AddressInfo {
    fn read(bytes: &[u8]) -> Option<AddressInfo> {
        let [family, prefix, flags, scope, a, b, c, d] = *bytes.first_chunk()?;
        Some(AddressInfo { family, prefix, flags, scope, index: u32::from_ne_bytes([a, b, c, d]) })
    }
}

/// Plain structures of the kernel, which may be looked at as bytes.
trait Plain: Copy {}
impl Plain for InterfaceInfo {}
impl Plain for AddressInfo {}

/// struct nlmsghdr: length, type, flags, sequence, port.
const HEADER: usize = 16;

/// A netlink request in a fixed buffer.
struct Message {
    bytes: [u8; 1024],
    length: usize,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        let mut message = Message { bytes: [0; 1024], length: HEADER };
        let flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        for (slot, byte) in
            message.bytes.iter_mut().skip(4).zip(kind.to_ne_bytes().into_iter().chain(flags.to_ne_bytes()))
        {
            *slot = byte;
        }
        message
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.length + bytes.len();
        // CVE-2021-43784: a length that does not fit is an error, and never wraps.
        let room = self.bytes.get_mut(self.length..end).ok_or(Error::new(Call::Netlink, Errno::EMSGSIZE))?;
        room.copy_from_slice(bytes);
        self.length = end.next_multiple_of(4);
        Ok(())
    }

    fn put<T: Plain>(&mut self, value: &T) -> Result<()> {
        // SAFETY: `T` is a plain structure without padding bytes of the compiler's, and lives through the call.
        let bytes = unsafe { core::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) };
        self.append(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> Result<()> {
        let length = (4 + value.len()) as u16;
        let [l0, l1] = length.to_ne_bytes();
        let [k0, k1] = kind.to_ne_bytes();
        self.append(&[l0, l1, k0, k1])?;
        self.append(value)
    }

    fn send(&mut self, socket: &OwnedFd) -> Result<()> {
        for (slot, byte) in self.bytes.iter_mut().zip((self.length as u32).to_ne_bytes()) {
            *slot = byte;
        }
        fd::write(socket.as_fd(), self.bytes.get(..self.length).unwrap_or_default()).map(drop)
    }

    fn send_and_wait(mut self, socket: &OwnedFd) -> Result<()> {
        self.send(socket)?;
        let mut answer = [0u8; 4096];
        let length = fd::read(socket.as_fd(), &mut answer)?;
        match answer.get(..length).and_then(split_answer) {
            Some((libc::NLMSG_ERROR, payload, _)) => acknowledged(payload),
            _ => Err(Error::new(Call::Netlink, Errno::EPROTO)),
        }
    }
}

/// struct nlmsgerr: a negative errno, or 0.
fn acknowledged(payload: &[u8]) -> Result<()> {
    match payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(errno) => Err(Error::new(Call::Netlink, Errno::from_raw(-errno))),
        None => Err(Error::new(Call::Netlink, Errno::EPROTO)),
    }
}

/// Type and payload of the first message, and the bytes after it.
fn split_answer(bytes: &[u8]) -> Option<(libc::c_int, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let payload = bytes.get(HEADER..length)?;
    Some((kind.into(), payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Kind and bytes of the first attribute (struct rtattr: length and kind, 2 bytes each), and the bytes after it.
fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
    let attribute = bytes.get(..length).filter(|_| length >= 4)?;
    Some((kind, attribute, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// A kept address: its length in 4 bytes, then the payload.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let (payload, rest) = bytes.get(4..)?.split_at_checked(length)?;
    Some((payload, rest))
}

/// Keeps the global and permanent addresses of a device; how many bytes they take.
fn collect_addresses(socket: &OwnedFd, device: i32, kept: &mut [u8]) -> Result<usize> {
    let mut message = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP as u16);
    message.put(&AddressInfo::default())?;
    message.send(socket)?;
    let mut length = 0;
    loop {
        let mut answer = [0u8; 16384];
        let received = fd::read(socket.as_fd(), &mut answer)?;
        let mut rest = answer.get(..received).unwrap_or_default();
        while let Some((kind, payload, others)) = split_answer(rest) {
            rest = others;
            match kind {
                libc::NLMSG_DONE => return Ok(length),
                libc::NLMSG_ERROR => acknowledged(payload)?,
                _ => {}
            }
            let Some(info) = AddressInfo::read(payload) else { continue };
            let is_permanent = u32::from(info.flags) & libc::IFA_F_PERMANENT != 0;
            if info.index != device as u32 || info.scope != libc::RT_SCOPE_UNIVERSE || !is_permanent {
                continue;
            }
            let end = length + 4 + payload.len();
            let room = kept.get_mut(length..end).ok_or(Error::new(Call::Netlink, Errno::EMSGSIZE))?;
            let (size, bytes) = room.split_at_mut(4);
            size.copy_from_slice(&(payload.len() as u32).to_ne_bytes());
            bytes.copy_from_slice(payload);
            length = end;
        }
    }
}
