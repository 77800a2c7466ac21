//! Streams: the descriptors that a session was given as its stdin, stdout and stderr, and sockets (`net.rs`).
//!
//! A session's descriptors are shared with processes outside (a shell, an engine's shim), so their O_NONBLOCK flag is not
//! touched: pipes and sockets take a flag per call instead. For a terminal the read or write after `poll(2)` can
//! still wait if a process outside takes the input first; the driver's kick signal ends that wait too.

use super::terminal::{self, TERMIOS};
use super::watcher::Watcher;
use super::{Answer, Served};
use crate::block::{Block, last_errno};
use crate::interrupt::Interrupt;
use hostcall::READINESS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

/// Told only of sockets that the enclave asked for.
const RDHUP: u16 = PollFlags::RDHUP.bits();

/// Bytes written at once where a write may not be told not to wait: what `poll(2)` promises room for.
const PIPE_BUF: usize = 4096;

/// Open streams by the number the enclave knows.
pub(crate) struct Streams {
    table: Mutex<Table>,
    watcher: Arc<Watcher>,
}

#[derive(Default)]
struct Table {
    open: HashMap<u32, Arc<Stream>>,
    next: u32,
}

impl Streams {
    pub(crate) fn new(watcher: Arc<Watcher>) -> Self {
        Self { table: Mutex::default(), watcher }
    }

    /// Takes the descriptors 0, 1 and 2 of a session; the first session's are streams 0, 1 and 2.
    pub(crate) fn add(&self, fds: [OwnedFd; 3]) -> Result<[u32; 3], Errno> {
        let mut streams = Vec::with_capacity(3);
        for fd in fds {
            streams.push(Arc::new(Stream::new(fd)?));
        }
        let mut table = self.lock();
        let mut numbers = [0; 3];
        for (number, stream) in numbers.iter_mut().zip(streams) {
            *number = table.insert(stream);
        }
        Ok(numbers)
    }

    /// Takes one more.
    pub(super) fn insert(&self, stream: Stream) -> u32 {
        self.lock().insert(Arc::new(stream))
    }

    /// Reads; waits unless told not to.
    pub(crate) fn read(
        &self,
        stream: u32,
        length: u32,
        is_nonblocking: bool,
        block: &Block,
        interrupt: &Interrupt,
    ) -> Served<'static> {
        let stream = self.get(stream)?;
        loop {
            match stream.read(block, length as usize) {
                Err(Errno::AGAIN) if !is_nonblocking => {
                    interrupt.wait(stream.fd.as_fd(), PollFlags::IN)?;
                }
                result => return result.map(Answer::InPlace),
            }
        }
    }

    /// Writes everything, unless interrupted after a part; what fits at once if told not to wait.
    pub(crate) fn write(
        &self,
        stream: u32,
        bytes: &[u8],
        is_nonblocking: bool,
        interrupt: &Interrupt,
    ) -> Served<'static> {
        let stream = self.get(stream)?;
        if is_nonblocking && !bytes.is_empty() {
            return stream.write(bytes).map(|written| Answer::Value(written as u64));
        }
        let mut written = 0;
        while written < bytes.len() {
            let step = match stream.write(&bytes[written..]) {
                Err(Errno::AGAIN) => interrupt.wait(stream.fd.as_fd(), PollFlags::OUT).map(|()| 0),
                result => result,
            };
            match step {
                Ok(step) => written += step,
                Err(_) if written > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(Answer::Value(written as u64))
    }

    /// Present readiness.
    pub(crate) fn poll(&self, stream: u32) -> Served<'static> {
        let stream = self.get(stream)?;
        let half = if stream.is_ours { PollFlags::RDHUP } else { PollFlags::empty() };
        let readiness = stream.readiness(PollFlags::IN | PollFlags::OUT | half)?;
        Ok(Answer::Value((readiness.bits() & READINESS).into()))
    }

    /// Asks for one event when the stream is ready.
    pub(crate) fn watch(&self, stream: u32, interest: u16) -> Served<'static> {
        // Under the lock: a watch on a stream that another thread closes meanwhile must not outlive it.
        let table = self.lock();
        let open = table.open.get(&stream).ok_or(Errno::BADF)?;
        let interest = if open.is_ours { interest } else { interest & !RDHUP };
        self.watcher.watch(stream, open.fd.as_fd(), interest)?;
        Ok(Answer::Done)
    }

    /// Closes a stream; a thread that waits on it keeps the descriptor until its wait ends.
    pub(crate) fn close(&self, stream: u32) -> Served<'static> {
        let mut table = self.lock();
        let closed = table.open.remove(&stream).ok_or(Errno::BADF)?;
        self.watcher.forget(closed.fd.as_fd());
        Ok(Answer::Done)
    }

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(&self, stream: u32) -> Served<'static> {
        Ok(Answer::Value(rustix::termios::isatty(&self.get(stream)?.fd).into()))
    }

    /// A terminal ioctl.
    pub(crate) fn ioctl<'a>(
        &self,
        stream: u32,
        request: u32,
        argument: &[u8],
        scratch: &'a mut [u8; TERMIOS],
    ) -> Served<'a> {
        terminal::ioctl(self.get(stream)?.fd.as_fd(), request, argument, scratch)
    }

    /// A socket that the enclave asked for. A session's own is none to it: shutting that down would reach others.
    pub(super) fn socket(&self, stream: u32) -> Result<Arc<Stream>, Errno> {
        let stream = self.get(stream)?;
        if stream.is_ours { Ok(stream) } else { Err(Errno::NOTSOCK) }
    }

    fn get(&self, stream: u32) -> Result<Arc<Stream>, Errno> {
        self.lock().open.get(&stream).cloned().ok_or(Errno::BADF)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic under the lock")
    }
}

impl Table {
    /// Adds a stream under a number that no other has.
    fn insert(&mut self, stream: Arc<Stream>) -> u32 {
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, stream);
        number
    }
}

/// One descriptor, and how to use it without waiting.
pub(super) struct Stream {
    fd: OwnedFd,
    kind: Kind,
    /// Made by this process for the enclave.
    is_ours: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Never waits.
    Regular,
    /// RWF_NOWAIT.
    Pipe,
    /// MSG_DONTWAIT.
    Socket,
    /// `poll(2)` first.
    Device,
}

impl Stream {
    fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let kind = match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::Fifo => Kind::Pipe,
            FileType::Socket => Kind::Socket,
            FileType::RegularFile => Kind::Regular,
            _ => Kind::Device,
        };
        Ok(Self { fd, kind, is_ours: false })
    }

    /// A socket that the enclave asked for.
    pub(super) fn socket(fd: OwnedFd) -> Self {
        Self { fd, kind: Kind::Socket, is_ours: true }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// One read; EAGAIN where it would wait.
    fn read(&self, block: &Block, length: usize) -> Result<usize, Errno> {
        let fd = self.fd.as_fd();
        match self.kind {
            Kind::Regular => block.fill_from_stream(fd, length, 0),
            Kind::Socket => block.fill_from_socket(fd, length, libc::MSG_DONTWAIT),
            Kind::Pipe => match block.fill_from_stream(fd, length, libc::RWF_NOWAIT) {
                Err(Errno::OPNOTSUPP) => self.read_if_ready(block, length),
                result => result,
            },
            Kind::Device => self.read_if_ready(block, length),
        }
    }

    fn read_if_ready(&self, block: &Block, length: usize) -> Result<usize, Errno> {
        if self.readiness(PollFlags::IN)?.is_empty() {
            return Err(Errno::AGAIN);
        }
        block.fill_from_stream(self.fd.as_fd(), length, 0)
    }

    /// One write; EAGAIN where it would wait.
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let fd = self.fd.as_fd();
        match self.kind {
            Kind::Regular => rustix::io::write(fd, bytes),
            Kind::Socket => send(fd, bytes),
            Kind::Pipe => match write_without_waiting(fd, bytes) {
                Err(Errno::OPNOTSUPP) => self.write_if_ready(bytes),
                result => result,
            },
            Kind::Device => self.write_if_ready(bytes),
        }
    }

    fn write_if_ready(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.readiness(PollFlags::OUT)?.is_empty() {
            return Err(Errno::AGAIN);
        }
        rustix::io::write(&self.fd, &bytes[..bytes.len().min(PIPE_BUF)])
    }

    fn readiness(&self, events: PollFlags) -> Result<PollFlags, Errno> {
        let mut fds = [PollFd::new(&self.fd, events)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        while let Err(errno) = poll(&mut fds, Some(&at_once)) {
            if errno != Errno::INTR {
                return Err(errno);
            }
        }
        Ok(fds[0].revents())
    }
}

fn write_without_waiting(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the vector names `bytes`, which the kernel only reads.
    let written = unsafe { libc::pwritev2(fd.as_raw_fd(), &vector, 1, -1, libc::RWF_NOWAIT) };
    usize::try_from(written).map_err(|_| last_errno())
}

fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads `bytes` and nothing else.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| last_errno())
}
