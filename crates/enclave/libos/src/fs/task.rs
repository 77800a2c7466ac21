//! What the file layer asks of the thread that makes a system call.
//!
//! The process side implements [`Task`]; the tests of this directory implement it in a few lines, so that
//! every file system call is tested in an ordinary process.

use super::context::FsContext;
use super::fd::{OpenFile, Table};
use super::socket::inet::network::Network;
use crate::errno::Errno;
use crate::platform::Platform;
use crate::process::Credentials;
use crate::syscall::SysResult;
use crate::usermem::UserMemory;
use crate::wait::{WaitError, WaitQueue};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Signals that the file layer sends (signal(7), x86-64).
#[allow(missing_docs)]
pub mod signo {
    pub const SIGHUP: u8 = 1;
    pub const SIGPIPE: u8 = 13;
    pub const SIGCONT: u8 = 18;
    pub const SIGTTIN: u8 = 21;
    pub const SIGTTOU: u8 = 22;
    pub const SIGXFSZ: u8 = 25;
    pub const SIGWINCH: u8 = 28;
}

/// A signal taken from a pending set, for signalfd(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenSignal {
    /// Signal number.
    pub signo: u32,
    /// errno, mostly 0.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// Sending process.
    pub pid: u32,
    /// Its real user.
    pub uid: u32,
    /// Exit status of a child.
    pub status: i32,
    /// `sigqueue(3)` value.
    pub value: u64,
}

/// Does work at a later time.
pub trait Alarm: Send + Sync {
    /// Has `job` done at `deadline_ns` (CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// EAGAIN where nothing can do it.
    fn at(&'static self, deadline_ns: u64, job: Box<dyn FnOnce() + Send>) -> Result<(), Errno>;
}

/// The calling thread and its process.
pub trait Task {
    /// The machine.
    fn platform(&self) -> &'static dyn Platform;
    /// Process id (thread group).
    fn pid(&self) -> u32;
    /// Thread id.
    fn tid(&self) -> u32;
    /// Descriptors.
    fn files(&self) -> Arc<Table>;
    /// Uses the description behind a descriptor that does not stand for a path only.
    ///
    /// # Errors
    /// EBADF, and what `body` gives.
    fn with_file(&self, fd: i32, body: &mut dyn FnMut(&OpenFile) -> SysResult) -> SysResult {
        body(&*self.files().get_file(fd)?)
    }
    /// Gives the thread a descriptor table of its own copy (close_range(2) with CLOSE_RANGE_UNSHARE).
    fn unshare_files(&self) -> Arc<Table>;
    /// Root, working directory, umask.
    fn fs(&self) -> Arc<FsContext>;
    /// The network of the enclave.
    fn network(&self) -> Arc<Network>;
    /// User and groups.
    fn credentials(&self) -> Credentials;
    /// RLIMIT_NOFILE, soft.
    fn limit_nofile(&self) -> u64;
    /// RLIMIT_FSIZE, soft; `u64::MAX` for none.
    fn limit_fsize(&self) -> u64;

    /// Memory of the process.
    fn memory(&self) -> &dyn UserMemory;

    /// Waits until `attempt` answers true, tried first and after every wake of one of `queues`. User
    /// addresses are looked at afresh afterwards.
    ///
    /// # Errors
    /// Interrupted by a signal; timed out at the deadline (CLOCK_MONOTONIC nanoseconds).
    fn wait(
        &self,
        queues: &[&WaitQueue],
        deadline_ns: Option<u64>,
        attempt: &mut dyn FnMut() -> bool,
    ) -> Result<(), WaitError>;

    /// Replaces the thread's blocked signals for the length of a wait (ppoll(2), pselect6(2),
    /// epoll_pwait(2)): the old mask comes back when the system call is over, after a signal that the
    /// new one lets through was delivered.
    fn set_wait_mask(&self, mask: u64);
    /// Sends a signal to this thread.
    fn signal_self(&self, signo: u8);
    /// Sends a signal to every process of a group; whether there was one.
    fn signal_group(&self, pgid: u32, signo: u8) -> bool;
    /// Whether this thread blocks or ignores a signal.
    fn is_signal_ignored(&self, signo: u8) -> bool;
    /// Takes a pending signal (thread's or process's) that is in `mask` (bit n-1 for signal n).
    fn take_signal(&self, mask: u64) -> Option<TakenSignal>;
    /// Whether [`take_signal`](Self::take_signal) would give one.
    fn has_signal(&self, mask: u64) -> bool;
    /// Woken when a signal becomes pending for the process.
    fn signal_queue(&self) -> Arc<WaitQueue>;

    /// What runs work at a later time.
    fn alarm(&self) -> &'static dyn Alarm;

    /// Process group.
    fn pgid(&self) -> u32;
    /// Session.
    fn sid(&self) -> u32;
    /// Session of a process group that exists.
    fn session_of_group(&self, pgid: u32) -> Option<u32>;
    /// Whether the process's group is orphaned (setpgid(2)): nobody could continue it.
    fn is_group_orphaned(&self) -> bool;
}

impl dyn Task + '_ {
    /// Copies memory of the process into `into`.
    ///
    /// # Errors
    /// EFAULT.
    pub fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.memory().read(address, into)
    }

    /// Copies `from` into memory of the process.
    ///
    /// # Errors
    /// EFAULT.
    pub fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        self.memory().write(address, from)
    }

    /// A structure of the program.
    ///
    /// # Errors
    /// EFAULT.
    pub fn read_array<const N: usize>(&self, address: u64) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        self.read_user(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A NUL-terminated string, without the NUL.
    ///
    /// # Errors
    /// EFAULT; ENAMETOOLONG without a NUL within `limit` bytes.
    pub fn read_string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        let memory = self.memory();
        let mut bytes = Vec::new();
        // Most paths are short: a whole page at once would copy 40 times as much.
        let mut step = 128;
        while bytes.len() < limit {
            let at = address.wrapping_add(bytes.len() as u64);
            let page_left = 4096 - (at % 4096) as usize;
            let start = bytes.len();
            bytes.resize(start + step.min(page_left).min(limit - start), 0);
            memory.read(at, &mut bytes[start..])?;
            if let Some(end) = bytes[start..].iter().position(|byte| *byte == 0) {
                bytes.truncate(start + end);
                return Ok(bytes);
            }
            step = 4096;
        }
        Err(Errno::ENAMETOOLONG)
    }
}

/// Runs `attempt` until it gives something other than EAGAIN, waiting for `queue` between attempts.
///
/// # Errors
/// What `attempt` gives; ERESTARTSYS when a signal is to be handled.
pub fn retry<T>(
    task: &dyn Task,
    queue: &WaitQueue,
    attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    waited(task, queue, None, attempt).map_err(WaitError::restartable)?
}

/// As [`retry`] for at most `limit_ns`, as a socket with SO_RCVTIMEO or SO_SNDTIMEO waits: EAGAIN when the
/// time is over, and a wait that has a limit is not begun again after a signal (signal(7)).
///
/// # Errors
/// What `attempt` gives; EAGAIN; ERESTARTSYS or EINTR.
pub fn retry_within<T>(
    task: &dyn Task,
    queue: &WaitQueue,
    limit_ns: Option<u64>,
    attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let Some(limit_ns) = limit_ns else { return retry(task, queue, attempt) };
    let deadline = task.platform().monotonic_ns().saturating_add(limit_ns);
    waited(task, queue, Some(deadline), attempt).map_err(|error| match error {
        WaitError::Interrupted => Errno::EINTR,
        WaitError::TimedOut => Errno::EAGAIN,
    })?
}

/// The first answer of `attempt` other than EAGAIN.
fn waited<T>(
    task: &dyn Task,
    queue: &WaitQueue,
    deadline_ns: Option<u64>,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<Result<T, Errno>, WaitError> {
    let mut answer = Err(Errno::EAGAIN);
    task.wait(&[queue], deadline_ns, &mut || {
        answer = attempt();
        !matches!(answer, Err(Errno::EAGAIN))
    })?;
    Ok(answer)
}
