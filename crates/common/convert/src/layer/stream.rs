//! A layer blob: digests, decompression, and the archive in it.

use super::apply::Builder;
use super::error::{LayerError, Problem};
use crate::hash::{PoolScope, Running};
use crate::progress::Progress;
use crate::tar::{Archive, TarError};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use workload::digest::Digest;

/// What an image says of a layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerSource {
    /// For messages: position and digest.
    pub(crate) name: String,
    /// Digest of the blob as it is stored, where the image gives it.
    pub(crate) digest: Option<Digest>,
    /// Bytes of the blob, likewise.
    pub(crate) size: Option<u64>,
    /// Digest of the uncompressed archive.
    pub(crate) diff_id: Digest,
}

/// Capacity of buffers.
const BUFFER: usize = 256 << 10;

/// The blob as it is stored.
type Stored = BufReader<Tee<Box<dyn Read + Send>>>;

/// The uncompressed archive.
pub(crate) type Plain = BufReader<Tee<Unpacked>>;

/// An open layer.
pub(crate) struct LayerStream {
    archive: Archive<Plain>,
    source: LayerSource,
}

impl LayerStream {
    /// Opens a layer; compression is seen from its first bytes, not believed from the media type.
    pub(crate) fn open(
        source: LayerSource,
        blob: Box<dyn Read + Send>,
    ) -> Result<Self, LayerError> {
        let mut stored = BufReader::with_capacity(BUFFER, Tee::new(blob));
        let start = stored.fill_buf().map_err(|error| read_error(&source, error))?;
        let unpacked = match start {
            [0x1f, 0x8b, ..] => Unpacked::Gzip(MultiGzDecoder::new(stored)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Unpacked::Zstd(Zstd::Between(stored))
            }
            _ => Unpacked::Plain(stored),
        };
        let archive = Archive::new(BufReader::with_capacity(BUFFER, Tee::new(unpacked)));
        Ok(Self { archive, source })
    }

    /// Applies the layer and checks that it is the one the image names.
    pub(crate) fn apply(
        mut self,
        builder: &mut Builder,
        pool: &PoolScope<'_>,
        progress: &dyn Progress,
    ) -> Result<(), LayerError> {
        let name = self.source.name.clone();
        builder.apply(&name, &mut self.archive, pool, progress)?;
        self.check()
    }

    /// The archive, for reading file data a second time.
    pub(crate) fn archive(&mut self) -> &mut Archive<Plain> {
        &mut self.archive
    }

    /// Reads to the end and compares size and digests.
    pub(crate) fn check(self) -> Result<(), LayerError> {
        let source = self.source;
        let mut plain = self.archive.into_inner();
        io::copy(&mut plain, &mut io::sink()).map_err(|error| read_error(&source, error))?;
        let (unpacked, diff_id, _) = plain.into_inner().finish();
        let mut stored = unpacked.into_stored().map_err(|error| read_error(&source, error))?;
        io::copy(&mut stored, &mut io::sink()).map_err(|error| read_error(&source, error))?;
        let (_, digest, size) = stored.into_inner().finish();
        if let Some(expected) = source.size.filter(|&expected| expected != size) {
            return Err(fault(&source, Problem::Size { expected, got: size }));
        }
        if let Some(expected) = source.digest.filter(|&expected| expected != digest) {
            let problem = Problem::Digest { what: "digest", expected, got: digest };
            return Err(fault(&source, problem));
        }
        if diff_id != source.diff_id {
            let (what, expected) = ("diff id", source.diff_id);
            return Err(fault(&source, Problem::Digest { what, expected, got: diff_id }));
        }
        Ok(())
    }
}

fn fault(source: &LayerSource, problem: Problem) -> LayerError {
    LayerError { layer: source.name.clone(), entry: None, problem: Box::new(problem) }
}

fn read_error(source: &LayerSource, error: io::Error) -> LayerError {
    fault(source, Problem::Tar(TarError::Read(error)))
}

/// A reader whose bytes are also hashed, by a thread of its own: a layer has two digests, and one core
/// hashes no faster than gzip unpacks.
pub(crate) struct Tee<R> {
    inner: R,
    length: u64,
    hash: Option<(SyncSender<Vec<u8>>, JoinHandle<Digest>)>,
}

impl<R> Tee<R> {
    fn new(inner: R) -> Self {
        let (sender, receiver) = sync_channel::<Vec<u8>>(8);
        let thread = std::thread::spawn(move || {
            let mut running = Running::default();
            receiver.iter().for_each(|bytes| running.update(&bytes));
            running.finish()
        });
        Self { inner, length: 0, hash: Some((sender, thread)) }
    }

    /// The reader, and digest and number of the bytes read from it.
    fn finish(mut self) -> (R, Digest, u64) {
        let (sender, thread) = self.hash.take().expect("taken here only");
        drop(sender);
        let digest = thread.join().expect("hashing does not panic");
        (self.inner, digest, self.length)
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count > 0 {
            self.length += count as u64;
            let (sender, _) = self.hash.as_ref().expect("taken at the end only");
            sender.send(buffer[..count].to_vec()).expect("the thread ends after the sender");
        }
        Ok(count)
    }
}

/// A decompressor.
pub(crate) enum Unpacked {
    Plain(Stored),
    Gzip(MultiGzDecoder<Stored>),
    Zstd(Zstd),
}

impl Unpacked {
    fn into_stored(self) -> io::Result<Stored> {
        match self {
            Self::Plain(stored) => Ok(stored),
            Self::Gzip(decoder) => Ok(decoder.into_inner()),
            Self::Zstd(Zstd::Between(stored)) => Ok(stored),
            Self::Zstd(_) => Err(damaged("a zstd frame is not complete")),
        }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

type Frame = StreamingDecoder<Chain<Cursor<[u8; 4]>, Stored>, FrameDecoder>;

/// A sequence of zstd frames, skippable ones among them (zstd:chunked layers end in such).
pub(crate) enum Zstd {
    Between(Stored),
    Inside(Box<Frame>),
    Failed,
}

impl Zstd {
    /// Starts the next frame; false at the end.
    fn start(&mut self, mut stored: Stored) -> io::Result<bool> {
        loop {
            if stored.fill_buf()?.is_empty() {
                *self = Self::Between(stored);
                return Ok(false);
            }
            let mut magic = [0; 4];
            stored.read_exact(&mut magic)?;
            if !matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
                let frame = StreamingDecoder::new(Cursor::new(magic).chain(stored));
                *self = Self::Inside(Box::new(frame.map_err(|error| damaged(&error.to_string()))?));
                return Ok(true);
            }
            let mut length = [0; 4];
            stored.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            if io::copy(&mut (&mut stored).take(length), &mut io::sink())? != length {
                return Err(damaged("a skippable zstd frame ends early"));
            }
        }
    }
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Failed) {
                Self::Between(stored) => {
                    if !self.start(stored)? {
                        return Ok(0);
                    }
                }
                Self::Inside(mut frame) => {
                    let count = frame.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        *self = Self::Inside(frame);
                        return Ok(count);
                    }
                    let (_, stored) = frame.into_inner().into_inner();
                    *self = Self::Between(stored);
                }
                Self::Failed => return Err(damaged("a zstd frame is damaged")),
            }
        }
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
