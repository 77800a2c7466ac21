//! Names: mkdir, mknod, link, symlink, unlink, rename, readlink.

use super::{SysResult, Target, path_at, start, target, unsigned};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::flags::{AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW};
use crate::fs::inode::RenameMode;
use crate::fs::ops::names as operation;
use crate::fs::task::Task;
use crate::syscall::Args;

const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;

/// mkdir(2)
pub(super) fn mkdir(task: &dyn Task, args: &Args) -> SysResult {
    make_directory(task, AT_FDCWD, args.0[0], unsigned(args, 1))
}

/// mkdirat(2)
pub(super) fn mkdirat(task: &dyn Task, args: &Args) -> SysResult {
    make_directory(task, args.int(0), args.0[1], unsigned(args, 2))
}

fn make_directory(task: &dyn Task, directory: i32, path: u64, mode: u32) -> SysResult {
    let path = path_at(task, path)?;
    let start = start(task, directory, &path)?;
    operation::mkdir(&Caller::of(task), &start, &path, mode).map(|()| 0)
}

/// mknod(2)
pub(super) fn mknod(task: &dyn Task, args: &Args) -> SysResult {
    make_node(task, AT_FDCWD, args.0[0], unsigned(args, 1), args.0[2])
}

/// mknodat(2)
pub(super) fn mknodat(task: &dyn Task, args: &Args) -> SysResult {
    make_node(task, args.int(0), args.0[1], unsigned(args, 2), args.0[3])
}

fn make_node(task: &dyn Task, directory: i32, path: u64, mode: u32, device: u64) -> SysResult {
    let path = path_at(task, path)?;
    let start = start(task, directory, &path)?;
    operation::mknod(&Caller::of(task), &start, &path, mode, device).map(|_| 0)
}

/// symlink(2)
pub(super) fn symlink(task: &dyn Task, args: &Args) -> SysResult {
    make_symlink(task, args.0[0], AT_FDCWD, args.0[1])
}

/// symlinkat(2)
pub(super) fn symlinkat(task: &dyn Task, args: &Args) -> SysResult {
    make_symlink(task, args.0[0], args.int(1), args.0[2])
}

fn make_symlink(task: &dyn Task, text: u64, directory: i32, path: u64) -> SysResult {
    let text = path_at(task, text)?;
    let path = path_at(task, path)?;
    let start = start(task, directory, &path)?;
    operation::symlink(&Caller::of(task), &text, &start, &path).map(|()| 0)
}

/// link(2)
pub(super) fn link(task: &dyn Task, args: &Args) -> SysResult {
    make_link(task, (AT_FDCWD, args.0[0]), (AT_FDCWD, args.0[1]), 0)
}

/// linkat(2)
pub(super) fn linkat(task: &dyn Task, args: &Args) -> SysResult {
    let (from, to) = ((args.int(0), args.0[1]), (args.int(2), args.0[3]));
    make_link(task, from, to, unsigned(args, 4))
}

fn make_link(task: &dyn Task, from: (i32, u64), to: (i32, u64), flags: u32) -> SysResult {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let is_followed = flags & AT_SYMLINK_FOLLOW != 0;
    let found = target(task, from.0, from.1, is_followed, flags & AT_EMPTY_PATH != 0)?;
    let found = match found {
        Target::Open(open) => open.location.clone().ok_or(Errno::EXDEV)?,
        Target::Place(place) => place,
    };
    let path = path_at(task, to.1)?;
    let start = start(task, to.0, &path)?;
    operation::link(&Caller::of(task), &found, &start, &path).map(|()| 0)
}

/// unlink(2)
pub(super) fn unlink(task: &dyn Task, args: &Args) -> SysResult {
    remove(task, AT_FDCWD, args.0[0], false)
}

/// rmdir(2)
pub(super) fn rmdir(task: &dyn Task, args: &Args) -> SysResult {
    remove(task, AT_FDCWD, args.0[0], true)
}

/// unlinkat(2)
pub(super) fn unlinkat(task: &dyn Task, args: &Args) -> SysResult {
    let flags = unsigned(args, 2);
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    remove(task, args.int(0), args.0[1], flags != 0)
}

fn remove(task: &dyn Task, directory: i32, path: u64, is_directory: bool) -> SysResult {
    let path = path_at(task, path)?;
    let start = start(task, directory, &path)?;
    let caller = Caller::of(task);
    let operation = if is_directory { operation::rmdir } else { operation::unlink };
    operation(&caller, &start, &path).map(|()| 0)
}

/// rename(2)
pub(super) fn rename(task: &dyn Task, args: &Args) -> SysResult {
    move_name(task, (AT_FDCWD, args.0[0]), (AT_FDCWD, args.0[1]), 0)
}

/// renameat(2)
pub(super) fn renameat(task: &dyn Task, args: &Args) -> SysResult {
    move_name(task, (args.int(0), args.0[1]), (args.int(2), args.0[3]), 0)
}

/// renameat2(2)
pub(super) fn renameat2(task: &dyn Task, args: &Args) -> SysResult {
    move_name(task, (args.int(0), args.0[1]), (args.int(2), args.0[3]), unsigned(args, 4))
}

fn move_name(task: &dyn Task, from: (i32, u64), to: (i32, u64), flags: u32) -> SysResult {
    let mode = match flags {
        0 => RenameMode::Replace,
        RENAME_NOREPLACE => RenameMode::NoReplace,
        RENAME_EXCHANGE => RenameMode::Exchange,
        _ => return Err(Errno::EINVAL),
    };
    let (old, new) = (path_at(task, from.1)?, path_at(task, to.1)?);
    let (old_start, new_start) = (start(task, from.0, &old)?, start(task, to.0, &new)?);
    let caller = Caller::of(task);
    operation::rename(&caller, (&old_start, &old), (&new_start, &new), mode).map(|()| 0)
}

/// readlink(2)
pub(super) fn readlink(task: &dyn Task, args: &Args) -> SysResult {
    read_link(task, AT_FDCWD, args.0[0], args.0[1], args.int(2))
}

/// readlinkat(2)
pub(super) fn readlinkat(task: &dyn Task, args: &Args) -> SysResult {
    read_link(task, args.int(0), args.0[1], args.0[2], args.int(3))
}

fn read_link(task: &dyn Task, directory: i32, path: u64, buffer: u64, size: i32) -> SysResult {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let is_empty_path = task.read_array::<1>(path)? == [0];
    let location = match target(task, directory, path, false, directory != AT_FDCWD)? {
        Target::Open(open) => open.location.clone().ok_or(Errno::ENOENT)?,
        Target::Place(place) => place,
    };
    let text = location.inode.read_link(&Caller::of(task)).map_err(|error| {
        // readlinkat(2): of a descriptor that is no link.
        if is_empty_path && error == Errno::EINVAL { Errno::ENOENT } else { error }
    })?;
    let count = text.len().min(size);
    task.write_user(buffer, &text[..count])?;
    Ok(count as u64)
}
