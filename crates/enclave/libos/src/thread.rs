//! Threads of programs.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::process::{Pid, Process};
use crate::usermem::{UserBuf, UserMemory, UserVec};
use crate::wait::{WaitError, WaitQueue, wait_for};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A thread; what system calls are made by.
pub struct Thread {
    /// The library OS.
    pub kernel: &'static Kernel,
    /// Its id; that of its process for the first thread.
    pub tid: Pid,
    /// Its process.
    pub process: Arc<Process>,
}

impl Thread {
    /// Memory of its process, now.
    pub fn mm(&self) -> Arc<Mm> {
        self.process.mm()
    }

    /// A buffer of the program.
    pub fn buffer(&self, address: u64, length: u64) -> UserBuf {
        UserBuf::new(self.mm(), address, length)
    }

    /// The buffers of readv(2) and its like.
    ///
    /// # Errors
    /// EINVAL, EFAULT.
    pub fn vector(&self, address: u64, count: u64) -> Result<UserVec, Errno> {
        let mm: Arc<dyn UserMemory> = self.mm();
        UserVec::new(&mm, address, count)
    }

    /// A NUL-terminated string, without the NUL: a path with `limit` 4096 (ENAMETOOLONG).
    ///
    /// # Errors
    /// EFAULT; ENAMETOOLONG without a NUL within `limit` bytes.
    pub fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        let mm = self.mm();
        let mut bytes = Vec::new();
        let mut at = address;
        while bytes.len() < limit {
            let page_left = 4096 - (at % 4096) as usize;
            let count = page_left.min(limit - bytes.len());
            let start = bytes.len();
            bytes.resize(start + count, 0);
            mm.read(at, &mut bytes[start..])?;
            if let Some(end) = bytes[start..].iter().position(|b| *b == 0) {
                bytes.truncate(start + end);
                return Ok(bytes);
            }
            at = at.wrapping_add(count as u64);
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Waits until `attempt` answers; see [`wait_for`].
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait<T>(
        &self,
        queues: &[&WaitQueue],
        deadline_ns: Option<u64>,
        attempt: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        wait_for(self, queues, deadline_ns, attempt)
    }

    /// Whether a wait must end: an unblocked signal is pending, or the process ends or stops.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        false
    }

    /// Lets other members of the collision group into memory, for this thread is about to wait.
    pub fn leave_residency(&self) {}
}
