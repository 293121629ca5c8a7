//! Files that flags name for what a command writes.

use crate::error::{Error, Result};
use crate::sys::fd;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens such a file, empty. A link that is not root's, as /dev/stdout is, may be somebody else's idea.
pub fn open(flag: &str, file: &Path) -> Result<OwnedFd> {
    let what = format!("{flag} {}", file.display());
    let link = file.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink);
    if link.as_ref().is_some_and(|link| link.uid() != 0) {
        return Err(Error::new(format!("{what} is a link"))
            .because("somebody, such as a program in a sandbox, may have made it to have another file written")
            .remedy("name the file itself, or remove the link"));
    }
    let path = CString::new(file.as_os_str().as_bytes()).unwrap_or_default();
    let nofollow = if link.is_some() { 0 } else { fd::O_NOFOLLOW };
    let flags = fd::O_WRONLY | fd::O_CREAT | fd::O_TRUNC | fd::O_NOCTTY | fd::O_CLOEXEC | nofollow;
    fd::open(&path, flags, 0o666)
        .map_err(|error| Error::from_call(&what, error).remedy("name a file that you may write to"))
}
