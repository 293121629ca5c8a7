//! Files that flags name for what a command writes.

use crate::error::{Error, Result};
use crate::spec::found::Found;
use crate::sys::fd;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens such a file, empty. A link that is not root's, as /dev/stdout is, may be somebody else's idea, wherever on its way.
pub fn open(flag: &str, file: &Path) -> Result<OwnedFd> {
    let what = format!("{flag} {}", file.display());
    let failed = |error| Error::from_call(&what, error).remedy("name a file that you may write to");
    let flags = fd::O_WRONLY | fd::O_CREAT | fd::O_TRUNC | fd::O_NOCTTY | fd::O_CLOEXEC | fd::O_NONBLOCK;
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let link = file.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink);
    // Nobody else can put another in the place of one that is root's in a directory of root's.
    let is_roots = |metadata: std::fs::Metadata| metadata.uid() == 0;
    let is_in_roots = file.parent().is_some_and(|above| above.metadata().is_ok_and(is_roots));
    let opened = match (link, file.parent(), file.file_name()) {
        (Some(link), ..) if link.uid() == 0 && is_in_roots => fd::open(&text(file), flags, 0o666),
        (Some(_), ..) => {
            return Err(Error::new(format!("{what} is a link"))
                .because("somebody, such as a program in a sandbox, may have made it to have another file written")
                .remedy("name the file itself, or remove the link"));
        }
        (None, Some(above), Some(name)) => {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            std::fs::metadata(above)
                .map_err(|error| Error::from_io(&what, &error).remedy("name a file that you may write to"))?;
            let current = Found::current().map_or_else(|_| "/".into(), |current| current.path);
            let directory = Found::named(flag, above, &current)?.open()?;
            fd::open_at(directory.as_fd(), &text(Path::new(name)), flags | fd::O_NOFOLLOW, 0o666)
        }
        (None, ..) => fd::open(&text(file), flags | fd::O_NOFOLLOW, 0o666),
    };
    let opened = opened.map_err(failed)?;
    fd::set_blocking(opened.as_fd()).map_err(failed)?;
    Ok(opened)
}
