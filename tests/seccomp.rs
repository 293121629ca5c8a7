//! Filters do what libseccomp's do: both programs are run by a machine of our own, on many system calls.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "fuzz/machine.rs"]
mod machine;

use machine::{Call, decide};
use rootlet::seccomp::{Action, Architecture, Condition, Operator, Profile, Rule};
use rootlet::sys::seccomp::Instruction;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The oracle, or why there is none.
fn oracle() -> Option<&'static PathBuf> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    ORACLE.get_or_init(build_oracle).as_ref()
}

fn build_oracle() -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle.c");
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("oracle");
    if let Ok(compiled) = Command::new("cc").args(["-o"]).arg(&program).args([source, "-lseccomp"]).output() {
        if compiled.status.success() {
            return Some(program);
        }
        let words = String::from_utf8_lossy(&compiled.stderr);
        assert!(words.contains("seccomp.h: No such file") || words.contains("-lseccomp"), "{words}");
    }
    eprintln!("skipped: libseccomp-dev is not installed");
    if let Some(file) = std::env::var_os("ROOTLET_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "skipped: seccomp: comparison with libseccomp: libseccomp-dev is not installed").unwrap();
    }
    None
}

/// Its program, and the names that it does not know. libseccomp's numbers of actions are the kernel's, but for ERRNO and TRACE, whose data is in the same place.
fn theirs(oracle: &PathBuf, profile: &Profile) -> (Vec<Instruction>, Vec<String>) {
    let mut text = format!("default {}\n", profile.default.0);
    for architecture in &profile.architectures {
        let name = match architecture {
            Architecture::X86_64 => "x86_64",
            Architecture::X86 => "x86",
            Architecture::X32 => "x32",
            Architecture::Aarch64 => "aarch64",
            Architecture::Arm => "arm",
            Architecture::Riscv64 => "riscv64",
        };
        text.push_str(&format!("arch {name}\n"));
    }
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
        for name in &rule.names {
            text.push_str(&format!("rule {} {name}", rule.action.0));
            for Condition { argument, operator, value } in &rule.conditions {
                let (operator, first, second) = match operator {
                    Operator::NotEqual => (1, *value, 0),
                    Operator::Less => (2, *value, 0),
                    Operator::LessOrEqual => (3, *value, 0),
                    Operator::Equal => (4, *value, 0),
                    Operator::GreaterOrEqual => (5, *value, 0),
                    Operator::Greater => (6, *value, 0),
                    Operator::MaskedEqual(mask) => (7, *mask, *value),
                };
                text.push_str(&format!(" {argument} {operator} {first} {second}"));
            }
            text.push('\n');
        }
    }
    let mut child =
        Command::new(oracle).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?} for {text}", output.status);
    let instruction = |bytes: &[u8]| Instruction {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jump_true: bytes[2],
        jump_false: bytes[3],
        operand: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let unknown = said.lines().filter_map(|line| line.strip_prefix("unknown ")).map(str::to_owned);
    (output.stdout.chunks_exact(8).map(instruction).collect(), unknown.collect())
}

/// The newest system call that Debian 12's libseccomp 2.5.4 has on every architecture of ours.
const KNOWN_TO_BOTH: u32 = 450;

/// Asserts that both decide alike, for every number and for arguments around every value of the profile.
fn compare(oracle: &PathBuf, profile: &Profile) -> usize {
    let (ours, (theirs, unknown)) = (profile.compile(), theirs(oracle, profile));
    assert!(ours.len() <= theirs.len().max(16) * 2, "{} instructions, libseccomp has {}", ours.len(), theirs.len());
    let mut values = vec![0, 1, u64::MAX, 1 << 31, 1 << 32];
    for condition in profile.rules.iter().flat_map(|rule| &rule.conditions) {
        let mask = if let Operator::MaskedEqual(mask) = condition.operator { mask } else { 0 };
        for value in [condition.value, mask] {
            values.extend([value, value.wrapping_sub(1), value.wrapping_add(1), value | 1 << 40, value << 32]);
        }
    }
    values.sort();
    values.dedup();
    let named = |architecture: Architecture, number: u32| {
        architecture.system_calls().find(|(known, _)| *known == number).map(|(_, name)| name)
    };
    let mut probes = 0;
    for architecture in X86 {
        let base = architecture.first_number();
        // What is newer than the profile gets ENOSYS from us, where runc puts that in front of libseccomp's filter.
        let table: Vec<_> = architecture.system_calls().collect();
        let has_rule = |name: &str| profile.rules.iter().any(|rule| rule.names.contains(&name));
        let newest = table.iter().filter(|(_, name)| has_rule(name)).map(|(number, _)| number - base).max();
        let is_unknown = |number: u32| {
            named(architecture, base + number).is_some_and(|name| unknown.iter().any(|known| known == name))
        };
        for number in (0..=KNOWN_TO_BOTH).filter(|number| !is_unknown(*number)) {
            let looks_at_arguments = table.iter().any(|(known, name)| {
                *known == base + number
                    && profile.rules.iter().any(|rule| rule.names.contains(name) && !rule.conditions.is_empty())
            });
            let multiplexer = architecture == Architecture::X86 && matches!(number, 102 | 117);
            let interesting = if looks_at_arguments || multiplexer { &values[..] } else { &values[..3] };
            for first in interesting {
                for second in [0, *first, 9] {
                    let call = Call {
                        number: base + number,
                        audit: architecture.audit(),
                        arguments: [*first, second, second, *first, 0, 0],
                    };
                    probes += 1;
                    let (own, other) = (decide(&ours, call), decide(&theirs, call));
                    let is_stub = own == Action::errno(38).0 && newest.is_some_and(|newest| number > newest);
                    assert!(
                        own == other || (is_stub && other == profile.default.0),
                        "{architecture:?} {:?} {call:x?}: ours {own:#x}, libseccomp's {other:#x}",
                        named(architecture, call.number)
                    );
                }
            }
        }
    }
    probes
}

const X86: [Architecture; 3] = [Architecture::X86_64, Architecture::X86, Architecture::X32];

fn rule<'a>(names: &[&'a str], action: Action, conditions: &[Condition]) -> Rule<'a> {
    Rule { names: names.to_vec(), action, conditions: conditions.to_vec() }
}

#[test]
fn every_operator_decides_as_libseccomps() {
    let Some(oracle) = oracle() else { return };
    let mut probes = 0;
    for value in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x8000_0000_0000_0000, u64::MAX] {
        for operator in [
            Operator::NotEqual,
            Operator::Less,
            Operator::LessOrEqual,
            Operator::Equal,
            Operator::GreaterOrEqual,
            Operator::Greater,
            Operator::MaskedEqual(value),
            Operator::MaskedEqual(0xff00_0000_0000_00ff),
        ] {
            let condition = Condition { argument: 0, operator, value };
            let profile = Profile {
                default: Action::errno(1),
                architectures: vec![Architecture::X86_64],
                rules: vec![rule(&["ioctl", "personality"], Action::ALLOW, &[condition])],
            };
            probes += compare(oracle, &profile);
        }
    }
    assert!(probes > 100_000);
}

#[test]
fn where_rules_overlap_ours_is_never_weaker() {
    // libseccomp has an order of its own for them; what it refuses is refused.
    let Some(oracle) = oracle() else { return };
    let condition = |operator, value| Condition { argument: 0, operator, value };
    let allow = |condition| rule(&["ioctl"], Action::ALLOW, &[condition]);
    let refuse = |condition| rule(&["ioctl"], Action::errno(55), &[condition]);
    let mut overlaps = 0;
    for first in [
        condition(Operator::NotEqual, 1),
        condition(Operator::Greater, 0),
        condition(Operator::Less, 9),
        condition(Operator::LessOrEqual, 2),
        condition(Operator::MaskedEqual(1), 0),
    ] {
        for second in
            [condition(Operator::Equal, 2), condition(Operator::GreaterOrEqual, 2), condition(Operator::Less, 3)]
        {
            for rules in [
                vec![allow(first), refuse(second)],
                vec![refuse(second), allow(first)],
                vec![refuse(first), allow(second)],
            ] {
                let profile = Profile { default: Action::errno(1), architectures: X86.to_vec(), rules };
                let (ours, (theirs, _)) = (profile.compile(), theirs(oracle, &profile));
                for value in 0..12 {
                    let call =
                        Call { number: 16, audit: Architecture::X86_64.audit(), arguments: [value, 0, 0, 0, 0, 0] };
                    let (own, other) = (decide(&ours, call), decide(&theirs, call));
                    overlaps += usize::from(own != other);
                    assert!(
                        own != Action::ALLOW.0 || other == own,
                        "{:?}: {call:?}: {own:#x} {other:#x}",
                        profile.rules
                    );
                }
            }
        }
    }
    assert!(overlaps > 0, "they never meet differently: this could be compared to the letter");
}

#[test]
fn dockers_default_profile_decides_as_libseccomps() {
    let Some(oracle) = oracle() else { return };
    let text: serde_json::Value = serde_json::from_str(include_str!("profiles/docker.json")).unwrap();
    let strings = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let rules: Vec<(Vec<String>, Action, Vec<Condition>)> = text["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let action = match rule["errnoRet"].as_u64() {
                Some(errno) => Action::errno(errno as u16),
                None => Action::ALLOW,
            };
            let conditions = rule["args"].as_array().into_iter().flatten().map(|argument| {
                let (value, second) = (argument["value"].as_u64().unwrap(), argument["valueTwo"].as_u64().unwrap_or(0));
                let (operator, value) = match argument["op"].as_str().unwrap() {
                    "SCMP_CMP_EQ" => (Operator::Equal, value),
                    "SCMP_CMP_LT" => (Operator::Less, value),
                    "SCMP_CMP_MASKED_EQ" => (Operator::MaskedEqual(value), second),
                    other => panic!("{other}"),
                };
                Condition { argument: argument["index"].as_u64().unwrap() as u8, operator, value }
            });
            (strings(&rule["names"]), action, conditions.collect())
        })
        .collect();
    let rules = rules.iter().map(|(names, action, conditions)| Rule {
        names: names.iter().map(String::as_str).collect(),
        action: *action,
        conditions: conditions.clone(),
    });
    let profile = Profile { default: Action::errno(1), architectures: X86.to_vec(), rules: rules.collect() };
    assert!(compare(oracle, &profile) > 10_000);
}

/// (One thing is left out: of "refuse a == 16 and c == 9; allow c != 9; allow a != 16" libseccomp 2.5.4 loses the last.)
#[test]
fn rules_that_meet_decide_as_libseccomps() {
    let Some(oracle) = oracle() else { return };
    let equal = |argument, value| Condition { argument, operator: Operator::Equal, value };
    let greater = |argument, value| Condition { argument, operator: Operator::Greater, value };
    let profiles = [
        // Several conditions, several rules for one call, and a plain one that supersedes.
        vec![
            rule(&["socket"], Action::errno(22), &[equal(0, 16), equal(2, 9)]),
            rule(&["ioctl"], Action::TRAP, &[equal(1, 0x5412)]),
            rule(&["ioctl"], Action::ALLOW, &[greater(1, 0x6000)]),
            rule(&["read"], Action::KILL_PROCESS, &[equal(0, 3)]),
            rule(&["read", "write"], Action::ALLOW, &[]),
        ],
        vec![rule(&["write"], Action::LOG, &[]), rule(&["write"], Action::ALLOW, &[])],
        // Multiplexed calls of x86.
        vec![
            rule(&["bind", "connect", "shmget", "semop", "msgctl"], Action::ALLOW, &[]),
            rule(&["accept4"], Action::trace(7), &[]),
        ],
        vec![rule(&["socketcall", "socket"], Action::ALLOW, &[])],
        // Far more rules than a short jump reaches.
        vec![rule(
            &[
                "read",
                "open",
                "stat",
                "poll",
                "mmap",
                "brk",
                "ioctl",
                "pipe",
                "dup",
                "nanosleep",
                "getpid",
                "clone",
                "execve",
                "kill",
                "uname",
                "fcntl",
            ],
            Action::ALLOW,
            &[equal(0, 1), greater(1, 2), equal(2, 9), equal(3, 4)],
        )],
        vec![],
    ];
    for (index, rules) in profiles.iter().enumerate() {
        for default in [Action::errno(1), Action::ALLOW, Action::KILL_PROCESS] {
            for architectures in [&X86[..1], &X86[..2], &X86, &[Architecture::X86_64, Architecture::X32]] {
                let profile = Profile { default, architectures: architectures.to_vec(), rules: rules.clone() };
                assert!(compare(oracle, &profile) > 5000, "profile {index}");
            }
        }
    }
}
