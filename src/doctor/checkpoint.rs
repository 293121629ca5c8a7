//! CRIU, for `checkpoint` and `restore`.

use super::{Finding, Need};
use crate::capability::CAP_CHECKPOINT_RESTORE;
use crate::host::Host;

const SUBJECT: &str = "checkpoint";

pub fn probe(host: &Host) -> Vec<Finding> {
    let means = "`checkpoint` and `restore` are refused";
    vec![match host.find_program("criu") {
        None => Finding::limited(SUBJECT, Need::Nothing, "no criu", means)
            .mended("install criu, 3.18 or newer for who is not root (Debian: from backports)"),
        Some(path) if host.may(CAP_CHECKPOINT_RESTORE) => {
            Finding::ok(SUBJECT, Need::Nothing, format!("by {}", path.display()))
        }
        Some(path) => Finding::limited(
            SUBJECT,
            Need::Nothing,
            format!("{} is there, but you have not CAP_CHECKPOINT_RESTORE", path.display()),
            means,
        )
        .mended("as root: setcap cap_checkpoint_restore+eip of criu, or use them as root"),
    }]
}
