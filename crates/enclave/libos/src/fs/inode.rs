//! What a path refers to: the interface of a file system.
//!
//! Checks of permission, of read-only mounts and of names are made by the callers in this directory (path
//! walk and operations); an inode does as it is told and keeps its file system consistent.

use super::context::Caller;
use super::file::File;
use super::location::Location;
use super::stat::{FileType, FsStat, Stat, Time};
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// A reference to an inode.
pub type InodeRef = Arc<dyn Inode>;

/// What to create.
#[derive(Clone, Debug)]
pub struct NewInode {
    /// What it is.
    pub file_type: FileType,
    /// Permission bits, umask applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file.
    pub rdev: u64,
    /// Target of a symbolic link.
    pub target: Vec<u8>,
}

/// Attributes to change; None keeps. The change time is set to now by every change.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Change {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<Time>,
    pub mtime: Option<Time>,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Name, without `/` and NUL.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub file_type: FileType,
    /// Where to go on after this entry.
    pub next: u64,
}

/// What opening a file for reading or writing needs to know.
#[derive(Clone, Copy, Debug)]
pub struct OpenHow {
    /// `O_*` flags.
    pub flags: u32,
}

/// How rename(2) treats an existing target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it.
    Replace,
    /// Fail with EEXIST (RENAME_NOREPLACE).
    NoReplace,
    /// Swap the two (RENAME_EXCHANGE).
    Exchange,
}

/// A file, directory, link or device of a file system.
pub trait Inode: Send + Sync {
    /// Attributes.
    fn stat(&self) -> Stat;
    /// What it is; the same for its whole life.
    fn file_type(&self) -> FileType;
    /// Device and inode number.
    fn key(&self) -> (u64, u64);
    /// The concrete inode.
    fn as_any(&self) -> &dyn Any;

    /// Finds an entry; `.` and `..` are never asked for.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, EIO.
    fn lookup(&self, caller: &Caller, name: &[u8]) -> Result<InodeRef, Errno> {
        let _ = (caller, name);
        Err(Errno::ENOTDIR)
    }
    /// The directory that holds this directory, and its name there; None at the root of the file system
    /// and for a directory that was removed.
    fn parent(&self) -> Option<(InodeRef, Vec<u8>)> {
        None
    }
    /// Gives entries from `cookie` (0 at first) until there are no more or `emit` answers false: then that
    /// entry was not taken. `.` and `..` are included.
    ///
    /// # Errors
    /// ENOTDIR, EIO, ENOENT where the directory was removed.
    fn read_dir(
        &self,
        caller: &Caller,
        cookie: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let _ = (caller, cookie, emit);
        Err(Errno::ENOTDIR)
    }
    /// Makes a new entry.
    ///
    /// # Errors
    /// EEXIST, EPERM where the file system does not allow it, ENOENT where the directory was removed.
    fn create(&self, name: &[u8], new: &NewInode) -> Result<InodeRef, Errno> {
        let _ = (name, new);
        Err(Errno::EPERM)
    }
    /// Gives `target`, an inode of the same file system, another name.
    ///
    /// # Errors
    /// EEXIST, EPERM, EMLINK, ENOENT where the target has no name any more.
    fn link(&self, name: &[u8], target: &InodeRef) -> Result<(), Errno> {
        let _ = (name, target);
        Err(Errno::EPERM)
    }
    /// Removes the name of something that is not a directory.
    ///
    /// # Errors
    /// ENOENT, EISDIR, EPERM.
    fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        let _ = name;
        Err(Errno::EPERM)
    }
    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY, EPERM.
    fn rmdir(&self, name: &[u8]) -> Result<(), Errno> {
        let _ = name;
        Err(Errno::EPERM)
    }
    /// Moves an entry to `to_name` in `to`, a directory of the same file system.
    ///
    /// # Errors
    /// As rename(2).
    fn rename(
        &self,
        name: &[u8],
        to: &InodeRef,
        to_name: &[u8],
        mode: RenameMode,
    ) -> Result<(), Errno> {
        let _ = (name, to, to_name, mode);
        Err(Errno::EPERM)
    }
    /// Target of a symbolic link.
    ///
    /// # Errors
    /// EINVAL where it is none.
    fn read_link(&self, caller: &Caller) -> Result<Vec<u8>, Errno> {
        let _ = caller;
        Err(Errno::EINVAL)
    }
    /// Where a link leads that is not followed by its text (/proc/PID/exe, /proc/PID/fd/N).
    ///
    /// # Errors
    /// ENOENT where there is nothing (any more), EACCES.
    fn magic_link(&self, caller: &Caller) -> Option<Result<Location, Errno>> {
        let _ = caller;
        None
    }
    /// Changes attributes.
    ///
    /// # Errors
    /// EPERM where the file system does not allow it.
    fn change(&self, change: &Change) -> Result<(), Errno> {
        let _ = change;
        Err(Errno::EPERM)
    }
    /// Sets the size of a regular file.
    ///
    /// # Errors
    /// EINVAL, EFBIG, EPERM.
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        let _ = size;
        Err(Errno::EINVAL)
    }
    /// Opens it.
    ///
    /// # Errors
    /// ENXIO for a device that does not exist, EIO.
    fn open(self: Arc<Self>, caller: &Caller, how: OpenHow) -> Result<Arc<dyn File>, Errno>;
    /// Value of an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP.
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = name;
        Err(Errno::EOPNOTSUPP)
    }
    /// Names of extended attributes.
    fn xattr_names(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
    /// Sets (Some) or removes (None) an extended attribute. `must_exist`: Some(true) for XATTR_REPLACE,
    /// Some(false) for XATTR_CREATE.
    ///
    /// # Errors
    /// EEXIST, ENODATA, EOPNOTSUPP.
    fn set_xattr(
        &self,
        name: &[u8],
        value: Option<&[u8]>,
        must_exist: Option<bool>,
    ) -> Result<(), Errno> {
        let _ = (name, value, must_exist);
        Err(Errno::EOPNOTSUPP)
    }
    /// Attributes of the file system.
    fn fs_stat(&self) -> FsStat;
}
