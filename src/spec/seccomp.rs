//! `linux.seccomp` (runtime-spec, config-linux.md).

use super::{List, object};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use std::fmt;

object! {
    /// `linux.seccomp`.
    Seccomp {
        /// `SCMP_ACT_*` for what no rule names.
        default_action: String,
        /// The errno of a default action `SCMP_ACT_ERRNO`; absent: EPERM.
        default_errno_ret: Option<u32>,
        /// `SCMP_ARCH_*`; the native one is always among them.
        architectures: List<String>,
        /// `SECCOMP_FILTER_FLAG_*`; absent is not the same as empty.
        flags: Option<Vec<String>>,
        /// Socket of an agent that answers for `SCMP_ACT_NOTIFY`.
        listener_path: Option<String>,
        /// What the agent is told besides the state.
        listener_metadata: Option<String>,
        /// The rules.
        syscalls: List<Syscall>,
    }
}

object! {
    /// One of `linux.seccomp.syscalls`.
    Syscall {
        /// Names of system calls.
        names: Names,
        /// `SCMP_ACT_*`.
        action: String,
        /// The errno of `SCMP_ACT_ERRNO`, or the message of `SCMP_ACT_TRACE`.
        errno_ret: Option<u32>,
        /// All must hold; several of one argument are alternatives.
        args: List<SyscallArgument>,
    }
}

object! {
    /// One of `linux.seccomp.syscalls[].args`.
    SyscallArgument {
        /// 0 to 5.
        index: u32,
        /// What it is compared with, or the mask.
        value: u64,
        /// What is left under the mask.
        value_two: u64,
        /// `SCMP_CMP_*`.
        op: String,
    }
}

/// Names of system calls in one piece of memory: a profile has hundreds, and a string of its own for each took a third
/// of the time that it takes to read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().scan(0, |start, end| {
            let name = self.text.get(*start..*end);
            *start = *end;
            name
        })
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        deserializer.deserialize_option(Names::default())
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Names;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a sequence")
    }

    fn visit_none<E>(self) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Names, E> {
        Ok(self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Names, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Names, A::Error> {
        while list.next_element_seed(Name(&mut self))?.is_some() {}
        Ok(self)
    }
}

/// Most rules name fewer.
const FEW: usize = 8;

/// Appends one name.
struct Name<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        if self.0.len() == FEW {
            // A long list, as engines have one: the text shall not move with every doubling.
            self.0.text.reserve(6 << 10);
            self.0.ends.reserve(512);
        }
        self.0.text.push_str(name);
        self.0.ends.push(self.0.text.len());
        Ok(())
    }
}
