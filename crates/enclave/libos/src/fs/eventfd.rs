//! eventfd(2).

use super::file::{File, Sink, Source};
use super::stat::{FileType, Stat};
use crate::errno::Errno;
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

/// A counter that is read and written as a file.
pub struct EventFd {
    count: Mutex<u64>,
    is_semaphore: bool,
    queue: WaitQueue,
}

impl EventFd {
    /// A counter; with `is_semaphore` a read takes one.
    #[must_use]
    pub fn new(count: u64, is_semaphore: bool) -> Arc<Self> {
        Arc::new(Self { count: Mutex::new(count), is_semaphore, queue: WaitQueue::new() })
    }
}

impl File for EventFd {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        if into.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = {
            let mut count = self.count.lock();
            let value = match (*count, self.is_semaphore) {
                (0, _) => return Err(Errno::EAGAIN),
                (_, true) => 1,
                (all, false) => all,
            };
            *count -= value;
            value
        };
        self.queue.wake_all();
        into.put(&value.to_le_bytes()).map(|()| 8)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        if from.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        {
            // Looked at first: the value is taken from the program once, and must not be lost.
            let room = u64::MAX - 1 - *self.count.lock();
            if room == 0 {
                return Err(Errno::EAGAIN);
            }
        }
        let mut bytes = [0; 8];
        from.take(&mut bytes)?;
        let value = u64::from_le_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        let mut count = self.count.lock();
        *count = count.checked_add(value).filter(|sum| *sum < u64::MAX).ok_or(Errno::EAGAIN)?;
        drop(count);
        self.queue.wake_all();
        Ok(8)
    }

    fn poll(&self) -> Readiness {
        let count = *self.count.lock();
        let readable = if count > 0 { Readiness::IN.0 } else { 0 };
        let writable = if count < u64::MAX - 1 { Readiness::OUT.0 } else { 0 };
        Readiness(readable | writable)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn stat(&self) -> Stat {
        anonymous_stat()
    }

    fn fdinfo(&self) -> String {
        alloc::format!("eventfd-count: {:16x}\n", *self.count.lock())
    }

    fn description(&self) -> String {
        String::from("anon_inode:[eventfd]")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Attributes of a file that is neither in the tree nor a pipe or socket.
#[must_use]
pub(super) fn anonymous_stat() -> Stat {
    Stat {
        dev: super::stat::makedev(0, 14),
        ino: 1,
        file_type: FileType::Regular,
        mode: 0o600,
        nlink: 1,
        ..Stat::default()
    }
}
