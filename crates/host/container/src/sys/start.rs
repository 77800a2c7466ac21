//! A program's start without the standard library's own, which a runtime that is started for every operation of
//! every container pays each time: it reads `/proc/self/maps` to find the stack's end, and makes a second stack for
//! the message that the first one has overflowed. That message is lost; the program ends by SIGSEGV all the same.

use rustix::fs::{Mode, OFlags};
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// What the C library's start gave. `std::env::args_os` has it without the standard library's start with glibc only.
static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// The program's arguments, its name first.
pub fn arguments() -> &'static [OsString] {
    ARGUMENTS.get_or_init(|| std::env::args_os().collect())
}

/// Makes a function `fn() -> i32` the program, in place of `fn main()`; the crate is `#![no_main]`. Its result is the
/// exit code; [`arguments`] has the arguments.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        // SAFETY: the crate is `#![no_main]`, so that nothing else defines the C library's entry.
        #[unsafe(no_mangle)]
        extern "C" fn main(count: i32, words: *const *const ::core::ffi::c_char) -> i32 {
            // SAFETY: these are the C library's, which calls this function alone.
            unsafe { $crate::sys::start($run, count, words) }
        }
    };
}

/// Does what of the standard library's start matters, and runs the program.
///
/// - Standard streams that are closed are opened on `/dev/null`: a file opened later must not be taken for one.
/// - SIGPIPE is ignored: a write to a closed pipe is an error and not the end.
///
/// # Panics
/// Never; a program without streams ends.
///
/// # Safety
/// `words` are `count` pointers to strings that live and stay as they are from now on: those that `main` gets.
pub unsafe fn start(run: fn() -> i32, count: i32, words: *const *const c_char) -> ! {
    let words = (0..usize::try_from(count).unwrap_or(0)).map(|index| {
        // SAFETY: as the caller promises.
        let word = unsafe { CStr::from_ptr(*words.add(index)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    let _ = ARGUMENTS.set(words.collect());
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array is valid, as long as said, and lives through the call.
    let polled = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    if polled != 0 && streams.iter().any(|stream| stream.revents & libc::POLLNVAL != 0) {
        // The lowest free numbers are theirs.
        loop {
            match rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
                Ok(fd) if fd.as_raw_fd() > 2 => break,
                Ok(fd) => drop(fd.into_raw_fd()),
                Err(_) => std::process::abort(),
            }
        }
    }
    // SAFETY: SIG_IGN is no function that could be called; no other thread exists.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    std::process::exit(run())
}
