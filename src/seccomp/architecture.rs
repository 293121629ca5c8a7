//! Architectures: their audit numbers, and what is peculiar to one of them.

use super::table;

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

    /// All that a kernel of the native one may run, which is the first.
    pub fn family() -> &'static [Architecture] {
        &table::FAMILY
    }

    /// True if a kernel of the native architecture can run it.
    pub fn runs_here(self) -> bool {
        table::FAMILY.contains(&self)
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

    /// Numbers and names, for one that runs here.
    pub fn system_calls(self) -> impl Iterator<Item = (u32, &'static str)> {
        let column = table::FAMILY.iter().position(|known| *known == self);
        let numbered = table::all().iter().filter_map(move |call| Some((call.number(column?)?, call.name)));
        numbered.map(move |(number, name)| (number + self.first_number(), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_complete_to_their_ends() {
        let number = |architecture: Architecture, name: &str| {
            architecture.system_calls().find(|(_, known)| *known == name).map(|(number, _)| number)
        };
        for (architecture, name, expected) in [
            (Architecture::X86_64, "read", 0),
            (Architecture::X86_64, "file_setattr", 469),
            (Architecture::X86, "clone", 120),
            (Architecture::X86, "socketcall", 102),
            (Architecture::X32, "read", X32_BIT),
            (Architecture::X32, "rt_sigaction", X32_BIT | 512),
            (Architecture::X32, "execve", X32_BIT | 520),
            (Architecture::X32, "setsockopt", X32_BIT | 541),
            (Architecture::X32, "pwritev2", X32_BIT | 547),
            (Architecture::Aarch64, "openat", 56),
            (Architecture::Arm, "openat", 322),
            (Architecture::Arm, "set_tls", 0xf_0005),
            (Architecture::Riscv64, "openat", 56),
        ] {
            if architecture.runs_here() {
                assert_eq!(number(architecture, name), Some(expected), "{architecture:?} {name}");
            }
        }
    }
}
