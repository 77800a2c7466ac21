//! What a descriptor refers to.
//!
//! Lock order: a pipe, socket or other [`File`] may call a [`Sink`] or [`Source`] with its lock held; those
//! take the memory manager's locks, which may call [`PageSource::read_page`]. So an object that is a
//! [`PageSource`] never holds its lock over a call of a sink or source.

use super::inode::InodeRef;
use super::socket::Socket;
use super::stat::Stat;
use super::task::Task;
use crate::errno::Errno;
use crate::host::Readiness;
use crate::wait::WaitQueue;
use alloc::sync::Arc;
use core::any::Any;

/// Where the bytes of a read go: user memory of a process, or a buffer of ours.
pub trait Sink {
    /// Bytes still wanted.
    fn remaining(&self) -> usize;
    /// Appends; all of `bytes` is taken, or an error. At most [`remaining`](Self::remaining) bytes.
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
    /// Fills all of `into`, which is at most [`remaining`](Self::remaining) long, with the next bytes. They stay
    /// offered.
    ///
    /// # Errors
    /// EFAULT where the program's buffer is not readable.
    fn peek(&self, into: &mut [u8]) -> Result<(), Errno>;
    /// Goes past the next `count` bytes, at most [`remaining`](Self::remaining).
    fn skip(&mut self, count: usize);
    /// Fills all of `into` and goes past it.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    fn take(&mut self, into: &mut [u8]) -> Result<(), Errno> {
        self.peek(into)?;
        self.skip(into.len());
        Ok(())
    }
}

/// Pages of a mappable file, identified across processes.
///
/// MAP_PRIVATE copies pages out with [`read_page`](Self::read_page). MAP_SHARED of a file that can change
/// moves them: the memory manager gives each page its one address with
/// [`share_page`](Self::share_page), read(2) and write(2) use it there, and
/// [`unshare_page`](Self::unshare_page) takes it back when the last mapping is gone.
pub trait PageSource: Send + Sync {
    /// Fills `into` (4096 bytes) with page `index` of the file; bytes past its end are zero.
    ///
    /// # Errors
    /// EIO where the host's bytes do not match the measured digest.
    fn read_page(&self, index: u64, into: &mut [u8; 4096]) -> Result<(), Errno>;
    /// Size of the file in bytes.
    fn size(&self) -> u64;
    /// Digest of the contents where the file cannot change (the verified root, not yet written): key of
    /// the cache of system-call sites.
    fn content_digest(&self) -> Option<[u8; 32]>;
    /// Identity of the file among all page sources of this enclave, for as long as it is open or mapped.
    fn identity(&self) -> (u64, u64);
    /// Moves page `index` to `address`: page-aligned committed user memory that the caller keeps until
    /// [`unshare_page`](Self::unshare_page). The present contents are copied there.
    ///
    /// # Errors
    /// EIO as [`read_page`](Self::read_page); ENODEV where pages cannot move.
    fn share_page(&self, index: u64, address: u64) -> Result<(), Errno>;
    /// Takes page `index` back from the address that it was shared at. Nothing happens if it is not
    /// shared, or was cut off by truncation.
    fn unshare_page(&self, index: u64);
}

/// An open file description's object. Offsets and flags are kept by the description
/// ([`OpenFile`](super::fd::OpenFile)).
pub trait File: Send + Sync {
    /// Reads; at `offset` for a seekable object, which others ignore. 0 at the end.
    ///
    /// # Errors
    /// EAGAIN when it would wait: the caller waits on [`wait_queue`](Self::wait_queue) unless O_NONBLOCK.
    fn read(&self, offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let _ = (offset, into);
        Err(Errno::EINVAL)
    }
    /// Writes; likewise. May write less than is offered.
    ///
    /// # Errors
    /// EAGAIN when it would wait.
    fn write(&self, offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let _ = (offset, from);
        Err(Errno::EINVAL)
    }
    /// Writes at the end in one step (O_APPEND); gives the offset after the bytes, and their number.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn append(&self, from: &mut dyn Source) -> Result<(u64, usize), Errno> {
        self.write(0, from).map(|n| (0, n))
    }
    /// As [`read`](Self::read), for a file that gives each caller something else (signalfd).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_for(&self, task: &dyn Task, offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let _ = task;
        self.read(offset, into)
    }
    /// What must hold before `task` may read or write (a terminal's job control). `is_write` says which.
    ///
    /// # Errors
    /// EIO, EINTR after a signal was sent.
    fn admit(&self, task: &dyn Task, is_write: bool) -> Result<(), Errno> {
        let _ = (task, is_write);
        Ok(())
    }
    /// Present readiness. A file that never waits is always ready for both.
    fn poll(&self) -> Readiness {
        Readiness(Readiness::IN.0 | Readiness::OUT.0)
    }
    /// As [`poll`](Self::poll), for a file that is ready for one caller and not for another.
    fn poll_for(&self, task: &dyn Task) -> Readiness {
        let _ = task;
        self.poll()
    }
    /// Woken when [`poll`](Self::poll) may give more; None for a file that never waits.
    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.as_socket().map(Socket::events)
    }
    /// The socket that it is.
    fn as_socket(&self) -> Option<&dyn Socket> {
        None
    }
    /// Pages to map; None where mmap(2) fails with ENODEV.
    fn pages(&self) -> Option<Arc<dyn PageSource>> {
        None
    }
    /// Whether the description's offset moves with reads and writes.
    fn is_seekable(&self) -> bool {
        false
    }
    /// Whether lseek(2) and positional reads succeed all the same: devices without a position.
    fn is_seek_ignored(&self) -> bool {
        false
    }
    /// Attributes.
    fn stat(&self) -> Stat;
    /// The inode, where the file has one (not a pipe, a socket, an eventfd).
    fn inode(&self) -> Option<&InodeRef> {
        None
    }
    /// Changes O_NONBLOCK, where the object itself must know.
    fn set_nonblocking(&self, is_nonblocking: bool) {
        let _ = is_nonblocking;
    }
    /// ioctl(2) that is the object's own.
    ///
    /// # Errors
    /// ENOTTY where the object does not know the request.
    fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        let _ = (task, request, argument);
        Err(Errno::ENOTTY)
    }
    /// Lines that /proc/PID/fdinfo shows below the common ones.
    fn fdinfo(&self) -> alloc::string::String {
        alloc::string::String::new()
    }
    /// What /proc/PID/fd shows for a file without a path: `pipe:[7]`, `anon_inode:[eventfd]`.
    fn description(&self) -> alloc::string::String {
        alloc::string::String::from("anon_inode:[unknown]")
    }
    /// The concrete object, for calls that belong to one kind (epoll_ctl, F_SETPIPE_SZ).
    fn as_any(&self) -> &dyn Any;
}

/// A sink that collects in a vector.
#[derive(Debug)]
pub struct VecSink {
    /// What was put.
    pub bytes: alloc::vec::Vec<u8>,
    limit: usize,
}

impl VecSink {
    /// Takes up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { bytes: alloc::vec::Vec::new(), limit }
    }
}

impl Sink for VecSink {
    fn remaining(&self) -> usize {
        self.limit - self.bytes.len()
    }
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
    fn put_zeros(&mut self, count: usize) -> Result<(), Errno> {
        self.bytes.resize(self.bytes.len() + count, 0);
        Ok(())
    }
}

/// A source over bytes of ours.
#[derive(Debug)]
pub struct SliceSource<'a>(pub &'a [u8]);

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.0.len()
    }
    fn peek(&self, into: &mut [u8]) -> Result<(), Errno> {
        into.copy_from_slice(&self.0[..into.len()]);
        Ok(())
    }
    fn skip(&mut self, count: usize) {
        self.0 = &self.0[count..];
    }
}
