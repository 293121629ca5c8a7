//! config.json: its types, loading it, and the configs that `rootlet spec` writes.
//!
//! The types follow runtime-spec 1.3 and are tolerant as runc is: `null` is absence, unknown keys are collected and
//! warned about, capability and flag names stay text until a property resolves them. (oci-spec's types refuse configs
//! that runc runs: a future capability, `SCHED_FLAG_DL_OVERRUN`, a process without `user`. They serve for writing.)

pub mod default;
pub mod edit;
pub mod found;
mod linux;
pub mod load;
mod objects;
pub mod position;
mod process;
pub mod profile;
mod resources;
pub mod sandbox;
pub mod schema;
mod seccomp;
pub mod secrets;

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::ops::Deref;

pub use linux::*;
pub use load::{Loaded, load};
pub use process::*;
pub use resources::*;
pub use seccomp::*;

/// A list that may be absent or `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        Ok(List(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// A map that may be absent or `null`.
pub type Map = Option<BTreeMap<String, String>>;

/// A part that rootlet only looks at to refuse it, or to pass it on.
pub type Raw = Option<serde_json::Value>;

macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default, remote = "Self")]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                $name::deserialize(crate::spec::objects::Objects(deserializer))
            }
        }
    };
}
use object;

/// What an object that is written, too, has of serde's `remote`.
macro_rules! objects_only {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                $name::deserialize(objects::Objects(deserializer))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }
    };
}

object! {
    /// The whole of config.json (runtime-spec, config.md).
    Spec {
        /// Version of the specification, `1.x.y`.
        oci_version: String,
        /// What the container's name is in its UTS namespace.
        hostname: Option<String>,
        /// The NIS domain name.
        domainname: Option<String>,
        /// The program.
        process: Option<Process>,
        /// The root file system.
        root: Option<Root>,
        /// Mounts, in the order in which they are made.
        mounts: List<Mount>,
        /// Programs run around the life of the container.
        hooks: Option<Hooks>,
        /// Free text.
        annotations: Map,
        /// Properties that only Linux has.
        linux: Option<Linux>,
        /// Properties of Windows, which are refused.
        windows: Raw,
        /// Properties of Solaris, which are refused.
        solaris: Raw,
        /// Properties of z/OS, which are refused.
        zos: Raw,
        /// Properties of FreeBSD, which are refused.
        freebsd: Raw,
        /// Properties of virtual machines, which are refused.
        vm: Raw,
    }
}

object! {
    /// `root`.
    Root {
        /// Absolute, or relative to the bundle.
        path: String,
        /// Mount it read-only.
        readonly: bool,
    }
}

object! {
    /// One of `mounts`.
    Mount {
        /// An absolute path in the container.
        destination: String,
        /// File system type; `bind` and `none` for binds.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// A path (relative to the bundle) or what the file system takes.
        source: Option<String>,
        /// Options as mount(8) has them, and those of the specification.
        options: List<String>,
        /// User ids that an idmapped mount shows as others.
        uid_mappings: List<IdMapping>,
        /// Group ids that an idmapped mount shows as others.
        gid_mappings: List<IdMapping>,
    }
}

/// `hooks`: lists of programs by moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Hooks {
    /// Deprecated; in the runtime's namespaces, before createRuntime.
    pub prestart: List<Hook>,
    /// In the runtime's namespaces, when the container's exist.
    pub create_runtime: List<Hook>,
    /// In the container's namespaces, before its root is entered.
    pub create_container: List<Hook>,
    /// In the container, before its program.
    pub start_container: List<Hook>,
    /// In the runtime's namespaces, after the program has begun.
    pub poststart: List<Hook>,
    /// In the runtime's namespaces, after delete.
    pub poststop: List<Hook>,
}

impl Hooks {
    /// Each list with its name in config.json.
    pub fn lists(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}

/// A program that is run at a point of the container's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Hook {
    /// An absolute path.
    pub path: String,
    /// Arguments, of which the first is argument 0.
    pub args: List<String>,
    /// `NAME=VALUE`; absent: the runtime's environment.
    pub env: Option<Vec<String>>,
    /// Seconds, above 0.
    pub timeout: Option<i64>,
}

objects_only!(Hooks);
objects_only!(Hook);

impl Spec {
    /// `linux`, or its default.
    pub fn linux(&self) -> &Linux {
        static DEFAULT: std::sync::LazyLock<Linux> = std::sync::LazyLock::new(Linux::default);
        self.linux.as_ref().unwrap_or(&DEFAULT)
    }

    /// `process`, or its default.
    pub fn process(&self) -> &Process {
        static DEFAULT: std::sync::LazyLock<Process> = std::sync::LazyLock::new(Process::default);
        self.process.as_ref().unwrap_or(&DEFAULT)
    }

    /// The namespace of that type, if the config has one.
    pub fn namespace(&self, kind: &str) -> Option<&Namespace> {
        self.linux().namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// True if the container gets a namespace of that type for itself.
    pub fn has_new_namespace(&self, kind: &str) -> bool {
        self.namespace(kind).is_some_and(Namespace::is_new)
    }
}

impl TryFrom<oci_spec::runtime::Spec> for Spec {
    type Error = crate::error::Error;

    /// Takes over a config that was built with the types of oci-spec.
    fn try_from(spec: oci_spec::runtime::Spec) -> crate::error::Result<Spec> {
        let text =
            serde_json::to_string(&spec).map_err(|error| crate::error::Error::new(format!("config: {error}")))?;
        Ok(load::parse(&text)?.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_of_oci_spec_is_taken_over() {
        let theirs = oci_spec::runtime::Spec::rootless(1000, 1001);
        let ours = Spec::try_from(theirs.clone()).unwrap();
        assert_eq!(ours.mounts.len(), theirs.mounts().as_ref().unwrap().len());
        assert_eq!(ours.linux().gid_mappings.first().map(|mapping| mapping.host_id), Some(1001));
        assert_eq!(ours.process().args.first(), theirs.process().as_ref().unwrap().args().as_ref().unwrap().first());
        assert!(ours.has_new_namespace("user") && !ours.has_new_namespace("network"));
    }
}
