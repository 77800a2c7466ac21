//! epoll_create, epoll_ctl, epoll_wait.

use super::open::install;
use super::poll::{Until, wait_mask, wait_until};
use super::{SysResult, unsigned};
use crate::errno::Errno;
use crate::fs::epoll::Epoll;
use crate::fs::fd::OpenFile;
use crate::fs::flags::{O_CLOEXEC, O_RDWR};
use crate::fs::task::Task;
use crate::syscall::Args;
use alloc::vec::Vec;

const EPOLL_CTL_ADD: i32 = 1;
const EPOLL_CTL_DEL: i32 = 2;
const EPOLL_CTL_MOD: i32 = 3;

/// Bytes of the packed `struct epoll_event`.
const EVENT: usize = 12;

/// Most events of one wait (INT_MAX / sizeof(struct epoll_event)).
const MAX_EVENTS: i32 = i32::MAX / EVENT as i32;

/// epoll_create(2)
pub(super) fn epoll_create(task: &dyn Task, args: &Args) -> SysResult {
    if args.int(0) <= 0 {
        return Err(Errno::EINVAL);
    }
    install(task, OpenFile::new(Epoll::new(), None, O_RDWR), false)
}

/// epoll_create1(2)
pub(super) fn epoll_create1(task: &dyn Task, args: &Args) -> SysResult {
    let flags = unsigned(args, 0);
    if flags & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    install(task, OpenFile::new(Epoll::new(), None, O_RDWR), flags != 0)
}

/// epoll_ctl(2)
pub(super) fn epoll_ctl(task: &dyn Task, args: &Args) -> SysResult {
    let files = task.files();
    let instance = files.get_file(args.int(0))?;
    let fd = args.int(2);
    let open = files.get_file(fd)?;
    let epoll = instance.file.as_any().downcast_ref::<Epoll>().ok_or(Errno::EINVAL)?;
    let operation = args.int(1);
    let (mut events, mut data) = (0, 0);
    if operation != EPOLL_CTL_DEL {
        let raw: [u8; EVENT] = task.read_array(args.0[3])?;
        events = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
        let mut word = [0; 8];
        word.copy_from_slice(&raw[4..]);
        data = u64::from_le_bytes(word);
    }
    match operation {
        EPOLL_CTL_ADD => epoll.add(task, fd, &open, events, data)?,
        EPOLL_CTL_MOD => epoll.modify(task, fd, &open, events, data)?,
        EPOLL_CTL_DEL => epoll.remove(fd, &open)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// epoll_wait(2)
pub(super) fn epoll_wait(task: &dyn Task, args: &Args) -> SysResult {
    wait(task, args, Until::millis(task, args.int(3)))
}

/// epoll_pwait(2)
pub(super) fn epoll_pwait(task: &dyn Task, args: &Args) -> SysResult {
    wait_mask(task, args.0[4], args.0[5])?;
    wait(task, args, Until::millis(task, args.int(3)))
}

/// epoll_pwait2(2)
pub(super) fn epoll_pwait2(task: &dyn Task, args: &Args) -> SysResult {
    let until = Until::timespec(task, args.0[3])?;
    wait_mask(task, args.0[4], args.0[5])?;
    wait(task, args, until)
}

fn wait(task: &dyn Task, args: &Args, until: Until) -> SysResult {
    let instance = task.files().get_file(args.int(0))?;
    let epoll = instance.file.as_any().downcast_ref::<Epoll>().ok_or(Errno::EINVAL)?;
    let limit = args.int(2);
    if !(1..=MAX_EVENTS).contains(&limit) {
        return Err(Errno::EINVAL);
    }
    let mut found = Vec::new();
    let queue = instance.file.wait_queue().ok_or(Errno::EINVAL)?;
    wait_until(task, &[queue], until, || {
        found = epoll.collect(task, limit as usize);
        !found.is_empty()
    })?;
    let mut raw = Vec::with_capacity(found.len() * EVENT);
    for (events, data) in &found {
        raw.extend_from_slice(&events.to_le_bytes());
        raw.extend_from_slice(&data.to_le_bytes());
    }
    task.write_user(args.0[1], &raw)?;
    Ok(found.len() as u64)
}
