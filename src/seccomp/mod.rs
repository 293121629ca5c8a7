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
//! - a rule with the default action is left out (as runc does);
//! - on x86, a rule for `socket` is one for `socketcall` with that number as its first argument, too;
//! - a system call that is newer than every rule gets ENOSYS, so that programs fall back (as runc's stub does).

mod architecture;
mod assemble;

pub use architecture::{Architecture, NAMES as ARCHITECTURES};

use crate::sys::seccomp::Instruction;
use assemble::{Leaf, Program};
use std::collections::BTreeMap;

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
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// What happens to some system calls, if all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Names; those that an architecture does not have are nothing to it.
    pub names: Vec<&'a str>,
    /// What happens.
    pub action: Action,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// A filter before its compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile<'a> {
    /// For what no rule names.
    pub default: Action,
    /// The native one must be among them.
    pub architectures: Vec<Architecture>,
    /// In the order of the config.
    pub rules: Vec<Rule<'a>>,
}

const ENOSYS: u16 = 38;

impl Profile<'_> {
    /// The program that the kernel runs.
    pub fn compile(&self) -> Vec<Instruction> {
        let rules = self.rules_by_name();
        let mut program = Program::default();
        let unknown = program.finish(Action::KILL_THREAD);
        let mut next = unknown;
        for (audit, members) in self.families() {
            let ranges = self.ranges(&members, &rules);
            let tree = program.tree(&ranges, self.default);
            let number = program.load_number(tree);
            next = program.compare_architecture(audit, number, next);
        }
        program.load_architecture(next);
        program.into_instructions()
    }

    /// What happens to a system call of that name, if that does not depend on its arguments.
    pub fn fate(&self, name: &str) -> Option<Action> {
        match self.rules_by_name().get(name) {
            None => Some(self.default),
            Some(rules) => rules.iter().find(|rule| rule.conditions.is_empty()).map(|rule| rule.action),
        }
    }

    /// The rules of each name, without those that the default action makes needless.
    fn rules_by_name(&self) -> BTreeMap<&str, Vec<&Rule<'_>>> {
        let mut by_name: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| rule.action != self.default) {
            for name in &rule.names {
                by_name.entry(name).or_default().push(rule);
            }
        }
        by_name
    }

    /// Architectures that the kernel reports as one (x86_64 and x32), the native one last: it is compared first.
    fn families(&self) -> Vec<(u32, Vec<Architecture>)> {
        let mut families: Vec<(u32, Vec<Architecture>)> = Vec::new();
        for architecture in self.architectures.iter().rev() {
            match families.iter_mut().find(|(audit, _)| *audit == architecture.audit()) {
                Some((_, members)) => members.push(*architecture),
                None => families.push((architecture.audit(), vec![*architecture])),
            }
        }
        families
    }

    /// From which number on which leaf counts, in ascending order from 0.
    fn ranges(&self, members: &[Architecture], by_name: &BTreeMap<&str, Vec<&Rule>>) -> Vec<(u32, Leaf)> {
        let mut ranges = Vec::new();
        let mut members: Vec<_> = members.to_vec();
        members.sort_by_key(|member| member.first_number());
        members.dedup();
        for member in &members {
            let mut leaves = self.leaves(*member, by_name);
            leaves.sort_by_key(|(number, _)| *number);
            // What comes after the newest system call that a rule names.
            let newest = leaves.last().map(|(number, _)| *number);
            ranges.push((member.first_number(), Leaf::Return(self.default)));
            for (number, leaf) in leaves {
                ranges.push((number, leaf));
                ranges.push((number + 1, Leaf::Return(self.default)));
            }
            if let Some(newest) = newest.filter(|_| !self.default.is_permissive()) {
                ranges.push((newest + 1, Leaf::Return(Action::errno(ENOSYS))));
            }
        }
        if members.iter().any(|member| member.shares_numbers()) && members.len() == 1 {
            // x32 calls come as x86_64 with a bit in the number, and are no part of the profile.
            ranges.push((Architecture::X32.first_number(), Leaf::Return(Action::KILL_THREAD)));
        }
        simplify(ranges)
    }

    fn leaves(&self, architecture: Architecture, by_name: &BTreeMap<&str, Vec<&Rule>>) -> Vec<(u32, Leaf)> {
        let mut leaves = Vec::new();
        let mut multiplexed: BTreeMap<u32, Vec<(Vec<Condition>, Action)>> = BTreeMap::new();
        for (number, name) in architecture.system_calls() {
            let Some(rules) = by_name.get(name) else { continue };
            leaves.push((number, leaf(rules, architecture)));
        }
        for (multiplexer, operation, name) in architecture.multiplexed() {
            let Some(rules) = by_name.get(name) else { continue };
            let operation = Condition { argument: 0, operator: Operator::Equal, value: u64::from(*operation) };
            let checks = multiplexed.entry(*multiplexer).or_default();
            match leaf(rules, architecture) {
                Leaf::Return(action) => checks.push((vec![operation], action)),
                Leaf::Check { checks: own, .. } => checks.extend(own.into_iter().map(|(conditions, action)| {
                    let others = conditions.into_iter().filter(|condition| condition.argument != 0);
                    (std::iter::once(operation).chain(others).collect(), action)
                })),
            }
        }
        for (multiplexer, checks) in multiplexed {
            match leaves.iter_mut().find(|(number, _)| *number == multiplexer) {
                Some((_, Leaf::Check { checks: own, .. })) => own.extend(checks),
                Some((_, Leaf::Return(_))) => {}
                None => leaves.push((multiplexer, Leaf::Check { checks, wide: architecture.is_wide() })),
            }
        }
        leaves
    }
}

fn leaf(rules: &[&Rule], architecture: Architecture) -> Leaf {
    match rules.iter().find(|rule| rule.conditions.is_empty()) {
        Some(rule) => Leaf::Return(rule.action),
        None => {
            let checks = rules.iter().map(|rule| (rule.conditions.clone(), rule.action)).collect();
            Leaf::Check { checks, wide: architecture.is_wide() }
        }
    }
}

/// Later entries for one number count, and neighbours that are alike are one.
fn simplify(ranges: Vec<(u32, Leaf)>) -> Vec<(u32, Leaf)> {
    let mut simple: Vec<(u32, Leaf)> = Vec::with_capacity(ranges.len());
    for (start, leaf) in ranges {
        if simple.last().is_some_and(|(known, _)| *known == start) {
            simple.pop();
        }
        if simple.last().is_none_or(|(_, known)| *known != leaf) {
            simple.push((start, leaf));
        }
    }
    simple
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_alike_are_one_range() {
        let allow = || Leaf::Return(Action::ALLOW);
        let refuse = || Leaf::Return(Action::errno(1));
        let ranges = vec![(0, refuse()), (3, allow()), (4, refuse()), (4, allow()), (5, refuse())];
        assert_eq!(simplify(ranges), [(0, refuse()), (3, allow()), (5, refuse())]);
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
