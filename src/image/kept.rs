//! Bundles of images that were run: each is unpacked once, and serves all containers that write to layers of their own.

use super::source::{Form, Source};
use super::{Options, unpack};
use crate::error::{Error, Result};
use crate::log::Log;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The bundle of an image, which is unpacked if it was not, or has changed since.
pub fn bundle(source: &Source, options: &Options, log: &Log) -> Result<PathBuf> {
    let shelf = dirs::cache_dir().map(|cache| cache.join("rootlet/images")).ok_or_else(|| {
        Error::new("--image: there is no directory for what is unpacked").remedy("set HOME or XDG_CACHE_HOME")
    })?;
    let shelf = std::path::absolute(&shelf).map_err(|error| Error::from_io(shelf.display(), &error))?;
    let bundle = shelf.join(name(source, options)?);
    if is_there(&bundle)? {
        return Ok(bundle);
    }
    let failed = |error: std::io::Error| Error::from_io(shelf.display(), &error).remedy("set XDG_CACHE_HOME elsewhere");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&shelf).map_err(failed)?;
    match unpack(source, &bundle, options, log) {
        // Somebody else has unpacked it meanwhile.
        Err(_) if is_there(&bundle)? => Ok(bundle),
        done => done.map(|()| bundle),
    }
}

fn is_there(bundle: &Path) -> Result<bool> {
    let config = bundle.join("config.json");
    config.try_exists().map_err(|error| Error::from_io(config.display(), &error))
}

/// Another one for whatever is another image, or makes another bundle of it.
fn name(source: &Source, options: &Options) -> Result<String> {
    if source.path == Path::new("-") {
        return Err(Error::new("--image -: what comes from standard input cannot be found again")
            .remedy("`rootlet unpack - BUNDLE`, and run that; or save it to a file"));
    }
    let failed = |error: std::io::Error| {
        Error::from_io(format!("--image: cannot read {}", source.path.display()), &error)
            .remedy(super::source::how_to_get(&source.path))
    };
    let path = source.path.canonicalize().map_err(failed)?;
    let told = if path.is_dir() { path.join("index.json") } else { path.clone() };
    let metadata = fs::metadata(&told).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::new(format!("--image: {} is no file", told.display()))
            .remedy("name an image as `rootlet unpack --help` has them; a pipe can be unpacked into a bundle"));
    }
    let form = match source.form {
        Form::Layout => "oci",
        Form::OciArchive => "oci-archive",
        Form::DockerArchive => "docker-archive",
        Form::Any => "",
    };
    let (device, inode, size) = (metadata.dev(), metadata.ino(), metadata.size());
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let identity = format!(
        "{form}:{path:?}:{:?} {device}:{inode} {size} {seconds}.{nanoseconds} {:?} {:?} {}",
        source.name,
        options.platform,
        options.kind,
        env!("CARGO_PKG_VERSION")
    );
    let digest = Sha256::digest(identity.as_bytes());
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem: String =
        stem.chars().filter(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(*letter)).take(40).collect();
    Ok(format!("{stem}-{}", digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()))
}
