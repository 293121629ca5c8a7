//! What becomes of a cgroup that its container divides (cgroups(7), delegation).

use crate::error::{Error, Result, found};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// Where the kernel says which files belong to whoever divides a cgroup, since Linux 4.15.
const FILES: &str = "/sys/kernel/cgroup/delegate";

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::from_io(format!("cgroup {}", path.display()), error)
}

/// Gives the directory to a user, and of its files those by which it is divided: its limits stay its maker's. The group is
/// given, too: a capability counts for a file only where both of its ids are mapped (capabilities(7)), and `exec` needs it.
pub fn give(path: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    let listed = found(fs::read_to_string(FILES)).map_err(|error| Error::from_io(FILES, &error))?;
    let files = listed.unwrap_or_else(|| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads".to_owned());
    for file in files.lines().map(|name| path.join(name)) {
        // Some are there only with a controller or in a kernel.
        found(chown(&file, Some(uid), Some(gid))).map_err(|error| failed(&file, &error))?;
    }
    chown(path, Some(uid), Some(gid)).map_err(|error| failed(path, &error))
}

/// Makes the cgroup below another one in which a process goes on.
pub fn make_leaf(path: &Path, name: &str) -> Result<PathBuf> {
    let leaf = path.join(name);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(&leaf, &error)),
        _ => Ok(leaf),
    }
}

/// Takes a process there.
pub fn enter(leaf: &Path, pid: i32) -> Result<()> {
    let opened = fs::OpenOptions::new().write(true).open(leaf.join("cgroup.procs"));
    opened.and_then(|mut file| file.write_all(pid.to_string().as_bytes())).map_err(|error| failed(leaf, &error))
}
