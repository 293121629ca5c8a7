//! Programs of the kernel (bpf(2)): which devices the processes of a cgroup may use.

use super::fd::own;
use super::{Call, Result, syscall};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The first part of `union bpf_attr`, for BPF_PROG_LOAD.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// The first part of `union bpf_attr`, for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE; instructions as in linux/bpf.h.
pub fn load_device_program(instructions: &[u64]) -> Result<OwnedFd> {
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
    };
    syscall!(Call::Bpf, libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()).map(own)
}

/// Attaches a device program to a cgroup, beside those that are there: all of them must allow.
pub fn attach_device_program(cgroup: BorrowedFd, program: &OwnedFd) -> Result<()> {
    const BPF_PROG_ATTACH: i32 = 8;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    syscall!(Call::Bpf, libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<Attach>()).map(drop)
}
