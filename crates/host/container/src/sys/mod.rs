//! Process set-up that needs unsafe code: the only such module of this crate.
//!
//! It guarantees that its safe functions are safe for a process of one thread, which `rune` is until
//! init-runelet starts the enclave's threads. [`fork_into`] is the reason: a child made by the raw
//! `clone3` may run ordinary code only where no other thread held a lock at that moment, so it checks.

#![allow(unsafe_code)] // the one place; see the module's documentation

mod bpf;
mod exec;
mod filter;
mod fork;
mod launcher;
mod signals;
mod start;
mod tuning;

pub use bpf::{BpfInstruction, attach_device_program};
pub use exec::{CStringArray, execute, execute_fd, exit_now, protect_own_file};
pub use filter::{
    FILTER_FLAG_LOG, FILTER_FLAG_NEW_LISTENER, FILTER_FLAG_SPEC_ALLOW, FILTER_FLAG_TSYNC,
    FILTER_FLAG_WAIT_KILLABLE_RECV, SockFilter, install_filter,
};
pub use fork::{Fork, fork_into, unshare};
pub(crate) use launcher::launcher_code;
pub use signals::{SignalFd, SignalInfo, default_signals, signal_from_raw};
pub use start::{arguments, start};
pub use tuning::{
    IdMapMount, SchedAttr, close_on_exec_from, join_session_keyring, mount_setattr,
    set_io_priority, set_memory_policy, set_personality, set_scheduler,
};

use rustix::io::Errno;

/// The result of a raw system call.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        // SAFETY: __errno_location always points to this thread's errno.
        Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
    } else {
        Ok(result)
    }
}
