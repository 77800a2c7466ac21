//! Descriptor tables.

use crate::errno::Errno;
use crate::fs::file::PageSource;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The descriptors of a process (shared by CLONE_FILES).
#[derive(Default)]
pub struct Table {}

/// What mmap(2) needs of a descriptor.
pub struct Mappable {
    /// The pages.
    pub pages: Arc<dyn PageSource>,
    /// Path for /proc/PID/maps.
    pub path: Vec<u8>,
    /// Opened for reading (EACCES otherwise).
    pub is_readable: bool,
    /// Opened for writing (a shared writable mapping needs it).
    pub is_writable: bool,
    /// On a mount without execution (PROT_EXEC is EPERM).
    pub is_noexec: bool,
}

impl Table {
    /// A copy that fork(2) gives the child: same descriptions, own table.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {}
    }

    /// Closes what has FD_CLOEXEC.
    pub fn close_on_exec(&self) {}

    /// Closes everything (the process ended).
    pub fn close_all(&self) {}

    /// What mmap(2) maps.
    ///
    /// # Errors
    /// EBADF; ENODEV where the object cannot be mapped.
    pub fn mappable(&self, _fd: i32) -> Result<Mappable, Errno> {
        Err(Errno::EBADF)
    }
}
