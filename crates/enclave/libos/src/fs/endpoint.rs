//! A socket of the host as the library OS holds it: bytes in and out without waiting, and what it is ready for.
//!
//! Readiness is remembered, so that asking for it costs a host call only where the answer may have changed: what
//! came is there until this side takes it, and what the host was asked to report has not come until it says so.
//! Nobody else uses the socket. A host that lies about it delays a program, or makes it try in vain.
//!
//! Lock order: `known` is held over the host call that sets a watch, since the later of two replaces the earlier.

use super::stream::Streams;
use crate::errno::Errno;
use crate::host::{HostStream, Readiness};
use crate::platform::Platform;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::sync::{Arc, Weak};

/// Bytes moved per host call.
pub const STEP: usize = 65_536;

const IN: u16 = Readiness::IN.0;
const OUT: u16 = Readiness::OUT.0;
const RDHUP: u16 = Readiness::RDHUP.0;
/// What ends a socket: it is then as ready as it will be.
const OVER: u16 = Readiness::HUP.0 | Readiness::ERR.0;

/// A socket of the host, closed when dropped.
pub struct Endpoint {
    platform: &'static dyn Platform,
    stream: HostStream,
    queue: Arc<WaitQueue>,
    known: Mutex<Known>,
    registry: Weak<Streams>,
}

/// What is known of its readiness.
#[derive(Default)]
struct Known {
    /// It is ready for this.
    ready: u16,
    /// The host was asked to say when it is ready for this.
    watched: u16,
    /// Goes up with everything that makes an older answer of the host worthless.
    turn: u32,
}

impl Known {
    /// Whether `bits` need no question.
    fn settles(&self, bits: u16) -> bool {
        self.ready & OVER != 0 || (self.ready | self.watched) & bits == bits
    }

    fn forget(&mut self, bits: u16) {
        self.ready &= !bits;
        self.turn = self.turn.wrapping_add(1);
    }
}

impl Endpoint {
    /// Takes a socket that the host gave; `queue` is woken when it is ready.
    ///
    /// # Errors
    /// EIO where the host gave one that is in use: it stays whose it is.
    pub fn adopt(
        registry: &Arc<Streams>,
        platform: &'static dyn Platform,
        stream: HostStream,
        queue: Arc<WaitQueue>,
    ) -> Result<Arc<Self>, Errno> {
        let endpoint =
            |registry| Self { platform, stream, queue, known: Mutex::default(), registry };
        registry.adopt(stream, endpoint)
    }

    /// Its number at the host.
    #[must_use]
    pub fn stream(&self) -> HostStream {
        self.stream
    }

    /// The machine below.
    #[must_use]
    pub fn platform(&self) -> &'static dyn Platform {
        self.platform
    }

    /// Who waits for it.
    #[must_use]
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// Reads what there is, 0 at the end. `into` is not empty.
    ///
    /// # Errors
    /// EAGAIN where nothing is there, after which the queue is woken when something is; the host's errno.
    pub fn read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let result = self.platform.host().stream_read(self.stream, into, true);
        match result {
            Ok(count) if count > into.len() => return Err(Errno::EIO),
            Ok(0) => {}
            // Who was told that there is something hears of what comes after it, though nobody asks
            // (EPOLLET). Where all was taken it is not there yet; else it may be.
            Ok(_) if !self.queue.has_waiters() => self.known.lock().forget(IN),
            Ok(count) if count < into.len() => self.wait_for(IN),
            Ok(_) => self.took_one(),
            Err(Errno::EAGAIN | Errno::EINTR) => self.wait_for(IN),
            // An error is told once; what comes after it is another question.
            Err(_) => self.known.lock().forget(u16::MAX),
        }
        result.map_err(|error| if error == Errno::EINTR { Errno::EAGAIN } else { error })
    }

    /// Writes what fits. `from` is not empty.
    ///
    /// # Errors
    /// EAGAIN where nothing fits, after which the queue is woken when something does; the host's errno.
    pub fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        let result = self.platform.host().stream_write(self.stream, from, true);
        match result {
            Ok(count) if count > from.len() || count == 0 => return Err(Errno::EIO),
            Ok(count) if count == from.len() => {}
            Ok(_) if !self.queue.has_waiters() => self.known.lock().forget(OUT),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => self.wait_for(OUT),
            Err(_) => self.known.lock().forget(u16::MAX),
        }
        result.map_err(|error| if error == Errno::EINTR { Errno::EAGAIN } else { error })
    }

    /// Present readiness. What it is not ready for wakes the queue when it comes.
    pub fn poll(&self) -> Readiness {
        let turn = {
            let known = self.known.lock();
            if known.settles(IN | OUT) {
                return Readiness(known.ready);
            }
            known.turn
        };
        let now = self.platform.host().stream_poll(self.stream).0 & (IN | OUT | RDHUP | OVER);
        let mut known = self.known.lock();
        if known.turn == turn {
            known.ready |= now;
        }
        let missing = (IN | OUT) & !(now | known.ready);
        self.watch(&mut known, missing);
        Readiness(known.ready | now)
    }

    /// What was known of its readiness may have changed: a half was shut down, an error was taken.
    pub fn forget(&self) {
        self.known.lock().forget(u16::MAX);
    }

    /// One of perhaps several things to take was taken: who waits hears of the next, there already or not.
    pub fn took_one(&self) {
        self.known.lock().forget(IN);
        if self.queue.has_waiters() {
            self.poll();
        }
    }

    /// There was nothing to take: the queue is woken when there is.
    pub fn wait_for_more(&self) {
        self.wait_for(IN);
    }

    /// It is not ready for `bits`: the queue is woken when it is.
    fn wait_for(&self, bits: u16) {
        let mut known = self.known.lock();
        known.forget(bits);
        self.watch(&mut known, bits);
    }

    fn watch(&self, known: &mut Known, bits: u16) {
        if bits == 0 || known.settles(bits) {
            return;
        }
        // The end of the peer's half comes with the next bytes or without any.
        let bits = if bits & IN != 0 { bits | RDHUP } else { bits };
        known.watched |= bits;
        self.platform.host().stream_watch(self.stream, Readiness(known.watched));
    }

    /// The host says that it is ready; its watch is over.
    pub(super) fn ready(&self, readiness: Readiness) {
        {
            let mut known = self.known.lock();
            known.ready |= readiness.0 & (IN | OUT | RDHUP | OVER);
            known.watched = 0;
        }
        self.queue.wake_all();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Its number is in use until the host has closed it: a close that comes later would be another socket's.
        self.platform.host().stream_close(self.stream);
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self.stream);
        }
    }
}
