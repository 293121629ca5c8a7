//! The directories of images, which `checkpoint` and `restore` have in common, and who may call CRIU.

use crate::criu::{self, CgroupMode, Request};
use crate::error::{Error, Result};
use crate::host::{Cgroups, Host};
use crate::plan::Plan;
use crate::plan::step::trees::{Mapped, open_mapped};
use crate::property::annotations::CRIU_CONFIG;
use crate::spec::Spec;
use crate::sys::{fd, namespace};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What both commands are told.
#[derive(Debug, Default)]
pub struct Images {
    /// The directory of the images.
    pub path: PathBuf,
    /// The directory of CRIU's log; the images' without one.
    pub work: Option<PathBuf>,
    /// Keep TCP connections.
    pub tcp_established: bool,
    /// Take in unix sockets whose peer is outside.
    pub ext_unix_sk: bool,
    /// The terminal is the caller's.
    pub shell_job: bool,
    /// Keep file locks.
    pub file_locks: bool,
    /// How CRIU treats cgroups.
    pub cgroups: Option<CgroupMode>,
    /// Make an empty network namespace.
    pub empty_network: bool,
    /// Punch out of the parent's images what is written anew.
    pub auto_dedup: bool,
    /// Leave memory to a page server.
    pub lazy_pages: bool,
    /// A file of options for CRIU, which can name programs that it runs.
    pub criu_config: Option<PathBuf>,
}

/// Marks images of a container that was run in the foreground: it ends with its maker (PR_SET_PDEATHSIG), and CRIU
/// makes that again.
pub const ATTACHED: &str = "attached";

/// The directories, opened.
pub struct Opened {
    images: OwnedFd,
    work: Option<OwnedFd>,
    log: PathBuf,
}

impl Images {
    /// How cgroups are treated: those of version 1, which rootlet does not drive, are nobody's to write or to restore.
    pub fn cgroup_mode(&self, host: &Host) -> Result<Option<CgroupMode>> {
        Ok(match (self.cgroups, host.cgroups()?) {
            (None, Cgroups::Legacy) => Some(CgroupMode::Ignore),
            (given, _) => given,
        })
    }

    /// Opens the directories; `make`: the images' are made if they are missing.
    pub fn open(&self, log: &str, make: bool) -> Result<Opened> {
        let open = |path: &Path, make: bool| {
            if make {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
                    Error::from_io(format!("cannot make {}", path.display()), &error).remedy("correct --image-path")
                })?;
            }
            let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
            fd::open(&name, fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(|error| {
                Error::from_call(format!("images in {}", path.display()), error).remedy("correct --image-path")
            })
        };
        let images = open(&self.path, make)?;
        let work = self.work.as_deref().map(|path| open(path, true)).transpose()?;
        let log = self.work.as_ref().unwrap_or(&self.path).join(log);
        // An older one would be taken for this one's.
        let _ = std::fs::remove_file(&log);
        Ok(Opened { images, work, log })
    }

    /// The file of options for CRIU: that of the container's annotation only if the caller has named it, too.
    pub fn criu_config(&self, spec: &Spec) -> Result<Option<String>> {
        let annotated = spec.annotations.as_ref().and_then(|all| all.get(CRIU_CONFIG));
        let given = self.criu_config.as_ref().map(|path| path.to_string_lossy().into_owned());
        match annotated.filter(|path| given.as_ref() != Some(*path)) {
            Some(path) => Err(Error::in_config("annotations", format!("{CRIU_CONFIG} names {path:?}, and you do not"))
                .because(
                    "options of CRIU can name programs that it runs on the host, and no config does that by itself",
                )
                .remedy(format!("if you trust that file, give --criu-config {path}"))),
            None => Ok(given),
        }
    }

    /// The request that both commands begin with.
    pub fn request(&self, opened: &Opened, log: &'static str) -> Request {
        Request {
            images: opened.images.as_raw_fd(),
            work: opened.work.as_ref().map(AsRawFd::as_raw_fd),
            log,
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            cgroups: self.cgroups,
            empty_namespaces: if self.empty_network { namespace::CLONE_NEWNET } else { 0 },
            ..Request::default()
        }
    }
}

impl Opened {
    /// Whoever is root in a new user namespace reads the images, too: where that is another than the caller, they are seen
    /// through a mount of mapped ids. (A file system that has no such mounts is left as it is.)
    pub fn give_to_root_of(&mut self, plan: &Plan) {
        let Some((uid_map, gid_map)) = plan.id_maps() else { return };
        let mapped = Mapped {
            source: CString::new(format!("/proc/self/fd/{}", self.images.as_raw_fd())).unwrap_or_default(),
            recursive: false,
            map_recursively: false,
            maps: Some((uid_map.into(), gid_map.into())),
            locked: false,
        };
        let Ok(mapped) = open_mapped(&mapped, None) else { return };
        // What CRIU writes stays the caller's.
        let plain = std::mem::replace(&mut self.images, mapped);
        self.work.get_or_insert(plain);
    }

    /// An error of CRIU's, with what its log says.
    pub fn explain(&self, error: Error) -> Error {
        let said = criu::errors_in(&self.log);
        let wants_iptables = said.contains("iptables") || said.contains("ip6tables");
        let error = if said.is_empty() { error } else { error.because(format!("it said: {said}")) };
        if wants_iptables {
            return error.remedy(format!(
                "install iptables, which CRIU locks the container's network with; see {}",
                self.log.display()
            ));
        }
        error.remedy(format!("see {}", self.log.display()))
    }
}

/// The least version that rootlet talks to, and the one that works for others than root.
const LEAST: i64 = 30_000;
const UNPRIVILEGED: i64 = 31_800;

/// Whether the caller must do without privileges; an error if CRIU cannot.
pub fn check_privileges(host: &Host) -> Result<bool> {
    let version = criu::version()?;
    let name = format!("CRIU {}.{}.{}", version / 10_000, version / 100 % 100, version % 100);
    if version < LEAST {
        return Err(Error::new(format!("{name} is too old")).remedy("install CRIU 3.0 or newer"));
    }
    let is_privileged = !host.is_ordinary_user() && host.in_initial_user_namespace()?;
    if !is_privileged && version < UNPRIVILEGED {
        return Err(Error::new(format!("{name} works for the host's root alone"))
            .because("an ordinary user needs CRIU 3.18 or newer, and for it CAP_CHECKPOINT_RESTORE in the host's user namespace")
            .remedy("call it as root with your --root; or install CRIU 3.18 and `setcap cap_checkpoint_restore+eip` it"));
    }
    Ok(!is_privileged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_alone_gives_criu_no_options() {
        let annotations = [(CRIU_CONFIG.to_owned(), "/x.conf".to_owned())].into_iter().collect();
        let spec = Spec { annotations: Some(annotations), ..Spec::default() };
        let given = |path: Option<&str>| Images { criu_config: path.map(PathBuf::from), ..Images::default() };
        assert!(given(None).criu_config(&spec).is_err() && given(Some("/y.conf")).criu_config(&spec).is_err());
        assert_eq!(given(Some("/x.conf")).criu_config(&spec), Ok(Some("/x.conf".to_owned())));
        assert_eq!(given(None).criu_config(&Spec::default()), Ok(None));
    }
}
