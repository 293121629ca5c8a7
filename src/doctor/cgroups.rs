//! The cgroup, and which limits can be set in it.

use super::{Finding, Need};
use crate::host::{self, Cgroups, Host};

const SUBJECT: &str = "cgroup";
const CONTROLLERS: &str = "limits";

/// What flags and usual configs limit.
const USUAL: [&str; 4] = ["memory", "cpu", "pids", "io"];

pub fn probe(host: &Host) -> Vec<Finding> {
    let nothing = "limits are errors, or left out with `--limits try`; `pause` stops processes by a signal each";
    let unknown =
        |error: crate::error::Error| vec![Finding::missing(SUBJECT, Need::Limits, error.in_one_line(), nothing)];
    match host.cgroups() {
        Err(error) => return unknown(error),
        Ok(Cgroups::Legacy) => {
            // Root has a cgroup of its own in a mixture, which has no controllers.
            let finding = match host.uid == 0 && host::hierarchy_root().is_ok_and(|root| root.is_some()) {
                true => Finding::limited(
                    SUBJECT,
                    Need::Limits,
                    "version 1 and 2 in a mixture: a cgroup of version 2 tracks processes, freezes and ends them",
                    "limits are errors, or left out with `--limits try`",
                ),
                false => Finding::missing(
                    SUBJECT,
                    Need::Limits,
                    "version 1, or a mixture, which rootlet does not drive",
                    nothing,
                ),
            };
            return vec![finding.mended(super::by_systemd(
                "boot with systemd.unified_cgroup_hierarchy=1 (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub)",
            ))];
        }
        Ok(_) => {}
    }
    let hierarchy = match host.hierarchy() {
        Err(error) => return unknown(error),
        Ok(None) => {
            return vec![
                Finding::missing(SUBJECT, Need::Limits, "cgroup v2 is not mounted, or your own is out of sight", nothing)
                    .mended("mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup; in a container, give that a cgroup namespace of its own"),
            ];
        }
        Ok(Some(hierarchy)) => hierarchy,
    };
    let level = match host.level(&hierarchy.own) {
        Err(error) => return unknown(error),
        Ok(level) => level,
    };
    let own = hierarchy.own.display();
    let mut findings = Vec::new();
    let bus = host.bus().ok().flatten();
    let available = if level.is_writable {
        findings.push(Finding::ok(SUBJECT, Need::Nothing, format!("{own} is yours")));
        level.controllers.clone()
    } else if let (Some(bus), Ok(Some(manager))) = (&bus, host.manager_cgroup()) {
        findings.push(Finding::ok(SUBJECT, Need::Nothing, format!("made by systemd, by {}", bus.display())));
        host.level(&manager).map(|level| level.controllers).unwrap_or_default()
    } else if bus.is_some() {
        findings.push(Finding::ok(SUBJECT, Need::Nothing, "made by systemd"));
        level.controllers.clone()
    } else {
        findings.push(
            Finding::missing(SUBJECT, Need::Limits, format!("{own} is not yours, and there is no systemd of yours to ask"), nothing).mended(
                "run it in a unit with Delegate=yes (as root: `systemd-run --uid=USER -p Delegate=yes -t ...`), or log in so that \
                 a systemd of yours runs (`loginctl enable-linger USER`, and XDG_RUNTIME_DIR)",
            ),
        );
        return findings;
    };
    let lacking: Vec<_> = USUAL.into_iter().filter(|name| !available.iter().any(|known| known == name)).collect();
    findings.push(match lacking.is_empty() {
        true => Finding::ok(CONTROLLERS, Need::Limits, format!("of {}", available.join(", "))),
        false => Finding::limited(
            CONTROLLERS,
            Need::Limits,
            format!("not of {}", lacking.join(", ")),
            "limits of these are errors, or left out with `--limits try`",
        )
        .mended(format!(
            "as root: write \"[Service]\" and \"Delegate={}\" to /etc/systemd/system/user@.service.d/delegate.conf, `systemctl daemon-reload`, and log in again",
            USUAL.join(" ")
        )),
    });
    findings
}
