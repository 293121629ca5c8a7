//! Whose a file is said to be, and what it is said to be.

use super::lock;
use super::task::name;
use crate::owner;
use crate::sys::fd::{self, HANDLE, Status};
use crate::sys::notification::{self, S_IFBLK, S_IFCHR, Shown};
use crate::sys::{Errno, Result, attribute};
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

/// Names the device that a plain file stands for: `c` or `b`, and its number.
pub const DEVICE: &CStr = c"user.rootlet.device";

/// How many files can be remembered that take no attribute.
const MOST: usize = 1 << 16;

/// File system and inode, which another file has later, and what that has otherwise: its begin, which may be in the same tick of the
/// clock, and its handle, which not every file system has.
type Key = (u64, u64, (i64, u32), [u8; HANDLE]);

/// What is said of files that take no attribute, by file system and inode. Nobody waits for its lock while a file system is asked: that
/// may be served by a process that asks in turn.
#[derive(Default)]
pub struct Owners {
    remembered: Mutex<HashMap<Key, (u32, u32)>>,
}

impl Owners {
    /// What is said of a file, if that is not what is so.
    pub fn find(&self, file: &OwnedFd) -> Result<Option<Shown>> {
        let path = name(file);
        let mut buffer = [0; 32];
        let kept = attribute::get_by_path(&path, owner::ATTRIBUTE, &mut buffer).or_else(too_long)?;
        let text = kept.and_then(|length| buffer.get(..length));
        let owner = match text {
            None if lock(&self.remembered).is_empty() => None,
            None => {
                let key = key(file)?;
                lock(&self.remembered).get(&key).copied()
            }
            Some(text) => {
                let status = fd::status(file.as_fd())?;
                owner::decode(text, (status.uid, status.gid))
            }
        };
        let Some(owner) = owner else { return Ok(None) };
        Ok(Some(Shown { owner, device: read_device(file)? }))
    }

    /// Says whose a file is.
    pub fn keep(&self, file: &OwnedFd, status: &Status, owner: (u32, u32)) {
        if attribute::set_by_path(&name(file), owner::ATTRIBUTE, &owner::encode(owner, (status.uid, status.gid)), 0)
            .is_err()
        {
            let Ok(key) = key(file) else { return };
            let mut remembered = lock(&self.remembered);
            if remembered.len() >= MOST {
                remembered.clear();
            }
            remembered.insert(key, owner);
        }
    }

    /// Says nothing of a file any more.
    pub fn forget(&self, file: &OwnedFd) -> Result<()> {
        let key = key(file)?;
        lock(&self.remembered).remove(&key);
        match read_device(file)? {
            // It is said to be a device by the same attribute.
            Some(_) => attribute::set_by_path(&name(file), owner::ATTRIBUTE, &owner::encode((0, 0), (0, 0)), 0),
            None => attribute::remove_by_path(&name(file), owner::ATTRIBUTE).or_else(|error| match error.errno {
                // It cannot have one.
                Errno::EPERM | Errno::EROFS => Ok(()),
                _ => Err(error),
            }),
        }
    }
}

fn key(file: &OwnedFd) -> Result<Key> {
    let status = fd::status(file.as_fd())?;
    Ok((status.device, status.inode, notification::birth(file.as_fd())?, fd::handle(file.as_fd())))
}

/// Says that a file is a device; `kind` is S_IFCHR or S_IFBLK.
pub fn keep_device(file: &OwnedFd, kind: char, number: u64) -> Result<()> {
    let path = name(file);
    attribute::set_by_path(&path, owner::ATTRIBUTE, &owner::encode((0, 0), (0, 0)), 0)?;
    attribute::set_by_path(&path, DEVICE, format!("{kind}{number}").as_bytes(), 0)
}

/// Which device a file is said to be: S_IFCHR or S_IFBLK, and its number.
fn read_device(file: &OwnedFd) -> Result<Option<(u32, u64)>> {
    let mut buffer = [0; 32];
    let length = attribute::get_by_path(&name(file), DEVICE, &mut buffer).or_else(too_long)?;
    let text = length.and_then(|length| str::from_utf8(buffer.get(..length)?).ok());
    Ok(text.and_then(|text| {
        let kind = match text.get(..1)? {
            "c" => S_IFCHR,
            "b" => S_IFBLK,
            _ => return None,
        };
        Some((kind, text.get(1..)?.parse().ok()?))
    }))
}

/// What is longer than any that is written here says nothing.
fn too_long(error: crate::sys::Error) -> Result<Option<usize>> {
    if error.errno == Errno::ERANGE { Ok(None) } else { Err(error) }
}
