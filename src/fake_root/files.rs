//! Whose a file is said to be, and what it is said to be.

use super::lock;
use super::task::name;
use crate::owner;
use crate::sys::fd::{self, Status};
use crate::sys::notification::Shown;
use crate::sys::{Errno, Result, attribute};
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

/// Names the device that a plain file stands for: `c` or `b`, and its number.
const DEVICE: &CStr = c"user.rootlet.device";

/// How many files can be remembered that take no attribute.
const MOST: usize = 1 << 16;

/// What is said of files that take no attribute, by file system and inode. Nobody waits for its lock while a file system is asked: that
/// may be served by a process that asks in turn.
#[derive(Default)]
pub struct Owners {
    remembered: Mutex<HashMap<(u64, u64), (u32, u32)>>,
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
                let status = fd::status(file.as_fd())?;
                lock(&self.remembered).get(&(status.device, status.inode)).copied()
            }
            Some(text) => {
                let status = fd::status(file.as_fd())?;
                owner::decode(text, (status.uid, status.gid))
            }
        };
        let Some(owner) = owner else { return Ok(None) };
        let mut buffer = [0; 32];
        let device = attribute::get_by_path(&path, DEVICE, &mut buffer).or_else(too_long)?;
        let device = device.and_then(|length| read_device(buffer.get(..length)?));
        Ok(Some(Shown { owner, device }))
    }

    /// Says whose a file is.
    pub fn keep(&self, file: &OwnedFd, status: &Status, owner: (u32, u32)) -> Result<()> {
        let path = name(file);
        let key = (status.device, status.inode);
        if owner == (status.uid, status.gid) && read_device_of(file)?.is_none() {
            lock(&self.remembered).remove(&key);
            return attribute::remove_by_path(&path, owner::ATTRIBUTE).or_else(|error| match error.errno {
                // It cannot have one.
                Errno::EPERM | Errno::EROFS => Ok(()),
                _ => Err(error),
            });
        }
        if attribute::set_by_path(&path, owner::ATTRIBUTE, &owner::encode(owner), 0).is_err() {
            let mut remembered = lock(&self.remembered);
            if remembered.len() >= MOST {
                remembered.clear();
            }
            remembered.insert(key, owner);
        }
        Ok(())
    }
}

/// Says that a file is a device; `kind` is S_IFCHR or S_IFBLK.
pub fn keep_device(file: &OwnedFd, kind: char, number: u64) -> Result<()> {
    let path = name(file);
    attribute::set_by_path(&path, owner::ATTRIBUTE, &owner::encode((0, 0)), 0)?;
    attribute::set_by_path(&path, DEVICE, format!("{kind}{number}").as_bytes(), 0)
}

fn read_device_of(file: &OwnedFd) -> Result<Option<(u32, u64)>> {
    let mut buffer = [0; 32];
    let length = attribute::get_by_path(&name(file), DEVICE, &mut buffer).or_else(too_long)?;
    Ok(length.and_then(|length| read_device(buffer.get(..length)?)))
}

fn read_device(text: &[u8]) -> Option<(u32, u64)> {
    let text = str::from_utf8(text).ok()?;
    let kind = match text.get(..1)? {
        "c" => crate::sys::notification::S_IFCHR,
        "b" => crate::sys::notification::S_IFBLK,
        _ => return None,
    };
    Some((kind, text.get(1..)?.parse().ok()?))
}

/// What is longer than any that is written here says nothing.
fn too_long(error: crate::sys::Error) -> Result<Option<usize>> {
    if error.errno == Errno::ERANGE { Ok(None) } else { Err(error) }
}
