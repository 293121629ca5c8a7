//! What this host allows, found by trying; and why something was refused, for errors.
//!
//! One probe a file: what it tries, what that means for containers, and what mends it. Probes leave nothing: what they do to
//! namespaces and mounts is gone with the children that do it.

pub mod causes;
mod cgroups;
mod checkpoint;
mod devices;
mod directories;
mod filters;
mod fuse;
mod ids;
mod limits;
mod modules;
mod mounts;
mod namespaces;
mod network;
mod outer;
mod session;
mod trial;

use crate::error::Error;
use crate::host::Host;
use serde::Serialize;

/// What there is of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All of it.
    Ok,
    /// Some of it.
    Limited,
    /// It is not there.
    Missing,
}

/// What of a config needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Every container of an ordinary user, also what `rootlet spec` writes.
    All,
    /// A namespace of its own, of that type of linux.namespaces.
    Namespace(&'static str),
    /// A mount of that type.
    Mount(&'static str),
    /// A mount whose type begins so.
    MountPrefix(&'static str),
    /// Limits, by linux.resources.
    Limits,
    /// A filter, by linux.seccomp.
    Filter,
    /// A terminal.
    Terminal,
    /// An annotation.
    Annotation(&'static str),
    /// No property.
    Nothing,
}

/// What a probe has found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Subject of the question.
    pub subject: &'static str,
    /// The answer in a word.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means for containers, unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// What mends it: a command, or a file and a line.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Which configs need it.
    #[serde(skip)]
    pub need: Need,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: &'static str, need: Need, found: impl Into<String>) -> Finding {
        Finding { subject, verdict: Verdict::Ok, found: found.into(), means: None, mend: None, need }
    }

    fn limited(subject: &'static str, need: Need, found: impl Into<String>, means: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Limited, means: Some(means.into()), ..Finding::ok(subject, need, found) }
    }

    fn missing(subject: &'static str, need: Need, found: impl Into<String>, means: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Missing, ..Finding::limited(subject, need, found, means) }
    }

    /// What an error says.
    pub fn of_error(subject: &'static str, need: Need, means: &str, error: Error) -> Finding {
        let found = match &error.because {
            Some(because) => format!("{error}: {because}"),
            None => error.to_string(),
        };
        Finding { mend: error.remedy, ..Finding::missing(subject, need, found, means) }
    }

    fn mended(self, mend: impl Into<String>) -> Finding {
        Finding { mend: Some(mend.into()), ..self }
    }

    /// What was found, and a mend, by the cause of a refusal.
    fn refused(subject: &'static str, need: Need, means: &str, cause: causes::Cause) -> Finding {
        Finding::missing(subject, need, cause.because, means).mended(cause.remedy)
    }
}

/// What mends the want of a systemd, or of something that it does.
fn by_systemd(mend: &str) -> String {
    match std::path::Path::new("/run/systemd/system").is_dir() {
        true => mend.to_owned(),
        false => {
            "this host runs no systemd, which divides cgroups and starts a user's bus; boot one that does".to_owned()
        }
    }
}

/// All probes, in the order of what depends on what.
const PROBES: &[fn(&Host) -> Vec<Finding>] = &[
    outer::probe,
    namespaces::probe,
    ids::probe,
    mounts::probe,
    devices::probe,
    fuse::probe,
    filters::probe,
    cgroups::probe,
    directories::probe,
    session::probe,
    limits::probe,
    modules::probe,
    network::probe,
    checkpoint::probe,
];

pub use directories::of_rootfs;

/// Asks everything.
pub fn examine(host: &Host) -> Vec<Finding> {
    PROBES.iter().flat_map(|probe| probe(host)).collect()
}
