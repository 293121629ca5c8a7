//! The stream of a layer: read and verified in a thread of its own, unpacked in the caller's.

use super::blobs::Blobs;
use super::compression::decompress;
use super::digest::{Digested, hexadecimal};
use super::failure::{Failure, no_image, too_long, unreadable, wrong_digest};
use super::manifest::Layer;
use super::pieces::{Outlet, Pieces};
use super::tree::Tree;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// What ends an archive: zeros. Without them it was cut off between two files, which nothing else shows.
const END: usize = 512;

/// What extended headers of one file may have: names, links, attributes. (Names have 4 KiB at most, an attribute 64.)
const HEADERS: u64 = 1 << 20;

/// A layer that is about to be unpacked.
pub struct Stream {
    part: Box<dyn Read + Send>,
    digest: Option<String>,
    diff_id: Option<String>,
    what: String,
}

impl Stream {
    /// Opens a layer; errors call it `what`.
    pub fn open(blobs: &Blobs, layer: &Layer, what: String) -> Result<Stream> {
        let part: Box<dyn Read + Send> = match (blobs, layer.part.as_str()) {
            // The archive itself.
            (Blobs::Archive { file, path, .. }, "") => {
                let failed = |error| Error::from_io(path.display(), &error);
                let mut file = file.try_clone().map_err(failed)?;
                io::Seek::rewind(&mut file).map_err(failed)?;
                Box::new(file)
            }
            (_, part) => blobs.part(part)?,
        };
        Ok(Stream { part, digest: layer.digest.clone(), diff_id: layer.diff_id.clone(), what })
    }

    /// Puts the layer upon what is there.
    pub fn apply(self, tree: &mut Tree, has_whiteouts: bool) -> Result<()> {
        let what = self.what.clone();
        let is_verified = self.diff_id.is_some();
        let mut stream = Metered {
            pieces: Pieces::of(move |outlet| self.send(outlet))?,
            headers: None,
            left: tree.left,
            zeros: 0,
            too_large: tree.too_large(),
        };
        unpack(&mut stream, tree, has_whiteouts, &what)?;
        // To its end: behind the archive there may be more, which the digest covers.
        stream.headers = None;
        io::copy(&mut stream, &mut io::sink()).map_err(|error| unreadable(&what, error))?;
        if stream.left == tree.left && !is_verified {
            return Err(
                no_image(Path::new(&what), "is empty").remedy("see whether the program failed that was to write it")
            );
        }
        if !is_verified && stream.zeros < END {
            return Err(unreadable(&what, io::ErrorKind::UnexpectedEof.into()));
        }
        tree.left = stream.left;
        Ok(())
    }

    /// Reads all, and says at its end whether it was what it should be.
    fn send(self, outlet: &Outlet) -> io::Result<()> {
        let own = |error: Error| io::Error::other(error);
        let mut part = Digested::new(self.part, self.digest.is_some());
        let mut unpacked = self.diff_id.is_some().then(Sha256::new);
        let mut stream = decompress(Box::new(BufReader::with_capacity(128 << 10, &mut part))).map_err(own)?;
        let is_whole = outlet.pass(&mut stream, |piece| {
            if let Some(state) = &mut unpacked {
                state.update(piece);
            }
        })?;
        drop(stream);
        if !is_whole {
            return Ok(());
        }
        io::copy(&mut part, &mut io::sink())?;
        let is = |state: Option<Sha256>, wanted: &Option<String>| match (state, wanted) {
            (Some(state), Some(wanted)) => hexadecimal(&state.finalize()) == *wanted,
            _ => true,
        };
        match is(part.state, &self.digest) && is(unpacked, &self.diff_id) {
            true => Ok(()),
            false => Err(own(wrong_digest(&self.what))),
        }
    }
}

fn unpack(stream: &mut Metered, tree: &mut Tree, has_whiteouts: bool, what: &str) -> Result<()> {
    tree.begin_layer();
    let cell = std::cell::RefCell::new(stream);
    let failed = |error| unreadable(&what, error);
    let mut archive = tar::Archive::new(Shared(&cell));
    let mut entries = archive.entries().map_err(failed)?;
    loop {
        cell.borrow_mut().headers = Some(HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(failed)?;
        cell.borrow_mut().headers = None;
        tree.add(&mut entry, has_whiteouts).map_err(|failure| match failure {
            Failure::Read(error) => failed(error),
            Failure::Call(error) => Error::from_call(what, error),
            Failure::Refused(error) => Error { message: format!("{what}: {}", error.message), ..error },
        })?;
        // What is left of it is no header's.
        io::copy(&mut entry, &mut io::sink()).map_err(failed)?;
    }
    Ok(())
}

/// A stream that ends by an error where it is longer than it may be.
struct Metered {
    pieces: Pieces,
    /// While headers are read: what they may still have. They are kept in memory.
    headers: Option<u64>,
    left: u64,
    /// How many zeros it ended with so far.
    zeros: usize,
    too_large: Error,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pieces.read(buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        self.zeros = match bytes.iter().rposition(|byte| *byte != 0) {
            Some(last) => count - last - 1,
            None => self.zeros.saturating_add(count),
        };
        let count = count as u64;
        if let Some(headers) = &mut self.headers {
            *headers = headers.checked_sub(count).ok_or_else(|| io::Error::other(too_long(HEADERS)))?;
        }
        self.left = self.left.checked_sub(count).ok_or_else(|| io::Error::other(self.too_large.clone()))?;
        Ok(count as usize)
    }
}

/// The reader of an archive, whose budget is set from outside.
struct Shared<'a, 'b>(&'a std::cell::RefCell<&'b mut Metered>);

impl Read for Shared<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}
