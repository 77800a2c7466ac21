//! The little of input and output that a stream needs, without `std`.

use core::convert::Infallible;

use crate::hash::Sha256;

/// A source of bytes.
pub trait Read {
    /// Why reading fails.
    type Error;
    /// Reads at most `buffer.len()` bytes and says how many; 0 only at the end or for an empty buffer.
    ///
    /// # Errors
    /// Of the source.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error>;
}

/// A sink of bytes.
pub trait Write {
    /// Why writing fails.
    type Error;
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Of the sink.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl Read for &[u8] {
    type Error = Infallible;
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let (now, later) = self.split_at(buffer.len().min(self.len()));
        buffer[..now.len()].copy_from_slice(now);
        *self = later;
        Ok(now.len())
    }
}

impl<R: Read + ?Sized> Read for &mut R {
    type Error = R::Error;
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, R::Error> {
        (**self).read(buffer)
    }
}

impl<W: Write + ?Sized> Write for &mut W {
    type Error = W::Error;
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), W::Error> {
        (**self).write_all(bytes)
    }
}

/// Discards.
impl Write for () {
    type Error = Infallible;
    fn write_all(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A sink that hashes what passes: around the file that a [`Writer`](super::Writer) writes, it gives the
/// file's SHA-256, which is MRENCLAVE if every chunk is measured.
pub struct Hashing<W, H> {
    inner: W,
    hash: H,
}

impl<W, H: Sha256> Hashing<W, H> {
    /// Around `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: H::new() }
    }

    /// The sink and the digest of all that was written.
    pub fn finish(self) -> (W, [u8; 32]) {
        (self.inner, self.hash.finish())
    }
}

impl<W: Write, H: Sha256> Write for Hashing<W, H> {
    type Error = W::Error;
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), W::Error> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}

/// A `std` reader or writer. Give it a buffered one: records are 64 and 256 bytes.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub struct Io<T>(pub T);

#[cfg(feature = "std")]
impl<T: std::io::Read> Read for Io<T> {
    type Error = std::io::Error;
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[cfg(feature = "std")]
impl<T: std::io::Write> Write for Io<T> {
    type Error = std::io::Error;
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }
}
