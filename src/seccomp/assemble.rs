//! Writing the filter's program, from its end to its start: whoever jumps knows how far.

use super::{Action, Condition, Operator};
use crate::sys::seccomp::Instruction;

/// Where a range of numbers ends up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// Whatever the arguments are.
    Return(Action),
    /// The action of the first whose conditions all hold, or the default one; `wide`: arguments have 64 bits.
    Check { checks: Vec<(Vec<Condition>, Action)>, wide: bool },
}

/// An instruction that was written, counted from the end of the program.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

/// linux/filter.h.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// struct seccomp_data of linux/seccomp.h: number, architecture, instruction pointer, six arguments.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A conditional jump has 8 bits for its distance; two long jumps may have to be written in between.
const NEAR: usize = 250;

/// A program that is being written, backwards.
#[derive(Debug, Default)]
pub struct Program {
    backwards: Vec<Instruction>,
    /// Checks that were written, for others that are alike.
    checks: Vec<(Leaf, Place)>,
}

impl Program {
    /// The program, forwards.
    pub fn into_instructions(mut self) -> Vec<Instruction> {
        self.backwards.reverse();
        self.backwards
    }

    fn write(&mut self, code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Place {
        self.backwards.push(Instruction { code, jump_true, jump_false, operand });
        Place(self.backwards.len() - 1)
    }

    /// How many instructions lie between the next one to be written and `place`.
    fn distance(&self, place: Place) -> usize {
        self.backwards.len() - place.0 - 1
    }

    /// A place that a conditional jump reaches: `place`, or a long jump to it.
    fn within_reach(&mut self, place: Place) -> Place {
        match self.distance(place) {
            distance if distance > NEAR => self.write(JUMP, distance as u32, 0, 0),
            _ => place,
        }
    }

    fn branch(&mut self, comparison: u16, operand: u32, yes: Place, no: Place) -> Place {
        let yes = self.within_reach(yes);
        let no = self.within_reach(no);
        let (yes, no) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.write(comparison, operand, yes, no)
    }

    /// Ends with an action.
    pub fn finish(&mut self, action: Action) -> Place {
        // A copy that is near is as good as a new one.
        let near = self.backwards.iter().rev().take(NEAR);
        match near.clone().position(|instruction| instruction.code == RETURN && instruction.operand == action.0) {
            Some(back) => Place(self.backwards.len() - 1 - back),
            None => self.write(RETURN, action.0, 0, 0),
        }
    }

    /// Finds the range of the number that was loaded. `ranges` ascend from 0.
    pub fn tree(&mut self, ranges: &[(u32, Leaf)], default: Action) -> Place {
        match ranges {
            [] => self.finish(default),
            [(_, leaf)] => self.leaf(leaf, default),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let start = high.first().map_or(0, |(start, _)| *start);
                let high = self.tree(high, default);
                let low = self.tree(low, default);
                self.branch(JUMP_IF_GREATER_OR_EQUAL, start, high, low)
            }
        }
    }

    fn leaf(&mut self, leaf: &Leaf, default: Action) -> Place {
        match leaf {
            Leaf::Return(action) => self.finish(*action),
            Leaf::Check { checks, wide } => {
                if let Some((_, place)) = self.checks.iter().find(|(known, _)| known == leaf) {
                    return *place;
                }
                let mut otherwise = self.finish(default);
                for (conditions, action) in checks.iter().rev() {
                    let mut then = self.finish(*action);
                    for condition in conditions.iter().rev() {
                        then = self.condition(condition, *wide, then, otherwise);
                    }
                    otherwise = then;
                }
                self.checks.push((leaf.clone(), otherwise));
                otherwise
            }
        }
    }

    fn condition(&mut self, condition: &Condition, wide: bool, yes: Place, no: Place) -> Place {
        let argument = ARGUMENTS + 8 * u32::from(condition.argument);
        let (low, high) = (argument, argument + 4);
        let (value_low, value_high) = (condition.value as u32, (condition.value >> 32) as u32);
        // Each comparison is written from its last instruction to its first; a narrow one has no high half.
        match condition.operator {
            Operator::Equal => {
                let place = self.compare(JUMP_IF_EQUAL, low, None, value_low, yes, no);
                if wide { self.compare(JUMP_IF_EQUAL, high, None, value_high, place, no) } else { place }
            }
            Operator::NotEqual => self.condition(&Condition { operator: Operator::Equal, ..*condition }, wide, no, yes),
            Operator::MaskedEqual(mask) => {
                // As libseccomp: bits of the value outside of the mask do not count.
                let (mask_low, mask_high) = (mask as u32, (mask >> 32) as u32);
                let place = self.compare(JUMP_IF_EQUAL, low, Some(mask_low), value_low & mask_low, yes, no);
                if !wide {
                    return place;
                }
                self.compare(JUMP_IF_EQUAL, high, Some(mask_high), value_high & mask_high, place, no)
            }
            Operator::GreaterOrEqual | Operator::Greater => {
                let last = match condition.operator {
                    Operator::Greater => JUMP_IF_GREATER,
                    _ => JUMP_IF_GREATER_OR_EQUAL,
                };
                let place = self.compare(last, low, None, value_low, yes, no);
                if !wide {
                    return place;
                }
                let equal = self.branch(JUMP_IF_EQUAL, value_high, place, no);
                self.compare(JUMP_IF_GREATER, high, None, value_high, yes, equal)
            }
            Operator::Less => {
                self.condition(&Condition { operator: Operator::GreaterOrEqual, ..*condition }, wide, no, yes)
            }
            Operator::LessOrEqual => {
                self.condition(&Condition { operator: Operator::Greater, ..*condition }, wide, no, yes)
            }
        }
    }

    fn compare(&mut self, how: u16, offset: u32, mask: Option<u32>, value: u32, yes: Place, no: Place) -> Place {
        let mut place = self.branch(how, value, yes, no);
        if let Some(mask) = mask {
            place = self.write(AND, mask, 0, 0);
        }
        // What is loaded falls through to what was written last.
        debug_assert_eq!(self.distance(place), 0);
        self.write(LOAD, offset, 0, 0)
    }

    /// Loads the number, and goes on at `next`.
    pub fn load_number(&mut self, next: Place) -> Place {
        self.load(NUMBER, next)
    }

    /// Loads the architecture, and goes on at `next`.
    pub fn load_architecture(&mut self, next: Place) -> Place {
        self.load(ARCHITECTURE, next)
    }

    fn load(&mut self, offset: u32, next: Place) -> Place {
        if self.distance(next) > 0 {
            let distance = self.distance(next) as u32;
            self.write(JUMP, distance, 0, 0);
        }
        self.write(LOAD, offset, 0, 0)
    }

    /// Goes on at `yes` for one architecture, at `no` for others.
    pub fn compare_architecture(&mut self, audit: u32, yes: Place, no: Place) -> Place {
        self.branch(JUMP_IF_EQUAL, audit, yes, no)
    }
}
