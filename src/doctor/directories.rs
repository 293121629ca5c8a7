//! Where states, images and layers are kept.

use super::{Finding, Need};
use crate::error::Error;
use crate::host::{Host, PLACES_OF_LAYERS, unescape};
use crate::sys::{self, Errno, creds, fd};
use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const STATES: &str = "XDG_RUNTIME_DIR";
const HOME: &str = "home";
const LAYERS: &str = "directory of layers";

pub fn probe(host: &Host) -> Vec<Finding> {
    let mut findings = vec![runtime_directory()];
    findings.push(match dirs::home_dir() {
        Some(home) => of_home(&home),
        None => Finding::limited(
            HOME,
            Need::Nothing,
            "none",
            "`run --host` and `run --image` have no directory for what they keep",
        )
        .mended("export HOME=DIR, or XDG_CACHE_HOME=DIR, one that is yours"),
    });
    findings.push(layers(host));
    findings
}

/// What the environment says; whether states can be kept is tried by who keeps them.
fn runtime_directory() -> Finding {
    let uid = creds::effective_uid();
    let usual = if uid == 0 { "/run".to_owned() } else { format!("/run/user/{uid}") };
    let is_usable = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == uid);
    // As `container::States` looks for it.
    let elsewhere = std::env::temp_dir();
    let instead =
        format!("states are kept in {}/rootlet-{uid}, and a user's systemd is not found", elsewhere.display());
    let mend = match is_usable(Path::new(&usual)) {
        true => format!("export XDG_RUNTIME_DIR={usual}"),
        false => "log in by ssh or a terminal, and not by su or sudo; or as root: mkdir -p -m 755 /run/user; install -d -m 700 -o USER -g USER /run/user/UID".to_owned(),
    };
    let limited = |found: String| Finding::limited(STATES, Need::Nothing, found, instead.clone()).mended(mend.clone());
    let Some(path) = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return match is_usable(Path::new(&usual)) {
            true => Finding::ok(STATES, Need::Nothing, format!("not set, and {usual} is there")),
            false => limited("not set".to_owned()),
        };
    };
    match path.metadata() {
        Ok(metadata) if metadata.uid() == uid && metadata.is_dir() => {
            Finding::ok(STATES, Need::Nothing, path.display().to_string())
        }
        Ok(metadata) if metadata.is_dir() => {
            limited(format!("{} is another user's (uid {})", path.display(), metadata.uid()))
        }
        Ok(_) => limited(format!("{} is no directory", path.display())),
        Err(error) => limited(format!("{}: {error}", path.display())),
    }
}

fn of_home(home: &Path) -> Finding {
    let shown = home.display();
    let options = options_of(home);
    let has = |option: &str| options.iter().any(|known| known == option);
    let is_writable = home.metadata().is_ok_and(|metadata| metadata.uid() == creds::effective_uid()) && !has("ro");
    if has("noexec") {
        return Finding::limited(HOME, Need::Nothing, format!("{shown} is on a mount that is noexec"), "programs of a root file system there cannot be executed")
            .mended("keep bundles elsewhere, such as in /var/tmp; or as root: mount -o remount,exec the mount (`findmnt -T ~`), and in /etc/fstab");
    }
    if !is_writable {
        return Finding::limited(
            HOME,
            Need::Nothing,
            format!("{shown} cannot be written to"),
            "`run --image` and `--host` keep nothing there",
        )
        .mended("export XDG_CACHE_HOME=DIR, one that is yours");
    }
    Finding::ok(HOME, Need::Nothing, format!("{shown} can hold bundles"))
}

fn layers(host: &Host) -> Finding {
    let chosen = std::env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let directories: Vec<PathBuf> = match chosen {
        Some(chosen) => vec![chosen],
        None => PLACES_OF_LAYERS.map(PathBuf::from).into_iter().filter(|path| path.is_dir()).collect(),
    };
    let obstacle = |path: &PathBuf| match try_to_write(path) {
        Err(error) => {
            Some(Some(Error::from_call(format!("nothing can be written to {}", path.display()), error).to_string()))
        }
        Ok(()) => host.obstacle_to_layer(path).ok(),
    };
    match directories.iter().find(|path| obstacle(path) == Some(None)) {
        Some(directory) => Finding::ok(LAYERS, Need::Nothing, format!("`--layer tmp` is in {}", directory.display())),
        None => {
            let found = directories
                .first()
                .and_then(obstacle)
                .flatten()
                .unwrap_or_else(|| "no directory for temporary files".to_owned());
            Finding::limited(LAYERS, Need::Nothing, found, "`--layer tmp` needs fuse-overlayfs, or another directory")
                .mended("export TMPDIR=DIR, of a local file system; or: apt-get install fuse-overlayfs")
        }
    }
}

/// Writes to a file without a name, which nobody sees and nothing is left of.
fn try_to_write(directory: &Path) -> sys::Result<()> {
    let path = CString::new(directory.as_os_str().as_bytes()).unwrap_or_default();
    match fd::open(&path, fd::O_TMPFILE | fd::O_WRONLY, 0o600) {
        // The file system has no such files: it is not known.
        Err(error) if matches!(error.errno, Errno::EOPNOTSUPP | Errno::EISDIR) => Ok(()),
        file => fd::write_all(file?.as_fd(), &[b' '; 4096]),
    }
}

/// Options of the mount that a path lies on.
/// Whether programs of a bundle's root file system can be executed where that lies.
pub fn of_rootfs(rootfs: &Path) -> Option<Finding> {
    options_of(rootfs).iter().any(|option| option == "noexec").then(|| {
        let found = format!("{} is on a mount that is noexec", rootfs.display());
        Finding::missing("root file system", Need::All, found, "its programs cannot be executed")
            .mended("keep it elsewhere, such as in /var/tmp; or as root: mount -o remount,exec the mount (`findmnt -T` it), and in /etc/fstab")
    })
}

fn options_of(path: &Path) -> Vec<String> {
    let path = path.canonicalize().unwrap_or(path.to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        Some((unescape(fields.next()?), fields.next()?.to_owned()))
    });
    // Of several, the last one is on top.
    let above = fields.filter(|(point, _)| path.starts_with(point));
    let nearest = above.max_by_key(|(point, _)| Path::new(point).components().count());
    nearest.map_or(Vec::new(), |(_, options)| options.split(',').map(str::to_owned).collect())
}
