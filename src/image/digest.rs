//! Digests of what passes.

use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// A digest in the form that images have it.
pub fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes whose digest is taken while they pass.
pub struct Digested<R> {
    inner: R,
    /// The digest so far, if anybody wants to know.
    pub state: Option<Sha256>,
}

impl<R: Read> Digested<R> {
    /// All that is read from there.
    pub fn new(inner: R, is_wanted: bool) -> Digested<R> {
        Digested { inner, state: is_wanted.then(Sha256::new) }
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(state) = &mut self.state {
            state.update(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}
