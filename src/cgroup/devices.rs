//! Device rules as a program for the kernel (BPF_PROG_TYPE_CGROUP_DEVICE): cgroup v2 has no files for them.
//!
//! The program is asked on every open and mknod. Each kind of access is decided by the last rule that covers it, as in
//! cgroup v1, so rules are looked at from the last to the first; what no rule covers is denied.

use crate::spec::DeviceRule;

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// One rule; `None` is any.
#[derive(Clone, Copy)]
struct Rule {
    allow: bool,
    /// linux/bpf.h: 1 is a block device, 2 a character device.
    kind: Option<u8>,
    major: Option<i32>,
    minor: Option<i32>,
    access: u8,
}

/// What every container may use, unless a rule denies it in particular: the devices that are made for it, and nodes without opening them.
const DEFAULTS: [Rule; 10] = {
    const fn character(major: i32, minor: Option<i32>) -> Rule {
        Rule { allow: true, kind: Some(2), major: Some(major), minor, access: ALL }
    }
    [
        Rule { allow: true, kind: Some(2), major: None, minor: None, access: MKNOD },
        Rule { allow: true, kind: Some(1), major: None, minor: None, access: MKNOD },
        character(1, Some(3)),
        character(1, Some(5)),
        character(1, Some(7)),
        character(1, Some(8)),
        character(1, Some(9)),
        character(5, Some(0)),
        character(5, Some(2)),
        character(136, None),
    ]
};

impl From<&DeviceRule> for Rule {
    fn from(rule: &DeviceRule) -> Rule {
        let number = |number: Option<i64>| number.filter(|number| *number >= 0).map(|number| number as i32);
        let access = rule.access.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
        let bit = |letter| match letter {
            'r' => READ,
            'w' => WRITE,
            _ => MKNOD,
        };
        Rule {
            allow: rule.allow,
            kind: match rule.kind.as_deref() {
                Some("b") => Some(1),
                Some("c") => Some(2),
                _ => None,
            },
            major: number(rule.major),
            minor: number(rule.minor),
            access: access.chars().fold(0, |access, letter| access | bit(letter)),
        }
    }
}

/// True for rules that deny everything and then only allow, as runc's own config has them.
pub fn lists_what_is_allowed(rules: &[DeviceRule]) -> bool {
    let rules: Vec<Rule> = rules.iter().map(Rule::from).collect();
    let denies_all = |rule: &Rule| !rule.allow && rule.is_for_all();
    let last = rules.iter().rposition(denies_all);
    last.is_some_and(|last| rules.iter().skip(last + 1).all(|rule| rule.allow))
}

impl Rule {
    fn is_for_all(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

/// An instruction (linux/bpf.h, struct bpf_insn), in the byte order of little-endian machines.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(code)
        | u64::from(source << 4 | destination) << 8
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb4;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP: u8 = 0x05;
const JUMP_IF_ANY: u8 = 0x45;
const EXIT: u8 = 0x95;

/// The program of some rules; `None` if everything is allowed.
pub fn program(rules: &[DeviceRule]) -> Option<Vec<u64>> {
    let rules: Vec<Rule> = rules.iter().map(Rule::from).collect();
    let last = rules.iter().rposition(Rule::is_for_all);
    let after = last.map_or(&rules[..], |last| rules.get(last + 1..).unwrap_or_default());
    if last.and_then(|last| rules.get(last)).is_some_and(|rule| rule.allow) && after.iter().all(|rule| rule.allow) {
        return None;
    }
    // Registers: 2 the type, 3 the access that is still to be decided, 4 major, 5 minor.
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    // What is said of all devices comes behind the defaults, and what is said of some since then comes before them.
    let general = last.map_or(&rules[..0], |last| rules.get(..=last).unwrap_or_default());
    let order = after.iter().rev().chain(&DEFAULTS).chain(general.iter().rev());
    for rule in order {
        let decide = match rule.allow {
            // What is allowed needs no further looking at.
            true => vec![
                instruction(AND, 3, 0, 0, i32::from(!rule.access & ALL)),
                instruction(JUMP_IF_NOT, 3, 0, 2, 0),
                instruction(MOVE, 0, 0, 0, 1),
                instruction(EXIT, 0, 0, 0, 0),
            ],
            false => vec![
                instruction(JUMP_IF_ANY, 3, 0, 1, i32::from(rule.access)),
                instruction(JUMP, 0, 0, 2, 0),
                instruction(MOVE, 0, 0, 0, 0),
                instruction(EXIT, 0, 0, 0, 0),
            ],
        };
        let conditions = [(2, rule.kind.map(i32::from)), (4, rule.major), (5, rule.minor)];
        let conditions: Vec<(u8, i32)> =
            conditions.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
        let count = conditions.len();
        for (index, (register, value)) in conditions.into_iter().enumerate() {
            let over = (count - index - 1 + decide.len()) as i16;
            program.push(instruction(JUMP_IF_NOT, register, 0, over, value));
        }
        program.extend(decide);
    }
    program.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    Some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn asks(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u32; 11];
        let mut next = 0;
        loop {
            let word = program[next];
            next += 1;
            let (code, destination, source) = (word as u8, (word >> 8) as usize & 15, (word >> 12) as usize & 15);
            let (offset, immediate) = ((word >> 16) as i16, (word >> 32) as u32);
            let jump = match code {
                LOAD_WORD => {
                    assert_eq!(source, 1, "only the context is read");
                    registers[destination] = context[offset as usize / 4];
                    false
                }
                AND => {
                    registers[destination] &= immediate;
                    false
                }
                SHIFT_RIGHT => {
                    registers[destination] >>= immediate;
                    false
                }
                MOVE => {
                    registers[destination] = immediate;
                    false
                }
                JUMP_IF_NOT => registers[destination] != immediate,
                JUMP => true,
                JUMP_IF_ANY => registers[destination] & immediate != 0,
                EXIT => return registers[0] != 0,
                other => panic!("unknown code {other:#x}"),
            };
            if jump {
                next = next.checked_add_signed(offset.into()).unwrap();
            }
        }
    }

    fn rules(text: &str) -> Vec<DeviceRule> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_last_rule_that_covers_an_access_decides() {
        let text = r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": true, "type": "b", "major": 8, "access": "rwm"}, {"allow": false, "type": "b", "major": 8, "minor": 1, "access": "w"}]"#;
        let program = program(&rules(text)).unwrap();
        let (read, write, both, mknod) = (2, 4, 6, 1);
        let asks = |kind, access, major, minor| asks(&program, kind, access, major, minor);
        assert!(asks(2, both, 1, 3), "/dev/null, although all is denied");
        assert!(asks(2, both, 136, 7) && asks(2, mknod, 99, 9) && asks(1, mknod, 99, 9));
        assert!(asks(2, both, 10, 229) && !asks(2, both, 10, 228) && !asks(1, read, 10, 229));
        assert!(asks(1, both, 8, 0) && asks(1, read, 8, 1));
        assert!(!asks(1, write, 8, 1) && !asks(1, both, 8, 1), "one denied access denies all of it");
        assert!(!asks(2, read, 1, 1) && !asks(1, read, 9, 0));
    }

    #[test]
    fn a_default_device_is_denied_in_particular() {
        let text = r#"[{"allow": false}, {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "w"}]"#;
        let program = program(&rules(text)).unwrap();
        assert!(asks(&program, 2, 2, 1, 5) && !asks(&program, 2, 4, 1, 5) && asks(&program, 2, 4, 1, 3));
    }

    #[test]
    fn no_program_is_needed_where_all_is_allowed() {
        assert_eq!(program(&rules(r#"[{"allow": false}, {"allow": true}]"#)), None);
        assert!(program(&rules(r#"[{"allow": true}, {"allow": false, "type": "b"}]"#)).is_some());
        assert!(program(&[]).is_some(), "without rules, what is not made for it is denied");
    }
}
