//! From an image to a bundle: parts found and verified, layers put one upon the other, config.json written.

mod blobs;
mod compression;
mod config;
mod digest;
mod draft;
mod entry;
mod failure;
pub mod kept;
mod layer;
mod manifest;
mod pieces;
mod source;
mod tree;

pub use manifest::Platform;
pub use source::Source;

use crate::error::{Result, printable};
use crate::host::Host;
use crate::log::Log;
use crate::spec::default;
use crate::sys::{fd, tty};
use blobs::Blobs;
use draft::Draft;
use failure::cannot_write;
use layer::Stream;
use std::io::Write;
use std::path::Path;
use tree::Tree;

/// The most that an image may bring.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all its layers, unpacked.
    pub bytes: u64,
    /// Files of all its layers.
    pub files: u64,
}

/// Nobody's image is larger by chance.
pub const LIMITS: Limits = Limits { bytes: 64 << 30, files: 2_000_000 };

/// How an image is unpacked.
#[derive(Debug)]
pub struct Options {
    /// For which machine, where an image is for several.
    pub platform: Platform,
    /// For whom config.json is written.
    pub kind: default::Kind,
    /// The most that the image may bring.
    pub limits: Limits,
}

/// Makes a bundle from an image, as a whole or not at all. It appears when it is complete.
pub fn unpack(source: &Source, bundle: &Path, options: &Options, log: &Log) -> Result<()> {
    let draft = Draft::make(bundle)?;
    let done = fill(source, &draft, options, log).and_then(|()| draft.publish());
    if done.is_err() {
        draft.remove(log);
    }
    done
}

fn fill(source: &Source, draft: &Draft, options: &Options, log: &Log) -> Result<()> {
    let host = Host::new()?;
    let blobs = Blobs::open(source, draft, options.limits.bytes)?;
    let image = manifest::choose(&blobs, source, &options.platform)?;
    let mut tree = Tree::make(draft.make_directory(c"rootfs")?, &host, options.limits)?;
    for (number, layer) in image.layers.iter().enumerate() {
        let what = format!("layer {} of {} ({})", number + 1, image.layers.len(), layer.name);
        tell(&what);
        Stream::open(&blobs, layer, what)?.apply(&mut tree, image.has_whiteouts)?;
    }
    let root = tree.finish(log)?;
    let text = config::text(&image.config, root, options.kind, &host, log)?;
    draft
        .make_file(c"config.json", 0o644)?
        .write_all(text.as_bytes())
        .map_err(|error| cannot_write(&draft.bundle, &error))
}

/// Says to who waits at a terminal what goes on.
fn tell(what: &str) {
    let error = fd::borrow(2);
    if tty::is_terminal(error) {
        let _ = fd::write_all(error, (printable(&format!("unpacking {what}"), false) + "\n").as_bytes());
    }
}
