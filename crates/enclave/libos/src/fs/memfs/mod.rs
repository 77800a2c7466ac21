//! A file system in enclave memory: tmpfs, /dev, /dev/shm, and the writable layer over the verified root.
//!
//! The union is not two trees side by side. A node may *start* as a reflection of a node below
//! ([`Lower`]): its attributes are copied when it is first looked at, the names of a directory when it is
//! first searched, the pages of a file when they are first written. From then on it is an ordinary node.
//! So there are no whiteouts, copy-up is by page, a renamed directory keeps its identity, and inode
//! numbers and hard links are those of the image.
//!
//! Memory: names and nodes of what was looked at stay until they are removed; file pages are counted
//! against the [`Budget`] and answer ENOSPC.
//!
//! Lock order: `Fs::tree` (every change of names), then a directory, then `Fs::loaded`, then a node's
//! attributes. A file's pages: `Node::append`, then the memory manager, then the page map, then the
//! cache of verified blocks.

mod directory;
mod inode;
mod node;
mod open;
mod pages;
#[cfg(test)]
mod tests;

pub use node::Node;
pub use open::{DeviceOpener, RegularFile};

use node::Body;

use super::stat::{FileType, Time, makedev};
use crate::errno::Errno;
use crate::platform::Platform;
use crate::sync::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hashbrown::HashMap;

/// Attributes of a node below.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LowerAttributes {
    pub file_type: FileType,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub rdev: u64,
    pub size: u64,
    /// Names in a directory, without `.` and `..`.
    pub entries: u32,
    pub mtime: Time,
    /// Target of a symbolic link.
    pub target: Vec<u8>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A name in a directory below.
#[derive(Clone, Debug)]
pub struct LowerEntry {
    /// The name.
    pub name: Vec<u8>,
    /// The node.
    pub id: u64,
    /// What it is.
    pub file_type: FileType,
}

/// Contents of a file below.
pub trait LowerFile: Send + Sync {
    /// Block `index` of 4096 bytes, zeros past the end of the file.
    ///
    /// # Errors
    /// EIO where the bytes are not the measured ones.
    fn block(&self, index: u64) -> Result<Arc<[u8; 4096]>, Errno>;
    /// Digest of the contents.
    fn digest(&self) -> [u8; 32];
}

/// A read-only tree below. Ids are inode numbers; the root's is given to [`Fs::over`].
pub trait Lower: Send + Sync {
    /// Attributes of a node.
    ///
    /// # Errors
    /// EIO where the metadata is not the measured one.
    fn attributes(&self, id: u64) -> Result<LowerAttributes, Errno>;
    /// Names of a directory.
    ///
    /// # Errors
    /// As [`attributes`](Self::attributes).
    fn entries(&self, id: u64) -> Result<Vec<LowerEntry>, Errno>;
    /// Contents of a regular file.
    ///
    /// # Errors
    /// As [`attributes`](Self::attributes).
    fn file(&self, id: u64) -> Result<Arc<dyn LowerFile>, Errno>;
    /// Highest id in use.
    fn last_id(&self) -> u64;
}

/// How many pages file systems may hold together.
#[derive(Debug)]
pub struct Budget {
    limit_pages: u64,
    used_pages: AtomicU64,
}

impl Budget {
    /// A budget of `limit_pages` pages of 4096 bytes.
    #[must_use]
    pub fn new(limit_pages: u64) -> Arc<Self> {
        Arc::new(Self { limit_pages, used_pages: AtomicU64::new(0) })
    }

    /// Pages in use and pages in all.
    #[must_use]
    pub fn usage(&self) -> (u64, u64) {
        (self.used_pages.load(Ordering::Relaxed), self.limit_pages)
    }

    fn take(&self, pages: u64) -> Result<(), Errno> {
        let limit = self.limit_pages;
        let take = |used: u64| used.checked_add(pages).filter(|used| *used <= limit);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.used_pages.fetch_update(set, get, take).map(|_| ()).map_err(|_| Errno::ENOSPC)
    }

    fn give(&self, pages: u64) {
        self.used_pages.fetch_sub(pages, Ordering::Relaxed);
    }
}

/// One such file system.
pub struct Fs {
    platform: &'static dyn Platform,
    dev: u64,
    magic: u64,
    next_ino: AtomicU64,
    /// Held over every change of names, so that a rename is one step.
    tree: Mutex<()>,
    lower: Option<Arc<dyn Lower>>,
    /// Nodes from below with more than one name: they stay, for a name that was not looked at yet must find
    /// what was changed through another.
    loaded: Mutex<HashMap<u64, Arc<Node>>>,
    /// This file system's own limit, and the one it shares.
    budgets: [Arc<Budget>; 2],
    devices: Option<Arc<dyn DeviceOpener>>,
}

/// `f_type` of tmpfs and of overlayfs (statfs(2)).
pub const TMPFS_MAGIC: u64 = 0x0102_1994;
/// See [`TMPFS_MAGIC`].
pub const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// A new minor number for the anonymous device of a file system.
#[must_use]
pub fn next_device() -> u64 {
    static NEXT: AtomicU32 = AtomicU32::new(20);
    makedev(0, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Settings of a new file system.
pub struct Settings {
    /// The machine: clock, shared pages.
    pub platform: &'static dyn Platform,
    /// Its own limit.
    pub own: Arc<Budget>,
    /// The limit that it shares with others.
    pub shared: Arc<Budget>,
    /// What opens device files; None where they give ENXIO.
    pub devices: Option<Arc<dyn DeviceOpener>>,
}

impl Fs {
    /// An empty tree; gives its root, a directory of user and group 0.
    #[must_use]
    pub fn empty(settings: Settings, mode: u32) -> Arc<Node> {
        let fs = Self::new(settings, None, TMPFS_MAGIC, 1);
        let ino = fs.next_ino();
        Node::new_root(&fs, ino, mode)
    }

    /// A writable tree over `lower`; gives its root.
    ///
    /// # Errors
    /// EIO where the root cannot be read.
    pub fn over(
        settings: Settings,
        lower: Arc<dyn Lower>,
        root_id: u64,
    ) -> Result<Arc<Node>, Errno> {
        let first = lower.last_id() + 1;
        let fs = Self::new(settings, Some(lower), OVERLAYFS_MAGIC, first);
        Node::load(&fs, root_id, None)
    }

    fn new(
        settings: Settings,
        lower: Option<Arc<dyn Lower>>,
        magic: u64,
        first_ino: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            platform: settings.platform,
            dev: next_device(),
            magic,
            next_ino: AtomicU64::new(first_ino),
            tree: Mutex::new(()),
            lower,
            loaded: Mutex::new(HashMap::new()),
            budgets: [settings.own, settings.shared],
            devices: settings.devices,
        })
    }

    fn next_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }

    fn now(&self) -> Time {
        Time::from_ns(self.platform.realtime_ns())
    }

    fn take_pages(&self, pages: u64) -> Result<(), Errno> {
        self.budgets[0].take(pages)?;
        self.budgets[1].take(pages).inspect_err(|_| self.budgets[0].give(pages))
    }

    fn give_pages(&self, pages: u64) {
        self.budgets.iter().for_each(|budget| budget.give(pages));
    }
}
