//! The verified root: what the measured manifest's digest says about the container's files.
//!
//! Names, attributes and digests come from the metadata blob (`workload::meta`), whose blocks are verified
//! against the manifest; file data comes from the host's files, whose blocks are verified against the
//! digests. What the metadata does not name does not exist, whatever the host has. A block that is not the
//! measured one is EIO to the program and a line in the log that names file, block, expected and got; the
//! enclave goes on, and the block is asked for again next time.
//!
//! What this does not do: hide which files and blocks are read, or make the host give them.
//!
//! Lock order: the table of open files, then one file's verifier, then the block cache.

mod cache;
mod file;
mod metadata;

pub use cache::BlockCache;

use super::memfs::{Lower, LowerAttributes, LowerEntry, LowerFile};
use super::stat::{FileType, Time, makedev};
use crate::errno::Errno;
use crate::host::{Level, SideData};
use crate::platform::Platform;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Display;
use file::{OpenFiles, VerifiedFile};
use metadata::MetaBlocks;
use workload::digest::Digest;
use workload::meta::{Inode, Meta, MetaError};
use workload::verity::BLOCK;

/// Most extended attributes, and directory entries, that are taken over at once: a malformed count ends in
/// an error long before memory does.
const MAX_ENTRIES: u32 = 1 << 24;

/// The verified root file system.
pub struct VerifiedRoot {
    shared: Arc<Shared>,
    meta: Meta<MetaBlocks>,
}

/// What the root and its files share.
struct Shared {
    platform: &'static dyn Platform,
    cache: Arc<BlockCache>,
    open: OpenFiles,
}

impl Shared {
    fn refused(&self, what: &dyn Display) -> Errno {
        self.platform.host().log(Level::Error, format!("refused: {what}"));
        Errno::EIO
    }
}

impl VerifiedRoot {
    /// Opens the root whose metadata has this digest and size.
    ///
    /// # Errors
    /// A line for the operator: the metadata is not the measured one, or not metadata.
    pub fn open(
        platform: &'static dyn Platform,
        digest: Digest,
        size: u64,
        cache: Arc<BlockCache>,
    ) -> Result<Arc<Self>, String> {
        let blocks = MetaBlocks::new(platform, digest, size, cache.clone());
        let meta = Meta::open(blocks, size).map_err(|error| format!("{error}"))?;
        meta.root().map_err(|error| format!("{error}"))?;
        let shared = Arc::new(Shared { platform, cache, open: OpenFiles::new() });
        Ok(Arc::new(Self { shared, meta }))
    }

    /// Id of the root directory.
    #[must_use]
    pub fn root_id(&self) -> u64 {
        id_of(workload::meta::ROOT)
    }

    fn inode(&self, id: u64) -> Result<Inode, Errno> {
        let number = id.checked_sub(1).and_then(|id| u32::try_from(id).ok()).ok_or(Errno::EIO)?;
        self.checked(self.meta.inode(number))
    }

    fn checked<T, E: Display>(&self, result: Result<T, MetaError<E>>) -> Result<T, Errno> {
        result.map_err(|error| self.shared.refused(&error))
    }
}

/// Inode numbers start at 1: some programs take 0 for a deleted entry.
fn id_of(number: u32) -> u64 {
    u64::from(number) + 1
}

fn file_type(kind: workload::meta::FileType) -> FileType {
    FileType::from_mode(kind.bits()).unwrap_or_default()
}

impl Lower for VerifiedRoot {
    fn attributes(&self, id: u64) -> Result<LowerAttributes, Errno> {
        let inode = self.inode(id)?;
        let (major, minor) = inode.device;
        Ok(LowerAttributes {
            file_type: file_type(inode.file_type),
            mode: inode.mode & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            nlink: inode.nlink,
            rdev: makedev(major, minor),
            size: inode.size,
            entries: inode.entries(),
            mtime: Time { sec: inode.mtime, nsec: 0 },
            target: self.checked(self.meta.symlink_target(&inode))?,
            xattrs: self.checked(self.meta.xattrs(&inode))?,
        })
    }

    fn entries(&self, id: u64) -> Result<Vec<LowerEntry>, Errno> {
        let directory = self.inode(id)?;
        let count = directory.entries();
        if count > MAX_ENTRIES {
            let what = "root metadata: expected at most 2^24 entries of a directory, got";
            return Err(self.shared.refused(&format_args!("{what} {count}")));
        }
        let mut entries = Vec::new();
        for index in 0..count {
            let entry = self.checked(self.meta.entry(&directory, index))?;
            entries.push(LowerEntry {
                name: entry.name,
                id: id_of(entry.inode),
                file_type: file_type(entry.file_type),
            });
        }
        Ok(entries)
    }

    fn file(&self, id: u64) -> Result<Arc<dyn LowerFile>, Errno> {
        let inode = self.inode(id)?;
        let path = self.checked(self.meta.data_path(&inode))?;
        Ok(Arc::new(VerifiedFile::new(self.shared.clone(), id, path, &inode)))
    }

    fn last_id(&self) -> u64 {
        self.meta.inodes()
    }
}

/// Reads exactly `into` from side data.
fn read_side(
    platform: &'static dyn Platform,
    what: SideData,
    offset: u64,
    into: &mut [u8],
) -> Result<(), String> {
    let mut done = 0;
    while done < into.len() {
        let at = offset.saturating_add(done as u64);
        let rest = &mut into[done..];
        let wanted = rest.len();
        match platform.host().side_data(what, at, rest) {
            Ok(count) if count > 0 && count <= wanted => done += count,
            Ok(0) => {
                return Err(format!("{what:?} side data at {at}: expected {wanted} bytes, got 0"));
            }
            Ok(count) => {
                let expected = "expected at most";
                return Err(format!("{what:?} side data: {expected} {wanted} bytes, got {count}"));
            }
            Err(errno) => return Err(format!("{what:?} side data at {at}: host: {errno:?}")),
        }
    }
    Ok(())
}

/// Nodes of a tree that starts at an offset of `trees.bin`.
struct TreeNodes {
    platform: &'static dyn Platform,
    start: u64,
}

impl workload::verity::Nodes for TreeNodes {
    type Error = String;

    fn read(&self, offset: u64, into: &mut [u8; BLOCK]) -> Result<(), String> {
        let Some(at) = self.start.checked_add(offset) else {
            return Err(format!("tree at {}: expected a smaller offset", self.start));
        };
        read_side(self.platform, SideData::Trees, at, into)
    }
}
