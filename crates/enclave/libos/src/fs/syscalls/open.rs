//! Descriptors come and go: open, close, dup, pipe.

use super::{SysResult, path_at, start, unsigned};
use crate::errno::Errno;
use crate::fs::fd::OpenFile;
use crate::fs::file::File;
use crate::fs::flags::{
    AT_FDCWD, O_CLOEXEC, O_CREAT, O_DIRECT, O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY,
};
use crate::fs::ops::open as operation;
use crate::fs::pipe::Pipe;
use crate::fs::task::Task;
use crate::syscall::Args;
use alloc::sync::Arc;

const CLOSE_RANGE_UNSHARE: u32 = 2;
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// open(2)
pub(super) fn open(task: &dyn Task, args: &Args) -> SysResult {
    open_path(task, AT_FDCWD, args.0[0], unsigned(args, 1), unsigned(args, 2))
}

/// creat(2)
pub(super) fn creat(task: &dyn Task, args: &Args) -> SysResult {
    open_path(task, AT_FDCWD, args.0[0], O_CREAT | O_WRONLY | O_TRUNC, unsigned(args, 1))
}

/// openat(2)
pub(super) fn openat(task: &dyn Task, args: &Args) -> SysResult {
    open_path(task, args.int(0), args.0[1], unsigned(args, 2), unsigned(args, 3))
}

fn open_path(task: &dyn Task, directory: i32, path: u64, flags: u32, mode: u32) -> SysResult {
    let path = path_at(task, path)?;
    let start = start(task, directory, &path)?;
    let open = operation::open(task, &start, &path, flags, mode)?;
    install(task, open, flags & O_CLOEXEC != 0)
}

/// Puts a description under the lowest free number.
pub(super) fn install(task: &dyn Task, open: Arc<OpenFile>, is_cloexec: bool) -> SysResult {
    let fd = task.files().insert(open, is_cloexec, 0, task.limit_nofile())?;
    Ok(fd as u64)
}

/// close(2)
pub(super) fn close(task: &dyn Task, args: &Args) -> SysResult {
    task.files().close(args.int(0)).map(|()| 0)
}

/// close_range(2)
pub(super) fn close_range(task: &dyn Task, args: &Args) -> SysResult {
    let (first, last, flags) = (unsigned(args, 0), unsigned(args, 1), unsigned(args, 2));
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let files = match flags & CLOSE_RANGE_UNSHARE {
        0 => task.files(),
        _ => task.unshare_files(),
    };
    match flags & CLOSE_RANGE_CLOEXEC {
        0 => files.close_range(first, last),
        _ => files.set_cloexec_range(first, last),
    }
    Ok(0)
}

/// dup(2)
pub(super) fn dup(task: &dyn Task, args: &Args) -> SysResult {
    install(task, task.files().get(args.int(0))?, false)
}

/// dup2(2)
pub(super) fn dup2(task: &dyn Task, args: &Args) -> SysResult {
    if args.int(0) == args.int(1) {
        task.files().get(args.int(0))?;
        return Ok(args.int(1) as u64);
    }
    replace(task, args.int(0), args.int(1), false)
}

/// dup3(2)
pub(super) fn dup3(task: &dyn Task, args: &Args) -> SysResult {
    let flags = unsigned(args, 2);
    if args.int(0) == args.int(1) || flags & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    replace(task, args.int(0), args.int(1), flags & O_CLOEXEC != 0)
}

fn replace(task: &dyn Task, old: i32, new: i32, is_cloexec: bool) -> SysResult {
    let files = task.files();
    let open = files.get(old)?;
    let index = u64::try_from(new).map_err(|_| Errno::EBADF)?;
    if index >= task.limit_nofile() {
        return Err(Errno::EBADF);
    }
    files.replace(new, open, is_cloexec);
    Ok(index)
}

/// pipe(2)
pub(super) fn pipe(task: &dyn Task, args: &Args) -> SysResult {
    make_pipe(task, args.0[0], 0)
}

/// pipe2(2)
pub(super) fn pipe2(task: &dyn Task, args: &Args) -> SysResult {
    make_pipe(task, args.0[0], unsigned(args, 1))
}

fn make_pipe(task: &dyn Task, address: u64, flags: u32) -> SysResult {
    // O_DIRECT (packets) would change what readers see: refused rather than ignored.
    if flags & O_DIRECT != 0 || flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = Pipe::pair();
    let status = flags & O_NONBLOCK;
    install_pair(
        task,
        address,
        [(reader, status | O_RDONLY), (writer, status | O_WRONLY)],
        flags & O_CLOEXEC != 0,
    )
}

/// Puts two files under the lowest free numbers and writes these to the program, or leaves nothing.
pub(super) fn install_pair<F: File + 'static>(
    task: &dyn Task,
    address: u64,
    files: [(Arc<F>, u32); 2],
    is_cloexec: bool,
) -> SysResult {
    let table = task.files();
    let [first, second] = files.map(|(file, flags)| OpenFile::new(file, None, flags));
    let limit = task.limit_nofile();
    let first = table.insert(first, is_cloexec, 0, limit)?;
    let second = match table.insert(second, is_cloexec, 0, limit) {
        Ok(second) => second,
        Err(error) => {
            table.close(first)?;
            return Err(error);
        }
    };
    let mut numbers = [0; 8];
    numbers[..4].copy_from_slice(&first.to_le_bytes());
    numbers[4..].copy_from_slice(&second.to_le_bytes());
    if let Err(error) = task.write_user(address, &numbers) {
        table.close(first)?;
        table.close(second)?;
        return Err(error);
    }
    Ok(0)
}
