//! An open directory of any file system.

use super::file::File;
use super::inode::InodeRef;
use super::stat::Stat;
use crate::errno::Errno;
use alloc::string::String;
use core::any::Any;

/// An open directory; getdents64(2) reads it through the inode.
pub struct DirFile {
    inode: InodeRef,
}

impl DirFile {
    /// Opens `inode`.
    #[must_use]
    pub fn new(inode: InodeRef) -> Self {
        Self { inode }
    }
}

impl File for DirFile {
    fn read(&self, _: u64, _: &mut dyn super::file::Sink) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }
    fn is_seekable(&self) -> bool {
        true
    }
    fn stat(&self) -> Stat {
        self.inode.stat()
    }
    fn inode(&self) -> Option<&InodeRef> {
        Some(&self.inode)
    }
    fn description(&self) -> String {
        String::new()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
