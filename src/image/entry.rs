//! What an entry of a layer says of itself: its header, its extended headers (pax(1), GNU tar's "Sparse Formats"), and its path.

use super::failure::{Done, Failure, damaged};
use crate::error::Result;
use crate::owner;
use std::ffi::CString;
use std::io::{self, Read};
use tar::EntryType;

/// In front of an extended attribute's name (Go, star).
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What an entry says of itself.
pub struct Meta {
    /// Permissions (inode(7)).
    pub mode: u32,
    /// Uid and gid.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Extended attributes that are kept.
    pub attributes: Vec<(CString, Vec<u8>)>,
}

/// Where bytes of a sparse file are: the first of them, and how many.
pub type Span = (u64, u64);

/// What the extended headers of an entry say (pax(1), GNU tar's "Sparse Formats").
#[derive(Debug, Default)]
pub struct Extended {
    attributes: Vec<(CString, Vec<u8>)>,
    modified: Option<(i64, u32)>,
    /// Its name and what it links to, where they are said here.
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// Of a sparse file: its own name, its size, and where its bytes are, if not in front of them.
    pub name: Option<Vec<u8>>,
    size: Option<u64>,
    map: Vec<u64>,
    is_map_in_front: bool,
}

impl Extended {
    /// Reads it.
    pub fn read(entry: &mut tar::Entry<impl Read>) -> Done<Extended> {
        let mut extended = Extended::default();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for extension in entry.pax_extensions().map_err(Failure::Read)?.into_iter().flatten() {
            let extension = extension.map_err(Failure::Read)?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            // Pairs of these are how a map is written.
            if !matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
                if seen.iter().any(|known| known == key) {
                    return Err(damaged(&format!("an extended header says {} twice", lossy(key))).into());
                }
                seen.push(key.to_vec());
            }
            let parse = |value: &[u8]| str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            let junk =
                || Failure::Refused(damaged(&format!("an extended header has a {} that is no number", lossy(key))));
            let number = || parse(value).ok_or_else(junk);
            if matches!(key, b"size" | b"uid" | b"gid") {
                number()?;
            }
            match key {
                b"path" => extended.path = Some(value.to_vec()),
                b"linkpath" => extended.link = Some(value.to_vec()),
                b"mtime" => extended.modified = time(value),
                b"GNU.sparse.name" => extended.name = Some(value.to_vec()),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => extended.size = Some(number()?),
                b"GNU.sparse.major" => extended.is_map_in_front = value == b"1",
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => extended.map.push(number()?),
                b"GNU.sparse.map" => {
                    let numbers = value.split(|byte| *byte == b',').filter(|number| !number.is_empty());
                    extended.map = numbers.map(|number| parse(number).ok_or_else(junk)).collect::<Done<_>>()?;
                }
                _ => {}
            }
            if let Some(name) = key.strip_prefix(ATTRIBUTE)
                && name.len() > "user.".len()
                && is_kept(name)
                && let Ok(name) = CString::new(name)
            {
                extended.attributes.push((name, value.to_vec()));
            }
        }
        Ok(extended)
    }

    /// Where the bytes of a sparse file are, and its size; `None` for another one.
    pub fn holes(&self, entry: &mut impl Read) -> Done<Option<(Vec<Span>, u64)>> {
        let Some(size) = self.size else { return Ok(None) };
        let pairs = |numbers: &[u64]| numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        if !self.is_map_in_front {
            return Ok(Some((pairs(&self.map), size)));
        }
        // Lines of decimal numbers, how many pairs there are first, padded to whole blocks.
        let (mut numbers, mut block) = (Vec::new(), [0; 512]);
        let (mut number, mut wanted) = (0u64, None);
        loop {
            entry.read_exact(&mut block).map_err(Failure::Read)?;
            for byte in block {
                match byte {
                    b'0'..=b'9' => number = number.saturating_mul(10).saturating_add((byte - b'0').into()),
                    b'\n' if wanted.is_none() => (wanted, number) = (Some(number.saturating_mul(2)), 0),
                    b'\n' => {
                        numbers.push(number);
                        number = 0;
                    }
                    _ => return Err(damaged("its map of holes cannot be read").into()),
                }
                if wanted == Some(numbers.len() as u64) {
                    return Ok(Some((pairs(&numbers), size)));
                }
                if numbers.len() > MANY {
                    return Err(damaged(&format!("it has more than {MANY} holes")).into());
                }
            }
        }
    }
}

/// How many numbers a map of holes may have.
const MANY: usize = 1 << 20;

/// Overlays take attributes of theirs for orders, security modules have theirs of this host, and the owner's are written here.
fn is_kept(attribute: &[u8]) -> bool {
    let is_users = attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay.");
    attribute == b"security.capability" || is_users && attribute != owner::ATTRIBUTE.to_bytes()
}

/// Seconds with a fraction, as extended headers have them.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let (seconds, nanoseconds): (i64, u32) = (seconds.parse().ok()?, digits.parse().ok()?);
    match text.starts_with('-') && nanoseconds > 0 {
        true => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        false => Some((seconds, nanoseconds)),
    }
}

impl Meta {
    /// Reads it.
    pub fn read(entry: &tar::Entry<impl Read>, extended: &Extended) -> io::Result<Meta> {
        let header = entry.header();
        let id = |id: io::Result<u64>| id.map(|id| u32::try_from(id).unwrap_or(u32::MAX - 1));
        let seconds = i64::try_from(header.mtime()?).unwrap_or(0);
        Ok(Meta {
            mode: header.mode()? & 0o7777,
            owner: (id(header.uid())?, id(header.gid())?),
            modified: extended.modified.unwrap_or((seconds, 0)),
            attributes: extended.attributes.clone(),
        })
    }
}

/// Refuses a header that one reader takes for this and another one for that: the image would be another one to a scanner.
pub fn check_header(entry: &tar::Entry<impl Read>, extended: &Extended) -> Result<()> {
    let kind = entry.header().entry_type();
    let has_data = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
    let is_known = matches!(
        kind,
        EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Fifo
            | EntryType::Char
            | EntryType::Block
    );
    if is_known && !has_data && entry.size() > 0 {
        return Err(damaged("something that is no file has bytes of its own"));
    }
    let is_other = |told: &Option<Vec<u8>>, meant: &[u8]| told.as_ref().is_some_and(|told| told != meant);
    if is_other(&extended.path, &entry.path_bytes())
        || kind != EntryType::Regular && is_other(&extended.link, &entry.link_name_bytes().unwrap_or_default())
    {
        return Err(damaged("its headers give it two names"));
    }
    if matches!(kind, EntryType::Symlink | EntryType::Link)
        && entry.link_name_bytes().is_none_or(|target| target.is_empty())
    {
        return Err(damaged("a link to nothing"));
    }
    match extended.name.is_some() && extended.size.is_none() {
        true => Err(damaged("it has the name of a sparse file, and is none")),
        false => Ok(()),
    }
}

pub fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| damaged("a name with a NUL character"))
}

/// A path from the root, without empty parts. One with `..` is refused: no tool writes it.
pub fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
        if part == b".." {
            return Err(damaged(&format!("{:?} leads out of where it is", lossy(path))));
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(part);
    }
    Ok(clean)
}

/// The directory and the name in it.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory.is_empty() {
        true => name.to_vec(),
        false => [directory, b"/", name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_no_way_out() {
        for (path, wanted) in [("./a//b/", "a/b"), ("/etc/passwd", "etc/passwd"), ("./", ""), ("a/./b", "a/b")] {
            assert_eq!(lossy(&clean(path.as_bytes()).unwrap()), wanted);
        }
        for path in ["..", "../x", "a/../b", "/.."] {
            assert!(clean(path.as_bytes()).is_err(), "{path}");
        }
    }

    #[test]
    fn times_have_fractions() {
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"x"), None);
    }
}
