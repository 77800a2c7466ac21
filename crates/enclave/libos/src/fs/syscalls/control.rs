//! fcntl, ioctl, flock.

use super::{SysResult, unsigned};
use crate::errno::Errno;
use crate::fs::fd::OpenFile;
use crate::fs::flags::{O_ACCMODE, O_ASYNC, O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY};
use crate::fs::locks::{self, Lock, Owner};
use crate::fs::pipe::PipeEnd;
use crate::fs::stat::FileType;
use crate::fs::task::{Task, retry};
use crate::syscall::Args;

const FD_CLOEXEC: u32 = 1;

const FIONREAD: u32 = 0x541b;
const FIONBIO: u32 = 0x5421;
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
const FIOASYNC: u32 = 0x5452;

/// ioctl(2)
pub(super) fn ioctl(task: &dyn Task, args: &Args) -> SysResult {
    let files = task.files();
    let (fd, request, argument) = (args.int(0), unsigned(args, 1), args.0[2]);
    let open = files.get_file(fd)?;
    match request {
        FIOCLEX | FIONCLEX => files.set_cloexec(fd, request == FIOCLEX)?,
        FIONBIO | FIOASYNC => {
            let is_on = task.read_array::<4>(argument)? != [0; 4];
            let flag = if request == FIONBIO { O_NONBLOCK } else { O_ASYNC };
            let flags = open.flags();
            open.set_flags(if is_on { flags | flag } else { flags & !flag });
        }
        FIONREAD if open.file.stat().file_type == FileType::Regular => {
            let left = open.file.stat().size.saturating_sub(open.offset());
            task.write_user(argument, &(left as u32).to_le_bytes())?;
        }
        _ => return open.file.ioctl(task, request, argument),
    }
    Ok(0)
}

/// fcntl(2)
pub(super) fn fcntl(task: &dyn Task, args: &Args) -> SysResult {
    let files = task.files();
    let (fd, argument) = (args.int(0), args.0[2]);
    let open = files.get(fd)?;
    let command = args.int(1);
    // F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC are all that O_PATH allows.
    if open.flags() & O_PATH != 0 && !matches!(command, 0..=3 | 1030) {
        return Err(Errno::EBADF);
    }
    match command {
        // F_DUPFD, F_DUPFD_CLOEXEC
        0 | 1030 => {
            let from = usize::try_from(argument as i32).map_err(|_| Errno::EINVAL)?;
            let limit = task.limit_nofile();
            if from as u64 >= limit {
                return Err(Errno::EINVAL);
            }
            files.insert(open, command == 1030, from, limit).map(|fd| fd as u64)
        }
        // F_GETFD
        1 => Ok(u64::from(files.is_cloexec(fd)?)),
        // F_SETFD
        2 => files.set_cloexec(fd, argument as u32 & FD_CLOEXEC != 0).map(|()| 0),
        // F_GETFL
        3 => Ok(u64::from(open.flags())),
        // F_SETFL
        4 => {
            open.set_flags(argument as u32);
            Ok(0)
        }
        // F_GETLK, F_OFD_GETLK
        5 | 36 => get_lock(task, &open, command, argument),
        // F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
        6 | 7 | 37 | 38 => set_lock(task, &open, command, argument),
        // F_SETOWN, F_GETOWN
        8 => {
            open.owner.store(argument as u32, core::sync::atomic::Ordering::Relaxed);
            Ok(0)
        }
        9 => Ok(open.owner.load(core::sync::atomic::Ordering::Relaxed) as i32 as u64),
        // F_SETSIG, F_GETSIG
        10 if argument == 0 => Ok(0),
        11 => Ok(0),
        // F_SETPIPE_SZ, F_GETPIPE_SZ
        1031 => {
            let wanted = usize::try_from(argument as i32).map_err(|_| Errno::EINVAL)?;
            pipe(&open)?.set_capacity(wanted).map(|capacity| capacity as u64)
        }
        1032 => Ok(pipe(&open)?.capacity() as u64),
        _ => Err(Errno::EINVAL),
    }
}

fn pipe(open: &OpenFile) -> Result<&PipeEnd, Errno> {
    open.file.as_any().downcast_ref::<PipeEnd>().ok_or(Errno::EBADF)
}

/// `struct flock`: type, whence, start, length, pid.
struct Flock {
    kind: u16,
    start: u64,
    end: u64,
    pid: u32,
}

const F_RDLCK: u16 = 0;
const F_WRLCK: u16 = 1;
const F_UNLCK: u16 = 2;

fn read_flock(task: &dyn Task, open: &OpenFile, address: u64) -> Result<Flock, Errno> {
    let raw: [u8; 32] = task.read_array(address)?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&raw[at..at + 8]);
        i64::from_le_bytes(word)
    };
    let kind = u16::from_le_bytes([raw[0], raw[1]]);
    let base = match u16::from_le_bytes([raw[2], raw[3]]) {
        0 => 0,
        1 => open.offset() as i64,
        2 => open.file.stat().size as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(word(8)).ok_or(Errno::EOVERFLOW)?;
    let length = word(16);
    let end = start.checked_add(length).ok_or(Errno::EOVERFLOW)?;
    let (start, end) = if length < 0 { (end, start) } else { (start, end) };
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    let end = if length == 0 { u64::MAX } else { end as u64 };
    let pid = u32::from_le_bytes([raw[24], raw[25], raw[26], raw[27]]);
    Ok(Flock { kind, start, end, pid })
}

fn lock_of(task: &dyn Task, open: &OpenFile, command: i32, flock: &Flock) -> Result<Lock, Errno> {
    let is_ofd = command >= 36;
    if is_ofd && flock.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let (owner, pid) = match is_ofd {
        true => (Owner::Description(open.id()), u32::MAX),
        false => (Owner::Table(task.files().id()), task.pid()),
    };
    let is_exclusive = flock.kind == F_WRLCK;
    Ok(Lock { owner, pid, start: flock.start, end: flock.end, is_exclusive })
}

fn get_lock(task: &dyn Task, open: &OpenFile, command: i32, address: u64) -> SysResult {
    let flock = read_flock(task, open, address)?;
    if flock.kind > F_WRLCK {
        return Err(Errno::EINVAL);
    }
    let wanted = lock_of(task, open, command, &flock)?;
    let key = open.file.inode().ok_or(Errno::EBADF)?.key();
    let Some(held) = locks::conflict(key, &wanted) else {
        task.write_user(address, &F_UNLCK.to_le_bytes())?;
        return Ok(0);
    };
    let mut raw = [0; 32];
    let kind = if held.is_exclusive { F_WRLCK } else { F_RDLCK };
    let length = if held.end == u64::MAX { 0 } else { held.end - held.start };
    raw[..2].copy_from_slice(&kind.to_le_bytes());
    raw[8..16].copy_from_slice(&held.start.to_le_bytes());
    raw[16..24].copy_from_slice(&length.to_le_bytes());
    raw[24..28].copy_from_slice(&held.pid.to_le_bytes());
    task.write_user(address, &raw)?;
    Ok(0)
}

fn set_lock(task: &dyn Task, open: &OpenFile, command: i32, address: u64) -> SysResult {
    let flock = read_flock(task, open, address)?;
    let wanted = lock_of(task, open, command, &flock)?;
    let key = open.file.inode().ok_or(Errno::EBADF)?.key();
    let mode = open.flags() & O_ACCMODE;
    match flock.kind {
        F_UNLCK => {
            locks::unlock(key, wanted.owner, wanted.start, wanted.end);
            return Ok(0);
        }
        F_RDLCK if mode == O_WRONLY => return Err(Errno::EBADF),
        F_WRLCK if mode == O_RDONLY => return Err(Errno::EBADF),
        F_RDLCK | F_WRLCK => {}
        _ => return Err(Errno::EINVAL),
    }
    // F_SETLKW, F_OFD_SETLKW
    if matches!(command, 7 | 38) {
        return retry(task, &locks::RELEASED, || locks::acquire(key, wanted)).map(|()| 0);
    }
    locks::acquire(key, wanted).map(|()| 0)
}

/// flock(2)
pub(super) fn flock(task: &dyn Task, args: &Args) -> SysResult {
    const LOCK_SH: u32 = 1;
    const LOCK_EX: u32 = 2;
    const LOCK_NB: u32 = 4;
    const LOCK_UN: u32 = 8;
    let open = task.files().get_file(args.int(0))?;
    let operation = unsigned(args, 1);
    let key = match open.file.inode() {
        Some(inode) => inode.key(),
        None => (open.file.stat().dev, open.file.stat().ino),
    };
    let owner = Owner::Flock(open.id());
    let is_exclusive = match operation & !LOCK_NB {
        LOCK_SH => false,
        LOCK_EX => true,
        LOCK_UN => {
            locks::unlock(key, owner, 0, u64::MAX);
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL),
    };
    let wanted = Lock { owner, pid: task.pid(), start: 0, end: u64::MAX, is_exclusive };
    if operation & LOCK_NB != 0 {
        return locks::acquire(key, wanted).map(|()| 0);
    }
    retry(task, &locks::RELEASED, || locks::acquire(key, wanted)).map(|()| 0)
}
