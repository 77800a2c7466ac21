//! access, chmod, chown, utimensat.

use super::{SysResult, Target, place_of, target, unsigned};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::flags::{AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use crate::fs::ops::attributes::{self as operation, SetTime};
use crate::fs::stat::Time;
use crate::fs::task::Task;
use crate::syscall::Args;

const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

/// access(2)
pub(super) fn access(task: &dyn Task, args: &Args) -> SysResult {
    check(task, AT_FDCWD, args.0[0], unsigned(args, 1), 0)
}

/// faccessat(2) of the kernel, without flags
pub(super) fn faccessat(task: &dyn Task, args: &Args) -> SysResult {
    check(task, args.int(0), args.0[1], unsigned(args, 2), 0)
}

/// faccessat2(2)
pub(super) fn faccessat2(task: &dyn Task, args: &Args) -> SysResult {
    check(task, args.int(0), args.0[1], unsigned(args, 2), unsigned(args, 3))
}

fn check(task: &dyn Task, directory: i32, path: u64, wanted: u32, flags: u32) -> SysResult {
    if wanted > 7 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let credentials = task.credentials();
    let credentials = if flags & AT_EACCESS == 0 { credentials.real() } else { credentials };
    let caller = Caller { credentials, ..Caller::of(task) };
    let path = super::path_at(task, path)?;
    let location = if path.is_empty() && flags & AT_EMPTY_PATH != 0 && directory != AT_FDCWD {
        match &task.files().get(directory)?.location {
            Some(location) => location.clone(),
            // A pipe or the like belongs to whoever has it.
            None => return Ok(0),
        }
    } else {
        let start = super::start(task, directory, &path)?;
        let is_followed = flags & AT_SYMLINK_NOFOLLOW == 0;
        crate::fs::walk::resolve(&caller, &start, &path, is_followed)?
    };
    operation::access(&caller.credentials, &location, wanted).map(|()| 0)
}

/// chmod(2)
pub(super) fn chmod(task: &dyn Task, args: &Args) -> SysResult {
    change_mode(task, AT_FDCWD, args.0[0], unsigned(args, 1), 0)
}

/// fchmod(2)
pub(super) fn fchmod(task: &dyn Task, args: &Args) -> SysResult {
    let place = place_of(task, args.int(0))?;
    operation::chmod(&Caller::of(task), &place, unsigned(args, 1)).map(|()| 0)
}

/// fchmodat(2) of the kernel, without flags
pub(super) fn fchmodat(task: &dyn Task, args: &Args) -> SysResult {
    change_mode(task, args.int(0), args.0[1], unsigned(args, 2), 0)
}

/// fchmodat2(2)
pub(super) fn fchmodat2(task: &dyn Task, args: &Args) -> SysResult {
    change_mode(task, args.int(0), args.0[1], unsigned(args, 2), unsigned(args, 3))
}

fn change_mode(task: &dyn Task, directory: i32, path: u64, mode: u32, flags: u32) -> SysResult {
    let place = find(task, directory, path, flags)?.place()?;
    operation::chmod(&Caller::of(task), &place, mode).map(|()| 0)
}

/// chown(2)
pub(super) fn chown(task: &dyn Task, args: &Args) -> SysResult {
    change_owner(task, AT_FDCWD, args.0[0], (unsigned(args, 1), unsigned(args, 2)), 0)
}

/// lchown(2)
pub(super) fn lchown(task: &dyn Task, args: &Args) -> SysResult {
    let owner = (unsigned(args, 1), unsigned(args, 2));
    change_owner(task, AT_FDCWD, args.0[0], owner, AT_SYMLINK_NOFOLLOW)
}

/// fchown(2)
pub(super) fn fchown(task: &dyn Task, args: &Args) -> SysResult {
    let place = place_of(task, args.int(0))?;
    let (uid, gid) = (id(unsigned(args, 1)), id(unsigned(args, 2)));
    operation::chown(&Caller::of(task), &place, uid, gid).map(|()| 0)
}

/// fchownat(2)
pub(super) fn fchownat(task: &dyn Task, args: &Args) -> SysResult {
    let owner = (unsigned(args, 2), unsigned(args, 3));
    change_owner(task, args.int(0), args.0[1], owner, unsigned(args, 4))
}

fn change_owner(
    task: &dyn Task,
    directory: i32,
    path: u64,
    owner: (u32, u32),
    flags: u32,
) -> SysResult {
    let place = find(task, directory, path, flags)?.place()?;
    operation::chown(&Caller::of(task), &place, id(owner.0), id(owner.1)).map(|()| 0)
}

/// -1 keeps.
fn id(value: u32) -> Option<u32> {
    (value != u32::MAX).then_some(value)
}

/// utimensat(2)
pub(super) fn utimensat(task: &dyn Task, args: &Args) -> SysResult {
    let times = match args.0[2] {
        0 => [SetTime::Now; 2],
        address => {
            let raw: [u8; 32] = task.read_array(address)?;
            let [a, b, c, d] = words(&raw);
            [timespec(a, b)?, timespec(c, d)?]
        }
    };
    let place = if args.0[1] == 0 {
        if unsigned(args, 3) != 0 {
            return Err(Errno::EINVAL);
        }
        // futimens(3)
        let open = task.files().get(args.int(0))?;
        open.location.clone().ok_or(Errno::EPERM)?
    } else {
        find(task, args.int(0), args.0[1], unsigned(args, 3))?.place()?
    };
    set_times(task, &place, times)
}

/// utime(2)
pub(super) fn utime(task: &dyn Task, args: &Args) -> SysResult {
    let times = match args.0[1] {
        0 => [SetTime::Now; 2],
        address => {
            let raw: [u8; 16] = task.read_array(address)?;
            let mut padded = [0; 32];
            padded[..16].copy_from_slice(&raw);
            let [access, modification, ..] = words(&padded);
            [access, modification].map(|sec| SetTime::To(Time { sec, nsec: 0 }))
        }
    };
    let place = target(task, AT_FDCWD, args.0[0], true, false)?.place()?;
    set_times(task, &place, times)
}

/// utimes(2)
pub(super) fn utimes(task: &dyn Task, args: &Args) -> SysResult {
    timevals(task, AT_FDCWD, args.0[0], args.0[1])
}

/// futimesat(2)
pub(super) fn futimesat(task: &dyn Task, args: &Args) -> SysResult {
    timevals(task, args.int(0), args.0[1], args.0[2])
}

fn timevals(task: &dyn Task, directory: i32, path: u64, address: u64) -> SysResult {
    let times = match address {
        0 => [SetTime::Now; 2],
        _ => {
            let raw: [u8; 32] = task.read_array(address)?;
            let [a, b, c, d] = words(&raw);
            if !(0..1_000_000).contains(&b) || !(0..1_000_000).contains(&d) {
                return Err(Errno::EINVAL);
            }
            [timespec(a, b * 1000)?, timespec(c, d * 1000)?]
        }
    };
    let place = target(task, directory, path, true, false)?.place()?;
    set_times(task, &place, times)
}

fn set_times(
    task: &dyn Task,
    place: &crate::fs::location::Location,
    times: [SetTime; 2],
) -> SysResult {
    let now = Time::from_ns(task.platform().realtime_ns());
    operation::set_times(&Caller::of(task), place, times[0], times[1], now).map(|()| 0)
}

fn timespec(sec: i64, nsec: i64) -> Result<SetTime, Errno> {
    match nsec {
        UTIME_NOW => Ok(SetTime::Now),
        UTIME_OMIT => Ok(SetTime::Keep),
        0..1_000_000_000 => Ok(SetTime::To(Time { sec, nsec: nsec as u32 })),
        _ => Err(Errno::EINVAL),
    }
}

fn words(raw: &[u8; 32]) -> [i64; 4] {
    core::array::from_fn(|index| {
        let mut word = [0; 8];
        word.copy_from_slice(&raw[index * 8..index * 8 + 8]);
        i64::from_le_bytes(word)
    })
}

fn find(task: &dyn Task, directory: i32, path: u64, flags: u32) -> Result<Target, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let is_followed = flags & AT_SYMLINK_NOFOLLOW == 0;
    target(task, directory, path, is_followed, flags & AT_EMPTY_PATH != 0)
}
