//! The parts of an image: files in a directory, or in an archive. They are found by their names in it, and read once each.

use super::compression::{decompress, is_compressed};
use super::draft::Draft;
use super::failure::{cannot_write, no_image, too_large, too_long, unreadable};
use super::pieces::Pieces;
use super::source::{Form, Source};
use crate::error::{Error, Result, found};
use crate::sys::{self, Errno, fd, resolve};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The largest manifest, index or configuration, as image-spec advises.
const LARGEST: u64 = 4 << 20;

/// How many parts an archive may have, and how many bytes all their names.
const MANY: usize = 20_000;
const NAMES: usize = 4 << 20;

/// What the headers of one entry may have, which are kept in memory.
const HEADERS: u64 = 1 << 20;

/// Where parts are.
#[derive(Debug)]
pub enum Blobs {
    /// An OCI layout.
    Directory(PathBuf, OwnedFd),
    /// An archive, and what is in it.
    Archive {
        /// For messages.
        path: PathBuf,
        /// Where it is read.
        file: File,
        /// Its parts by their names.
        parts: HashMap<String, Part>,
        /// What it holds.
        form: Form,
    },
}

/// A file in an archive, or a link to one.
#[derive(Debug)]
pub enum Part {
    /// Its first byte, and how many there are.
    At(u64, u64),
    /// Another name (`docker save` writes a layer once).
    Link(String),
}

impl Blobs {
    /// Opens what a source names. `limit`: how many bytes a compressed archive may unpack to.
    pub fn open(source: &Source, draft: &Draft, limit: u64) -> Result<Blobs> {
        let path = &source.path;
        let metadata = match path == Path::new("-") {
            true => None,
            false => Some(std::fs::metadata(path).map_err(|error| missing(source, &error))?),
        };
        if metadata.as_ref().is_some_and(|metadata| metadata.is_dir()) {
            return open_layout(source);
        }
        if source.form == Form::Layout {
            return Err(no_image(path, "is no directory").remedy(format!("`rootlet unpack {} BUNDLE`", path.display())));
        }
        if metadata.is_some_and(|metadata| metadata.file_type().is_fifo()) {
            // Its writer may be long in coming.
            let fifo = path.clone();
            return Blobs::list(source, spool(path, move || File::open(fifo), draft, limit)?);
        }
        let mut file = open_archive(path)?;
        let is_plain = file.rewind().is_ok() && {
            let mut start = [0; 6];
            let failed = |error| Error::from_io(path.display(), &error);
            let length = read_up_to(&mut file, &mut start).map_err(failed)?;
            file.rewind().map_err(failed)?;
            !is_compressed(start.get(..length).unwrap_or_default())
        };
        if !is_plain {
            file = spool(path, || Ok(file), draft, limit)?;
        }
        Blobs::list(source, file)
    }

    fn list(source: &Source, file: File) -> Result<Blobs> {
        let parts = list(&source.path, &file)?;
        let form = recognise(source, &parts)?;
        Ok(Blobs::Archive { path: source.path.clone(), file, parts, form })
    }

    /// How the image is stored.
    pub fn form(&self) -> Form {
        match self {
            Blobs::Directory(..) => Form::Layout,
            Blobs::Archive { form, .. } => *form,
        }
    }

    /// Path of the image, for messages.
    pub fn path(&self) -> &Path {
        match self {
            Blobs::Directory(path, _) | Blobs::Archive { path, .. } => path,
        }
    }

    /// Opens a part.
    pub fn part(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let missing = || {
            Error::new(format!("{}: {name} is missing", self.path().display()))
                .because("the image is not complete")
                .remedy("fetch or save it again")
        };
        match self {
            Blobs::Directory(path, directory) => {
                let path = path.join(name);
                let name = CString::new(name).map_err(|_| missing())?;
                // A layout is somebody else's, too: what its links lead to is in it, and is a file.
                match found(resolve::open_file_in_root(directory.as_fd(), &name)) {
                    Ok(Some(file)) => Ok(Box::new(File::from(file))),
                    Ok(None) => Err(missing()),
                    Err(sys::Error { errno: Errno::EINVAL, .. }) => Err(no_image(&path, "is not a file")),
                    Err(error) => Err(Error::from_call(path.display(), error)),
                }
            }
            Blobs::Archive { file, parts, .. } => {
                let mut name = name.to_owned();
                for _ in 0..8 {
                    match parts.get(&name).ok_or_else(missing)? {
                        Part::Link(other) => name = other.clone(),
                        Part::At(offset, length) => {
                            let failed = |error| Error::from_io(self.path().display(), &error);
                            let mut file = file.try_clone().map_err(failed)?;
                            file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
                            return Ok(Box::new(file.take(*length)));
                        }
                    }
                }
                Err(missing())
            }
        }
    }

    /// Reads a part that is JSON.
    pub fn text(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let failed = |error| Error::from_io(format!("{}: {name}", self.path().display()), &error);
        self.part(name)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() as u64 > LARGEST {
            true => Err(no_image(self.path(), &format!("has a {name} of more than {LARGEST} bytes"))),
            false => Ok(bytes),
        }
    }
}

fn open_layout(source: &Source) -> Result<Blobs> {
    let path = &source.path;
    if !matches!(source.form, Form::Layout | Form::Any) {
        return Err(no_image(path, "is a directory").remedy(format!("`rootlet unpack oci:{} BUNDLE`", path.display())));
    }
    let failed = |error| Error::from_call(path.display(), error);
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| no_image(path, "has a NUL character"))?;
    let directory = fd::open(&name, fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(failed)?;
    if !fd::exists_at(directory.as_fd(), c"index.json").map_err(failed)? {
        let shown = path.display();
        let is = |name: &std::ffi::CStr| fd::exists_at(directory.as_fd(), name).unwrap_or(false);
        return Err(match (is(c"config.json"), is(c"bin") || is(c"usr")) {
            (true, _) => no_image(path, "is a bundle already").remedy(format!("`rootlet run -b {shown} NAME`")),
            (_, true) => no_image(path, "is a root file system").remedy(format!("`rootlet run --rootfs {shown} NAME`")),
            _ => no_image(path, "has no index.json"),
        });
    }
    Ok(Blobs::Directory(path.clone(), directory))
}

/// What is not there may have been meant otherwise.
fn missing(source: &Source, error: &std::io::Error) -> Error {
    let failed = Error::from_io(source.path.display(), error);
    if error.kind() != std::io::ErrorKind::NotFound || source.form != Form::Any {
        return failed;
    }
    let text = source.path.to_string_lossy();
    match text.split_once(':') {
        Some((directory, _)) if Path::new(directory).is_dir() => failed.remedy(format!("did you mean oci:{text}?")),
        _ => failed
            .because("rootlet unpacks what is in a file or a directory, and fetches nothing")
            .remedy(super::source::how_to_get(&source.path)),
    }
}

fn open_archive(path: &Path) -> Result<File> {
    let failed = |error| Error::from_io(path.display(), &error);
    if path == Path::new("-") {
        // A copy, so that standard input stays open.
        return std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().map(File::from).map_err(failed);
    }
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    match kind.is_file() || kind.is_char_device() {
        true => File::open(path).map_err(failed),
        false => Err(no_image(path, "is not a file")),
    }
}

fn read_up_to(file: &mut File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(length..) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Keeps what comes through a pipe, or is compressed as a whole, in a file: parts are read in any order.
fn spool(
    path: &Path,
    open: impl FnOnce() -> std::io::Result<File> + Send + 'static,
    draft: &Draft,
    limit: u64,
) -> Result<File> {
    let unwritable = |error| cannot_write(&draft.bundle, &error);
    let mut file = draft.make_spool()?;
    let mut stream = Pieces::of(move |outlet| {
        let mut stream =
            decompress(Box::new(BufReader::with_capacity(128 << 10, open()?))).map_err(std::io::Error::other)?;
        outlet.pass(&mut stream, |_| ()).map(drop)
    })?;
    let (mut buffer, mut total) = (vec![0; 128 << 10], 0u64);
    loop {
        let count = stream.read(&mut buffer).map_err(|error| unreadable(&path.display(), error))?;
        if count == 0 {
            break;
        }
        total += count as u64;
        if total > limit {
            return Err(too_large(limit));
        }
        file.write_all(buffer.get(..count).unwrap_or_default()).map_err(unwritable)?;
    }
    file.rewind().map_err(unwritable)?;
    Ok(file)
}

/// An archive of which only headers are read.
struct Headers<'a> {
    file: &'a File,
    left: &'a Cell<u64>,
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = (&mut &*self.file).read(buffer)?;
        let left = self.left.get().checked_sub(count as u64);
        self.left.set(left.ok_or_else(|| std::io::Error::other(too_long(HEADERS)))?);
        Ok(count)
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        (&mut &*self.file).seek(to)
    }
}

/// The parts of an archive.
fn list(path: &Path, file: &File) -> Result<HashMap<String, Part>> {
    let failed = |error| unreadable(&path.display(), error);
    let (mut parts, mut names) = (HashMap::new(), 0);
    let left = Cell::new(HEADERS);
    let mut archive = tar::Archive::new(Headers { file, left: &left });
    let mut is_first = true;
    for entry in archive.entries_with_seek().map_err(failed)? {
        let entry = entry.map_err(|error| {
            match is_first
                && error.raw_os_error().is_none()
                && !error.get_ref().is_some_and(|inner| inner.is::<Error>())
            {
                true => no_image(path, "is no tar archive"),
                false => failed(error),
            }
        })?;
        is_first = false;
        left.set(HEADERS);
        let name = entry.path_bytes();
        let name = String::from_utf8_lossy(name.strip_prefix(b"./").unwrap_or(&name)).into_owned();
        // A root file system has many others, and none of them is a part.
        let is_part =
            name == "oci-layout" || name.starts_with("blobs/") || name.ends_with(".json") || name.ends_with(".tar");
        if !is_part {
            continue;
        }
        names += name.len();
        if parts.len() >= MANY || names > NAMES {
            // A root file system may have that many; an image has not.
            return Ok(HashMap::new());
        }
        let kind = entry.header().entry_type();
        if kind.is_file() {
            parts.insert(name, Part::At(entry.raw_file_position(), entry.size()));
        } else if let (true, Some(target)) = (kind.is_symlink() || kind.is_hard_link(), entry.link_name_bytes()) {
            let target = String::from_utf8_lossy(&target).into_owned();
            let target = if kind.is_symlink() { beside(&name, &target) } else { target };
            parts.insert(name, Part::Link(target));
        }
    }
    Ok(parts)
}

/// What a link's target is called from the archive's top.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

const RECOGNISED: &str = "give the path alone: what it is is recognised";

fn recognise(source: &Source, parts: &HashMap<String, Part>) -> Result<Form> {
    let is_layout = parts.contains_key("oci-layout") && parts.contains_key("index.json");
    let is_docker = parts.contains_key("manifest.json") && parts.len() > 1;
    match source.form {
        Form::OciArchive if !is_layout => {
            Err(no_image(&source.path, "has no oci-layout with an index.json").remedy(RECOGNISED))
        }
        Form::DockerArchive if !is_docker => Err(no_image(&source.path, "has no manifest.json").remedy(RECOGNISED)),
        Form::Any if is_layout => Ok(Form::OciArchive),
        Form::Any if is_docker => Ok(Form::DockerArchive),
        form => Ok(form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_an_archive_stay_in_it() {
        assert_eq!(beside("a/layer.tar", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(beside("layer.tar", "../../../etc/passwd.tar"), "etc/passwd.tar");
    }
}
