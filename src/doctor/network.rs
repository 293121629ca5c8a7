//! Who leads a way out of a network namespace of the container's own.

use super::{Finding, Need};
use crate::host::Host;
use crate::network::HELPERS;
use crate::sys::{Errno, fd};

const SUBJECT: &str = "private network";

pub fn probe(host: &Host) -> Vec<Finding> {
    let means = "--net private is refused; --net host and --net none work";
    let need = Need::Annotation("org.rootlet.network");
    let helpers: Vec<_> =
        HELPERS.into_iter().map(|helper| helper.name()).filter(|name| host.find_program(name).is_some()).collect();
    if helpers.is_empty() {
        return vec![
            Finding::limited(SUBJECT, need, "neither pasta nor slirp4netns", means)
                .mended("apt-get install passt, or slirp4netns"),
        ];
    }
    vec![match fd::open(c"/dev/net/tun", fd::O_RDWR, 0) {
        Ok(_) => Finding::ok(SUBJECT, need, format!("by {}", helpers.join(" or "))),
        Err(error) => {
            let mend = match error.errno {
                Errno::EACCES | Errno::EPERM => "as root: chmod 666 /dev/net/tun (what most distributions have)",
                _ => "as root: modprobe tun; or give the outer container the device /dev/net/tun",
            };
            Finding::limited(SUBJECT, need, format!("/dev/net/tun: {:?}", error.errno), means).mended(mend)
        }
    }]
}
