//! One `clone3` for a new process and its namespaces.

use super::check;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The process that called.
    Parent {
        /// The new process, as this side's pid namespace numbers it.
        pid: Pid,
        /// It again, immune to reuse of the number.
        pidfd: OwnedFd,
    },
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks with `CLONE_NEW*` flags; into a v2 cgroup where one is given; as a sibling of this process (its
/// parent becomes the child's parent) if `is_sibling`.
///
/// # Errors
/// As `clone3`; `EBUSY` if this process has more than one thread.
pub fn fork_into(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    is_sibling: bool,
) -> Result<Fork, Errno> {
    if !is_single_threaded() {
        return Err(Errno::BUSY);
    }
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: namespaces | CLONE_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: if is_sibling { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if is_sibling {
        args.flags |= CLONE_PARENT;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments are a valid clone_args of the size given, which lives through the call; its
    // pidfd pointer is to a live c_int. Without CLONE_VM the child has its own copy of this memory and
    // returns on its own copy of this stack. No other thread exists, so no lock is held in the copy.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: CLONE_PIDFD stored a descriptor that this process owns and nothing else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // The kernel numbers processes from 1, within 22 bits.
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    Ok(Fork::Parent { pid, pidfd })
}

/// Makes new namespaces for this process (`CLONE_NEW*`).
///
/// # Errors
/// As `unshare(2)`.
pub fn unshare(namespaces: u64) -> Result<(), Errno> {
    let flags = libc::c_int::try_from(namespaces).map_err(|_| Errno::INVAL)?;
    // SAFETY: only CLONE_NEW* bits are passed by this crate; none of them separates memory or descriptors
    // from other threads.
    check(libc::c_long::from(unsafe { libc::unshare(flags) }))?;
    Ok(())
}

/// Whether the C library knows that it never made a thread; musl does not say.
#[cfg(target_env = "gnu")]
fn has_never_had_threads() -> bool {
    unsafe extern "C" {
        /// Not 0 until the C library makes a thread (glibc 2.32, "Single-Threaded").
        static __libc_single_threaded: libc::c_char;
    }
    // SAFETY: the C library defines it and writes to it only when this thread makes another one.
    unsafe { __libc_single_threaded != 0 }
}

#[cfg(not(target_env = "gnu"))]
fn has_never_had_threads() -> bool {
    false
}

/// Whether there is no other thread.
fn is_single_threaded() -> bool {
    // Tests run on threads of the harness; there the child only makes system calls and ends. Otherwise the number of
    // links of the task directory is that of threads and two more.
    cfg!(test)
        || has_never_had_threads()
        || rustix::fs::stat("/proc/self/task").is_ok_and(|s| s.st_nlink == 3)
        || rustix::fs::stat("/proc/self/task").is_err()
}
