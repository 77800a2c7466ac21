//! Nodes as inodes: names, links, renames, attributes.

use super::directory::Child;
use super::pages::MAX_SIZE;
use super::{Body, Node, open};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::file::File;
use crate::fs::inode::{Change, DirEntry, Inode, InodeRef, NewInode, OpenHow, RenameMode};
use crate::fs::stat::{FileType, FsStat, Stat};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// Most names of a file, as ext4 has it.
const LINK_MAX: u32 = 65_000;
/// Longest value of an extended attribute (XATTR_SIZE_MAX).
const XATTR_SIZE_MAX: usize = 65_536;

impl Inode for Node {
    fn stat(&self) -> Stat {
        Self::stat(self)
    }

    fn file_type(&self) -> FileType {
        self.file_type
    }

    fn key(&self) -> (u64, u64) {
        (self.fs.dev, self.ino)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn lookup(&self, _caller: &Caller, name: &[u8]) -> Result<InodeRef, Errno> {
        let node = self.directory()?.lock().node(self, name)?;
        Ok(node)
    }

    fn parent(&self) -> Option<(InodeRef, Vec<u8>)> {
        let directory = self.directory().ok()?.lock();
        let (parent, name) = directory.parent.as_ref()?;
        Some((parent.upgrade()?, name.clone()))
    }

    fn read_dir(
        &self,
        _caller: &Caller,
        cookie: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let mut directory = self.directory()?.lock();
        if directory.is_removed {
            return Err(Errno::ENOENT);
        }
        directory.fill(&self.fs)?;
        self.touch_access();
        let parent_ino = directory.parent.as_ref().and_then(|(parent, _)| parent.upgrade());
        let parent_ino = parent_ino.map_or(self.ino, |parent| parent.ino);
        let file_type = FileType::Directory;
        let dots = [(&b"."[..], self.ino), (&b".."[..], parent_ino)];
        for (next, (name, ino)) in (1..).zip(dots) {
            if cookie < next && !emit(DirEntry { name, ino, file_type, next }) {
                return Ok(());
            }
        }
        for (next, name, child) in directory.after(cookie) {
            let (ino, file_type) = child.identity();
            if !emit(DirEntry { name, ino, file_type, next }) {
                break;
            }
        }
        Ok(())
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<InodeRef, Errno> {
        let _tree = self.fs.tree.lock();
        let mut directory = self.directory()?.lock();
        directory.fill(&self.fs)?;
        if directory.is_removed {
            return Err(Errno::ENOENT);
        }
        if directory.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let node = Self::create(&self.fs, new, Some((self.this.clone(), name.to_vec())));
        directory.insert(name, Child::Node(node.clone()));
        drop(directory);
        self.touch_change();
        if new.file_type == FileType::Directory {
            self.add_links(1);
        }
        Ok(node)
    }

    fn link(&self, name: &[u8], target: &InodeRef) -> Result<(), Errno> {
        let target = same_fs(self, target)?;
        let _tree = self.fs.tree.lock();
        let mut directory = self.directory()?.lock();
        directory.fill(&self.fs)?;
        if directory.is_removed {
            return Err(Errno::ENOENT);
        }
        if directory.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        if target.attributes.lock().nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        directory.insert(name, Child::Node(target.clone()));
        drop(directory);
        target.add_links(1);
        self.touch_change();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        let _tree = self.fs.tree.lock();
        let mut directory = self.directory()?.lock();
        let node = directory.node(self, name)?;
        if node.file_type == FileType::Directory {
            return Err(Errno::EISDIR);
        }
        directory.remove(name);
        drop(directory);
        node.add_links(-1);
        self.touch_change();
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<(), Errno> {
        let _tree = self.fs.tree.lock();
        let mut directory = self.directory()?.lock();
        let node = directory.node(self, name)?;
        remove_empty(&node)?;
        directory.remove(name);
        drop(directory);
        self.add_links(-1);
        self.touch_change();
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        to: &InodeRef,
        to_name: &[u8],
        mode: RenameMode,
    ) -> Result<(), Errno> {
        let to = same_fs(self, to)?;
        let _tree = self.fs.tree.lock();
        let moved = self.directory()?.lock().node(self, name)?;
        let existing = match to.directory()?.lock().node(&to, to_name) {
            Err(Errno::ENOENT) => None,
            found => Some(found?),
        };
        if to.directory()?.lock().is_removed {
            return Err(Errno::ENOENT);
        }
        match (&existing, mode) {
            (Some(_), RenameMode::NoReplace) => return Err(Errno::EEXIST),
            (None, RenameMode::Exchange) => return Err(Errno::ENOENT),
            _ => {}
        }
        if existing.as_ref().is_some_and(|existing| Arc::ptr_eq(existing, &moved)) {
            return Ok(());
        }
        if is_within(&to, &moved) {
            return Err(Errno::EINVAL);
        }
        let this = self.this.upgrade().ok_or(Errno::ENOENT)?;
        if existing.as_ref().is_some_and(|existing| is_within(&this, existing)) {
            let is_exchange = mode == RenameMode::Exchange;
            return Err(if is_exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        match (existing, mode) {
            (Some(other), RenameMode::Exchange) => {
                self.directory()?.lock().replace(name, other.clone());
                to.directory()?.lock().replace(to_name, moved.clone());
                self.adopt(&other, name, &to);
                to.adopt(&moved, to_name, self);
                other.add_links(0);
            }
            (Some(other), _) => {
                to.make_room(&moved, &other)?;
                self.directory()?.lock().remove(name);
                to.directory()?.lock().replace(to_name, moved.clone());
                to.adopt(&moved, to_name, self);
            }
            (None, _) => {
                self.directory()?.lock().remove(name);
                to.directory()?.lock().insert(to_name, Child::Node(moved.clone()));
                to.adopt(&moved, to_name, self);
            }
        }
        moved.add_links(0);
        self.touch_change();
        to.touch_change();
        Ok(())
    }

    fn read_link(&self, _caller: &Caller) -> Result<Vec<u8>, Errno> {
        match &self.body {
            Body::Symlink(target) => {
                self.touch_access();
                Ok(target.clone())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn change(&self, change: &Change) -> Result<(), Errno> {
        Self::change(self, change);
        Ok(())
    }

    fn truncate(&self, size: u64) -> Result<(), Errno> {
        let pages = self.regular()?;
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        pages.lock().truncate(&self.fs, size)?;
        self.touch_change();
        Ok(())
    }

    fn open(self: Arc<Self>, caller: &Caller, how: OpenHow) -> Result<Arc<dyn File>, Errno> {
        open::open(self, caller, how)
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.attributes.lock().xattrs.get(name).cloned().ok_or(Errno::ENODATA)
    }

    fn xattr_names(&self) -> Vec<Vec<u8>> {
        self.attributes.lock().xattrs.keys().cloned().collect()
    }

    fn set_xattr(
        &self,
        name: &[u8],
        value: Option<&[u8]>,
        must_exist: Option<bool>,
    ) -> Result<(), Errno> {
        let now = self.fs.now();
        let mut attributes = self.attributes.lock();
        match (attributes.xattrs.contains_key(name), must_exist) {
            (true, Some(false)) => return Err(Errno::EEXIST),
            (false, Some(true)) => return Err(Errno::ENODATA),
            _ => {}
        }
        match value {
            Some(value) if value.len() > XATTR_SIZE_MAX => return Err(Errno::E2BIG),
            Some(value) => drop(attributes.xattrs.insert(name.to_vec(), value.to_vec())),
            None => drop(attributes.xattrs.remove(name)),
        }
        attributes.ctime = now;
        Ok(())
    }

    fn fs_stat(&self) -> FsStat {
        let usages = self.fs.budgets.each_ref().map(|budget| budget.usage());
        let free = usages.iter().map(|(used, limit)| limit.saturating_sub(*used)).min();
        let blocks_free = free.unwrap_or(0);
        let blocks = usages.iter().map(|(_, limit)| *limit).min().unwrap_or(0);
        FsStat { magic: self.fs.magic, blocks, blocks_free, files: blocks, files_free: blocks_free }
    }
}

impl Node {
    /// A directory entry now hangs here under `name`; `from` is where it came from.
    fn adopt(&self, child: &Arc<Self>, name: &[u8], from: &Self) {
        let Ok(directory) = child.directory() else { return };
        directory.lock().parent = Some((self.this.clone(), name.to_vec()));
        if !core::ptr::eq(self, from) {
            self.add_links(1);
            from.add_links(-1);
        }
    }

    /// `other`, a name of this directory, makes way for `moved`.
    fn make_room(&self, moved: &Arc<Self>, other: &Arc<Self>) -> Result<(), Errno> {
        let are_directories = [moved, other].map(|node| node.file_type == FileType::Directory);
        match are_directories {
            [true, false] => return Err(Errno::ENOTDIR),
            [false, true] => return Err(Errno::EISDIR),
            [true, true] => {
                remove_empty(other)?;
                self.add_links(-1);
            }
            [false, false] => other.add_links(-1),
        }
        Ok(())
    }
}

/// Marks a directory as removed if it is empty.
fn remove_empty(node: &Arc<Node>) -> Result<(), Errno> {
    let mut directory = node.directory()?.lock();
    directory.fill(&node.fs)?;
    if !directory.is_empty() {
        return Err(Errno::ENOTEMPTY);
    }
    directory.is_removed = true;
    directory.parent = None;
    drop(directory);
    node.add_links(-2);
    Ok(())
}

/// Whether `node` is `ancestor` or lies below it.
fn is_within(node: &Arc<Node>, ancestor: &Arc<Node>) -> bool {
    let mut at = Some(node.clone());
    while let Some(node) = at {
        if Arc::ptr_eq(&node, ancestor) {
            return true;
        }
        at = node.directory().ok().and_then(|directory| {
            directory.lock().parent.as_ref().and_then(|(parent, _)| parent.upgrade())
        });
    }
    false
}

fn same_fs(node: &Node, other: &InodeRef) -> Result<Arc<Node>, Errno> {
    let other = other.as_any().downcast_ref::<Node>().ok_or(Errno::EXDEV)?;
    if !Arc::ptr_eq(&node.fs, &other.fs) {
        return Err(Errno::EXDEV);
    }
    other.this.upgrade().ok_or(Errno::ENOENT)
}
