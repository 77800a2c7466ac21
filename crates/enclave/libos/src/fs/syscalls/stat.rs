//! stat, statx, statfs.

use super::{SysResult, Target, target, unsigned};
use crate::errno::Errno;
use crate::fs::flags::{
    AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW,
};
use crate::fs::location::Location;
use crate::fs::stat::{FsStat, Stat};
use crate::fs::task::Task;
use crate::syscall::Args;

/// Reserved bit of the mask of statx(2).
const STATX_RESERVED: u32 = 0x8000_0000;

/// `f_type` of pipes and of other files without a path.
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// stat(2)
pub(super) fn stat(task: &dyn Task, args: &Args) -> SysResult {
    let found = target(task, AT_FDCWD, args.0[0], true, false)?;
    put(task, args.0[1], &attributes(&found))
}

/// lstat(2)
pub(super) fn lstat(task: &dyn Task, args: &Args) -> SysResult {
    let found = target(task, AT_FDCWD, args.0[0], false, false)?;
    put(task, args.0[1], &attributes(&found))
}

/// fstat(2)
pub(super) fn fstat(task: &dyn Task, args: &Args) -> SysResult {
    let stat = task.files().get(args.int(0))?.file.stat();
    put(task, args.0[1], &stat)
}

/// newfstatat(2)
pub(super) fn newfstatat(task: &dyn Task, args: &Args) -> SysResult {
    let flags = unsigned(args, 3);
    let found = find(task, args.int(0), args.0[1], flags, AT_NO_AUTOMOUNT)?;
    put(task, args.0[2], &attributes(&found))
}

/// statx(2)
pub(super) fn statx(task: &dyn Task, args: &Args) -> SysResult {
    let (flags, mask) = (unsigned(args, 2), unsigned(args, 3));
    if mask & STATX_RESERVED != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    let extra = AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE;
    let found = find(task, args.int(0), args.0[1], flags, extra)?;
    let stat = attributes(&found);
    let (mount, is_root) = match &found {
        Target::Place(place) => (place.mount.id, is_mount_root(place)),
        Target::Open(open) => match &open.location {
            Some(place) => (place.mount.id, is_mount_root(place)),
            None => (0, false),
        },
    };
    task.write_user(args.0[4], &stat.to_statx(mount, is_root))?;
    Ok(0)
}

fn is_mount_root(place: &Location) -> bool {
    place.inode.key() == place.mount.root.key()
}

fn find(
    task: &dyn Task,
    directory: i32,
    path: u64,
    flags: u32,
    extra: u32,
) -> Result<Target, Errno> {
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | extra) != 0 {
        return Err(Errno::EINVAL);
    }
    // Since Linux 6.11 a null path is an empty one here.
    if path == 0 && flags & AT_EMPTY_PATH != 0 && directory >= 0 {
        return Ok(Target::Open(task.files().get(directory)?));
    }
    let is_followed = flags & AT_SYMLINK_NOFOLLOW == 0;
    target(task, directory, path, is_followed, flags & AT_EMPTY_PATH != 0)
}

fn attributes(target: &Target) -> Stat {
    match target {
        Target::Place(place) => place.inode.stat(),
        Target::Open(open) => open.file.stat(),
    }
}

fn put(task: &dyn Task, address: u64, stat: &Stat) -> SysResult {
    task.write_user(address, &stat.to_stat())?;
    Ok(0)
}

/// statfs(2)
pub(super) fn statfs(task: &dyn Task, args: &Args) -> SysResult {
    let place = target(task, AT_FDCWD, args.0[0], true, false)?.place()?;
    put_fs(task, args.0[1], Some(&place))
}

/// fstatfs(2)
pub(super) fn fstatfs(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get(args.int(0))?;
    put_fs(task, args.0[1], open.location.as_ref())
}

fn put_fs(task: &dyn Task, address: u64, place: Option<&Location>) -> SysResult {
    let bytes = match place {
        Some(place) => {
            let fsid = place.inode.key().0;
            place.inode.fs_stat().to_statfs(fsid, place.mount.flags.statfs_bits())
        }
        None => FsStat { magic: PIPEFS_MAGIC, ..FsStat::default() }.to_statfs(0, 0),
    };
    task.write_user(address, &bytes)?;
    Ok(0)
}
