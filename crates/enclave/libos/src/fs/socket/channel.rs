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

/// Bytes that a channel holds (net.core.wmem_default).
pub(super) const CAPACITY: usize = 212_992;
/// Largest message of a stream: longer writes are several.
const STEP: usize = 65_536;
/// Messages that a channel of datagrams holds (net.unix.max_dgram_qlen, which counts one more).
const MAX_DATAGRAMS: usize = 11;

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
    /// Name of the sending socket, as its address family has it.
    pub from: Vec<u8>,
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
    is_stream: bool,
    /// Who reads, and who writes to it (of a connection).
    reader: Arc<WaitQueue>,
    writer: Option<Arc<WaitQueue>>,
    /// Woken when there is room again.
    pub(super) room: WaitQueue,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Message>,
    held: usize,
    /// Nobody will read any more.
    is_deaf: bool,
    /// Nobody will write any more.
    is_ended: bool,
}

impl Channel {
    pub(super) fn new(
        is_stream: bool,
        reader: Arc<WaitQueue>,
        writer: Option<Arc<WaitQueue>>,
    ) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { state, is_stream, reader, writer, room: WaitQueue::new() })
    }

    /// Sends what the source offers, or as much of it as a stream has room for.
    pub(super) fn send(
        &self,
        from: &mut dyn Source,
        attached: &mut Attached,
    ) -> Result<usize, Errno> {
        let wanted = from.remaining();
        let room = {
            let state = self.state.lock();
            if state.is_deaf || state.is_ended {
                return Err(Errno::EPIPE);
            }
            let is_full = !self.is_stream && state.messages.len() >= MAX_DATAGRAMS;
            if is_full { 0 } else { CAPACITY.saturating_sub(state.held) }
        };
        let count = match self.is_stream {
            true if room == 0 && wanted > 0 => return Err(Errno::EAGAIN),
            true => wanted.min(room).min(STEP),
            false if wanted > CAPACITY => return Err(Errno::EMSGSIZE),
            false if wanted > room || room == 0 => return Err(Errno::EAGAIN),
            false => wanted,
        };
        if self.is_stream && count == 0 {
            return Ok(0);
        }
        let mut bytes = vec![0; count];
        from.take(&mut bytes)?;
        let message = Message { bytes, start: 0, attached: core::mem::take(attached) };
        let mut state = self.state.lock();
        if state.is_deaf || state.is_ended {
            return Err(Errno::EPIPE);
        }
        // Another writer may have been faster: the channel is then over its bound by one message.
        state.held += count;
        state.messages.push_back(message);
        drop(state);
        self.reader.wake_all();
        Ok(count)
    }

    /// Receives: of a stream as much as there is up to what came with other descriptors, of datagrams one.
    pub(super) fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno> {
        let mut state = self.state.lock();
        if state.messages.is_empty() {
            let is_over = state.is_ended || state.is_deaf;
            return if is_over { Ok(Received::default()) } else { Err(Errno::EAGAIN) };
        }
        let mut received = Received::default();
        let mut index = 0;
        let mut freed = 0;
        while let Some(message) = state.messages.get_mut(index) {
            let is_first = index == 0;
            if !is_first && (!self.is_stream || !message.attached.rights.is_empty()) {
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
            if !self.is_stream || into.remaining() == 0 {
                break;
            }
        }
        if !peeks {
            if !self.is_stream {
                // What did not fit is lost.
                freed = state.messages.front().map_or(0, |message| message.bytes.len());
                index = 1;
            }
            state.messages.drain(..index);
            state.held = state.held.saturating_sub(freed);
            drop(state);
            self.wake_writers();
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

    /// Nobody reads any more: what is there is gone, writers get EPIPE.
    pub(super) fn deafen(&self) {
        let gone = {
            let mut state = self.state.lock();
            state.is_deaf = true;
            state.held = 0;
            core::mem::take(&mut state.messages)
        };
        // Descriptions in it may be sockets: dropped without the lock.
        drop(gone);
        self.reader.wake_all();
        self.wake_writers();
    }

    /// Whether a receive would not wait.
    pub(super) fn is_readable(&self) -> bool {
        let state = self.state.lock();
        !state.messages.is_empty() || state.is_ended || state.is_deaf
    }

    /// Whether a send of some bytes would not wait.
    pub(super) fn is_writable(&self) -> bool {
        let state = self.state.lock();
        let is_full = !self.is_stream && state.messages.len() >= MAX_DATAGRAMS;
        state.is_deaf || state.is_ended || (!is_full && state.held < CAPACITY)
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.is_ended || state.is_deaf
    }

    /// Whether nobody reads.
    pub(super) fn is_deaf(&self) -> bool {
        self.state.lock().is_deaf
    }

    /// Bytes that a read could take now (FIONREAD).
    pub(super) fn available(&self) -> usize {
        let state = self.state.lock();
        match self.is_stream {
            true => state.held,
            false => state.messages.front().map_or(0, |message| message.bytes.len()),
        }
    }
}
