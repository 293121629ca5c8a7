//! The system calls of this machine's architectures, by name: one table, made when rootlet is compiled.
//!
//! A profile has 400 names, and each is looked up in it once for all architectures, by its hash.

use super::Architecture;

/// The native architecture, and what its kernel runs besides.
#[cfg(target_arch = "x86_64")]
pub const FAMILY: [Architecture; 3] = [Architecture::X86_64, Architecture::X86, Architecture::X32];
#[cfg(target_arch = "aarch64")]
pub const FAMILY: [Architecture; 2] = [Architecture::Aarch64, Architecture::Arm];
#[cfg(target_arch = "riscv64")]
pub const FAMILY: [Architecture; 1] = [Architecture::Riscv64];

/// One name, and its number in each architecture of the family.
#[derive(Clone, Copy)]
pub struct Call {
    hash: u64,
    /// As in the manual.
    pub name: &'static str,
    numbers: [u32; FAMILY.len()],
    /// Multiplexer of x86 and operation, such as socketcall(2) and 1; or nothing.
    multiplexed: (u32, u32),
}

const MISSING: u32 = u32::MAX;

impl Call {
    const NONE: Call = Call { hash: u64::MAX, name: "", numbers: [MISSING; FAMILY.len()], multiplexed: (0, 0) };

    /// Its number in that column of the family, without the bit of x32.
    pub fn number(&self, column: usize) -> Option<u32> {
        self.numbers.get(column).copied().filter(|number| *number != MISSING)
    }

    /// The multiplexer and operation by which an architecture has it, besides or instead of its own number.
    pub fn operation(&self, architecture: Architecture) -> Option<(u32, u32)> {
        Some(self.multiplexed).filter(|(number, _)| architecture == Architecture::X86 && *number != 0)
    }
}

/// All system calls, by hash.
pub fn all() -> &'static [Call] {
    &TABLE
}

/// The system call of that name.
pub fn find(name: &str) -> Option<&'static Call> {
    let wanted = hash(name);
    let index = HASHES.binary_search(&wanted).ok()?;
    TABLE.get(index).filter(|call| call.name == name)
}

/// FNV-1a.
const fn hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

static TABLE: [Call; LENGTH] = {
    let mut table = [Call::NONE; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        table[at] = BUILT.calls[at];
        at += 1;
    }
    table
};

/// Side by side, as the search looks at nothing else.
static HASHES: [u64; LENGTH] = {
    let mut hashes = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        hashes[at] = BUILT.calls[at].hash;
        at += 1;
    }
    hashes
};

const LENGTH: usize = BUILT.length;
#[allow(long_running_const_eval)] // some hundred thousand steps of the compiler's
const BUILT: Builder = Builder::build();

/// socketcall(2) is 102 on x86, ipc(2) is 117: number, operation, and the name that the operation has elsewhere.
#[cfg(target_arch = "x86_64")]
const MULTIPLEXED: [(u32, u8, &str); 32] = [
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

/// The table, while it grows; always sorted by hash.
struct Builder {
    calls: [Call; 1024],
    length: usize,
}

/// A name of the crate's: one is an identifier of Rust's, and arm64's 79 is called otherwise by the kernel, libseccomp and
/// every profile.
const fn as_the_kernel_has_it(name: &'static str) -> &'static str {
    match name.as_bytes() {
        b"r#break" => "break",
        b"fstatat" => "newfstatat",
        _ => name,
    }
}

/// Adds a table of the crate's to a column. (Its own iterator leaves out the last one.)
macro_rules! add {
    ($builder:ident, $module:ident, $column:expr) => {
        let (mut number, end) = (0, syscalls::$module::Sysno::last().id() as u32);
        while number <= end {
            if let Some(call) = syscalls::$module::Sysno::new(number as usize) {
                $builder = $builder.with(as_the_kernel_has_it(call.name()), $column, number);
            }
            number += 1;
        }
    };
}

impl Builder {
    #[cfg(target_arch = "x86_64")]
    const fn build() -> Builder {
        let mut builder = Builder { calls: [Call::NONE; 1024], length: 0 };
        add!(builder, x86_64, 0);
        add!(builder, x86, 1);
        // x32 has x86_64's numbers, but for these, which it numbers from 512 on (syscall_64.tbl): rt_sigaction to pwritev2.
        const OWN: [u32; 36] = [
            13, 15, 16, 19, 20, 45, 46, 47, 59, 101, 127, 128, 129, 131, 222, 244, 246, 247, 273, 274, 278, 279, 295,
            296, 297, 299, 307, 310, 311, 54, 55, 206, 209, 322, 327, 328,
        ];
        // And these it does not have.
        const LACKING: [u32; 11] = [134, 156, 174, 177, 178, 180, 205, 211, 214, 215, 236];
        let mut at = 0;
        while at < builder.length {
            let mut number = builder.calls[at].numbers[0];
            let mut lacking = 0;
            while lacking < LACKING.len() {
                if LACKING[lacking] == number {
                    number = MISSING;
                    break;
                }
                lacking += 1;
            }
            let mut own = 0;
            while own < OWN.len() && number != MISSING {
                if OWN[own] == number {
                    number = 512 + own as u32;
                    break;
                }
                own += 1;
            }
            builder.calls[at].numbers[2] = number;
            at += 1;
        }
        at = 0;
        while at < MULTIPLEXED.len() {
            let (multiplexer, operation, name) = MULTIPLEXED[at];
            builder = builder.with(name, 1, MISSING);
            builder.calls[builder.slot(hash(name))].multiplexed = (multiplexer, operation as u32);
            at += 1;
        }
        builder
    }

    #[cfg(target_arch = "aarch64")]
    const fn build() -> Builder {
        let mut builder = Builder { calls: [Call::NONE; 1024], length: 0 };
        add!(builder, aarch64, 0);
        add!(builder, arm, 1);
        // What the crate lacks: from __ARM_NR_BASE on.
        const PRIVATE: [&str; 6] = ["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"];
        let mut at = 0;
        while at < PRIVATE.len() {
            builder = builder.with(PRIVATE[at], 1, 0xf_0001 + at as u32);
            at += 1;
        }
        builder
    }

    #[cfg(target_arch = "riscv64")]
    const fn build() -> Builder {
        let mut builder = Builder { calls: [Call::NONE; 1024], length: 0 };
        add!(builder, riscv64, 0);
        builder
    }

    const fn with(mut self, name: &'static str, column: usize, number: u32) -> Builder {
        let hash = hash(name);
        let at = self.slot(hash);
        if at == self.length || self.calls[at].hash != hash {
            let mut end = self.length;
            while end > at {
                self.calls[end] = self.calls[end - 1];
                end -= 1;
            }
            self.calls[at] = Call { hash, name, numbers: [MISSING; FAMILY.len()], multiplexed: (0, 0) };
            self.length += 1;
        }
        if number != MISSING {
            self.calls[at].numbers[column] = number;
        }
        self
    }

    /// Where a hash stands, or would stand.
    const fn slot(&self, hash: u64) -> usize {
        let mut at = self.length;
        while at > 0 && self.calls[at - 1].hash >= hash {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_profiles() {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let strange: Vec<_> =
            all().iter().filter(|call| !call.name.bytes().all(is_plain)).map(|call| call.name).collect();
        assert_eq!(strange, Vec::<&str>::new());
        assert!(find("newfstatat").is_some_and(|call| call.number(0).is_some()));
        assert!(find("fstatat").is_none());
    }
}
