//! One thread that waits for watched streams and for chores.

use super::events::Events;
use hostcall::{Event, READINESS};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The data of the watcher's own eventfd; stream numbers are 32-bit.
const WAKE: u64 = u64::MAX;

/// Watches streams, each once per request.
pub(crate) struct Watcher {
    epoll: OwnedFd,
    wake: OwnedFd,
    events: Arc<Events>,
}

impl Watcher {
    pub(crate) fn new(events: Arc<Events>) -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self { epoll, wake, events })
    }

    /// Watches `fd` for `interest`, in place of an earlier watch on it. What cannot be waited for (a regular
    /// file) is ready at once.
    pub(crate) fn watch(
        &self,
        stream: u32,
        fd: BorrowedFd<'_>,
        interest: u16,
    ) -> Result<(), Errno> {
        let flags = EventFlags::from_bits_retain(interest.into()) | EventFlags::ONESHOT;
        let data = EventData::new_u64(stream.into());
        let result = match epoll::modify(&self.epoll, fd, data, flags) {
            Err(Errno::NOENT) => epoll::add(&self.epoll, fd, data, flags),
            result => result,
        };
        match result {
            Err(Errno::PERM) => {
                let readiness = interest & 0x5;
                let readiness = if readiness == 0 { 0x1 } else { readiness };
                self.events.push(Event::Ready { stream, readiness });
                Ok(())
            }
            result => result,
        }
    }

    /// Drops a watch, if there is one.
    pub(crate) fn forget(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Makes [`run`](Self::run) call its chore.
    pub(crate) fn wake(&self) {
        // A full counter already wakes.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Turns readiness into events until `chore`, called after each wake, says to stop.
    pub(crate) fn run(&self, chore: impl Fn() -> bool) {
        let mut ready = Vec::with_capacity(16);
        loop {
            ready.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            for &epoll::Event { flags, data } in &ready {
                let (data, flags) = (data.u64(), flags.bits() as u16 & READINESS);
                if data == WAKE {
                    let _ = rustix::io::read(&self.wake, &mut [0; 8]);
                    if !chore() {
                        return;
                    }
                } else if flags != 0
                    && let Ok(stream) = u32::try_from(data)
                {
                    self.events.push(Event::Ready { stream, readiness: flags });
                }
            }
        }
    }
}
