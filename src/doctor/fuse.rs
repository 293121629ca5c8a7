//! /dev/fuse, for file systems that a program serves.

use super::{Finding, Need};
use crate::host::Host;
use crate::sys::{Errno, fd};
use std::os::fd::AsFd;

const SUBJECT: &str = "/dev/fuse";

pub fn probe(host: &Host) -> Vec<Finding> {
    let means = "mounts of type fuse.PROGRAM, and layers where the kernel makes none, are errors";
    let need = Need::MountPrefix("fuse.");
    let opened = fd::open(c"/dev/fuse", fd::O_RDWR, 0)
        .and_then(|device| Ok(fd::status(device.as_fd())?.is_char_device(10, 229)));
    vec![match opened {
        Ok(true) => {
            let servers: Vec<_> = ["fuse-overlayfs", "squashfuse", "sshfs"]
                .into_iter()
                .filter(|name| host.find_program(name).is_some())
                .collect();
            let found = match servers.is_empty() {
                true => "can be opened".to_owned(),
                false => format!("can be opened, and there are {}", servers.join(", ")),
            };
            Finding::ok(SUBJECT, need, found)
        }
        Ok(false) => Finding::limited(SUBJECT, need, "it is another device", means),
        Err(error) if matches!(error.errno, Errno::EACCES | Errno::EPERM) => {
            Finding::limited(SUBJECT, need, "you may not open it", means).mended(
                "as root: chmod 666 /dev/fuse (what most distributions have), or give the outer container the device",
            )
        }
        Err(error) => Finding::limited(SUBJECT, need, format!("{:?}", error.errno), means)
            .mended("as root: modprobe fuse, or give the outer container the device /dev/fuse"),
    }]
}
