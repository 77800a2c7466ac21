//! Opening a pipe, stream or socket again through /proc/self/fd/N (and so through /dev/stdin).
//!
//! Such a file has no place in the tree. It gets one for the length of the walk: an inode that opens as
//! the same object.

use super::context::Caller;
use super::fd::OpenFile;
use super::file::File;
use super::inode::{Inode, OpenHow};
use super::location::Location;
use super::mount::{Mount, MountFlags};
use super::stat::{FileType, FsStat, Stat};
use crate::errno::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

/// A place that opens as the file behind `open`.
///
/// # Errors
/// ENXIO for a socket, as on Linux.
pub fn location(open: &Arc<OpenFile>) -> Result<Location, Errno> {
    if open.file.stat().file_type == FileType::Socket {
        return Err(Errno::ENXIO);
    }
    let inode = Arc::new(Reopened { file: open.file.clone() });
    let mount = Arc::new(Mount {
        id: 0,
        root: inode.clone(),
        at: None,
        path: String::new(),
        fs_type: String::from("pipefs"),
        source: String::from("none"),
        flags: MountFlags::default(),
    });
    Ok(Location::new(mount, inode))
}

struct Reopened {
    file: Arc<dyn File>,
}

impl Inode for Reopened {
    fn stat(&self) -> Stat {
        self.file.stat()
    }

    fn file_type(&self) -> FileType {
        self.file.stat().file_type
    }

    fn key(&self) -> (u64, u64) {
        let stat = self.file.stat();
        (stat.dev, stat.ino)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn open(self: Arc<Self>, _caller: &Caller, _how: OpenHow) -> Result<Arc<dyn File>, Errno> {
        Ok(self.file.clone())
    }

    fn fs_stat(&self) -> FsStat {
        FsStat::default()
    }
}
