//! read, write and their like.

use super::SysResult;
use crate::errno::Errno;
use crate::fs::fd::OpenFile;
use crate::fs::file::{Sink, SliceSource, Source, VecSink};
use crate::fs::flags::{MAX_RW_COUNT, O_APPEND};
use crate::fs::stat::FileType;
use crate::fs::task::{Task, retry_within, signo};
use crate::syscall::Args;
use crate::usermem::{UserBuf, UserVec};

/// Bytes that sendfile and copy_file_range move at once.
const COPY_STEP: usize = 65_536;

const RWF_APPEND: u32 = 0x10;
const RWF_SUPPORTED: u32 = 0x1f;

/// read(2)
pub(super) fn read(task: &dyn Task, args: &Args) -> SysResult {
    task.with_file(args.int(0), &mut |open| {
        read_into(task, open, &mut UserBuf::new(task.memory(), args.0[1], args.0[2]))
    })
}

/// write(2)
pub(super) fn write(task: &dyn Task, args: &Args) -> SysResult {
    task.with_file(args.int(0), &mut |open| {
        write_from(task, open, &mut UserBuf::new(task.memory(), args.0[1], args.0[2]))
    })
}

/// readv(2)
pub(super) fn readv(task: &dyn Task, args: &Args) -> SysResult {
    task.with_file(args.int(0), &mut |open| {
        read_into(task, open, &mut UserVec::new(task.memory(), args.0[1], args.0[2])?)
    })
}

/// writev(2)
pub(super) fn writev(task: &dyn Task, args: &Args) -> SysResult {
    task.with_file(args.int(0), &mut |open| {
        write_from(task, open, &mut UserVec::new(task.memory(), args.0[1], args.0[2])?)
    })
}

/// pread64(2)
pub(super) fn pread64(task: &dyn Task, args: &Args) -> SysResult {
    let mut buffer = UserBuf::new(task.memory(), args.0[1], args.0[2]);
    read_at(task, args.int(0), args.0[3], &mut buffer)
}

/// pwrite64(2)
pub(super) fn pwrite64(task: &dyn Task, args: &Args) -> SysResult {
    let mut buffer = UserBuf::new(task.memory(), args.0[1], args.0[2]);
    write_at(task, args.int(0), args.0[3], &mut buffer, false)
}

/// preadv(2)
pub(super) fn preadv(task: &dyn Task, args: &Args) -> SysResult {
    let mut buffers = UserVec::new(task.memory(), args.0[1], args.0[2])?;
    read_at(task, args.int(0), args.0[3], &mut buffers)
}

/// pwritev(2)
pub(super) fn pwritev(task: &dyn Task, args: &Args) -> SysResult {
    let mut buffers = UserVec::new(task.memory(), args.0[1], args.0[2])?;
    write_at(task, args.int(0), args.0[3], &mut buffers, false)
}

/// preadv2(2)
pub(super) fn preadv2(task: &dyn Task, args: &Args) -> SysResult {
    rwf(args)?;
    if args.0[3] == u64::MAX { readv(task, args) } else { preadv(task, args) }
}

/// pwritev2(2)
pub(super) fn pwritev2(task: &dyn Task, args: &Args) -> SysResult {
    let is_append = rwf(args)? & RWF_APPEND != 0;
    if args.0[3] == u64::MAX && !is_append {
        return writev(task, args);
    }
    let mut buffers = UserVec::new(task.memory(), args.0[1], args.0[2])?;
    write_at(task, args.int(0), args.0[3], &mut buffers, is_append)
}

fn rwf(args: &Args) -> Result<u32, Errno> {
    let flags = args.0[5] as u32;
    if flags & !RWF_SUPPORTED != 0 { Err(Errno::EOPNOTSUPP) } else { Ok(flags) }
}

/// Reads at the offset of the description, waiting if it must.
pub(super) fn read_into(task: &dyn Task, open: &OpenFile, into: &mut dyn Sink) -> SysResult {
    if !open.is_readable() {
        return Err(Errno::EBADF);
    }
    open.file.admit(task, false)?;
    let count = match open.read(task, into) {
        Err(Errno::EAGAIN) if !open.is_nonblocking() => {
            let Some(queue) = open.file.wait_queue() else { return Err(Errno::EAGAIN) };
            let limit = limit_ns(open, false);
            retry_within(task, queue, limit, || open.read(task, into))?
        }
        done => done?,
    };
    Ok(count as u64)
}

/// Longest wait of a read or a write (SO_RCVTIMEO, SO_SNDTIMEO); None for ever.
fn limit_ns(open: &OpenFile, is_write: bool) -> Option<u64> {
    open.file.as_socket()?.options().wait_limit_ns(is_write)
}

/// Writes at the offset of the description, waiting until everything is out unless it is O_NONBLOCK.
pub(super) fn write_from(task: &dyn Task, open: &OpenFile, from: &mut dyn Source) -> SysResult {
    if !open.is_writable() {
        return Err(Errno::EBADF);
    }
    open.file.admit(task, true)?;
    if task.limit_fsize() != u64::MAX {
        let stat = open.file.stat();
        let at = if open.flags() & O_APPEND != 0 { stat.size } else { open.offset() };
        let mut limited = within_limit(task, &stat.file_type, at, from)?;
        return write_all(task, open, &mut limited);
    }
    write_all(task, open, from)
}

fn write_all(task: &dyn Task, open: &OpenFile, from: &mut dyn Source) -> SysResult {
    let mut total = 0;
    loop {
        let before = from.remaining();
        let step = match open.write(from) {
            Err(Errno::EAGAIN) if !open.is_nonblocking() => match open.file.wait_queue() {
                Some(queue) => {
                    let limit = limit_ns(open, true);
                    retry_within(task, queue, limit, || open.write(from))
                }
                None => Err(Errno::EAGAIN),
            },
            done => done,
        };
        match step {
            Ok(count) => total += count as u64,
            Err(error) => {
                if error == Errno::EPIPE {
                    task.signal_self(signo::SIGPIPE);
                }
                return if total > 0 { Ok(total) } else { Err(error) };
            }
        }
        // A file that took more than it could write was interrupted: the count tells where.
        let is_cut = step != Ok(before - from.remaining());
        if from.remaining() == 0 || step == Ok(0) || is_cut || open.is_nonblocking() {
            return Ok(total);
        }
    }
}

fn read_at(task: &dyn Task, fd: i32, offset: u64, into: &mut dyn Sink) -> SysResult {
    task.with_file(fd, &mut |open| {
        if !open.is_readable() {
            return Err(Errno::EBADF);
        }
        positional(open, offset)?;
        open.file.read(offset, into).map(|count| count as u64)
    })
}

fn write_at(
    task: &dyn Task,
    fd: i32,
    offset: u64,
    from: &mut dyn Source,
    is_append: bool,
) -> SysResult {
    task.with_file(fd, &mut |open| {
        if !open.is_writable() {
            return Err(Errno::EBADF);
        }
        positional(open, if is_append { 0 } else { offset })?;
        let mut from = within_limit(task, &open.file.stat().file_type, offset, &mut *from)?;
        // pwrite(2), BUGS: O_APPEND wins over the offset.
        if is_append || open.flags() & O_APPEND != 0 {
            return open.file.append(&mut from).map(|(_, count)| count as u64);
        }
        open.file.write(offset, &mut from).map(|count| count as u64)
    })
}

fn positional(open: &OpenFile, offset: u64) -> Result<(), Errno> {
    if i64::try_from(offset).is_err() {
        return Err(Errno::EINVAL);
    }
    let is_fine = open.file.is_seekable() || open.file.is_seek_ignored();
    if is_fine { Ok(()) } else { Err(Errno::ESPIPE) }
}

/// A source that ends at RLIMIT_FSIZE.
struct Limited<'a> {
    inner: &'a mut dyn Source,
    left: usize,
}

impl Source for Limited<'_> {
    fn remaining(&self) -> usize {
        self.left.min(self.inner.remaining())
    }
    fn peek(&self, into: &mut [u8]) -> Result<(), Errno> {
        self.inner.peek(into)
    }
    fn skip(&mut self, count: usize) {
        self.left -= count;
        self.inner.skip(count);
    }
}

fn within_limit<'a>(
    task: &dyn Task,
    file_type: &FileType,
    offset: u64,
    inner: &'a mut dyn Source,
) -> Result<Limited<'a>, Errno> {
    let limit = match file_type {
        FileType::Regular => task.limit_fsize(),
        _ => u64::MAX,
    };
    if offset >= limit && inner.remaining() > 0 {
        task.signal_self(signo::SIGXFSZ);
        return Err(Errno::EFBIG);
    }
    let left = usize::try_from(limit - offset.min(limit)).unwrap_or(usize::MAX);
    Ok(Limited { inner, left })
}

/// sendfile(2)
pub(super) fn sendfile(task: &dyn Task, args: &Args) -> SysResult {
    let files = task.files();
    let (to, from) = (files.get_file(args.int(0))?, files.get_file(args.int(1))?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF);
    }
    if !from.file.is_seekable() || from.file.stat().file_type != FileType::Regular {
        return Err(Errno::EINVAL);
    }
    if to.flags() & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let address = args.0[2];
    let start = match address {
        0 => from.offset(),
        _ => u64::from_le_bytes(task.read_array(address)?),
    };
    if i64::try_from(start).is_err() {
        return Err(Errno::EINVAL);
    }
    let copied =
        copy(&from, start, args.0[3], |bytes| write_from(task, &to, &mut SliceSource(bytes)))?;
    match address {
        0 => from.set_offset(start + copied),
        _ => task.write_user(address, &(start + copied).to_le_bytes())?,
    }
    Ok(copied)
}

/// copy_file_range(2)
pub(super) fn copy_file_range(task: &dyn Task, args: &Args) -> SysResult {
    let files = task.files();
    let (from, to) = (files.get_file(args.int(0))?, files.get_file(args.int(2))?);
    if args.0[5] != 0 {
        return Err(Errno::EINVAL);
    }
    for open in [&from, &to] {
        match open.file.stat().file_type {
            FileType::Directory => return Err(Errno::EISDIR),
            FileType::Regular if open.file.is_seekable() => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    if !from.is_readable() || !to.is_writable() || to.flags() & O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let offset = |address: u64, open: &OpenFile| -> SysResult {
        match address {
            0 => Ok(open.offset()),
            _ => Ok(u64::from_le_bytes(task.read_array(address)?)),
        }
    };
    let (start, target) = (offset(args.0[1], &from)?, offset(args.0[3], &to)?);
    let length = args.0[4].min(MAX_RW_COUNT);
    if [start, target].iter().any(|at| at.checked_add(length).is_none_or(|e| e > i64::MAX as u64)) {
        return Err(Errno::EOVERFLOW);
    }
    let is_same = from.file.inode().map(|inode| inode.key()) == to.file.inode().map(|i| i.key());
    if is_same && start < target + length && target < start + length {
        return Err(Errno::EINVAL);
    }
    let mut at = target;
    let copied = copy(&from, start, length, |bytes| {
        let mut source = SliceSource(bytes);
        let mut limited = within_limit(task, &FileType::Regular, at, &mut source)?;
        let count = to.file.write(at, &mut limited)? as u64;
        at += count;
        Ok(count)
    })?;
    for (address, open, at) in [(args.0[1], &from, start), (args.0[3], &to, target)] {
        match address {
            0 => open.set_offset(at + copied),
            _ => task.write_user(address, &(at + copied).to_le_bytes())?,
        }
    }
    Ok(copied)
}

/// Reads from `start` and hands the bytes on, until `length`, the end, or a short or failed write.
fn copy(
    from: &OpenFile,
    start: u64,
    length: u64,
    mut write: impl FnMut(&[u8]) -> SysResult,
) -> SysResult {
    let mut copied = 0;
    let length = length.min(MAX_RW_COUNT);
    while copied < length {
        let step = (length - copied).min(COPY_STEP as u64) as usize;
        let mut buffer = VecSink::new(step);
        let result = from.file.read(start + copied, &mut buffer);
        let result = result.and_then(|count| match count {
            0 => Ok((0, 0)),
            _ => write(&buffer.bytes).map(|written| (count as u64, written)),
        });
        match result {
            Ok((read, written)) => {
                copied += written;
                if written < read || read == 0 {
                    break;
                }
            }
            Err(_) if copied > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}
