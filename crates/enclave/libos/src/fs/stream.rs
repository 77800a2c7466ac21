//! Standard input, output and error: byte streams of the host, plaintext to it.
//!
//! Reads never wait at the host: where there is nothing, the stream is watched and the host's
//! [`Event::Ready`](crate::host::Event::Ready) wakes who waits. Writes wait at the host. What the host says
//! about readiness is a hint; a lie delays a program and nothing else.

use super::endpoint::Endpoint;
use super::file::{File, Sink, Source};
use super::inode::InodeRef;
use super::stat::{FileType, Stat};
use super::task::Task;
use super::terminal::Terminal;
use crate::errno::Errno;
use crate::host::{HostStream, Readiness};
use crate::platform::Platform;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec;
use core::any::Any;

/// Bytes moved per host call.
const STEP: usize = 65_536;

/// All streams of the host that are in use, sockets included, and the terminals of sessions.
#[derive(Default)]
pub struct Streams {
    streams: Mutex<BTreeMap<HostStream, Weak<Stream>>>,
    sockets: Mutex<BTreeMap<HostStream, Weak<Endpoint>>>,
    terminals: Mutex<BTreeMap<u32, Arc<Stream>>>,
}

/// A stream of the host.
pub struct Stream {
    platform: &'static dyn Platform,
    stream: HostStream,
    queue: WaitQueue,
    /// Readiness that the host was asked to report. Held over the host call: the later of two watches replaces
    /// the earlier.
    watched: Mutex<u16>,
    terminal: Option<Arc<Terminal>>,
    /// /dev/console, where the stream is a terminal.
    inode: Option<InodeRef>,
    registry: Weak<Streams>,
}

impl Streams {
    /// No streams.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The files for descriptors 0, 1 and 2 of a host session. With `console` the three are one terminal.
    #[must_use]
    pub fn open(
        self: &Arc<Self>,
        platform: &'static dyn Platform,
        session: u32,
        streams: [HostStream; 3],
        console: Option<InodeRef>,
    ) -> [Arc<Stream>; 3] {
        let is_terminal = console.is_some() && platform.host().stream_is_terminal(streams[0]);
        let terminal = is_terminal.then(|| Terminal::new(platform, streams[0]));
        let files = streams.map(|stream| {
            let mut table = self.streams.lock();
            if let Some(old) = table.get(&stream).and_then(Weak::upgrade) {
                return old;
            }
            let file = Arc::new(Stream {
                platform,
                stream,
                queue: WaitQueue::new(),
                watched: Mutex::new(0),
                terminal: terminal.clone(),
                inode: console.clone().filter(|_| is_terminal),
                registry: Arc::downgrade(self),
            });
            table.insert(stream, Arc::downgrade(&file));
            file
        });
        if is_terminal {
            self.terminals.lock().insert(session, files[0].clone());
        }
        files
    }

    /// The host says that a watched stream is ready.
    pub fn ready(&self, stream: HostStream, readiness: Readiness) {
        let found = self.streams.lock().get(&stream).and_then(Weak::upgrade);
        if let Some(stream) = found {
            *stream.watched.lock() = 0;
            stream.queue.wake_all();
        }
        let found = self.sockets.lock().get(&stream).and_then(Weak::upgrade);
        if let Some(socket) = found {
            socket.ready(readiness);
        }
    }

    /// Takes a socket that the host gave.
    ///
    /// # Errors
    /// EIO where one of its number is in use.
    pub(super) fn adopt(
        self: &Arc<Self>,
        stream: HostStream,
        endpoint: impl FnOnce(Weak<Self>) -> Endpoint,
    ) -> Result<Arc<Endpoint>, Errno> {
        // One that is being closed is in use: its entry goes last.
        if self.streams.lock().contains_key(&stream) {
            return Err(Errno::EIO);
        }
        let mut sockets = self.sockets.lock();
        if sockets.contains_key(&stream) {
            return Err(Errno::EIO);
        }
        let endpoint = Arc::new(endpoint(Arc::downgrade(self)));
        sockets.insert(stream, Arc::downgrade(&endpoint));
        Ok(endpoint)
    }

    /// A socket is closed.
    pub(super) fn forget(&self, stream: HostStream) {
        self.sockets.lock().remove(&stream);
    }

    /// The terminal of a host session (0: of the container's first process).
    ///
    /// # Errors
    /// ENXIO where it has none.
    pub fn terminal(&self, session: u32) -> Result<Arc<dyn File>, Errno> {
        let stream = self.terminals.lock().get(&session).cloned();
        Ok(stream.ok_or(Errno::ENXIO)?)
    }

    /// Job control of a host session's terminal.
    #[must_use]
    pub fn job_control(&self, session: u32) -> Option<Arc<Terminal>> {
        self.terminals.lock().get(&session)?.terminal.clone()
    }

    /// The controlling terminal of a process session (/dev/tty).
    ///
    /// # Errors
    /// ENXIO where it has none.
    pub fn terminal_of(&self, sid: u32) -> Result<Arc<dyn File>, Errno> {
        let terminals = self.terminals.lock();
        let mut streams = terminals.values();
        let found = streams.find(|stream| {
            stream.terminal.as_ref().is_some_and(|terminal| terminal.session() == sid)
        });
        Ok(found.cloned().ok_or(Errno::ENXIO)?)
    }

    /// A host session ended: nobody opens its terminal any more.
    pub fn session_ended(&self, session: u32) {
        // Dropped after the lock: closing is a host call.
        let gone = self.terminals.lock().remove(&session);
        drop(gone);
    }
}

impl Stream {
    /// Asks the host to say when the stream is ready for `interest`, unless it was asked already.
    fn watch(&self, interest: Readiness) {
        let mut watched = self.watched.lock();
        if *watched & interest.0 != interest.0 {
            *watched |= interest.0;
            self.platform.host().stream_watch(self.stream, Readiness(*watched));
        }
    }

    /// The terminal behind it.
    #[must_use]
    pub fn terminal(&self) -> Option<&Arc<Terminal>> {
        self.terminal.as_ref()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.platform.host().stream_close(self.stream);
        if let Some(registry) = self.registry.upgrade() {
            let mut streams = registry.streams.lock();
            // The host may have named it for another session meanwhile.
            if streams.get(&self.stream).is_some_and(|other| other.strong_count() == 0) {
                streams.remove(&self.stream);
            }
        }
    }
}

impl File for Stream {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let wanted = into.remaining().min(STEP);
        if wanted == 0 {
            return Ok(0);
        }
        let mut buffer = vec![0; wanted];
        let host = self.platform.host();
        match host.stream_read(self.stream, &mut buffer, true) {
            Ok(count) if count > wanted => Err(Errno::EIO),
            Ok(count) => into.put(&buffer[..count]).map(|()| count),
            Err(Errno::EAGAIN) => {
                self.watch(Readiness::IN);
                Err(Errno::EAGAIN)
            }
            Err(Errno::EINTR) => Err(Errno::ERESTARTSYS),
            Err(error) => Err(error),
        }
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let wanted = from.remaining().min(STEP);
        if wanted == 0 {
            return Ok(0);
        }
        let mut buffer = vec![0; wanted];
        from.take(&mut buffer)?;
        let mut done = 0;
        while done < wanted {
            match self.platform.host().stream_write(self.stream, &buffer[done..], false) {
                Ok(count) if count > wanted - done || count == 0 => return Err(Errno::EIO),
                Ok(count) => done += count,
                // The bytes were taken from the source: what is out is told, the rest is written again.
                Err(_) if done > 0 => break,
                Err(Errno::EINTR) => return Err(Errno::ERESTARTSYS),
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn admit(&self, task: &dyn Task, is_write: bool) -> Result<(), Errno> {
        match &self.terminal {
            Some(terminal) if is_write => terminal.admit_write(task),
            Some(terminal) => terminal.admit_read(task),
            None => Ok(()),
        }
    }

    fn poll(&self) -> Readiness {
        let now = self.platform.host().stream_poll(self.stream);
        if now.0 & (Readiness::IN.0 | Readiness::HUP.0 | Readiness::ERR.0) == 0 {
            self.watch(Readiness::IN);
        }
        if now.0 & (Readiness::OUT.0 | Readiness::HUP.0 | Readiness::ERR.0) == 0 {
            self.watch(Readiness::OUT);
        }
        now
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn stat(&self) -> Stat {
        if let Some(inode) = &self.inode {
            return inode.stat();
        }
        Stat {
            dev: STREAM_DEVICE,
            ino: u64::from(self.stream.0) + 1,
            file_type: FileType::Fifo,
            mode: 0o600,
            nlink: 1,
            ..Stat::default()
        }
    }

    fn inode(&self) -> Option<&InodeRef> {
        self.inode.as_ref()
    }

    fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        match &self.terminal {
            Some(terminal) => terminal.ioctl(task, request, argument),
            None => Err(Errno::ENOTTY),
        }
    }

    fn description(&self) -> String {
        match self.inode {
            Some(_) => String::from("/dev/console"),
            None => alloc::format!("pipe:[{}]", (1u64 << 32) + u64::from(self.stream.0)),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Device number of streams that are no terminal.
const STREAM_DEVICE: u64 = super::stat::makedev(0, 13);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::RecordingHost;
    use crate::testing::Machine;
    use alloc::boxed::Box;
    use core::sync::atomic::Ordering;

    /// The later of two watches replaces the earlier at the host. Two threads that watched for different things
    /// reached it in either order, and the narrower watch stayed: a wait without an end.
    #[test]
    fn of_two_threads_that_watch_at_once_neither_is_forgotten() {
        let host: &'static RecordingHost = Box::leak(Box::default());
        let machine = Machine::with_host(1 << 10, host);
        let [stream, ..] = Streams::new().open(machine, 0, [0, 1, 2].map(HostStream), None);
        host.gives_way.store(1000, Ordering::SeqCst);
        std::thread::scope(|threads| {
            threads.spawn(|| stream.watch(Readiness::IN));
            while host.gives_way.load(Ordering::SeqCst) > 0 {
                std::thread::yield_now();
            }
            stream.watch(Readiness::OUT);
        });
        let last = host.watched.lock().unwrap().last().copied();
        assert_eq!(last, Some((HostStream(0), Readiness::IN.0 | Readiness::OUT.0)));
    }
}
