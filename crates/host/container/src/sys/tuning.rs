//! System calls without a safe wrapper elsewhere, each made one.

use super::check;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::ffi::CStr;

/// Marks every descriptor from `first` on close-on-exec: none leaks into the container, whatever opened it.
///
/// # Errors
/// As `close_range(2)`.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: no pointers; the descriptors stay open, so no owner is cheated.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })?;
    Ok(())
}

/// A new session keyring, so that the container does not see the caller's keys.
///
/// # Errors
/// As `keyctl(2)`; `ENOSYS` and `EDQUOT` are for the caller to weigh.
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name is NUL-terminated and lives through the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(())
}

/// `struct mount_attr`, with the user namespace of an id-mapped mount.
#[derive(Clone, Copy, Debug)]
pub struct IdMapMount<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_*` propagation, or 0.
    pub propagation: u64,
    /// For `MOUNT_ATTR_IDMAP`.
    pub user_namespace: Option<BorrowedFd<'a>>,
}

/// `mount_setattr` of a mount by descriptor, with all below it if `is_recursive`.
///
/// # Errors
/// As `mount_setattr(2)`.
pub fn mount_setattr(
    mount: BorrowedFd<'_>,
    attributes: &IdMapMount<'_>,
    is_recursive: bool,
) -> Result<(), Errno> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let flags = libc::AT_EMPTY_PATH | if is_recursive { AT_RECURSIVE } else { 0 };
    let raw: [u64; 4] = [
        attributes.set,
        attributes.clear,
        attributes.propagation,
        attributes.user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    ];
    // SAFETY: the four words are a struct mount_attr of the size given; the kernel only reads them.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            raw.as_ptr(),
            size_of_val(&raw),
        )
    })?;
    Ok(())
}

/// `personality(2)`.
///
/// # Errors
/// As the call.
pub fn set_personality(persona: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: no pointers; changes how later execve and mmap behave, which memory safety does not rest on.
    check(libc::c_long::from(unsafe { libc::personality(persona) }))?;
    Ok(())
}

/// `ioprio_set(2)` of this thread. `value` is class << 13 | priority.
///
/// # Errors
/// As the call.
pub fn set_io_priority(value: i32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })?;
    Ok(())
}

/// `struct sched_attr`, first version.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)] // sched_setattr(2)
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// `sched_setattr(2)` of this thread.
///
/// # Errors
/// As the call.
pub fn set_scheduler(attributes: SchedAttr) -> Result<(), Errno> {
    let attributes = SchedAttr { size: size_of::<SchedAttr>() as u32, ..attributes };
    // SAFETY: the structure is valid, says its own size, and is only read.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })?;
    Ok(())
}

/// `set_mempolicy(2)`. `nodes` is a bit mask, lowest node first.
///
/// # Errors
/// As the call.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel takes the number of bits plus one.
    let bits = nodes.len() * 64 + 1;
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    let bits = if nodes.is_empty() { 0 } else { bits };
    // SAFETY: the mask has as many bits as said, rounded down to whole words, and is only read.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })?;
    Ok(())
}
