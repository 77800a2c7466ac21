//! eventfd, timerfd, signalfd, memfd_create.

use super::open::install;
use super::{SysResult, unsigned};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::eventfd::EventFd;
use crate::fs::fd::OpenFile;
use crate::fs::flags::{NAME_MAX, O_CLOEXEC, O_LARGEFILE, O_NONBLOCK, O_RDWR};
use crate::fs::inode::{InodeRef, OpenHow};
use crate::fs::memfs::Node;
use crate::fs::signalfd::SignalFd;
use crate::fs::task::Task;
use crate::fs::timerfd::TimerFd;
use crate::syscall::Args;

const EFD_SEMAPHORE: u32 = 1;
const MFD_CLOEXEC: u32 = 1;
const MFD_ALLOW_SEALING: u32 = 2;
const MFD_NOEXEC_SEAL: u32 = 8;
const MFD_EXEC: u32 = 16;
const TFD_TIMER_ABSTIME: u32 = 1;
const TFD_TIMER_CANCEL_ON_SET: u32 = 2;

/// Signals that signalfd(2) cannot take: KILL and STOP.
const UNTAKEABLE: u64 = 1 << 8 | 1 << 18;

/// eventfd(2)
pub(super) fn eventfd(task: &dyn Task, args: &Args) -> SysResult {
    make_eventfd(task, unsigned(args, 0), 0)
}

/// eventfd2(2)
pub(super) fn eventfd2(task: &dyn Task, args: &Args) -> SysResult {
    make_eventfd(task, unsigned(args, 0), unsigned(args, 1))
}

fn make_eventfd(task: &dyn Task, count: u32, flags: u32) -> SysResult {
    if flags & !(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = EventFd::new(u64::from(count), flags & EFD_SEMAPHORE != 0);
    let open = OpenFile::new(file, None, O_RDWR | flags & O_NONBLOCK);
    install(task, open, flags & O_CLOEXEC != 0)
}

/// timerfd_create(2)
pub(super) fn timerfd_create(task: &dyn Task, args: &Args) -> SysResult {
    let flags = unsigned(args, 1);
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    // CLOCK_REALTIME, _MONOTONIC, _BOOTTIME, and the two alarm clocks, which wake nothing here.
    let is_realtime = match args.int(0) {
        0 | 8 => true,
        1 | 7 | 9 => false,
        _ => return Err(Errno::EINVAL),
    };
    let file = TimerFd::new(task.platform(), task.alarm(), is_realtime);
    let open = OpenFile::new(file, None, O_RDWR | flags & O_NONBLOCK);
    install(task, open, flags & O_CLOEXEC != 0)
}

/// timerfd_settime(2)
pub(super) fn timerfd_settime(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let timer = open.file.as_any().downcast_ref::<TimerFd>().ok_or(Errno::EINVAL)?;
    let flags = unsigned(args, 1);
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let raw: [u8; 32] = task.read_array(args.0[2])?;
    let (interval, value) = (nanoseconds(&raw[..16])?, nanoseconds(&raw[16..])?);
    let old = timer.remaining();
    let now = task.platform().monotonic_ns();
    let deadline = match (value, flags & TFD_TIMER_ABSTIME != 0) {
        (0, _) => 0,
        (value, false) => now.saturating_add(value),
        (value, true) if timer.is_realtime => {
            now.saturating_add(value.saturating_sub(task.platform().realtime_ns()))
        }
        (value, true) => value,
    };
    timer.set(deadline, interval)?;
    if args.0[3] != 0 {
        put_times(task, args.0[3], old)?;
    }
    Ok(0)
}

/// timerfd_gettime(2)
pub(super) fn timerfd_gettime(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let timer = open.file.as_any().downcast_ref::<TimerFd>().ok_or(Errno::EINVAL)?;
    put_times(task, args.0[1], timer.remaining())?;
    Ok(0)
}

fn nanoseconds(raw: &[u8]) -> Result<u64, Errno> {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&raw[at..at + 8]);
        u64::try_from(i64::from_le_bytes(word)).map_err(|_| Errno::EINVAL)
    };
    let (seconds, part) = (word(0)?, word(8)?);
    if part >= 1_000_000_000 {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(part))
}

/// `struct itimerspec`: interval, then value.
fn put_times(task: &dyn Task, address: u64, (value, interval): (u64, u64)) -> Result<(), Errno> {
    let mut raw = [0; 32];
    for (at, ns) in [(0, interval), (16, value)] {
        raw[at..at + 8].copy_from_slice(&(ns / 1_000_000_000).to_le_bytes());
        raw[at + 8..at + 16].copy_from_slice(&(ns % 1_000_000_000).to_le_bytes());
    }
    task.write_user(address, &raw)
}

/// signalfd(2)
pub(super) fn signalfd(task: &dyn Task, args: &Args) -> SysResult {
    make_signalfd(task, args, 0)
}

/// signalfd4(2)
pub(super) fn signalfd4(task: &dyn Task, args: &Args) -> SysResult {
    make_signalfd(task, args, unsigned(args, 3))
}

fn make_signalfd(task: &dyn Task, args: &Args, flags: u32) -> SysResult {
    if args.0[2] != 8 || flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let mask = u64::from_le_bytes(task.read_array(args.0[1])?) & !UNTAKEABLE;
    if args.int(0) == -1 {
        let file = SignalFd::new(task, mask);
        let open = OpenFile::new(file, None, O_RDWR | flags & O_NONBLOCK);
        return install(task, open, flags & O_CLOEXEC != 0);
    }
    let open = task.files().get_file(args.int(0))?;
    open.file.as_any().downcast_ref::<SignalFd>().ok_or(Errno::EINVAL)?.set_mask(mask);
    Ok(args.int(0) as u64)
}

/// memfd_create(2)
pub(super) fn memfd_create(task: &dyn Task, args: &Args) -> SysResult {
    let flags = unsigned(args, 1);
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    // The name is for people who look at /proc, and has no use before they do.
    let name = task.read_string(args.0[0], NAME_MAX - 5);
    name.map_err(|error| if error == Errno::ENAMETOOLONG { Errno::EINVAL } else { error })?;
    let caller = Caller::of(task);
    let scratch = caller.fs.namespace.scratch().ok_or(Errno::ENOSYS)?;
    let directory = scratch.as_any().downcast_ref::<Node>().ok_or(Errno::ENOSYS)?;
    let mode = if flags & MFD_NOEXEC_SEAL != 0 { 0o666 } else { 0o777 };
    let credentials = &caller.credentials;
    let inode: InodeRef = Node::anonymous(directory, mode, credentials.fsuid, credentials.fsgid);
    let file = inode.open(&caller, OpenHow { flags: O_RDWR })?;
    let open = OpenFile::new(file, None, O_RDWR | O_LARGEFILE);
    install(task, open, flags & MFD_CLOEXEC != 0)
}
