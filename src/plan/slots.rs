//! What steps leave for later ones.

use crate::sys::process::Process;
use crate::sys::{Call, Errno, Error, Result, fd, mount, resolve};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What one step leaves for a later one.
#[derive(Default)]
pub struct Slots {
    /// The process that Born steps are about; without one, the caller.
    pub process: Option<Process>,
    /// A procfs that was opened while the host's files were in sight.
    pub proc: Option<OwnedFd>,
    /// /proc/self/fd, which is the current directory until `Chdir`.
    pub descriptors: Option<OwnedFd>,
    /// The container's root.
    pub root: Option<OwnedFd>,
    /// The empty read-only directory that hides others.
    pub mask: Option<OwnedFd>,
    /// The emulator's side of the container's terminal, until it is handed over.
    pub terminal_master: Option<OwnedFd>,
    /// The program's side of the container's terminal.
    pub terminal: Option<OwnedFd>,
    /// The directory in which a node or link was made last.
    pub directory: Option<(resolve::Path, OwnedFd)>,
    /// Which candidate of `FindExecutable` there is.
    pub executable: usize,
    /// `HOME=...` from the container's passwd.
    pub home: Option<Home>,
    /// How a hook has ended that failed: its status, or 128 + its signal.
    pub hook_status: u16,
    /// Where hooks of the host's write to that run in the container.
    pub hook_output: Option<OwnedFd>,
    /// Where hooks of the image's write to.
    pub image_output: Option<OwnedFd>,
    /// What the parent has opened for the next step.
    pub source: Option<OwnedFd>,
    /// New file systems that are changed later, by the number that their mount has in config.json.
    pub trees: Vec<(usize, OwnedFd)>,
    /// An opened /dev/fuse, until it is handed over to its server.
    pub fuse: Option<OwnedFd>,
    /// Whether the network is still to be connected.
    pub is_unconnected: bool,
    /// The listener of a system call filter, until it is handed over.
    pub listener: Option<OwnedFd>,
}

impl Slots {
    /// The container's root.
    pub fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Error::new(Call::Openat2, Errno::EBADF))
    }

    /// Forgets all that leads to files, for whoever closes it; what is left is known or harmless.
    pub fn let_go(&mut self) {
        // The image's hooks do not read what the host's have said.
        let (executable, home, hook_output) = (self.executable, self.home.take(), self.image_output.take());
        let bare = Slots { executable, home, hook_output, ..Slots::default() };
        std::mem::forget(std::mem::replace(self, bare));
    }

    /// Where paths of kernel parameters and labels begin.
    pub fn descriptors(&self) -> Result<BorrowedFd<'_>> {
        self.descriptors.as_ref().map(AsFd::as_fd).ok_or(Error::new(Call::Open, Errno::EBADF))
    }

    /// A tree that was kept.
    pub fn tree(&self, number: usize) -> Result<&OwnedFd> {
        let found = self.trees.iter().find(|(known, _)| *known == number);
        found.map(|(_, tree)| tree).ok_or(Error::new(Call::OpenTree, Errno::EBADF))
    }

    /// The procfs directory of the process that the step is about.
    pub fn proc_directory(&self) -> Result<OwnedFd> {
        if let Some(process) = &self.process {
            return process.directory();
        }
        let opened;
        let proc = match &self.proc {
            Some(proc) => proc,
            None => {
                opened = mount::open_proc()?;
                &opened
            }
        };
        fd::open_at(proc.as_fd(), c"self", fd::O_PATH | fd::O_DIRECTORY, 0)
    }
}

/// A text `HOME=...` of at most 511 bytes.
pub struct Home(pub [u8; 512]);

impl Home {
    /// The text.
    pub fn as_cstr(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok()
    }
}
