//! Offsets and sizes: lseek, truncate, fallocate, and the syncs.

use super::{SysResult, target, unsigned};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::fd::OpenFile;
use crate::fs::flags::{AT_FDCWD, MAX_RW_COUNT};
use crate::fs::memfs::RegularFile;
use crate::fs::ops::attributes as operation;
use crate::fs::stat::FileType;
use crate::fs::task::{Task, signo};
use crate::syscall::Args;
use alloc::sync::Arc;

const SEEK_SET: u32 = 0;
const SEEK_CUR: u32 = 1;
const SEEK_END: u32 = 2;
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

const FALLOC_FL_KEEP_SIZE: u32 = 1;
const FALLOC_FL_PUNCH_HOLE: u32 = 2;
const FALLOC_FL_ZERO_RANGE: u32 = 0x10;

/// lseek(2)
pub(super) fn lseek(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    if open.file.is_seek_ignored() {
        return Ok(0);
    }
    if !open.file.is_seekable() {
        return Err(Errno::ESPIPE);
    }
    let offset = args.0[1] as i64;
    let from = |base: u64| (base as i64).checked_add(offset).ok_or(Errno::EOVERFLOW);
    let to = match unsigned(args, 2) {
        SEEK_SET => offset,
        SEEK_CUR => from(open.offset())?,
        SEEK_END => from(open.file.stat().size)?,
        which @ (SEEK_DATA | SEEK_HOLE) => seek_data(&open, offset, which == SEEK_HOLE)? as i64,
        _ => return Err(Errno::EINVAL),
    };
    let to = u64::try_from(to).map_err(|_| Errno::EINVAL)?;
    open.set_offset(to);
    Ok(to)
}

fn seek_data(open: &OpenFile, offset: i64, is_hole: bool) -> Result<u64, Errno> {
    let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
    if let Some(file) = open.file.as_any().downcast_ref::<RegularFile>() {
        return file.seek(offset, is_hole);
    }
    let size = open.file.stat().size;
    match offset < size {
        true => Ok(if is_hole { size } else { offset }),
        false => Err(Errno::ENXIO),
    }
}

/// truncate(2)
pub(super) fn truncate(task: &dyn Task, args: &Args) -> SysResult {
    let size = length(task, args.0[1])?;
    let place = target(task, AT_FDCWD, args.0[0], true, false)?.place()?;
    operation::truncate(&Caller::of(task), &place, size).map(|()| 0)
}

/// ftruncate(2)
pub(super) fn ftruncate(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let size = length(task, args.0[1])?;
    regular_for_writing(&open)?.truncate(size)?;
    Ok(0)
}

fn length(task: &dyn Task, raw: u64) -> Result<u64, Errno> {
    if i64::try_from(raw).is_err() {
        return Err(Errno::EINVAL);
    }
    if raw > task.limit_fsize() {
        task.signal_self(signo::SIGXFSZ);
        return Err(Errno::EFBIG);
    }
    Ok(raw)
}

/// The inode of a regular file that is open for writing.
fn regular_for_writing(open: &Arc<OpenFile>) -> Result<crate::fs::inode::InodeRef, Errno> {
    let inode = open.file.inode().ok_or(Errno::EINVAL)?;
    if !open.is_writable() || inode.file_type() != FileType::Regular {
        return Err(Errno::EINVAL);
    }
    Ok(inode.clone())
}

/// fallocate(2)
pub(super) fn fallocate(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let mode = unsigned(args, 1);
    let (offset, size) = (args.0[2], args.0[3]);
    if i64::try_from(offset).is_err() || i64::try_from(size).is_err() || size == 0 {
        return Err(Errno::EINVAL);
    }
    if !open.is_writable() {
        return Err(Errno::EBADF);
    }
    let end = offset.checked_add(size).filter(|end| i64::try_from(*end).is_ok());
    let end = end.ok_or(Errno::EFBIG)?;
    let file = match open.file.stat().file_type {
        FileType::Regular => open.file.as_any().downcast_ref::<RegularFile>(),
        FileType::Fifo => return Err(Errno::ESPIPE),
        _ => return Err(Errno::ENODEV),
    };
    let file = file.ok_or(Errno::EOPNOTSUPP)?;
    const PUNCH: u32 = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const ZERO_KEEP: u32 = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    match mode {
        // Memory is found when it is written; nothing is reserved ahead.
        0 | FALLOC_FL_KEEP_SIZE => {}
        PUNCH | FALLOC_FL_ZERO_RANGE | ZERO_KEEP => file.punch(offset, size)?,
        _ => return Err(Errno::EOPNOTSUPP),
    }
    let inode = regular_for_writing(&open)?;
    if mode & FALLOC_FL_KEEP_SIZE == 0 && end > inode.stat().size {
        inode.truncate(length(task, end)?)?;
    }
    Ok(0)
}

/// fsync(2), fdatasync(2): everything is in memory.
pub(super) fn fsync(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    if open.file.inode().is_none() { Err(Errno::EINVAL) } else { Ok(0) }
}

/// sync(2)
pub(super) fn sync(_task: &dyn Task, _args: &Args) -> SysResult {
    Ok(0)
}

/// syncfs(2)
pub(super) fn syncfs(task: &dyn Task, args: &Args) -> SysResult {
    task.files().get_file(args.int(0)).map(|_| 0)
}

/// fadvise64(2): advice is taken by forgetting it.
pub(super) fn fadvise64(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    match (open.file.stat().file_type, unsigned(args, 3)) {
        (FileType::Fifo, _) => Err(Errno::ESPIPE),
        (_, 0..=5) if args.0[2] <= i64::MAX as u64 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

const _: () = assert!(MAX_RW_COUNT < i64::MAX as u64);
