//! A connection between two sockets of this enclave: two channels, and how it ends.
//!
//! It ends as TCP ends (tcp(7), RFC 9293 section 3.6): a close sends what was written and then FIN, unless
//! something was not read or SO_LINGER says so, which resets. After a reset the other side reads what had
//! arrived, then hears of it once.

use super::super::channel::{Attached, Bounds, CAPACITY, Channel};
use super::carrier::Carrier;
use crate::errno::Errno;
use crate::fs::file::{Sink, Source};
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are taken at once of what is written to a side that is closed.
const STEP: usize = 4096;

/// One end of a connection.
pub(super) struct End {
    link: Arc<Link>,
    /// 0 or 1.
    side: usize,
}

struct Link {
    sides: [Side; 2],
}

struct Side {
    /// What this side reads.
    inbox: Arc<Channel>,
    queue: Arc<WaitQueue>,
    /// Half of what either channel holds: of what it reads, and of what it writes.
    rooms: Mutex<[usize; 2]>,
    error: Mutex<Option<Errno>>,
    /// shutdown(2) for reading: the end is read where there is nothing.
    is_read_shut: AtomicBool,
    /// The socket is closed.
    is_gone: AtomicBool,
    /// The other side reset the connection.
    is_reset: AtomicBool,
}

/// The two ends of a new connection, whose sockets are told by these queues.
pub(super) fn pair(queues: [Arc<WaitQueue>; 2]) -> [Arc<End>; 2] {
    let side = |own: &Arc<WaitQueue>, other: &Arc<WaitQueue>| Side {
        inbox: Channel::new(Bounds::Stream, own.clone(), Some(other.clone())),
        queue: own.clone(),
        rooms: Mutex::new([CAPACITY / 2; 2]),
        error: Mutex::default(),
        is_read_shut: AtomicBool::new(false),
        is_gone: AtomicBool::new(false),
        is_reset: AtomicBool::new(false),
    };
    let [a, b] = &queues;
    let link = Arc::new(Link { sides: [side(a, b), side(b, a)] });
    [0, 1].map(|side| Arc::new(End { link: link.clone(), side }))
}

impl Side {
    /// The connection is reset for this side: nothing comes or goes any more.
    fn reset(&self, other: &Self) {
        // Where both have said their last word there is nothing to reset.
        if self.is_over(other) || self.is_reset.swap(true, Ordering::SeqCst) {
            return;
        }
        // Who knew already that nothing would come hears of it as a writer only.
        let error = if self.inbox.is_over() { Errno::EPIPE } else { Errno::ECONNRESET };
        *self.error.lock() = Some(error);
        self.inbox.end();
        other.inbox.deafen();
        self.queue.wake_all();
    }
}

impl Side {
    /// Whether the connection is gone: by a reset, or since both sides have ended it.
    fn is_over(&self, other: &Self) -> bool {
        let has_ended = self.inbox.is_ended() && other.inbox.is_ended();
        has_ended || self.is_reset.load(Ordering::SeqCst)
    }
}

impl End {
    fn own(&self) -> &Side {
        &self.link.sides[self.side]
    }

    fn other(&self) -> &Side {
        &self.link.sides[1 - self.side]
    }

    fn set_capacity(reader: &Side, writer: &Side) {
        let (half, other) = (reader.rooms.lock()[0], writer.rooms.lock()[1]);
        reader.inbox.set_capacity(half + other);
    }
}

impl Carrier for End {
    fn send(&self, from: &mut dyn Source) -> Result<usize, Errno> {
        let (own, other) = (self.own(), self.other());
        if let Some(error) = own.error.lock().take() {
            return Err(error);
        }
        if !other.is_gone.load(Ordering::SeqCst) {
            match other.inbox.send(from, &mut Attached::default()) {
                // It may have gone in between.
                Err(Errno::EPIPE) if other.is_gone.load(Ordering::SeqCst) => {}
                done => return done,
            }
        }
        if own.is_reset.load(Ordering::SeqCst) || other.inbox.is_ended() {
            return Err(own.error.lock().take().unwrap_or(Errno::EPIPE));
        }
        // Nobody is there: the bytes go out, and what comes back is a reset.
        let mut lost = [0; STEP];
        let count = from.remaining().min(STEP);
        if count > 0 {
            from.take(&mut lost[..count])?;
            own.reset(other);
        }
        Ok(count)
    }

    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<usize, Errno> {
        let own = self.own();
        let received = match own.inbox.receive(into, peeks) {
            Err(Errno::EAGAIN) if own.is_read_shut.load(Ordering::SeqCst) => 0,
            done => done?.count,
        };
        if received == 0 && into.remaining() > 0 {
            let mut error = own.error.lock();
            if *error == Some(Errno::ECONNRESET) {
                error.take();
                return Err(Errno::ECONNRESET);
            }
        }
        Ok(received)
    }

    fn shutdown(&self, reads: bool, writes: bool) {
        if reads {
            self.own().is_read_shut.store(true, Ordering::SeqCst);
            self.own().queue.wake_all();
        }
        if writes {
            self.other().inbox.end();
            self.own().queue.wake_all();
        }
    }

    fn close(&self, resets: bool) {
        let (own, other) = (self.own(), self.other());
        own.is_gone.store(true, Ordering::SeqCst);
        if resets || own.inbox.available() > 0 {
            other.reset(own);
        } else {
            other.inbox.end();
        }
        // What came in between is lost as well.
        if own.inbox.deafen() > 0 {
            other.reset(own);
        }
    }

    fn poll(&self) -> Readiness {
        let (own, other) = (self.own(), self.other());
        let nothing_comes = own.inbox.is_over() || own.is_read_shut.load(Ordering::SeqCst);
        let nothing_goes = own.is_reset.load(Ordering::SeqCst) || other.inbox.is_ended();
        let mut ready = 0;
        if nothing_comes {
            ready |= Readiness::RDHUP.0;
            if nothing_goes {
                ready |= Readiness::HUP.0;
            }
        }
        if nothing_comes || own.inbox.is_readable() {
            ready |= Readiness::IN.0;
        }
        if nothing_goes || other.inbox.is_writable() {
            ready |= Readiness::OUT.0;
        }
        if own.error.lock().is_some() {
            ready |= Readiness::ERR.0;
        }
        Readiness(ready)
    }

    fn available(&self) -> usize {
        self.unread()
    }

    fn unread(&self) -> usize {
        self.own().inbox.available()
    }

    fn unsent(&self) -> usize {
        // What was written has arrived: there is no wire.
        0
    }

    fn take_error(&self) -> Option<Errno> {
        self.own().error.lock().take()
    }

    fn is_over(&self) -> bool {
        self.own().is_over(self.other())
    }

    fn set_buffers(&self, receive: Option<usize>, send: Option<usize>) {
        let (own, other) = (self.own(), self.other());
        {
            let mut rooms = own.rooms.lock();
            rooms[0] = receive.map_or(rooms[0], |bytes| bytes / 2);
            rooms[1] = send.map_or(rooms[1], |bytes| bytes / 2);
        }
        Self::set_capacity(own, other);
        Self::set_capacity(other, own);
    }
}
