//! What a process's paths are relative to.

use crate::errno::Errno;
use crate::fs::file::PageSource;
use crate::process::Process;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Working directory, root and umask (shared by CLONE_FS).
#[derive(Default)]
pub struct FsContext {}

impl FsContext {
    /// The copy that fork(2) gives the child.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {}
    }
}

/// A file that execve(2) may run: regular, execute permission, mount not noexec.
pub struct Executable {
    /// Its pages.
    pub pages: Arc<dyn PageSource>,
    /// Its absolute path with symlinks resolved, for /proc/PID/exe and maps.
    pub path: Vec<u8>,
}

/// Opens a program for execve(2), execveat(2) or as an ELF interpreter. `flags` are AT_EMPTY_PATH and
/// AT_SYMLINK_NOFOLLOW; `directory` is AT_FDCWD or a descriptor.
///
/// # Errors
/// As execve(2): ENOENT, EACCES, ELOOP, ENOTDIR, ...
pub fn open_executable(
    _process: &Process,
    _directory: i32,
    _path: &[u8],
    _flags: u32,
) -> Result<Executable, Errno> {
    Err(Errno::ENOENT)
}
