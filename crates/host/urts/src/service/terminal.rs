//! Terminal ioctls on the host's streams.

use super::{Answer, Served};
use crate::block::last_errno;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of the kernel's `struct termios` (not the C library's larger one).
pub(crate) const TERMIOS: usize = 36;
/// Bytes of `struct winsize`.
const WINSIZE: usize = 8;

/// Carries out one of the requests that `README.md` of `hostcall` lists. The structure is copied to `scratch`,
/// a buffer of exactly the kernel's size, so that the kernel can neither read nor write beyond it. TCFLSH takes a
/// number; here it is four bytes, little-endian, like a structure.
///
/// # Errors
/// ENOTTY for any other request, EINVAL for a structure of another size, the kernel's.
pub(crate) fn ioctl<'a>(
    fd: BorrowedFd<'_>,
    request: u32,
    argument: &[u8],
    scratch: &'a mut [u8; TERMIOS],
) -> Served<'a> {
    let request = request as libc::Ioctl;
    let size = match request {
        libc::TCGETS | libc::TCSETS | libc::TCSETSW | libc::TCSETSF => TERMIOS,
        libc::TIOCGWINSZ | libc::TIOCSWINSZ => WINSIZE,
        libc::TCFLSH => size_of::<libc::c_int>(),
        _ => return Err(Errno::NOTTY),
    };
    if argument.len() != size {
        return Err(Errno::INVAL);
    }
    let buffer = scratch.get_mut(..size).expect("the scratch holds the largest structure");
    buffer.copy_from_slice(argument);
    let result = if request == libc::TCFLSH {
        let queue = libc::c_int::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
        // SAFETY: TCFLSH takes its argument by value and touches no memory of the process.
        unsafe { libc::ioctl(fd.as_raw_fd(), request, queue) }
    } else {
        // SAFETY: each of these requests reads or writes one structure of `size` bytes, which `buffer` holds.
        unsafe { libc::ioctl(fd.as_raw_fd(), request, buffer.as_mut_ptr()) }
    };
    if result < 0 { Err(last_errno()) } else { Ok(Answer::Data(buffer)) }
}
