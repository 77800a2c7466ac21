//! One direction of a connection: messages from writers to a reader.

use crate::errno::Errno;
use crate::fs::fd::OpenFile;
use crate::fs::file::{Sink, Source};
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes that a channel holds if nobody says otherwise (net.core.wmem_default).
pub(super) const CAPACITY: usize = 212_992;
/// Largest message of a stream: longer writes are several.
const STEP: usize = 65_536;
/// What a channel keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    /// Nothing: a read gets what several writes brought.
    Stream,
    /// Messages, of which it holds so many.
    Messages(usize),
}

/// Who sent something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What comes with the bytes of a message.
#[derive(Clone, Default)]
pub struct Attached {
    /// Descriptions (SCM_RIGHTS).
    pub rights: Vec<Arc<OpenFile>>,
    /// Who sent it.
    pub sender: Peer,
    /// Address of the sending socket, as `struct sockaddr`; empty where it has none.
    pub from: Vec<u8>,
}

impl Attached {
    /// Whether bytes that come with `next` may be read in one with those that came with this.
    fn joins(&self, next: &Self) -> bool {
        next.rights.is_empty() && self.sender == next.sender && self.from == next.from
    }
}

struct Message {
    bytes: Vec<u8>,
    /// Bytes that were read already.
    start: usize,
    attached: Attached,
}

/// What was received.
#[derive(Default)]
pub struct Received {
    /// Bytes put into the sink.
    pub count: usize,
    /// Length of the whole message, of a datagram.
    pub length: usize,
    /// What came with it.
    pub attached: Attached,
}

/// Messages from writers to a reader.
pub(super) struct Channel {
    state: Mutex<State>,
    bounds: Bounds,
    /// Who reads, and who writes to it (of a connection).
    reader: Arc<WaitQueue>,
    writer: Option<Arc<WaitQueue>>,
    /// Woken when there is room again.
    pub(super) room: WaitQueue,
}

struct State {
    messages: VecDeque<Message>,
    held: usize,
    capacity: usize,
    /// Somebody found no room, and hears of it when there is.
    wants_room: bool,
    /// Nobody will read any more.
    is_deaf: bool,
    /// Nobody will write any more.
    is_ended: bool,
}

impl State {
    fn room(&self, bounds: Bounds) -> usize {
        match bounds {
            Bounds::Messages(most) if self.messages.len() >= most => 0,
            _ => self.capacity.saturating_sub(self.held),
        }
    }

    fn is_over(&self) -> bool {
        self.is_ended || self.is_deaf
    }
}

impl Channel {
    pub(super) fn new(
        bounds: Bounds,
        reader: Arc<WaitQueue>,
        writer: Option<Arc<WaitQueue>>,
    ) -> Arc<Self> {
        let state = Mutex::new(State {
            messages: VecDeque::new(),
            held: 0,
            capacity: CAPACITY,
            wants_room: false,
            is_deaf: false,
            is_ended: false,
        });
        Arc::new(Self { state, bounds, reader, writer, room: WaitQueue::new() })
    }

    /// Sets how many bytes it holds. What is there already stays.
    pub(super) fn set_capacity(&self, bytes: usize) {
        self.state.lock().capacity = bytes;
        self.wake_writers();
    }

    /// Sends what the source offers, or as much of it as a stream has room for.
    pub(super) fn send(
        &self,
        from: &mut dyn Source,
        attached: &mut Attached,
    ) -> Result<usize, Errno> {
        let wanted = from.remaining();
        let is_stream = self.bounds == Bounds::Stream;
        let mut state = self.state.lock();
        if state.is_over() {
            return Err(Errno::EPIPE);
        }
        let room = state.room(self.bounds);
        let count = match is_stream {
            true => wanted.min(room).min(STEP),
            false if wanted > state.capacity => return Err(Errno::EMSGSIZE),
            false => wanted,
        };
        // Who gets less than it asked for waits for room, even where it was told of some bytes.
        state.wants_room |= wanted > room || room == 0;
        match is_stream {
            true if count == 0 && wanted > 0 => return Err(Errno::EAGAIN),
            true if count == 0 => return Ok(0),
            false if wanted > room || room == 0 => return Err(Errno::EAGAIN),
            _ => {}
        }
        match state.messages.back_mut() {
            // Many short writes are one message: a byte costs a byte.
            Some(last)
                if is_stream
                    && last.bytes.len() + count <= STEP
                    && last.attached.joins(attached) =>
            {
                let before = last.bytes.len();
                last.bytes.resize(before + count, 0);
                if let Err(error) = from.take(&mut last.bytes[before..]) {
                    last.bytes.truncate(before);
                    return Err(error);
                }
            }
            _ => {
                let mut bytes = vec![0; count];
                from.take(&mut bytes)?;
                let attached = core::mem::take(attached);
                state.messages.push_back(Message { bytes, start: 0, attached });
            }
        }
        state.held += count;
        drop(state);
        self.reader.wake_all();
        Ok(count)
    }

    /// Receives: of a stream as much as there is up to what came with other descriptors, of datagrams one.
    pub(super) fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno> {
        let mut state = self.state.lock();
        if state.messages.is_empty() {
            let is_over = state.is_over();
            return if is_over { Ok(Received::default()) } else { Err(Errno::EAGAIN) };
        }
        let is_stream = self.bounds == Bounds::Stream;
        let mut received = Received::default();
        let mut index = 0;
        let mut freed = 0;
        while let Some(message) = state.messages.get_mut(index) {
            let is_first = index == 0;
            if !is_first && (!is_stream || !message.attached.rights.is_empty()) {
                break;
            }
            let rest = &message.bytes[message.start..];
            let count = rest.len().min(into.remaining());
            if let Err(error) = into.put(&rest[..count]) {
                if received.count == 0 {
                    return Err(error);
                }
                break;
            }
            received.count += count;
            if is_first {
                received.length = rest.len();
                received.attached = match peeks {
                    true => message.attached.clone(),
                    false => Attached {
                        rights: core::mem::take(&mut message.attached.rights),
                        ..message.attached.clone()
                    },
                };
            }
            let is_whole = count == rest.len();
            if !peeks {
                message.start += count;
                freed += count;
            }
            if !is_whole {
                break;
            }
            index += 1;
            if !is_stream || into.remaining() == 0 {
                break;
            }
        }
        if !peeks {
            if !is_stream {
                // What did not fit is lost.
                freed = state.messages.front().map_or(0, |message| message.bytes.len());
                index = 1;
            }
            state.messages.drain(..index);
            state.held = state.held.saturating_sub(freed);
            let wants_room = core::mem::take(&mut state.wants_room);
            drop(state);
            if wants_room {
                self.wake_writers();
            }
        }
        Ok(received)
    }

    fn wake_writers(&self) {
        self.room.wake_all();
        if let Some(writer) = &self.writer {
            writer.wake_all();
        }
    }

    /// Nobody writes any more: the reader gets what is there, then the end.
    pub(super) fn end(&self) {
        self.state.lock().is_ended = true;
        self.reader.wake_all();
        self.wake_writers();
    }

    /// Nobody reads any more: what is there is gone, writers get EPIPE. Gives how many bytes were there.
    pub(super) fn deafen(&self) -> usize {
        let (gone, count) = {
            let mut state = self.state.lock();
            state.is_deaf = true;
            let count = core::mem::take(&mut state.held);
            (core::mem::take(&mut state.messages), count)
        };
        // Descriptions in it may be sockets: dropped without the lock.
        drop(gone);
        self.reader.wake_all();
        self.wake_writers();
        count
    }

    /// Whether a receive would not wait.
    pub(super) fn is_readable(&self) -> bool {
        let state = self.state.lock();
        !state.messages.is_empty() || state.is_over()
    }

    /// Whether a send of some bytes would not wait. Who hears that it would is woken when it would not.
    pub(super) fn is_writable(&self) -> bool {
        let mut state = self.state.lock();
        let is_writable = state.is_over() || state.room(self.bounds) > 0;
        state.wants_room |= !is_writable;
        is_writable
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.state.lock().is_over()
    }

    /// Whether nobody will write any more.
    pub(super) fn is_ended(&self) -> bool {
        self.state.lock().is_ended
    }

    /// Whether nobody reads.
    pub(super) fn is_deaf(&self) -> bool {
        self.state.lock().is_deaf
    }

    /// Bytes that a read could take now (FIONREAD).
    pub(super) fn available(&self) -> usize {
        let state = self.state.lock();
        match self.bounds {
            Bounds::Stream => state.held,
            Bounds::Messages(_) => state.messages.front().map_or(0, |message| message.bytes.len()),
        }
    }
}
