//! System call filters: from rules to the program that the kernel runs on every system call.
//!
//! ```text
//! load the architecture ; compare with each of the profile ; unknown: kill
//! load the number ; a balanced tree of comparisons finds its range ; allow, refuse, or look at the arguments
//! ```
//!
//! Neighbouring numbers with the same fate are one range, so the tree of a profile with 434 names has some hundred
//! leaves, and the kernel's table of "always allowed" numbers is filled in 0.1 ms (a linear filter took 1 ms). libseccomp
//! is the oracle in `tests/seccomp.rs`; what it does where rules meet is done here, too:
//!
//! - a rule without arguments supersedes those with arguments, and the first of several counts;
//! - of rules with arguments that both hold, one that refuses counts before one that allows (libseccomp has an order of its
//!   own there, which depends on the arguments);
//! - a rule with the default action is left out (as runc does);
//! - on x86, a rule for `socket` is one for `socketcall` with that number as its first argument, too;
//! - a system call that is newer than every rule gets ENOSYS, so that programs fall back (as runc's stub does).

mod architecture;
mod assemble;
mod table;

/// True if a system call of that name exists on this machine, or is an operation of one that does.
pub fn is_known(name: &str) -> bool {
    table::find(name).is_some()
}

/// All names that have a number on this machine.
pub fn names() -> impl Iterator<Item = &'static str> {
    table::all()
        .iter()
        .filter(|call| (0..table::FAMILY.len()).any(|column| call.number(column).is_some()))
        .map(|call| call.name)
}

/// Number of a system call on this machine.
pub fn native_number(name: &str) -> Option<u32> {
    // The first of the family.
    table::find(name)?.number(0)
}

pub use architecture::{Architecture, NAMES as ARCHITECTURES};

use crate::sys::seccomp::Instruction;
use assemble::{Check, Leaf, Leaves, Program, Ranges};

/// What happens to a system call: SECCOMP_RET_* with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(pub u32);

impl Action {
    /// End the thread.
    pub const KILL_THREAD: Action = Action(ret::KILL_THREAD);
    /// End the process.
    pub const KILL_PROCESS: Action = Action(ret::KILL_PROCESS);
    /// Send SIGSYS.
    pub const TRAP: Action = Action(ret::TRAP);
    /// Ask the listener.
    pub const NOTIFY: Action = Action(ret::USER_NOTIF);
    /// Do it, and log it.
    pub const LOG: Action = Action(ret::LOG);
    /// Do it.
    pub const ALLOW: Action = Action(ret::ALLOW);

    /// Fail with an errno.
    pub const fn errno(errno: u16) -> Action {
        Action(ret::ERRNO | errno as u32)
    }

    /// Ask a tracer.
    pub const fn trace(message: u16) -> Action {
        Action(ret::TRACE | message as u32)
    }

    /// True if the system call is done without anybody's leave.
    pub fn is_permissive(self) -> bool {
        matches!(self.0 & ret::ACTION, ret::ALLOW | ret::LOG | ret::TRACE)
    }
}

/// linux/seccomp.h.
mod ret {
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    pub const KILL_THREAD: u32 = 0;
    pub const TRAP: u32 = 0x0003_0000;
    pub const ERRNO: u32 = 0x0005_0000;
    pub const USER_NOTIF: u32 = 0x7fc0_0000;
    pub const TRACE: u32 = 0x7ff0_0000;
    pub const LOG: u32 = 0x7ffc_0000;
    pub const ALLOW: u32 = 0x7fff_0000;
    pub const ACTION: u32 = 0xffff_0000;
}

/// How an argument is compared, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `argument & mask ==`
    MaskedEqual(u64),
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    /// How the argument is compared.
    pub operator: Operator,
    /// What the argument is compared with.
    pub value: u64,
}

/// What happens to some system calls, if all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Names; those that an architecture does not have are nothing to it.
    pub names: Vec<&'a str>,
    /// What happens to a call that matches.
    pub action: Action,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// A filter before its compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile<'a> {
    /// What happens to calls that no rule names.
    pub default: Action,
    /// The native one must be among them.
    pub architectures: Vec<Architecture>,
    /// Rules, in the order of the config.
    pub rules: Vec<Rule<'a>>,
}

const ENOSYS: u16 = 38;

impl Profile<'_> {
    /// The program that the kernel runs.
    pub fn compile(&self) -> Vec<Instruction> {
        let mut checks = Vec::new();
        let leaves = self.leaves(&mut checks);
        let mut families: Vec<(u32, Ranges)> = Vec::new();
        // In ascending order of their numbers: what the kernel reports as one architecture (x86_64 and x32) is one tree.
        for (architecture, leaves) in &leaves {
            match families.iter_mut().find(|(audit, _)| *audit == architecture.audit()) {
                Some((_, ranges)) => self.add_ranges(ranges, *architecture, leaves),
                None => {
                    let mut ranges = Ranges::default();
                    self.add_ranges(&mut ranges, *architecture, leaves);
                    families.push((architecture.audit(), ranges));
                }
            }
        }
        let mut program = Program::new(self.default, checks);
        let mut next = program.finish(Action::KILL_THREAD);
        // The native one is written last: it is compared first.
        for (audit, ranges) in families.iter().rev() {
            let tree = program.tree(ranges);
            let number = program.load_number(tree);
            next = program.compare_architecture(*audit, number, next);
        }
        program.load_architecture(next);
        program.into_instructions()
    }

    /// What happens to a system call of that name, if that does not depend on its arguments.
    pub fn fate(&self, name: &str) -> Option<Action> {
        let mut rules = self.rules().filter(|rule| rule.names.contains(&name)).peekable();
        match rules.peek() {
            None => Some(self.default),
            Some(_) => rules.find(|rule| rule.conditions.is_empty()).map(|rule| rule.action),
        }
    }

    /// The rules, without those that the default action makes needless.
    fn rules(&self) -> impl Iterator<Item = &Rule<'_>> {
        self.rules.iter().filter(|rule| rule.action != self.default)
    }

    /// What each number leads to, for each architecture of the profile in the family's order.
    fn leaves(&self, checks: &mut Vec<Check>) -> Vec<(Architecture, Leaves)> {
        let family = table::FAMILY.iter().enumerate();
        let members: Vec<_> = family.filter(|(_, member)| self.architectures.contains(member)).collect();
        let mut leaves: Vec<_> = members.iter().map(|(_, member)| (**member, Leaves::new(member.is_wide()))).collect();
        for rule in self.rules() {
            for call in rule.names.iter().filter_map(|name| table::find(name)) {
                for ((column, member), (_, leaves)) in members.iter().zip(&mut leaves) {
                    if let Some(number) = call.number(*column) {
                        leaves.add(number, &rule.conditions, rule.action, checks);
                    }
                    if let Some(operation) = call.operation(**member) {
                        leaves.add_operation(operation, &rule.conditions, rule.action, checks);
                    }
                }
            }
        }
        leaves
    }

    fn add_ranges(&self, ranges: &mut Ranges, architecture: Architecture, leaves: &Leaves) {
        let first = architecture.first_number();
        ranges.begin(first, Leaf::Return(self.default));
        // What comes after the newest system call that a rule names, but for 32-bit ARM's private ones, which are far above.
        let behind_newest = leaves.behind_newest();
        let is_known = |number| number < behind_newest || behind_newest == 0;
        let beyond = if self.default.is_permissive() { self.default } else { Action::errno(ENOSYS) };
        for (number, leaf) in leaves.iter() {
            let unnamed = if is_known(number) { self.default } else { beyond };
            ranges.begin(first + number, leaf.unwrap_or(Leaf::Return(unnamed)));
        }
        if architecture == Architecture::X86_64 && !self.architectures.contains(&Architecture::X32) {
            // x32 calls come as x86_64 with a bit in the number, and are no part of the profile.
            ranges.begin(Architecture::X32.first_number(), Leaf::Return(Action::KILL_THREAD));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_than_a_profile_is_missing_also_below_private_calls() {
        let profile =
            Profile { default: Action::errno(1), architectures: vec![Architecture::native()], rules: Vec::new() };
        let (mut leaves, mut ranges) = (Leaves::new(false), Ranges::default());
        for number in [2, 5, 0xf_0005] {
            leaves.add(number, &[], Action::ALLOW, &mut Vec::new());
        }
        profile.add_ranges(&mut ranges, Architecture::native(), &leaves);
        let [refused, allowed, missing] = [Action::errno(1), Action::ALLOW, Action::errno(ENOSYS)].map(Leaf::Return);
        let mut expected = Ranges::default();
        for (start, leaf) in [
            (0, refused),
            (2, allowed),
            (3, refused),
            (5, allowed),
            (6, missing),
            (0xf_0005, allowed),
            (0xf_0006, missing),
        ] {
            expected.begin(start, leaf);
        }
        if Architecture::native() == Architecture::X86_64 {
            expected.begin(Architecture::X32.first_number(), Leaf::Return(Action::KILL_THREAD));
        }
        assert_eq!(ranges, expected);
    }

    #[test]
    fn a_rule_without_arguments_supersedes() {
        let rule = |action, conditions| Rule { names: vec!["read"], action, conditions };
        let condition = Condition { argument: 0, operator: Operator::Equal, value: 1 };
        let profile = Profile {
            default: Action::errno(1),
            architectures: vec![Architecture::native()],
            rules: vec![
                rule(Action::TRAP, vec![condition]),
                rule(Action::ALLOW, vec![]),
                rule(Action::KILL_PROCESS, vec![]),
            ],
        };
        assert_eq!(profile.fate("read"), Some(Action::ALLOW));
        assert_eq!(profile.fate("write"), Some(Action::errno(1)));
    }
}
