//! The last step: becoming the program.

use super::check;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::ffi::{CStr, CString, c_char};

/// A NUL-terminated array of C strings, made before anything that must not allocate.
#[derive(Debug)]
pub struct CStringArray {
    strings: Vec<CString>,
}

impl CStringArray {
    /// From strings.
    ///
    /// # Errors
    /// The index of one that holds a NUL byte.
    pub fn new<I, S>(strings: I) -> Result<Self, usize>
    where
        I: IntoIterator<Item = S>,
        S: Into<Vec<u8>>,
    {
        let strings = strings
            .into_iter()
            .enumerate()
            .map(|(index, s)| CString::new(s).map_err(|_| index))
            .collect::<Result<_, _>>()?;
        Ok(Self { strings })
    }

    fn pointers(&self) -> Vec<*const c_char> {
        self.strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    }
}

/// `execve`. Returns only if it failed.
pub fn execute(path: &CStr, argv: &CStringArray, env: &CStringArray) -> Errno {
    let (argv, env) = (argv.pointers(), env.pointers());
    // SAFETY: path is NUL-terminated; both arrays end in a null pointer and hold pointers to
    // NUL-terminated strings that `argv` and `env` keep alive through the call.
    let result = unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    check(libc::c_long::from(result)).err().unwrap_or(Errno::NOEXEC)
}

/// `execveat` of an open file. Returns only if it failed.
pub fn execute_fd(file: BorrowedFd<'_>, argv: &CStringArray, env: &CStringArray) -> Errno {
    let (argv, env) = (argv.pointers(), env.pointers());
    // SAFETY: as in `execute`; the path is the empty string, which AT_EMPTY_PATH makes the file itself.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or(Errno::NOEXEC)
}

/// Ends the process at once: no handlers of the copied runtime run.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no requirements and does not return.
    unsafe { libc::_exit(status) }
}
