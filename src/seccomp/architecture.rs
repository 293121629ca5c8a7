//! Architectures: their audit numbers and their tables of system calls.

use syscalls::{aarch64, arm, riscv64, x86, x86_64};

/// An architecture that a machine of ours can run. (The kernel never reports another, so a profile's are passed over.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Architecture {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
}

/// All names of config-linux.md, and which of them there are tables for.
pub const NAMES: [(&str, Option<Architecture>); 23] = [
    ("SCMP_ARCH_X86_64", Some(Architecture::X86_64)),
    ("SCMP_ARCH_X86", Some(Architecture::X86)),
    ("SCMP_ARCH_X32", Some(Architecture::X32)),
    ("SCMP_ARCH_AARCH64", Some(Architecture::Aarch64)),
    ("SCMP_ARCH_ARM", Some(Architecture::Arm)),
    ("SCMP_ARCH_RISCV64", Some(Architecture::Riscv64)),
    ("SCMP_ARCH_LOONGARCH64", None),
    ("SCMP_ARCH_M68K", None),
    ("SCMP_ARCH_MIPS", None),
    ("SCMP_ARCH_MIPS64", None),
    ("SCMP_ARCH_MIPS64N32", None),
    ("SCMP_ARCH_MIPSEL", None),
    ("SCMP_ARCH_MIPSEL64", None),
    ("SCMP_ARCH_MIPSEL64N32", None),
    ("SCMP_ARCH_PARISC", None),
    ("SCMP_ARCH_PARISC64", None),
    ("SCMP_ARCH_PPC", None),
    ("SCMP_ARCH_PPC64", None),
    ("SCMP_ARCH_PPC64LE", None),
    ("SCMP_ARCH_S390", None),
    ("SCMP_ARCH_S390X", None),
    ("SCMP_ARCH_SH", None),
    ("SCMP_ARCH_SHEB", None),
];

/// __X32_SYSCALL_BIT.
const X32_BIT: u32 = 0x4000_0000;

/// What x32 numbers otherwise than x86_64, from 512 on (arch/x86/entry/syscalls/syscall_64.tbl).
const X32: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// socketcall(2) is 102 on x86, ipc(2) is 117: number, operation, and the name that the operation has elsewhere.
const X86_MULTIPLEXED: [(u32, u8, &str); 32] = [
    (102, 1, "socket"),
    (102, 2, "bind"),
    (102, 3, "connect"),
    (102, 4, "listen"),
    (102, 5, "accept"),
    (102, 6, "getsockname"),
    (102, 7, "getpeername"),
    (102, 8, "socketpair"),
    (102, 9, "send"),
    (102, 10, "recv"),
    (102, 11, "sendto"),
    (102, 12, "recvfrom"),
    (102, 13, "shutdown"),
    (102, 14, "setsockopt"),
    (102, 15, "getsockopt"),
    (102, 16, "sendmsg"),
    (102, 17, "recvmsg"),
    (102, 18, "accept4"),
    (102, 19, "recvmmsg"),
    (102, 20, "sendmmsg"),
    (117, 1, "semop"),
    (117, 2, "semget"),
    (117, 3, "semctl"),
    (117, 4, "semtimedop"),
    (117, 11, "msgsnd"),
    (117, 12, "msgrcv"),
    (117, 13, "msgget"),
    (117, 14, "msgctl"),
    (117, 21, "shmat"),
    (117, 22, "shmdt"),
    (117, 23, "shmget"),
    (117, 24, "shmctl"),
];

/// The numbers and names of a table. (Its own iterator leaves out the last one.)
macro_rules! table {
    ($module:ident) => {{
        use $module::Sysno;
        let numbers = Sysno::first().id()..=Sysno::last().id();
        numbers.filter_map(|number| Some((number as u32, Sysno::new(number as usize)?.name()))).collect()
    }};
}

impl Architecture {
    /// What this binary was built for.
    pub const fn native() -> Architecture {
        if cfg!(target_arch = "aarch64") {
            Architecture::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Architecture::Riscv64
        } else {
            Architecture::X86_64
        }
    }

    /// True if a kernel of the native architecture can run it.
    pub fn runs_here(self) -> bool {
        match Architecture::native() {
            Architecture::X86_64 => matches!(self, Architecture::X86_64 | Architecture::X86 | Architecture::X32),
            Architecture::Aarch64 => matches!(self, Architecture::Aarch64 | Architecture::Arm),
            native => self == native,
        }
    }

    /// AUDIT_ARCH_* of linux/audit.h.
    pub fn audit(self) -> u32 {
        match self {
            Architecture::X86_64 | Architecture::X32 => 0xc000_003e,
            Architecture::X86 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
            Architecture::Riscv64 => 0xc000_00f3,
        }
    }

    /// True if arguments have 64 bits. Those of x32 are in 64-bit registers, but what is above 32 bits is not looked at.
    pub fn is_wide(self) -> bool {
        !matches!(self, Architecture::X86 | Architecture::X32 | Architecture::Arm)
    }

    /// The lowest number of a system call.
    pub fn first_number(self) -> u32 {
        if self == Architecture::X32 { X32_BIT } else { 0 }
    }

    /// True if the kernel reports calls of another architecture as its own.
    pub fn shares_numbers(self) -> bool {
        self == Architecture::X86_64
    }

    /// Numbers and names.
    pub fn system_calls(self) -> Vec<(u32, &'static str)> {
        match self {
            Architecture::X86_64 => table!(x86_64),
            Architecture::X86 => table!(x86),
            Architecture::X32 => x32(),
            Architecture::Aarch64 => table!(aarch64),
            Architecture::Arm => arm_with_private(),
            Architecture::Riscv64 => table!(riscv64),
        }
    }

    /// Multiplexer, operation, and the name of the operation.
    pub fn multiplexed(self) -> &'static [(u32, u8, &'static str)] {
        if self == Architecture::X86 { &X86_MULTIPLEXED } else { &[] }
    }
}

fn x32() -> Vec<(u32, &'static str)> {
    let common = Architecture::X86_64.system_calls().into_iter().filter(|(_, name)| !X32.contains(name));
    let own = (512..).zip(X32);
    common.chain(own).map(|(number, name)| (number | X32_BIT, name)).collect()
}

/// What the table lacks: from __ARM_NR_BASE (0xf0000) on.
const ARM_PRIVATE: [&str; 6] = ["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"];

fn arm_with_private() -> Vec<(u32, &'static str)> {
    let common: Vec<_> = table!(arm);
    common.into_iter().chain((0xf_0001..).zip(ARM_PRIVATE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(architecture: Architecture, name: &str) -> Option<u32> {
        architecture.system_calls().into_iter().find(|(_, known)| *known == name).map(|(number, _)| number)
    }

    #[test]
    fn the_tables_are_complete_to_their_ends() {
        for (architecture, name, expected) in [
            (Architecture::X86_64, "read", 0),
            (Architecture::X86_64, "file_setattr", 469),
            (Architecture::X86, "clone", 120),
            (Architecture::X86, "socketcall", 102),
            (Architecture::X32, "read", X32_BIT),
            (Architecture::X32, "execve", X32_BIT | 520),
            (Architecture::X32, "pwritev2", X32_BIT | 547),
            (Architecture::Aarch64, "openat", 56),
            (Architecture::Arm, "openat", 322),
            (Architecture::Arm, "set_tls", 0xf_0005),
            (Architecture::Riscv64, "openat", 56),
        ] {
            assert_eq!(number(architecture, name), Some(expected), "{architecture:?} {name}");
        }
    }
}
