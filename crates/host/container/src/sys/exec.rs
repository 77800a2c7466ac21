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

    /// Without strings.
    #[must_use]
    pub const fn empty() -> Self {
        Self { strings: Vec::new() }
    }

    /// Puts one before the others.
    pub fn insert_first(&mut self, string: CString) {
        self.strings.insert(0, string);
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

/// The name that a protected program has in the process list.
const PROTECTED: &str = "rune-protected";

/// Runs this program again from a read-only view of its own file, unless it already does: a container that
/// gets hold of `/proc/PID/exe` then cannot open it for writing, now or later (CVE-2019-5736). Nothing is
/// copied: the view is a detached mount of the same file.
///
/// Without `CAP_SYS_ADMIN` there is no such mount. The container then has no more rights to the file than
/// this process: if those are enough to write to it, a sealed copy runs instead, else it is safe as it is.
/// A failure of either leaves this process as it was.
pub fn protect_own_file() {
    use super::start::arguments;
    use rustix::fd::AsFd;
    use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
    use rustix::mount::{OpenTreeFlags, open_tree};
    use std::os::unix::ffi::OsStringExt;
    const EXE: &str = "/proc/self/exe";
    let is_read_only = statvfs(EXE).is_ok_and(|s| s.f_flag.contains(StatVfsMountFlags::RDONLY));
    let is_second = arguments().first().is_some_and(|name| name == PROTECTED);
    if is_read_only || is_second {
        return;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let view = open_tree(CWD, EXE, flags).and_then(|tree| {
        let attributes =
            super::IdMapMount { set: 1, clear: 0, propagation: 0, user_namespace: None };
        super::mount_setattr(tree.as_fd(), &attributes, false).map(|()| tree)
    });
    let file = match view {
        Ok(tree) => tree,
        Err(_) if rustix::fs::access(EXE, rustix::fs::Access::WRITE_OK).is_err() => return,
        Err(_) => match sealed_copy(EXE) {
            Ok(copy) => copy,
            Err(_) => return,
        },
    };
    let name = std::iter::once(PROTECTED.into());
    let argv = name.chain(arguments().iter().skip(1).cloned()).map(OsStringExt::into_vec);
    let env = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name.into_vec()
    });
    if let (Ok(argv), Ok(env)) = (CStringArray::new(argv), CStringArray::new(env)) {
        let _ = execute_fd(file.as_fd(), &argv, &env);
    }
}

/// A copy of a file in memory that nobody can change any more.
fn sealed_copy(path: &str) -> Result<rustix::fd::OwnedFd, Errno> {
    use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
    let from = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create(PROTECTED, flags)?;
    while rustix::fs::sendfile(&copy, &from, None, 1 << 24)? != 0 {}
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy)
}
