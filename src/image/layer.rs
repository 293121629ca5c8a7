//! The stream of a layer: read and verified in a thread of its own, unpacked in the caller's.

use super::blobs::Blobs;
use super::compression::decompress;
use super::digest::{Digested, hexadecimal};
use super::failure::{Failure, check_not_interrupted, unreadable, wrong_digest};
use super::manifest::Layer;
use super::tree::Tree;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes that pass from thread to thread at once, and how many of these may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

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
        let (sender, receiver) = sync_channel(WAITING);
        let what = self.what.clone();
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, move || self.send(&sender))
                .map_err(|error| Error::from_io("cannot make a thread", &error))?;
            let mut stream =
                Metered { pieces: Pieces::new(receiver), headers: None, left: tree.left, too_large: tree.too_large() };
            let done = unpack(&mut stream, tree, has_whiteouts, &what);
            // To its end: behind the archive there may be more, which the digest covers.
            let rest = done
                .and_then(|()| io::copy(&mut stream.pieces, &mut io::sink()).map_err(|error| unreadable(&what, error)));
            tree.left = stream.left;
            rest.map(drop)
        })
    }

    /// Reads all, and says at its end whether it was what it should be.
    fn send(self, sender: &SyncSender<io::Result<Vec<u8>>>) {
        let read = || -> io::Result<()> {
            let own = |error: Error| io::Error::other(error);
            let mut part = Digested::new(self.part, self.digest.is_some());
            let mut unpacked = Sha256::new();
            let mut stream = decompress(Box::new(BufReader::with_capacity(128 << 10, &mut part))).map_err(own)?;
            loop {
                let mut piece = vec![0; PIECE];
                let mut length = 0;
                while let Some(rest @ [_, ..]) = piece.get_mut(length..) {
                    match stream.read(rest)? {
                        0 => break,
                        count => length += count,
                    }
                }
                if length == 0 {
                    break;
                }
                piece.truncate(length);
                if self.diff_id.is_some() {
                    unpacked.update(&piece);
                }
                if sender.send(Ok(piece)).is_err() {
                    // Whoever unpacks has failed, and says why.
                    return Ok(());
                }
            }
            drop(stream);
            let is = |state: Sha256, wanted: &Option<String>| {
                wanted.as_ref().is_none_or(|wanted| hexadecimal(&state.finalize()) == *wanted)
            };
            io::copy(&mut part, &mut io::sink())?;
            match part.state.is_none_or(|state| is(state, &self.digest)) && is(unpacked, &self.diff_id) {
                true => Ok(()),
                false => Err(own(wrong_digest(&self.what))),
            }
        };
        if let Err(error) = read() {
            let _ = sender.send(Err(error));
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

/// Pieces of a stream that another thread reads.
struct Pieces {
    receiver: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    used: usize,
}

impl Pieces {
    fn new(receiver: Receiver<io::Result<Vec<u8>>>) -> Pieces {
        Pieces { receiver, piece: Vec::new(), used: 0 }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() {
            check_not_interrupted().map_err(io::Error::other)?;
            match self.receiver.recv() {
                Ok(piece) => (self.piece, self.used) = (piece?, 0),
                // It has said all.
                Err(_) => return Ok(0),
            }
        }
        let rest = self.piece.get(self.used..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.used += count;
        Ok(count)
    }
}

/// A stream that ends by an error where it is longer than it may be.
struct Metered {
    pieces: Pieces,
    /// While headers are read: what they may still have. They are kept in memory.
    headers: Option<u64>,
    left: u64,
    too_large: Error,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pieces.read(buffer)? as u64;
        if let Some(headers) = &mut self.headers {
            *headers = headers.checked_sub(count).ok_or_else(|| {
                io::Error::other(
                    Error::new(format!("the headers of one file have more than {HEADERS} bytes"))
                        .because("no name and no attribute is that long"),
                )
            })?;
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
