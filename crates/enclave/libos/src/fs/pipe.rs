//! Pipes and fifos.
//!
//! A ring of bytes. A write of at most [`PIPE_BUF`] bytes is never split; a longer one goes in as there is
//! room. The file answers EAGAIN where it would wait; who calls it waits.

use super::file::{File, Sink, Source};
use super::flags::{O_ACCMODE, O_RDONLY, O_WRONLY};
use super::inode::InodeRef;
use super::stat::{FileType, Stat, Time};
use super::task::Task;
use crate::errno::Errno;
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

/// Writes up to this many bytes are atomic.
pub const PIPE_BUF: usize = 4096;
/// Bytes that a new pipe holds.
pub const DEFAULT_CAPACITY: usize = 65_536;
/// Most that F_SETPIPE_SZ gives (/proc/sys/fs/pipe-max-size).
pub const MAX_CAPACITY: usize = 1 << 20;

const FIONREAD: u32 = 0x541b;

/// The ring behind both ends.
pub struct Pipe {
    state: Mutex<State>,
    /// Woken by every change: bytes, room, ends.
    queue: WaitQueue,
    id: u64,
}

struct State {
    ring: VecDeque<u8>,
    capacity: usize,
    readers: usize,
    writers: usize,
    /// Ends that were ever opened: a fifo's opener waits for a new one, even if it is gone again.
    readers_ever: u64,
    writers_ever: u64,
}

impl Pipe {
    fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            state: Mutex::new(State {
                ring: VecDeque::new(),
                capacity: DEFAULT_CAPACITY,
                readers: 0,
                writers: 0,
                readers_ever: 0,
                writers_ever: 0,
            }),
            queue: WaitQueue::new(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// The ring of a fifo; nobody has it open.
    #[must_use]
    pub fn new_fifo() -> Arc<Self> {
        Self::new()
    }

    /// Makes a pipe: the end to read and the end to write.
    #[must_use]
    pub fn pair() -> (Arc<PipeEnd>, Arc<PipeEnd>) {
        let pipe = Self::new();
        (PipeEnd::new(&pipe, true, false, None), PipeEnd::new(&pipe, false, true, None))
    }

    /// Opens an end of a fifo. Waits for the other end as open(2) says: O_WRONLY with O_NONBLOCK and no
    /// reader is ENXIO; O_RDWR never waits.
    ///
    /// # Errors
    /// ENXIO, ERESTARTSYS.
    pub fn open_fifo(
        self: &Arc<Self>,
        task: &dyn Task,
        inode: InodeRef,
        flags: u32,
        is_nonblocking: bool,
    ) -> Result<Arc<PipeEnd>, Errno> {
        let mode = flags & O_ACCMODE;
        let (reads, writes) = (mode != O_WRONLY, mode != O_RDONLY);
        if writes && !reads && is_nonblocking && self.state.lock().readers == 0 {
            return Err(Errno::ENXIO);
        }
        let end = PipeEnd::new(self, reads, writes, Some(inode));
        self.queue.wake_all();
        if is_nonblocking || (reads && writes) {
            return Ok(end);
        }
        let (readers, writers) = {
            let state = self.state.lock();
            (state.readers_ever, state.writers_ever)
        };
        super::task::retry(task, &self.queue, || {
            let state = self.state.lock();
            let has_come = if reads {
                state.writers > 0 || state.writers_ever > writers
            } else {
                state.readers > 0 || state.readers_ever > readers
            };
            if has_come { Ok(()) } else { Err(Errno::EAGAIN) }
        })?;
        Ok(end)
    }
}

/// An open end (of a fifo opened O_RDWR, both).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    inode: Option<InodeRef>,
}

impl PipeEnd {
    fn new(pipe: &Arc<Pipe>, reads: bool, writes: bool, inode: Option<InodeRef>) -> Arc<Self> {
        let mut state = pipe.state.lock();
        state.readers += usize::from(reads);
        state.readers_ever += u64::from(reads);
        state.writers += usize::from(writes);
        state.writers_ever += u64::from(writes);
        drop(state);
        Arc::new(Self { pipe: pipe.clone(), reads, writes, inode })
    }

    /// F_GETPIPE_SZ.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pipe.state.lock().capacity
    }

    /// F_SETPIPE_SZ: rounds up to a power of two of at least a page; gives the capacity.
    ///
    /// # Errors
    /// EPERM above [`MAX_CAPACITY`], EBUSY below what the pipe holds.
    pub fn set_capacity(&self, wanted: usize) -> Result<usize, Errno> {
        if wanted > MAX_CAPACITY {
            return Err(Errno::EPERM);
        }
        let capacity = wanted.max(PIPE_BUF).next_power_of_two();
        let mut state = self.pipe.state.lock();
        if state.ring.len() > capacity {
            return Err(Errno::EBUSY);
        }
        state.capacity = capacity;
        drop(state);
        self.pipe.queue.wake_all();
        Ok(capacity)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers -= usize::from(self.reads);
        state.writers -= usize::from(self.writes);
        if state.readers == 0 && state.writers == 0 {
            // A fifo forgets what nobody can read any more.
            state.ring = VecDeque::new();
        }
        drop(state);
        self.pipe.queue.wake_all();
    }
}

impl File for PipeEnd {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        if into.remaining() == 0 {
            return Ok(0);
        }
        let mut state = self.pipe.state.lock();
        if state.ring.is_empty() {
            return if state.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let wanted = into.remaining().min(state.ring.len());
        let (front, back) = state.ring.as_slices();
        let first = front.len().min(wanted);
        // What a faulting buffer took before the fault stays taken, as far as whole slices go.
        into.put(&front[..first])?;
        let second = wanted - first;
        let taken = if second > 0 && into.put(&back[..second]).is_ok() { wanted } else { first };
        state.ring.drain(..taken);
        drop(state);
        self.pipe.queue.wake_all();
        Ok(taken)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let mut state = self.pipe.state.lock();
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let wanted = from.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        let room = state.capacity.saturating_sub(state.ring.len());
        if room == 0 || (wanted <= PIPE_BUF && room < wanted) {
            return Err(Errno::EAGAIN);
        }
        let count = room.min(wanted);
        let mut copied = 0;
        let mut chunk = [0; PIPE_BUF];
        while copied < count {
            let step = (count - copied).min(chunk.len());
            match from.take(&mut chunk[..step]) {
                Ok(()) => state.ring.extend(&chunk[..step]),
                Err(error) if copied == 0 => return Err(error),
                Err(_) => break,
            }
            copied += step;
        }
        drop(state);
        self.pipe.queue.wake_all();
        Ok(copied)
    }

    fn poll(&self) -> Readiness {
        let state = self.pipe.state.lock();
        let mut ready = 0;
        if self.reads {
            if !state.ring.is_empty() {
                ready |= Readiness::IN.0;
            }
            if state.writers == 0 {
                ready |= Readiness::HUP.0;
            }
        }
        if self.writes {
            if state.capacity.saturating_sub(state.ring.len()) >= PIPE_BUF {
                ready |= Readiness::OUT.0;
            }
            if state.readers == 0 {
                ready |= Readiness::ERR.0;
            }
        }
        Readiness(ready)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }

    fn stat(&self) -> Stat {
        if let Some(inode) = &self.inode {
            return inode.stat();
        }
        Stat {
            dev: PIPE_DEVICE,
            ino: self.pipe.id,
            file_type: FileType::Fifo,
            mode: 0o600,
            nlink: 1,
            atime: Time::default(),
            ..Stat::default()
        }
    }

    fn inode(&self) -> Option<&InodeRef> {
        self.inode.as_ref()
    }

    fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let held = self.pipe.state.lock().ring.len() as u32;
        task.write_user(argument, &held.to_le_bytes())?;
        Ok(0)
    }

    fn description(&self) -> String {
        alloc::format!("pipe:[{}]", self.pipe.id)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Device number of pipes without a name.
const PIPE_DEVICE: u64 = super::stat::makedev(0, 12);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::file::{SliceSource, VecSink};

    fn read(end: &PipeEnd, limit: usize) -> Result<alloc::vec::Vec<u8>, Errno> {
        let mut sink = VecSink::new(limit);
        end.read(0, &mut sink).map(|_| sink.bytes)
    }

    #[test]
    fn bytes_come_out_in_order_and_ends_are_seen() {
        let (reader, writer) = Pipe::pair();
        assert_eq!(read(&reader, 10), Err(Errno::EAGAIN));
        assert_eq!(writer.write(0, &mut SliceSource(b"hello world")), Ok(11));
        assert_eq!(read(&reader, 5).unwrap(), b"hello");
        assert_eq!(reader.poll(), Readiness::IN);
        drop(writer);
        assert_eq!(read(&reader, 100).unwrap(), b" world");
        assert_eq!(reader.poll(), Readiness::HUP);
        assert_eq!(read(&reader, 100).unwrap(), b"");
        let (reader, writer) = Pipe::pair();
        drop(reader);
        assert_eq!(writer.write(0, &mut SliceSource(b"x")), Err(Errno::EPIPE));
        assert_eq!(writer.poll().0, Readiness::OUT.0 | Readiness::ERR.0);
    }

    #[test]
    fn a_write_of_pipe_buf_is_whole_or_waits_and_a_longer_one_is_split() {
        let (reader, writer) = Pipe::pair();
        let big = [7; DEFAULT_CAPACITY + 10];
        assert_eq!(writer.write(0, &mut SliceSource(&big)), Ok(DEFAULT_CAPACITY));
        assert_eq!(writer.write(0, &mut SliceSource(b"x")), Err(Errno::EAGAIN));
        assert_eq!(read(&reader, 4095).unwrap().len(), 4095);
        assert_eq!(writer.write(0, &mut SliceSource(&big[..4096])), Err(Errno::EAGAIN));
        assert_eq!(writer.write(0, &mut SliceSource(&big[..4097])), Ok(4095));
        assert_eq!(reader.set_capacity(4096), Err(Errno::EBUSY));
        assert_eq!(reader.set_capacity(100_000), Ok(131_072));
        assert_eq!(writer.write(0, &mut SliceSource(b"x")), Ok(1));
    }
}
