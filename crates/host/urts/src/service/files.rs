//! Files of the container's root and side data of the pack, as data.

use super::{Answer, Served};
use crate::block::Block;
use crate::pack::open_regular;
use hostcall::SideData;
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, RwLock};

/// Longest path taken, as the kernel's PATH_MAX.
const PATH_MAX: usize = 4096;

/// Open files by the number the enclave knows.
pub(crate) struct Files {
    root: OwnedFd,
    metadata: OwnedFd,
    trees: OwnedFd,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<u32, Arc<OwnedFd>>,
    next: u32,
}

impl Files {
    /// Serves files below the directory `root` and the two side-data files.
    pub(crate) fn new(root: OwnedFd, metadata: OwnedFd, trees: OwnedFd) -> Self {
        Self { root, metadata, trees, table: RwLock::default() }
    }

    /// Opens a regular file by its absolute path. The library OS has resolved symbolic links by its verified
    /// metadata, so one on the way means that the host's tree is another: it is refused.
    pub(crate) fn open(&self, path: &[u8]) -> Served<'static> {
        if path.len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let file = Arc::new(open_regular(self.root.as_fd(), path)?);
        let mut table = self.table.write().expect("no panic under the lock");
        // After 2^32 opens numbers come round; one still in use is passed over.
        while table.open.contains_key(&table.next) {
            table.next = table.next.wrapping_add(1);
        }
        let number = table.next;
        table.next = number.wrapping_add(1);
        table.open.insert(number, file);
        Ok(Answer::Value(number.into()))
    }

    /// Reads at an offset into the block.
    pub(crate) fn read(
        &self,
        file: u32,
        offset: u64,
        length: u32,
        block: &Block,
    ) -> Served<'static> {
        let table = self.table.read().expect("no panic under the lock");
        let file = Arc::clone(table.open.get(&file).ok_or(Errno::BADF)?);
        drop(table);
        block.fill_from_file(file.as_fd(), offset, length as usize).map(Answer::InPlace)
    }

    /// Closes a file.
    pub(crate) fn close(&self, file: u32) -> Served<'static> {
        let closed = self.table.write().expect("no panic under the lock").open.remove(&file);
        closed.map(|_| Answer::Done).ok_or(Errno::BADF)
    }

    /// Reads side data into the block.
    pub(crate) fn side_data(
        &self,
        what: SideData,
        offset: u64,
        length: u32,
        block: &Block,
    ) -> Served<'static> {
        let file = match what {
            SideData::Metadata => &self.metadata,
            SideData::Trees => &self.trees,
        };
        block.fill_from_file(file.as_fd(), offset, length as usize).map(Answer::InPlace)
    }
}
