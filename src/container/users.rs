//! Users of a container by their names in its own /etc/passwd and /etc/group.

use crate::error::{Error, Result};
use crate::passwd;
use crate::spec::User;
use crate::sys::{Errno, fd, resolve};
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// A file of users larger than this is not read to its end.
const LARGEST: u64 = 4 << 20;

/// Changes `user` to what `-u` says: `UID`, `UID:GID`, `NAME` or `NAME:GROUP`, in the container with that root.
///
/// A name brings its group and its supplementary groups; a number changes the uid alone, as in runc.
pub fn resolve(text: &str, root: &Root, user: &mut User) -> Result<()> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    match number("user", name)? {
        Some(uid) => user.uid = uid,
        None => {
            let passwd = root.read(c"/etc/passwd")?;
            let entry = lines(&passwd).map(passwd::User::of).find(|user| user.name == name.as_bytes());
            let ids = entry.and_then(|user| Some((user.uid?, user.gid?)));
            let (uid, gid) = ids.ok_or_else(|| {
                Error::new(format!("user {name:?} is not in the container's /etc/passwd")).remedy("give its number")
            })?;
            (user.uid, user.gid) = (uid, gid);
            user.additional_gids.0 = match group {
                Some(_) => Vec::new(),
                None => memberships(&root.read(c"/etc/group")?, name, gid),
            };
        }
    }
    if let Some(group) = group {
        user.gid = match number("group", group)? {
            Some(gid) => gid,
            None => {
                let groups = root.read(c"/etc/group")?;
                let entry = lines(&groups).map(passwd::Group::of).find(|known| known.name == group.as_bytes());
                entry.and_then(|known| known.gid).ok_or_else(|| {
                    Error::new(format!("group {group:?} is not in the container's /etc/group"))
                        .remedy("give its number")
                })?
            }
        };
    }
    Ok(())
}

/// An id in digits; `None` for a name. (CVE-2026-30892: what is neither must not become some other user.)
fn number(what: &str, text: &str) -> Result<Option<u32>> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let id = text.parse().ok().filter(|id| *id != u32::MAX);
        return id.map(Some).ok_or_else(|| {
            Error::new(format!("{what} {text} is not an id")).remedy("write a number from 0 to 4294967294")
        });
    }
    let begins = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = text.bytes().next().is_some_and(begins)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-$".contains(&byte));
    if is_name {
        return Ok(None);
    }
    Err(Error::new(format!("{text:?} is neither a {what}'s number nor a name"))
        .remedy("write UID, UID:GID, NAME or NAME:GROUP"))
}

fn lines(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|byte| *byte == b'\n')
}

fn memberships(table: &[u8], name: &str, primary: u32) -> Vec<u32> {
    let has = |group: &passwd::Group| group.has(name.as_bytes());
    let groups = lines(table).map(passwd::Group::of).filter(has).filter_map(|group| group.gid);
    groups.filter(|gid| *gid != primary).collect()
}

/// The root of a container.
#[derive(Debug)]
pub struct Root {
    /// Pid of the first process.
    pub process: i32,
    /// The root itself, where it was handed over.
    pub opened: Option<OwnedFd>,
}

impl Root {
    /// The text of a file, empty if it is missing.
    fn read(&self, path: &CStr) -> Result<Vec<u8>> {
        let of_process;
        let root = match &self.opened {
            Some(root) => root,
            None => {
                let root = CString::new(format!("/proc/{}/root", self.process)).unwrap_or_default();
                of_process = fd::open(&root, fd::O_PATH | fd::O_DIRECTORY, 0).map_err(|error| {
                    Error::from_call(root.to_string_lossy(), error)
                        .because(
                            "the first thread of the container's first process has ended, or you may not look into it",
                        )
                        .remedy("give the numbers of user and group")
                })?;
                &of_process
            }
        };
        let file: Option<OwnedFd> = match resolve::open_same_file_in_root(root.as_fd(), path) {
            Ok(file) => Some(file),
            // What is no file names nobody.
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::EINVAL) => None,
            Err(error) => {
                return Err(Error::from_call(format!("the container's {}", path.to_string_lossy()), error)
                    .remedy("give the numbers of user and group"));
            }
        };
        let mut bytes = Vec::new();
        if let Some(file) = file {
            std::fs::File::from(file)
                .take(LARGEST)
                .read_to_end(&mut bytes)
                .map_err(|error| Error::from_io(path.to_string_lossy(), &error))?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_and_names_are_names() {
        for (text, id) in [("0", Some(0)), ("1000", Some(1000)), ("root", None), ("_apt", None), ("www-data", None)] {
            assert_eq!(number("user", text).unwrap(), id, "{text}");
        }
        for text in ["", "1x", "-1", "0x10", " 0", "4294967295", "4294967296", "99999999999999999999", "a b", "a/b"] {
            assert!(number("user", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn supplementary_groups_are_those_with_the_name_among_their_members() {
        let table = b"root:x:0:\nuser:x:1000:user\naudio:x:29:other,user\nvideo:x:44:other\nx:x:45:users\n";
        assert_eq!(memberships(table, "user", 1000), [29]);
    }
}
