//! Lists of CPUs and memory nodes, as cpuset(7) writes them: `0-3,7`.

use super::Planner;
use crate::error::Result;

/// The numbers as a bit mask, below `most`.
pub fn parse(planner: &Planner, text: &str, most: u32) -> Result<Box<[u64]>> {
    let wrong = || {
        planner
            .error(format!("{text:?} is not a list of numbers below {most}"))
            .remedy("write numbers and ranges such as \"0-3,7\"")
    };
    let mut mask = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number < most);
        let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(wrong()) };
        if first > last {
            return Err(wrong());
        }
        for number in first..=last {
            let word = number as usize / 64;
            if mask.len() <= word {
                mask.resize(word + 1, 0u64);
            }
            if let Some(word) = mask.get_mut(word) {
                *word |= 1 << (number % 64);
            }
        }
    }
    Ok(mask.into_boxed_slice())
}
