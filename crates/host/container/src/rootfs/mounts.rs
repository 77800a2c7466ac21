//! The mounts of the configuration.
//!
//! The destination is a descriptor in the container's root; a bind mount's attributes are set before it is
//! attached, so that there is no moment at which a read-only mount is writable. Needs Linux 5.12
//! (`mount_setattr`).

use super::options::{Options, attr};
use super::resolve::{Missing, Root, fd_path, file_type};
use crate::error::{Error, Result};
use crate::sys::{IdMapMount, mount_setattr};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change,
    move_mount, open_tree,
};
use rustix::process::fchdir;
use std::path::{Path, PathBuf};

/// One mount, parsed and, for a bind mount that needs it, its source already opened.
#[derive(Debug)]
pub struct MountPlan {
    /// `mounts[index]`, for messages.
    pub index: usize,
    /// Below the container's root.
    pub destination: PathBuf,
    /// File system type; `bind` mounts ignore it.
    pub kind: String,
    /// As the file system or the bind mount takes it.
    pub source: PathBuf,
    /// Parsed options.
    pub options: Options,
    /// A detached copy of the source, made before the child lost the right to reach it or to map its ids.
    pub tree: Option<OwnedFd>,
}

impl MountPlan {
    fn failed(&self, operation: &'static str) -> impl FnOnce(Errno) -> Error {
        let subject = format!(
            "mounts[{}] ({} on {})",
            self.index,
            self.source.display(),
            self.destination.display()
        );
        Error::os(operation, subject)
    }

    /// Opens the source of a bind mount as a detached tree.
    ///
    /// # Errors
    /// As `open_tree(2)`, with the index and the paths.
    pub fn open_source(&self) -> Result<OwnedFd> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if self.options.flags & libc::MS_REC != 0 {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        open_tree(CWD, &self.source, flags).map_err(self.failed("open the source of"))
    }

    /// Opens the source and maps its ids, which takes the rights of the file system's own user namespace:
    /// the caller's, not the container's.
    ///
    /// # Errors
    /// As `open_tree(2)` and `mount_setattr(2)`.
    pub fn open_mapped_source(&self, namespace: &OwnedFd, is_recursive: bool) -> Result<OwnedFd> {
        let tree = self.open_source()?;
        let attributes = IdMapMount {
            set: attr::IDMAP,
            clear: 0,
            propagation: 0,
            user_namespace: Some(namespace.as_fd()),
        };
        mount_setattr(tree.as_fd(), &attributes, is_recursive)
            .map_err(self.failed("map the ids of"))?;
        Ok(tree)
    }

    /// Makes the mount.
    ///
    /// # Errors
    /// What failed, with the index and the paths.
    pub fn apply(&mut self, root: &Root) -> Result<()> {
        if self.options.is_bind() {
            return self.bind(root);
        }
        let target = root.open_or_make(&self.destination, Missing::Directory)?;
        let copied = self.options.is_copy_up.then(|| super::copy_up::Saved::take(&target));
        let mut data = self.options.data.clone();
        if self.kind == "tmpfs" && !data.contains("mode=") {
            let stat = rustix::fs::statat(&target, "", AtFlags::EMPTY_PATH)
                .map_err(self.failed("stat"))?;
            let comma = if data.is_empty() { "" } else { "," };
            data = format!("{data}{comma}mode={:o}", stat.st_mode & 0o7777);
        }
        // Read-only only after the old contents are back.
        let late = if copied.is_some() { libc::MS_RDONLY } else { 0 };
        let flags = MountFlags::from_bits_retain((self.options.flags & !late) as u32);
        let data = std::ffi::CString::new(data).map_err(|_| self.failed("mount")(Errno::INVAL))?;
        mount_at(&self.kind, &self.source, &target, flags, &data).map_err(self.failed("mount"))?;
        if copied.is_some() || !self.options.propagation.is_empty() || self.has_recursive() {
            let mounted = root.open(&self.destination).map_err(self.failed("open"))?;
            if let Some(copied) = copied {
                copied.restore(&mounted).map_err(self.failed("copy the old contents of"))?;
                if self.options.flags & libc::MS_RDONLY != 0 {
                    set(mounted.as_fd(), attr::RDONLY, 0, false).map_err(self.failed("remount"))?;
                }
            }
            self.finish(mounted.as_fd())?;
        }
        Ok(())
    }

    fn bind(&mut self, root: &Root) -> Result<()> {
        let tree = match self.tree.take() {
            Some(tree) => tree,
            None => self.open_source()?,
        };
        let is_directory =
            file_type(&tree).map_err(self.failed("stat the source of"))? == FileType::Directory;
        let missing = if is_directory { Missing::Directory } else { Missing::File };
        let target = root.open_or_make(&self.destination, missing)?;
        let (on, off) = self.options.attributes();
        if on | off != 0 {
            set(tree.as_fd(), on, off, false).map_err(self.failed("set the attributes of"))?;
        }
        attach(&tree, &target).map_err(self.failed("bind"))?;
        self.finish(tree.as_fd())
    }

    const fn has_recursive(&self) -> bool {
        self.options.recursive_set | self.options.recursive_clear != 0
    }

    fn finish(&self, mounted: BorrowedFd<'_>) -> Result<()> {
        if self.has_recursive() {
            set(mounted, self.options.recursive_set, self.options.recursive_clear, true)
                .map_err(self.failed("set the recursive attributes of"))?;
        }
        for kind in &self.options.propagation {
            mount_change(fd_path(mounted), propagation_flags(*kind))
                .map_err(self.failed("set the propagation of"))?;
        }
        Ok(())
    }
}

/// `MS_*` propagation bits as rustix has them.
pub fn propagation_flags(kind: u64) -> MountPropagationFlags {
    MountPropagationFlags::from_bits_retain(kind as u32)
}

/// Attaches a detached tree over an open file or directory.
pub fn attach(tree: impl AsFd, target: impl AsFd) -> std::result::Result<(), Errno> {
    attach_below(tree, target, "")
}

/// Attaches a detached tree over an entry of an open directory, a link itself and not what it leads to; over the
/// directory if there is no name.
pub fn attach_below(
    tree: impl AsFd,
    directory: impl AsFd,
    name: &str,
) -> std::result::Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree.as_fd(), "", directory.as_fd(), name, flags)
}

/// Sets and clears attributes of a mount.
pub fn set(
    mount: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    is_recursive: bool,
) -> std::result::Result<(), Errno> {
    let attributes = IdMapMount { set, clear, propagation: 0, user_namespace: None };
    mount_setattr(mount, &attributes, is_recursive)
}

/// A detached copy of the mount at an open file or directory.
pub fn clone_at(fd: impl AsFd, is_recursive: bool) -> std::result::Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if is_recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(fd.as_fd(), "", flags)
}

/// File systems that find nothing by a path of their source or options.
const WITHOUT_PATHS: [&str; 7] =
    ["proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "cgroup2"];

/// Mounts a new file system over an open directory, which may become this process's working directory.
///
/// # Errors
/// As `mount(2)`.
pub fn mount_at(
    kind: &str,
    source: &Path,
    target: impl AsFd,
    flags: MountFlags,
    data: &std::ffi::CStr,
) -> std::result::Result<(), Errno> {
    // Cheaper than to find the descriptor in /proc, where each one looked up is kept.
    if WITHOUT_PATHS.contains(&kind) && fchdir(&target).is_ok() {
        return mount(source, ".", kind, flags, data);
    }
    mount(source, fd_path(target), kind, flags, data)
}
