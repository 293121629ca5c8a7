//! Writing the filter's program, from its end to its start: whoever jumps knows how far.

use super::{Action, Condition, Operator};
use crate::sys::seccomp::Instruction;

/// Where a range of numbers ends up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// Whatever the arguments are.
    Return(Action),
    /// As a check of that number says.
    Check(u32),
}

/// A look at the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The action of the first whose conditions all hold counts, or the default one.
    pub alternatives: Vec<(Vec<Condition>, Action)>,
    /// Whether arguments have 64 bits.
    pub wide: bool,
}

/// What the numbers of an architecture lead to, as far as rules name them.
#[derive(Debug)]
pub struct Leaves {
    /// Whether arguments have 64 bits.
    wide: bool,
    /// By number: most are below 600.
    dense: Vec<Option<Leaf>>,
    /// Those that are a million away (arm), in ascending order.
    far: Vec<(u32, Option<Leaf>)>,
}

impl Leaves {
    /// None yet.
    pub fn new(wide: bool) -> Leaves {
        Leaves { wide, dense: vec![None; 600], far: Vec::new() }
    }

    /// Adds a rule. One without conditions supersedes, and the first of several counts.
    pub fn add(&mut self, number: u32, conditions: &[Condition], action: Action, checks: &mut Vec<Check>) {
        if conditions.is_empty() {
            let leaf = self.leaf(number);
            if !matches!(leaf, Some(Leaf::Return(_))) {
                *leaf = Some(Leaf::Return(action));
            }
        } else if let Some(check) = self.check(number, checks) {
            check.alternatives.push((conditions.to_vec(), action));
        }
    }

    /// Adds a rule for one operation of a multiplexer; its other arguments are those of the multiplexer.
    pub fn add_operation(
        &mut self,
        (number, operation): (u32, u32),
        conditions: &[Condition],
        action: Action,
        checks: &mut Vec<Check>,
    ) {
        let operation = Condition { argument: 0, operator: Operator::Equal, value: operation.into() };
        let others = conditions.iter().filter(|condition| condition.argument != 0);
        let conditions: Vec<_> = std::iter::once(&operation).chain(others).copied().collect();
        let Some(check) = self.check(number, checks) else { return };
        if conditions.len() == 1 {
            check.alternatives.retain(|(known, _)| known.len() == 1 || known.first() != Some(&operation));
        }
        if !check.alternatives.iter().any(|(known, _)| *known == [operation]) {
            check.alternatives.push((conditions, action));
        }
    }

    /// The check of a number, unless its fate is sealed.
    fn check<'a>(&mut self, number: u32, checks: &'a mut Vec<Check>) -> Option<&'a mut Check> {
        let wide = self.wide;
        let index = match self.leaf(number) {
            Some(Leaf::Return(_)) => return None,
            Some(Leaf::Check(index)) => *index as usize,
            leaf @ None => {
                *leaf = Some(Leaf::Check(checks.len() as u32));
                checks.push(Check { alternatives: Vec::new(), wide });
                checks.len() - 1
            }
        };
        checks.get_mut(index)
    }

    fn leaf(&mut self, number: u32) -> &mut Option<Leaf> {
        if number >= 0xf_0000 {
            let at = self.far.partition_point(|(known, _)| *known < number);
            if self.far.get(at).is_none_or(|(known, _)| *known != number) {
                self.far.insert(at, (number, None));
            }
            return &mut self.far[at].1;
        }
        let number = number as usize;
        if self.dense.len() <= number {
            self.dense.resize(number + 1, None);
        }
        &mut self.dense[number]
    }

    /// The number after the newest that is named, but for private ones; 0 if there is none.
    pub fn behind_newest(&self) -> u32 {
        self.dense.iter().rposition(Option::is_some).map_or(0, |newest| newest as u32 + 1)
    }

    /// In ascending order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Option<Leaf>)> {
        // After the last of the near ones, and after each far one, nothing is named.
        let far = self.far.iter().flat_map(|(number, leaf)| [(*number, *leaf), (number + 1, None)]);
        let end = std::iter::once((self.dense.len() as u32, None));
        (0..).zip(self.dense.iter().copied()).chain(end).chain(far)
    }
}

/// Ranges of numbers in ascending order, and where each ends up.
#[derive(Debug, Default, PartialEq)]
pub struct Ranges(Vec<(u32, Leaf)>);

impl Ranges {
    /// From `start` on, `leaf` counts. Neighbours that are alike are one range.
    pub fn begin(&mut self, start: u32, leaf: Leaf) {
        if self.0.last().is_some_and(|(known, _)| *known == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|(_, known)| *known != leaf) {
            self.0.push((start, leaf));
        }
    }
}

/// An instruction that was written, counted from the end of the program.
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

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

/// True if two neighbours ask the same of one argument, but for the value: profiles list socket families so.
fn is_one_of_several_values(one: &(Vec<Condition>, Action), other: &(Vec<Condition>, Action)) -> bool {
    match (&one.0[..], &other.0[..]) {
        ([first], [second]) => {
            let alike = Condition { value: first.value, ..*second } == *first;
            alike && one.1 == other.1 && first.operator == Operator::Equal && first.value >> 32 == second.value >> 32
        }
        _ => false,
    }
}

/// A program that is being written, backwards.
#[derive(Debug)]
pub struct Program {
    backwards: Vec<Instruction>,
    default: Action,
    /// Where each action was written last.
    ends: Vec<(Action, Label)>,
    /// What there is to check, and where it was written.
    checks: Vec<(Check, Option<Label>)>,
}

impl Program {
    /// A program with a default action, and checks by their numbers.
    pub fn new(default: Action, checks: Vec<Check>) -> Program {
        let checks = checks.into_iter().map(|check| (check, None)).collect();
        Program { backwards: Vec::with_capacity(512), default, ends: Vec::new(), checks }
    }

    /// The program, forwards.
    pub fn into_instructions(mut self) -> Vec<Instruction> {
        self.backwards.reverse();
        self.backwards
    }

    fn write(&mut self, code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Label {
        self.backwards.push(Instruction { code, jump_true, jump_false, operand });
        Label(self.backwards.len() - 1)
    }

    /// How many instructions lie between the next one to be written and `label`.
    fn distance(&self, label: Label) -> usize {
        self.backwards.len() - label.0 - 1
    }

    /// A target that a conditional jump reaches: `label`, or a long jump to it.
    fn within_reach(&mut self, label: Label) -> Label {
        match self.distance(label) {
            distance if distance > NEAR => self.write(JUMP, distance as u32, 0, 0),
            _ => label,
        }
    }

    fn branch(&mut self, comparison: u16, operand: u32, yes: Label, no: Label) -> Label {
        let yes = self.within_reach(yes);
        let no = self.within_reach(no);
        let (yes, no) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.write(comparison, operand, yes, no)
    }

    /// Ends with an action.
    pub fn finish(&mut self, action: Action) -> Label {
        // One that is near is as good as a new one.
        let known = self.ends.iter().position(|(known, _)| *known == action);
        match known.and_then(|known| self.ends.get(known)) {
            Some((_, label)) if self.distance(*label) < NEAR => return *label,
            _ => {}
        }
        let label = self.write(RETURN, action.0, 0, 0);
        match known.and_then(|known| self.ends.get_mut(known)) {
            Some((_, known)) => *known = label,
            None => self.ends.push((action, label)),
        }
        label
    }

    /// Finds the range of the number that was loaded.
    pub fn tree(&mut self, ranges: &Ranges) -> Label {
        self.branches(&ranges.0)
    }

    fn branches(&mut self, ranges: &[(u32, Leaf)]) -> Label {
        match ranges {
            [] => self.finish(self.default),
            [(_, Leaf::Return(action))] => self.finish(*action),
            [(_, Leaf::Check(index))] => self.check(*index as usize),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let start = high.first().map_or(0, |(start, _)| *start);
                let high = self.branches(high);
                let low = self.branches(low);
                self.branch(JUMP_IF_GREATER_OR_EQUAL, start, high, low)
            }
        }
    }

    fn check(&mut self, index: usize) -> Label {
        let (alternatives, wide) = match self.checks.get_mut(index) {
            Some((_, Some(label))) => return *label,
            Some((check, _)) => {
                // Where rules overlap, the stricter one counts: libseccomp's order is its own, and never weaker than this.
                check.alternatives.sort_by_key(|(_, action)| action.is_permissive());
                (check.alternatives.clone(), check.wide)
            }
            None => return self.finish(self.default),
        };
        let is_alike = |(check, label): &&(Check, Option<Label>)| {
            label.is_some() && check.wide == wide && check.alternatives == alternatives
        };
        if let Some((_, Some(label))) = self.checks.iter().find(is_alike) {
            return *label;
        }
        let mut otherwise = self.finish(self.default);
        for group in alternatives.chunk_by(is_one_of_several_values).rev() {
            let Some((conditions, action)) = group.first() else { continue };
            let mut then = self.finish(*action);
            if let ([_, _, ..], [condition]) = (group, &conditions[..]) {
                let values = group.iter().filter_map(|(conditions, _)| Some(conditions.first()?.value));
                otherwise = self.any_of(condition, values.rev(), wide, then, otherwise);
                continue;
            }
            for condition in conditions.iter().rev() {
                then = self.condition(condition, wide, then, otherwise);
            }
            otherwise = then;
        }
        if let Some((_, label)) = self.checks.get_mut(index) {
            *label = Some(otherwise);
        }
        otherwise
    }

    /// An argument that is one of several values, which differ in their low halves: each half is loaded once.
    fn any_of(
        &mut self,
        condition: &Condition,
        values: impl Iterator<Item = u64>,
        wide: bool,
        yes: Label,
        no: Label,
    ) -> Label {
        let argument = ARGUMENTS + 8 * u32::from(condition.argument);
        let mut label = no;
        for value in values {
            label = self.branch(JUMP_IF_EQUAL, value as u32, yes, label);
        }
        label = self.write(LOAD, argument, 0, 0);
        if wide {
            label = self.compare(JUMP_IF_EQUAL, argument + 4, None, (condition.value >> 32) as u32, label, no);
        }
        label
    }

    fn condition(&mut self, condition: &Condition, wide: bool, yes: Label, no: Label) -> Label {
        let argument = ARGUMENTS + 8 * u32::from(condition.argument);
        let (low, high) = (argument, argument + 4);
        let (value_low, value_high) = (condition.value as u32, (condition.value >> 32) as u32);
        // Each comparison is written from its last instruction to its first; a narrow one has no high half.
        match condition.operator {
            Operator::Equal => {
                let label = self.compare(JUMP_IF_EQUAL, low, None, value_low, yes, no);
                if wide { self.compare(JUMP_IF_EQUAL, high, None, value_high, label, no) } else { label }
            }
            Operator::NotEqual => self.condition(&Condition { operator: Operator::Equal, ..*condition }, wide, no, yes),
            Operator::MaskedEqual(mask) => {
                // As libseccomp: bits of the value outside of the mask do not count.
                let (mask_low, mask_high) = (mask as u32, (mask >> 32) as u32);
                let label = self.compare(JUMP_IF_EQUAL, low, Some(mask_low), value_low & mask_low, yes, no);
                if !wide {
                    return label;
                }
                self.compare(JUMP_IF_EQUAL, high, Some(mask_high), value_high & mask_high, label, no)
            }
            Operator::GreaterOrEqual | Operator::Greater => {
                let last = match condition.operator {
                    Operator::Greater => JUMP_IF_GREATER,
                    _ => JUMP_IF_GREATER_OR_EQUAL,
                };
                let label = self.compare(last, low, None, value_low, yes, no);
                if !wide {
                    return label;
                }
                let equal = self.branch(JUMP_IF_EQUAL, value_high, label, no);
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

    fn compare(&mut self, how: u16, offset: u32, mask: Option<u32>, value: u32, yes: Label, no: Label) -> Label {
        let mut label = self.branch(how, value, yes, no);
        if let Some(mask) = mask {
            label = self.write(AND, mask, 0, 0);
        }
        // What is loaded falls through to what was written last.
        debug_assert_eq!(self.distance(label), 0);
        self.write(LOAD, offset, 0, 0)
    }

    /// Loads the number, and goes on at `next`.
    pub fn load_number(&mut self, next: Label) -> Label {
        self.load(NUMBER, next)
    }

    /// Loads the architecture, and goes on at `next`.
    pub fn load_architecture(&mut self, next: Label) -> Label {
        self.load(ARCHITECTURE, next)
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        if self.distance(next) > 0 {
            let distance = self.distance(next) as u32;
            self.write(JUMP, distance, 0, 0);
        }
        self.write(LOAD, offset, 0, 0)
    }

    /// Goes on at `yes` for one architecture, at `no` for others.
    pub fn compare_architecture(&mut self, audit: u32, yes: Label, no: Label) -> Label {
        self.branch(JUMP_IF_EQUAL, audit, yes, no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_alike_are_one_range() {
        let (allow, refuse) = (Leaf::Return(Action::ALLOW), Leaf::Return(Action::errno(1)));
        let mut ranges = Ranges::default();
        for (start, leaf) in [(0, refuse), (3, allow), (4, refuse), (4, allow), (5, refuse)] {
            ranges.begin(start, leaf);
        }
        assert_eq!(ranges, Ranges(vec![(0, refuse), (3, allow), (5, refuse)]));
    }
}
