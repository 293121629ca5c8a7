//! Compression, by its first bytes: gzip and zstd are undone.

use crate::error::{Error, Result};
use ruzstd::decoding::BlockDecodingStrategy::UptoBlocks;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use std::io::{self, BufRead, Read};

/// The largest window of a zstd frame, which is kept in memory: what zstd takes up to level 19, and more than it needs.
const WINDOW: u64 = 32 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const BZIP2: &[u8] = b"BZh";

/// Frames that are skipped: zstd:chunked keeps an index in them.
fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Whether these are the first bytes of something compressed.
pub fn is_compressed(start: &[u8]) -> bool {
    [GZIP, ZSTD, XZ, BZIP2].iter().any(|magic| start.starts_with(magic)) || is_skippable(start)
}

/// Undoes compression, if there is one: it is seen from the first bytes.
pub fn decompress<'a>(mut stream: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>> {
    let start = stream.fill_buf().map_err(|error| Error::from_io("cannot read", &error))?;
    if start.starts_with(GZIP) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(stream)));
    }
    if start.starts_with(ZSTD) || is_skippable(start) {
        return Ok(Box::new(Frames { stream, decoder: FrameDecoder::new(), is_within: false }));
    }
    for (magic, program) in [(XZ, "xz"), (BZIP2, "bzip2")] {
        if start.starts_with(magic) {
            return Err(Error::new(format!("compressed by {program}, which rootlet does not undo"))
                .remedy(format!("`{program} -dc FILE | rootlet unpack - BUNDLE`")));
        }
    }
    Ok(stream)
}

/// The frames of a zstd stream, one behind the other.
struct Frames<'a> {
    stream: Box<dyn BufRead + Send + 'a>,
    decoder: FrameDecoder,
    is_within: bool,
}

impl Frames<'_> {
    /// Goes on to the next frame with something in it; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.stream.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.decoder.set_max_window_size(WINDOW);
            match self.decoder.reset(&mut self.stream) {
                Ok(()) => {
                    self.is_within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.stream).take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error @ FrameDecoderError::WindowSizeTooBig { .. }) => {
                    return Err(io::Error::other(
                        Error::new(format!("zstd: {error}"))
                            .because(format!("rootlet keeps {WINDOW} bytes at the most"))
                            .remedy("`zstd -dc --long=31 FILE | rootlet unpack - BUNDLE`"),
                    ));
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            }
        }
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_within && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let decoded = self.decoder.decode_blocks(&mut self.stream, UptoBlocks(1));
                decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if self
                .decoder
                .get_checksum_from_data()
                .is_some_and(|told| self.decoder.get_calculated_checksum() != Some(told))
            {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum of a zstd frame is another"));
            }
            self.is_within = false;
        }
    }
}
