//! Installing a seccomp filter.

use super::check;
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;

/// One classic BPF instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SockFilter {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

impl SockFilter {
    /// As the kernel reads it, x86-64.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (self.code.to_le_bytes(), self.k.to_le_bytes());
        [a, b, self.jt, self.jf, c, d, e, f]
    }
}

#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const SockFilter,
}

/// `SECCOMP_FILTER_FLAG_TSYNC`: for all threads of the process.
pub const FILTER_FLAG_TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG`.
pub const FILTER_FLAG_LOG: u32 = 2;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
pub const FILTER_FLAG_SPEC_ALLOW: u32 = 4;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: the result is a listener.
pub const FILTER_FLAG_NEW_LISTENER: u32 = 8;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
pub const FILTER_FLAG_WAIT_KILLABLE_RECV: u32 = 32;
const FILTER_FLAG_TSYNC_ESRCH: u32 = 16;

/// `seccomp(SECCOMP_SET_MODE_FILTER)`. The listener is given where the flags ask for one.
///
/// # Errors
/// As `seccomp(2)`; `EACCES` without `no_new_privs` and `CAP_SYS_ADMIN`; `EINVAL` for a program that is
/// empty or longer than 4096 instructions.
pub fn install_filter(program: &[SockFilter], mut flags: u32) -> Result<Option<OwnedFd>, Errno> {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    if flags & FILTER_FLAG_TSYNC != 0 && flags & FILTER_FLAG_NEW_LISTENER != 0 {
        flags |= FILTER_FLAG_TSYNC_ESRCH;
    }
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = SockFprog { len, filter: program.as_ptr() };
    // SAFETY: the pointer is to a valid sock_fprog whose filter points to `len` instructions; both live
    // through the call and the kernel only reads them.
    let result = check(unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    if flags & FILTER_FLAG_NEW_LISTENER != 0 {
        let fd = i32::try_from(result).map_err(|_| Errno::BADF)?;
        // SAFETY: with this flag the kernel returns a new descriptor that nothing else knows.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    if result > 0 {
        // Without TSYNC_ESRCH a positive result is the id of a thread that could not follow.
        return Err(Errno::SRCH);
    }
    Ok(None)
}
