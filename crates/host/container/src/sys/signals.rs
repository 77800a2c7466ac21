//! Signals: blocked and read by the foreground `run`, reset for the program.

use super::check;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::mem::MaybeUninit;

/// All dispositions to default and no signal blocked: what a program expects at its start. The Rust runtime
/// ignores SIGPIPE, a caller may ignore others, and ignored signals stay ignored across `execve`.
pub fn default_signals() {
    // The kernel's structure: handler (SIG_DFL is 0), flags, restorer, mask. The C library's own function
    // refuses the two real-time signals that it keeps for itself.
    let action = [0u64; 4];
    for signal in 1..=64u64 {
        // SAFETY: the structure is valid and only read; no old one is asked for; the mask size is the
        // kernel's. Failures, for SIGKILL and SIGSTOP, change nothing.
        unsafe {
            let none = std::ptr::null::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), none, 8usize);
        }
    }
    // SAFETY: the set is filled by sigemptyset before use and lives through the call.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// A signal that was sent to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// Signal number.
    pub signal: i32,
    /// Sender.
    pub pid: i32,
}

/// All signals that can be blocked are, and are read from here.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks every signal of this thread and opens the descriptor (non-blocking, close-on-exec).
    ///
    /// # Errors
    /// As `signalfd(2)`.
    pub fn block_all() -> Result<Self, Errno> {
        // SAFETY: the set is filled by sigfillset before use, and lives through both calls.
        let fd = unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(set.as_mut_ptr());
            // Faults of our own must still end the process, and the emulator works by them.
            for fault in [
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGILL,
                libc::SIGFPE,
                libc::SIGTRAP,
                libc::SIGSYS,
            ] {
                libc::sigdelset(set.as_mut_ptr(), fault);
            }
            libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        check(libc::c_long::from(fd))?;
        // SAFETY: signalfd returned a new descriptor that nothing else knows.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, if one waits.
    ///
    /// # Errors
    /// As `read(2)`, except `EAGAIN`.
    pub fn next(&self) -> Result<Option<SignalInfo>, Errno> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as said.
        let n = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        match check(n as libc::c_long) {
            Ok(n) if n as usize == size => {
                // SAFETY: the structure is plain integers, zeroed first and then filled by the kernel.
                let info = unsafe { info.assume_init() };
                Ok(Some(SignalInfo { signal: info.ssi_signo as i32, pid: info.ssi_pid as i32 }))
            }
            Ok(_) | Err(Errno::AGAIN) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A signal by number, real-time ones included.
#[must_use]
pub fn signal_from_raw(number: i32) -> Option<rustix::process::Signal> {
    if !(1..=64).contains(&number) {
        return None;
    }
    // SAFETY: the number is one of Linux's signals; it is only sent, never given a handler, so those that
    // the C library keeps for itself are safe, too.
    Some(unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}
