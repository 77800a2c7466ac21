//! What a descriptor refers to, and what a path refers to.

use crate::errno::Errno;
use crate::host::Readiness;
use alloc::sync::Arc;

/// Where the bytes of a read go: user memory of a process, or a buffer of ours.
pub trait Sink {
    /// Bytes still wanted.
    fn remaining(&self) -> usize;
    /// Appends; all of `bytes` is taken, or an error.
    ///
    /// # Errors
    /// EFAULT where the program's buffer is not writable.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno>;
    /// Appends `count` zero bytes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn put_zeros(&mut self, count: usize) -> Result<(), Errno>;
}

/// Where the bytes of a write come from.
pub trait Source {
    /// Bytes still offered.
    fn remaining(&self) -> usize;
    /// Fills all of `into`, which is at most [`remaining`](Self::remaining) long.
    ///
    /// # Errors
    /// EFAULT where the program's buffer is not readable.
    fn take(&mut self, into: &mut [u8]) -> Result<(), Errno>;
}

/// One page of a mappable file, identified across processes.
pub trait PageSource: Send + Sync {
    /// Fills `into` (4096 bytes) with page `index` of the file; bytes past its end are zero.
    ///
    /// # Errors
    /// EIO where the host's bytes do not match the measured digest.
    fn read_page(&self, index: u64, into: &mut [u8; 4096]) -> Result<(), Errno>;
    /// Size of the file in bytes.
    fn size(&self) -> u64;
    /// Digest of the contents where the file cannot change (the verified root): key of the cache of
    /// system-call sites.
    fn content_digest(&self) -> Option<[u8; 32]>;
}

/// An open file description's object. Offsets and flags are kept by the description (`fd` module).
pub trait File: Send + Sync {
    /// Reads; at `offset` for a seekable object, which others ignore.
    ///
    /// # Errors
    /// EAGAIN when it would wait: the caller waits on [`wait_queue`](Self::wait_queue) unless O_NONBLOCK.
    fn read(&self, offset: u64, into: &mut dyn Sink) -> Result<usize, Errno>;
    /// Writes; likewise.
    ///
    /// # Errors
    /// EAGAIN when it would wait.
    fn write(&self, offset: u64, from: &mut dyn Source) -> Result<usize, Errno>;
    /// Present readiness.
    fn poll(&self) -> Readiness;
    /// Pages to map; None where mmap(2) fails with ENODEV.
    fn pages(&self) -> Option<Arc<dyn PageSource>>;
    /// Whether lseek(2) and positional reads make sense.
    fn is_seekable(&self) -> bool;
}
