//! A node: attributes and body.

use super::directory::Directory;
use super::pages::Pages;
use super::{Fs, LowerAttributes};
use crate::errno::Errno;
use crate::fs::inode::{Change, NewInode};
use crate::fs::pipe::Pipe;
use crate::fs::stat::{FileType, Stat, Time};
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

/// A file, directory, link, device, fifo or bound socket.
pub struct Node {
    pub(super) fs: Arc<Fs>,
    pub(super) ino: u64,
    pub(super) file_type: FileType,
    pub(super) attributes: Mutex<Attributes>,
    /// The access time is later than the last change: reading need not set it again (relatime).
    pub(super) is_accessed: AtomicBool,
    pub(super) body: Body,
    /// Held over an append, so that two do not write to the same place.
    pub(super) append: Mutex<()>,
    /// Itself, for the parent links of its children.
    pub(super) this: Weak<Node>,
}

/// What a node is.
pub(super) enum Body {
    /// Names.
    Directory(Mutex<Directory>),
    /// Bytes.
    Regular(Mutex<Pages>),
    /// Target.
    Symlink(Vec<u8>),
    /// Device number.
    Device(u64),
    /// The pipe behind the name.
    Fifo(Arc<Pipe>),
    /// The socket bound to the name, while it lives.
    Socket(Mutex<Option<Weak<dyn Any + Send + Sync>>>),
}

#[derive(Clone, Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    pub(super) atime: Time,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Node {
    pub(super) fn new_root(fs: &Arc<Fs>, ino: u64, mode: u32) -> Arc<Self> {
        let now = fs.now();
        let attributes =
            Attributes { mode, nlink: 2, atime: now, mtime: now, ctime: now, ..Default::default() };
        let body = Body::Directory(Mutex::new(Directory::new(None)));
        Self::build(fs, ino, FileType::Directory, attributes, body)
    }

    /// A new node without a name; `nlink` is what its first name makes it.
    pub(super) fn create(
        fs: &Arc<Fs>,
        new: &NewInode,
        parent: Option<(Weak<Node>, Vec<u8>)>,
    ) -> Arc<Self> {
        let now = fs.now();
        let attributes = Attributes {
            mode: new.mode & 0o7777,
            uid: new.uid,
            gid: new.gid,
            nlink: if new.file_type == FileType::Directory { 2 } else { 1 },
            atime: now,
            mtime: now,
            ctime: now,
            xattrs: BTreeMap::new(),
        };
        let body = match new.file_type {
            FileType::Directory => Body::Directory(Mutex::new(Directory::new(parent))),
            FileType::Regular => Body::Regular(Mutex::new(Pages::empty())),
            FileType::Symlink => Body::Symlink(new.target.clone()),
            FileType::CharDevice | FileType::BlockDevice => Body::Device(new.rdev),
            FileType::Fifo => Body::Fifo(Pipe::new_fifo()),
            FileType::Socket => Body::Socket(Mutex::new(None)),
        };
        Self::build(fs, fs.next_ino(), new.file_type, attributes, body)
    }

    /// The node that reflects `id` below.
    pub(super) fn load(
        fs: &Arc<Fs>,
        id: u64,
        parent: Option<(Weak<Node>, Vec<u8>)>,
    ) -> Result<Arc<Self>, Errno> {
        let lower = fs.lower.as_ref().ok_or(Errno::EIO)?;
        let below = lower.attributes(id)?;
        if below.nlink < 2 || below.file_type == FileType::Directory {
            return Self::reflect(fs, id, below, parent);
        }
        let mut loaded = fs.loaded.lock();
        if let Some(node) = loaded.get(&id) {
            return Ok(node.clone());
        }
        let node = Self::reflect(fs, id, below, parent)?;
        loaded.insert(id, node.clone());
        Ok(node)
    }

    fn reflect(
        fs: &Arc<Fs>,
        id: u64,
        below: LowerAttributes,
        parent: Option<(Weak<Node>, Vec<u8>)>,
    ) -> Result<Arc<Self>, Errno> {
        let lower = fs.lower.as_ref().ok_or(Errno::EIO)?;
        let attributes = Attributes {
            mode: below.mode & 0o7777,
            uid: below.uid,
            gid: below.gid,
            nlink: below.nlink.max(1),
            atime: below.mtime,
            mtime: below.mtime,
            ctime: below.mtime,
            xattrs: below.xattrs.into_iter().collect(),
        };
        let body = match below.file_type {
            FileType::Directory => {
                Body::Directory(Mutex::new(Directory::reflecting(parent, id, below.entries)))
            }
            FileType::Regular => {
                let file = if below.size == 0 { None } else { Some(lower.file(id)?) };
                Body::Regular(Mutex::new(Pages::over(file, below.size)))
            }
            FileType::Symlink => Body::Symlink(below.target),
            FileType::CharDevice | FileType::BlockDevice => Body::Device(below.rdev),
            FileType::Fifo => Body::Fifo(Pipe::new_fifo()),
            FileType::Socket => Body::Socket(Mutex::new(None)),
        };
        Ok(Self::build(fs, id, below.file_type, attributes, body))
    }

    fn build(
        fs: &Arc<Fs>,
        ino: u64,
        file_type: FileType,
        attributes: Attributes,
        body: Body,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            fs: fs.clone(),
            ino,
            file_type,
            attributes: Mutex::new(attributes),
            is_accessed: AtomicBool::new(false),
            body,
            append: Mutex::new(()),
            this: this.clone(),
        })
    }

    /// A regular file without a name, on the file system of `directory` (O_TMPFILE).
    #[must_use]
    pub fn anonymous(directory: &Self, mode: u32, uid: u32, gid: u32) -> Arc<Self> {
        let new =
            NewInode { file_type: FileType::Regular, mode, uid, gid, rdev: 0, target: Vec::new() };
        let node = Self::create(&directory.fs, &new, None);
        node.attributes.lock().nlink = 0;
        node
    }

    /// The ring behind a fifo.
    #[must_use]
    pub fn fifo(&self) -> Option<&Arc<Pipe>> {
        match &self.body {
            Body::Fifo(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// The socket bound to this name, while it lives.
    #[must_use]
    pub fn socket(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match &self.body {
            Body::Socket(bound) => bound.lock().as_ref()?.upgrade(),
            _ => None,
        }
    }

    /// Binds a socket to this name.
    pub fn bind(&self, socket: Weak<dyn Any + Send + Sync>) {
        if let Body::Socket(bound) = &self.body {
            *bound.lock() = Some(socket);
        }
    }

    pub(super) fn directory(&self) -> Result<&Mutex<Directory>, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn regular(&self) -> Result<&Mutex<Pages>, Errno> {
        match &self.body {
            Body::Regular(pages) => Ok(pages),
            Body::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn stat(&self) -> Stat {
        let (size, pages) = match &self.body {
            Body::Directory(directory) => (directory.lock().size(), 0),
            Body::Regular(pages) => {
                let pages = pages.lock();
                (pages.size(), pages.pages_in_use())
            }
            Body::Symlink(target) => (target.len() as u64, 0),
            _ => (0, 0),
        };
        let rdev = if let Body::Device(rdev) = self.body { rdev } else { 0 };
        let attributes = self.attributes.lock();
        Stat {
            dev: self.fs.dev,
            ino: self.ino,
            file_type: self.file_type,
            mode: attributes.mode,
            nlink: attributes.nlink,
            uid: attributes.uid,
            gid: attributes.gid,
            rdev,
            size,
            blocks: pages * 8,
            atime: attributes.atime,
            mtime: attributes.mtime,
            ctime: attributes.ctime,
        }
    }

    pub(super) fn change(&self, change: &Change) {
        let now = self.fs.now();
        let mut attributes = self.attributes.lock();
        if let Some(mode) = change.mode {
            attributes.mode = mode & 0o7777;
        }
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.atime = change.atime.unwrap_or(attributes.atime);
        attributes.mtime = change.mtime.unwrap_or(attributes.mtime);
        attributes.ctime = now;
        self.is_accessed.store(false, Ordering::Relaxed);
    }

    /// The contents were read.
    pub(super) fn touch_access(&self) {
        if self.is_accessed.load(Ordering::Relaxed) {
            return;
        }
        let now = self.fs.now();
        let mut attributes = self.attributes.lock();
        if attributes.atime <= attributes.mtime || attributes.atime <= attributes.ctime {
            attributes.atime = now;
        }
        self.is_accessed.store(true, Ordering::Relaxed);
    }

    /// The contents, or the names, were changed.
    pub(super) fn touch_change(&self) {
        let now = self.fs.now();
        let mut attributes = self.attributes.lock();
        attributes.mtime = now;
        attributes.ctime = now;
        self.is_accessed.store(false, Ordering::Relaxed);
    }

    /// A name came or went.
    pub(super) fn add_links(&self, count: i32) {
        let now = self.fs.now();
        let mut attributes = self.attributes.lock();
        attributes.nlink = attributes.nlink.saturating_add_signed(count);
        attributes.ctime = now;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Body::Regular(pages) = &self.body {
            self.fs.give_pages(pages.lock().pages_in_use());
        }
    }
}
