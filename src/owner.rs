//! Owners that a file system cannot be given, as umoci, PRoot and others keep them: in an extended attribute.

use std::ffi::CStr;

/// The attribute: protocol buffers, with the uid as field 1 and the gid as field 2.
pub const ATTRIBUTE: &CStr = c"user.rootlesscontainers";

/// Says that an id is the file's own, as umoci writes it.
const OWN: u32 = u32::MAX;

/// What is written for a uid and a gid; `own` are those of the file.
pub fn encode((uid, gid): (u32, u32), own: (u32, u32)) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, number, own) in [(0x08, uid, own.0), (0x10, gid, own.1)] {
        text.push(key);
        let mut number = if number == own { OWN } else { number };
        while number >= 0x80 {
            text.push(number as u8 | 0x80);
            number >>= 7;
        }
        text.push(number as u8);
    }
    text
}

/// What was written, with the file's own ids where it says nothing else; `None` if it is no such text.
pub fn decode(text: &[u8], (uid, gid): (u32, u32)) -> Option<(u32, u32)> {
    let mut owner = (uid, gid);
    let mut bytes = text.iter().copied();
    while let Some(key) = bytes.next() {
        let mut number = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = bytes.next()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let id = u32::try_from(number).ok()?;
        match key {
            0x08 if id != OWN => owner.0 = id,
            0x10 if id != OWN => owner.1 = id,
            0x08 | 0x10 => {}
            _ => return None,
        }
    }
    Some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_written_as_umoci_writes_them() {
        assert_eq!(encode((1000, 0), (0, 0)), [0x08, 0xe8, 0x07, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(encode((0, 42), (0, 0)), [0x08, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x10, 42]);
        assert_eq!(encode((1, 300), (0, 0)), [0x08, 1, 0x10, 0xac, 0x02]);
    }

    #[test]
    fn what_was_written_is_read() {
        for owner in [(0, 0), (1000, 0), (0, 42), (1, 300), (70_000, 4_000_000_000)] {
            for own in [(0, 0), (5, 6), (0, 42)] {
                assert_eq!(decode(&encode(owner, own), own), Some(owner));
            }
        }
        // protoc leaves out what is 0.
        assert_eq!(decode(&[0x10, 42], (7, 8)), Some((7, 42)));
        assert_eq!(decode(&[], (7, 8)), Some((7, 8)));
        for text in [&[0x08][..], &[0x08, 0x80], &[0x1a, 1], &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(decode(text, (0, 0)), None, "{text:?}");
        }
    }
}
