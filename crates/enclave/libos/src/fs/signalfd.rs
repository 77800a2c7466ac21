//! signalfd(2): each caller reads its own pending signals.

use super::eventfd::anonymous_stat;
use super::file::{File, Sink};
use super::stat::Stat;
use super::task::{TakenSignal, Task};
use crate::errno::Errno;
use crate::host::Readiness;
use crate::wait::WaitQueue;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// Pending signals as a file.
pub struct SignalFd {
    mask: AtomicU64,
    /// The queue of the process that made it.
    queue: Arc<WaitQueue>,
}

impl SignalFd {
    /// For the signals of `mask` (bit n-1 for signal n).
    #[must_use]
    pub fn new(task: &dyn Task, mask: u64) -> Arc<Self> {
        Arc::new(Self { mask: AtomicU64::new(mask), queue: task.signal_queue() })
    }

    /// Changes the signals.
    pub fn set_mask(&self, mask: u64) {
        self.mask.store(mask, Ordering::Relaxed);
        self.queue.wake_all();
    }
}

impl File for SignalFd {
    fn read_for(&self, task: &dyn Task, _: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        if into.remaining() < RECORD {
            return Err(Errno::EINVAL);
        }
        let mask = self.mask.load(Ordering::Relaxed);
        let mut done = 0;
        while into.remaining() >= RECORD {
            let Some(signal) = task.take_signal(mask) else { break };
            into.put(&record(&signal))?;
            done += RECORD;
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn poll(&self) -> Readiness {
        Readiness(0)
    }

    fn poll_for(&self, task: &dyn Task) -> Readiness {
        let has_signal = task.has_signal(self.mask.load(Ordering::Relaxed));
        if has_signal { Readiness::IN } else { Readiness(0) }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn stat(&self) -> Stat {
        anonymous_stat()
    }

    fn description(&self) -> String {
        String::from("anon_inode:[signalfd]")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `struct signalfd_siginfo`.
fn record(signal: &TakenSignal) -> [u8; RECORD] {
    let mut out = [0; RECORD];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &signal.signo.to_le_bytes());
    put(4, &signal.errno.to_le_bytes());
    put(8, &signal.code.to_le_bytes());
    put(12, &signal.pid.to_le_bytes());
    put(16, &signal.uid.to_le_bytes());
    put(40, &signal.status.to_le_bytes());
    put(44, &(signal.value as u32).to_le_bytes());
    put(48, &signal.value.to_le_bytes());
    out
}
