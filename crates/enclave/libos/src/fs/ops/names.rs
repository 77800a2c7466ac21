//! Names: mkdir, mknod, symlink, link, unlink, rmdir, rename.

use super::{may_change, writable_mount};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::flags::PATH_MAX;
use crate::fs::inode::{InodeRef, NewInode, RenameMode};
use crate::fs::location::Location;
use crate::fs::permission::WRITE;
use crate::fs::stat::{FileType, Stat};
use crate::fs::walk::{self, Last, Parent, resolve_parent};
use alloc::sync::Arc;
use alloc::vec::Vec;

const S_ISGID: u32 = 0o2000;

/// What a new file in `directory` is made of: umask and set-group-id directories applied.
#[must_use]
pub fn new_inode(
    caller: &Caller,
    directory: &Location,
    file_type: FileType,
    mode: u32,
) -> NewInode {
    let above = directory.inode.stat();
    let mut mode = mode & 0o7777 & !caller.fs.umask();
    let mut gid = caller.credentials.fsgid;
    if above.mode & S_ISGID != 0 {
        gid = above.gid;
        if file_type == FileType::Directory {
            mode |= S_ISGID;
        }
    }
    NewInode { file_type, mode, uid: caller.credentials.fsuid, gid, rdev: 0, target: Vec::new() }
}

/// mkdir(2).
///
/// # Errors
/// As mkdir(2).
pub fn mkdir(caller: &Caller, start: &Location, path: &[u8], mode: u32) -> Result<(), Errno> {
    let parent = resolve_parent(caller, start, path, 0)?;
    let name = new_name(caller, &parent, true)?;
    let new = new_inode(caller, &parent.directory, FileType::Directory, mode & 0o1777);
    parent.directory.inode.create(&name, &new).map(drop)
}

/// mknod(2): `st_mode` says what. Device files need user 0.
///
/// # Errors
/// As mknod(2).
pub fn mknod(
    caller: &Caller,
    start: &Location,
    path: &[u8],
    st_mode: u32,
    rdev: u64,
) -> Result<InodeRef, Errno> {
    let file_type = match st_mode & 0o170_000 {
        0 => FileType::Regular,
        _ => FileType::from_mode(st_mode).ok_or(Errno::EINVAL)?,
    };
    match file_type {
        FileType::Directory => return Err(Errno::EPERM),
        FileType::Symlink => return Err(Errno::EINVAL),
        FileType::CharDevice | FileType::BlockDevice if !caller.credentials.is_privileged() => {
            return Err(Errno::EPERM);
        }
        _ => {}
    }
    let parent = resolve_parent(caller, start, path, 0)?;
    let name = new_name(caller, &parent, false)?;
    let new = NewInode { rdev, ..new_inode(caller, &parent.directory, file_type, st_mode) };
    parent.directory.inode.create(&name, &new)
}

/// symlink(2).
///
/// # Errors
/// As symlink(2).
pub fn symlink(caller: &Caller, target: &[u8], start: &Location, path: &[u8]) -> Result<(), Errno> {
    match target.len() {
        0 => return Err(Errno::ENOENT),
        PATH_MAX.. => return Err(Errno::ENAMETOOLONG),
        _ => {}
    }
    let parent = resolve_parent(caller, start, path, 0)?;
    let name = new_name(caller, &parent, false)?;
    let new = NewInode {
        target: target.to_vec(),
        mode: 0o777,
        ..new_inode(caller, &parent.directory, FileType::Symlink, 0o777)
    };
    parent.directory.inode.create(&name, &new).map(drop)
}

/// link(2) of something found already.
///
/// # Errors
/// As link(2).
pub fn link(
    caller: &Caller,
    target: &Location,
    start: &Location,
    path: &[u8],
) -> Result<(), Errno> {
    let parent = resolve_parent(caller, start, path, 0)?;
    let name = new_name(caller, &parent, false)?;
    if !Arc::ptr_eq(&parent.directory.mount, &target.mount) {
        return Err(Errno::EXDEV);
    }
    if target.inode.file_type() == FileType::Directory {
        return Err(Errno::EPERM);
    }
    parent.directory.inode.link(&name, &target.inode)
}

/// unlink(2).
///
/// # Errors
/// As unlink(2).
pub fn unlink(caller: &Caller, start: &Location, path: &[u8]) -> Result<(), Errno> {
    let parent = resolve_parent(caller, start, path, 0)?;
    let Last::Name(name, has_slash) = &parent.last else { return Err(Errno::EISDIR) };
    let entry = walk::lookup(caller, &parent.directory, name)?;
    let is_directory = entry.inode.file_type() == FileType::Directory;
    if *has_slash {
        return Err(if is_directory { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    may_remove(caller, &parent.directory, &entry)?;
    if is_directory {
        return Err(Errno::EISDIR);
    }
    parent.directory.inode.unlink(name)
}

/// rmdir(2).
///
/// # Errors
/// As rmdir(2).
pub fn rmdir(caller: &Caller, start: &Location, path: &[u8]) -> Result<(), Errno> {
    let parent = resolve_parent(caller, start, path, 0)?;
    let name = match &parent.last {
        Last::Name(name, _) => name,
        Last::Dot => return Err(Errno::EINVAL),
        Last::DotDot => return Err(Errno::ENOTEMPTY),
        Last::Root => return Err(Errno::EBUSY),
    };
    let entry = walk::lookup(caller, &parent.directory, name)?;
    may_remove(caller, &parent.directory, &entry)?;
    if entry.inode.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    parent.directory.inode.rmdir(name)
}

/// rename(2).
///
/// # Errors
/// As renameat2(2).
pub fn rename(
    caller: &Caller,
    from: (&Location, &[u8]),
    to: (&Location, &[u8]),
    mode: RenameMode,
) -> Result<(), Errno> {
    let old = resolve_parent(caller, from.0, from.1, 0)?;
    let new = resolve_parent(caller, to.0, to.1, 0)?;
    if !Arc::ptr_eq(&old.directory.mount, &new.directory.mount) {
        return Err(Errno::EXDEV);
    }
    let Last::Name(old_name, old_slash) = &old.last else { return Err(Errno::EBUSY) };
    let Last::Name(new_name, new_slash) = &new.last else {
        let is_new = mode == RenameMode::NoReplace;
        return Err(if is_new { Errno::EEXIST } else { Errno::EBUSY });
    };
    let moved = walk::lookup(caller, &old.directory, old_name)?;
    let existing = match walk::lookup(caller, &new.directory, new_name) {
        Err(Errno::ENOENT) => None,
        found => Some(found?),
    };
    match (&existing, mode) {
        (Some(_), RenameMode::NoReplace) => return Err(Errno::EEXIST),
        (None, RenameMode::Exchange) => return Err(Errno::ENOENT),
        _ => {}
    }
    let moves_directory = moved.inode.file_type() == FileType::Directory;
    if !moves_directory && (*old_slash || (*new_slash && mode != RenameMode::Exchange)) {
        return Err(Errno::ENOTDIR);
    }
    if mode == RenameMode::Exchange && *new_slash {
        let other = existing.as_ref().map(|other| other.inode.file_type());
        if other != Some(FileType::Directory) {
            return Err(Errno::ENOTDIR);
        }
    }
    writable_mount(&old.directory)?;
    may_remove(caller, &old.directory, &moved)?;
    match &existing {
        Some(other) => may_remove(caller, &new.directory, other)?,
        None => may_change(caller, &new.directory)?,
    }
    if moves_directory && old.directory.inode.key() != new.directory.inode.key() {
        // Its `..` changes.
        caller.credentials.check(&moved.inode.stat(), WRITE)?;
    }
    old.directory.inode.rename(old_name, &new.directory.inode, new_name, mode)
}

/// A name that is to be made: it must not exist, and the directory must be writable.
fn new_name(caller: &Caller, parent: &Parent, is_directory: bool) -> Result<Vec<u8>, Errno> {
    let Last::Name(name, has_slash) = &parent.last else { return Err(Errno::EEXIST) };
    match walk::lookup(caller, &parent.directory, name) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) if *has_slash && !is_directory => return Err(Errno::ENOENT),
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    may_change(caller, &parent.directory)?;
    Ok(name.clone())
}

/// Whether a name may go: the directory's permission, its sticky bit, mount points.
fn may_remove(caller: &Caller, directory: &Location, entry: &Location) -> Result<(), Errno> {
    may_change(caller, directory)?;
    let directory_stat: Stat = directory.inode.stat();
    if caller.credentials.is_held_by_sticky(&directory_stat, &entry.inode.stat()) {
        return Err(Errno::EPERM);
    }
    // The lookup stepped on what is mounted there.
    let is_mount_point = !Arc::ptr_eq(&entry.mount, &directory.mount);
    if is_mount_point { Err(Errno::EBUSY) } else { Ok(()) }
}
