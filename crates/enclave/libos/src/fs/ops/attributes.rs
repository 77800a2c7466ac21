//! Attributes: chmod, chown, utimensat, truncate, access.

use super::writable_mount;
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::inode::Change;
use crate::fs::location::Location;
use crate::fs::permission::WRITE;
use crate::fs::stat::{FileType, Time};
use crate::process::Credentials;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// chmod(2).
///
/// # Errors
/// EROFS, EPERM, EOPNOTSUPP for a symbolic link.
pub fn chmod(caller: &Caller, location: &Location, mode: u32) -> Result<(), Errno> {
    writable_mount(location)?;
    if location.inode.file_type() == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    let stat = location.inode.stat();
    let credentials = &caller.credentials;
    if !credentials.is_owner(&stat) {
        return Err(Errno::EPERM);
    }
    let mut mode = mode & 0o7777;
    if !credentials.is_privileged() && !credentials.is_in_group(stat.gid) {
        mode &= !S_ISGID;
    }
    location.inode.change(&Change { mode: Some(mode), ..Change::default() })
}

/// chown(2); None keeps.
///
/// # Errors
/// EROFS, EPERM.
pub fn chown(
    caller: &Caller,
    location: &Location,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<(), Errno> {
    writable_mount(location)?;
    let stat = location.inode.stat();
    let credentials = &caller.credentials;
    if !credentials.is_privileged() {
        let owns = credentials.fsuid == stat.uid;
        let keeps_user = uid.is_none_or(|uid| uid == stat.uid);
        let may_group = gid.is_none_or(|gid| gid == stat.gid || credentials.is_in_group(gid));
        let changes = uid.is_some() || gid.is_some();
        if changes && !(owns && keeps_user && may_group) {
            return Err(Errno::EPERM);
        }
    }
    // Set-id bits do not survive a new owner (chown(2)).
    let mut mode = stat.mode;
    if stat.file_type != FileType::Directory {
        mode &= !S_ISUID;
        if mode & S_IXGRP != 0 {
            mode &= !S_ISGID;
        }
    }
    let mode = (mode != stat.mode).then_some(mode);
    location.inode.change(&Change { mode, uid, gid, ..Change::default() })
}

/// A time of utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// UTIME_OMIT.
    Keep,
    /// UTIME_NOW.
    Now,
    /// This one.
    To(Time),
}

/// utimensat(2). `now` is the time to use for [`SetTime::Now`].
///
/// # Errors
/// EROFS, EPERM, EACCES.
pub fn set_times(
    caller: &Caller,
    location: &Location,
    access: SetTime,
    modification: SetTime,
    now: Time,
) -> Result<(), Errno> {
    if access == SetTime::Keep && modification == SetTime::Keep {
        return Ok(());
    }
    writable_mount(location)?;
    let stat = location.inode.stat();
    if !caller.credentials.is_owner(&stat) {
        if access != SetTime::Now || modification != SetTime::Now {
            return Err(Errno::EPERM);
        }
        caller.credentials.check(&stat, WRITE)?;
    }
    let value = |time| match time {
        SetTime::Keep => None,
        SetTime::Now => Some(now),
        SetTime::To(time) => Some(time),
    };
    let (atime, mtime) = (value(access), value(modification));
    location.inode.change(&Change { atime, mtime, ..Change::default() })
}

/// truncate(2).
///
/// # Errors
/// As truncate(2).
pub fn truncate(caller: &Caller, location: &Location, size: u64) -> Result<(), Errno> {
    match location.inode.file_type() {
        FileType::Directory => return Err(Errno::EISDIR),
        FileType::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    writable_mount(location)?;
    caller.credentials.check(&location.inode.stat(), WRITE)?;
    location.inode.truncate(size)
}

/// access(2) for these credentials.
///
/// # Errors
/// EACCES, EROFS.
pub fn access(credentials: &Credentials, location: &Location, wanted: u32) -> Result<(), Errno> {
    let stat = location.inode.stat();
    let is_kept = matches!(stat.file_type, FileType::Regular | FileType::Directory);
    if wanted & WRITE != 0 && is_kept {
        writable_mount(location)?;
    }
    if wanted == 0 { Ok(()) } else { credentials.check(&stat, wanted) }
}
