//! A stream that a thread of its own reads, so that reading, undoing compression and writing overlap, and whoever waits for a
//! pipe that gives nothing still hears signals.

use super::failure::check_not_interrupted;
use crate::error::{Error, Result};
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Bytes that pass from thread to thread at once, and how many of these may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// How long a signal may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// The stream, where it is used.
#[derive(Debug)]
pub struct Pieces {
    receiver: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    used: usize,
}

/// Where pieces go, in the thread.
pub struct Outlet(SyncSender<io::Result<Vec<u8>>>);

impl Outlet {
    /// Passes a whole stream on; `look` sees each piece. False if nobody wants more: whoever used it has failed, and says why.
    pub fn pass(&self, stream: &mut dyn Read, mut look: impl FnMut(&[u8])) -> io::Result<bool> {
        loop {
            let mut piece = vec![0; PIECE];
            let mut length = 0;
            while let Some(rest @ [_, ..]) = piece.get_mut(length..) {
                match stream.read(rest) {
                    Ok(0) => break,
                    Ok(count) => length += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if length == 0 {
                return Ok(true);
            }
            piece.truncate(length);
            look(&piece);
            if self.0.send(Ok(piece)).is_err() {
                return Ok(false);
            }
        }
    }
}

impl Pieces {
    /// What `read` passes on in a thread, which may outlive this where it waits for bytes that nobody wants any more.
    pub fn of(read: impl FnOnce(&Outlet) -> io::Result<()> + Send + 'static) -> Result<Pieces> {
        let (sender, receiver) = sync_channel(WAITING);
        let outlet = Outlet(sender);
        let thread = std::thread::Builder::new().spawn(move || {
            if let Err(error) = read(&outlet) {
                let _ = outlet.0.send(Err(error));
            }
        });
        thread.map_err(|error| Error::from_io("cannot make a thread", &error))?;
        Ok(Pieces { receiver, piece: Vec::new(), used: 0 })
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.piece.len() {
            check_not_interrupted().map_err(io::Error::other)?;
            match self.receiver.recv_timeout(PATIENCE) {
                Ok(piece) => (self.piece, self.used) = (piece?, 0),
                Err(RecvTimeoutError::Timeout) => {}
                // It has said all.
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
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
