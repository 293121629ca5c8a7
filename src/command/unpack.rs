//! `rootlet unpack`.

use super::Globals;
use crate::container::interrupt;
use crate::error::{Error, Result};
use crate::image::{self, LIMITS, Limits, Platform, Source};
use crate::log::Log;
use crate::spec::default::Kind;
use crate::spec::edit::bytes;
use clap::{ArgAction, Parser};
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a bundle from an image: its root file system, and its config.json
#[derive(Debug, Parser)]
#[command(after_help = "\
IMAGE is one of these; nothing is fetched:
  oci:DIR[:TAG]                 an OCI layout, as skopeo and umoci write it
  oci-archive:FILE[:TAG]        the same in a tar archive
  docker-archive:FILE[:NAME]    what `docker save` and `podman save` write
  PATH                          one of them, or a tar of a root file system (`docker export`, mmdebstrap): it is recognised
  -                             any of the archives, from standard input

Archives and layers may be compressed by gzip or zstd. What runs is what the image says (Entrypoint, Cmd, Env, WorkingDir, User); `rootlet
run` has flags that change it. Volumes are memory. Device nodes are left out, and owners that an ordinary user cannot give are kept in the
attribute user.rootlesscontainers. The bundle is yours alone; to remove one with directories that you may not write to,
`chmod -R u+rwX BUNDLE` first. Nothing is printed where nothing is left out.

Examples:
  rootlet unpack debian.tar box && rootlet run -b box box
  docker save alpine | rootlet unpack - box
  skopeo copy docker://debian:12 oci:images:debian && rootlet unpack oci:images:debian box")]
pub struct Unpack {
    /// What to unpack
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The bundle to make: a directory that is not there yet, or is empty
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Which machine's, where an image is for several [default: this one's]
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<String>,
    /// For an ordinary user, which is the default; `--rootless=false` is for root
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    rootless: bool,
    /// The largest that it may be when it is unpacked [default: 64G]
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,
}

impl super::Run for Unpack {
    fn run(self, _: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let source = Source::parse(&self.image)?;
        let options = image::Options {
            platform: self.platform.as_deref().map_or(Ok(Platform::here()), Platform::parse)?,
            kind: if self.rootless { Kind::Rootless } else { Kind::Rootful },
            limits: Limits { bytes: self.max_size.as_deref().map_or(Ok(LIMITS.bytes), size)?, ..LIMITS },
        };
        interrupt::hold(log, || image::unpack(&source, &self.bundle, &options, log))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn size(text: &str) -> Result<u64> {
    bytes(text).and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(|| {
        Error::new(format!("--max-size {text:?} is no size")).remedy("write a number with a unit, such as 10G")
    })
}
