//! The nodes of /dev that every container is shown.

use super::{Finding, Need};
use crate::host::Host;
use crate::sys::fd::device_number;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

const SUBJECT: &str = "devices";

/// config-linux.md, default devices.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

pub fn probe(_: &Host) -> Vec<Finding> {
    let is_it = |(name, major, minor): &(&str, u32, u32)| {
        let found = std::fs::metadata(format!("/dev/{name}"));
        found.is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == device_number(*major, *minor))
    };
    let wrong: Vec<_> = NODES.iter().filter(|node| !is_it(node)).map(|(name, ..)| format!("/dev/{name}")).collect();
    vec![match wrong.is_empty() {
        true => Finding::ok(SUBJECT, Need::All, "the usual ones are there"),
        false => Finding::missing(
            SUBJECT,
            Need::All,
            format!("not {}", wrong.join(", ")),
            "no container of yours can be made: a user namespace makes no nodes",
        )
        .mended(
            "as root: mount -t devtmpfs devtmpfs /dev; or have the sandbox around show them (bubblewrap: --dev /dev)",
        ),
    }]
}
