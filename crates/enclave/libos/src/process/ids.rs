//! Who a process is: ids, users and groups.

use super::Credentials;
use crate::errno::Errno;
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::Thread;
use alloc::sync::Arc;

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry::full(39, |thread, _| Ok(thread.process.pid.into())),
    Entry::full(102, |thread, _| Ok(thread.process.credentials.lock().ruid.into())),
    Entry::full(104, |thread, _| Ok(thread.process.credentials.lock().rgid.into())),
    Entry::full(105, setuid),
    Entry::full(106, setgid),
    Entry::full(107, |thread, _| Ok(thread.process.credentials.lock().euid.into())),
    Entry::full(108, |thread, _| Ok(thread.process.credentials.lock().egid.into())),
    Entry::full(110, |thread, _| Ok(thread.process.ppid().into())),
    Entry::full(113, setreuid),
    Entry::full(114, setregid),
    Entry::full(115, getgroups),
    Entry::full(116, setgroups),
    Entry::full(117, setresuid),
    Entry::full(118, getresuid),
    Entry::full(119, setresgid),
    Entry::full(120, getresgid),
    Entry::full(122, setfsuid),
    Entry::full(123, setfsgid),
    Entry::partial(125, "reports root's sets for uid 0, none otherwise", capget),
    Entry::partial(126, "accepted; capabilities follow the effective uid", capset),
    Entry::full(186, |thread, _| Ok(thread.tid.into())),
];

/// The id that means "leave it".
const KEEP: u32 = u32::MAX;
const MAX_GROUPS: u64 = 65536;

/// One triple of ids: real, effective, saved.
type Triple = [u32; 3];

fn users(credentials: &Credentials) -> Triple {
    [credentials.ruid, credentials.euid, credentials.suid]
}

fn groups(credentials: &Credentials) -> Triple {
    [credentials.rgid, credentials.egid, credentials.sgid]
}

/// Changes the user ids as `change` says, given whether the caller is privileged.
fn change_users(
    thread: &Thread,
    change: impl Fn(Triple, bool) -> Result<Triple, Errno>,
) -> SysResult {
    let mut credentials = thread.process.credentials.lock();
    let [ruid, euid, suid] = change(users(&credentials), credentials.euid == 0)?;
    *credentials = Credentials { ruid, euid, suid, fsuid: euid, ..credentials.clone() };
    Ok(0)
}

fn change_groups(
    thread: &Thread,
    change: impl Fn(Triple, bool) -> Result<Triple, Errno>,
) -> SysResult {
    let mut credentials = thread.process.credentials.lock();
    let [rgid, egid, sgid] = change(groups(&credentials), credentials.euid == 0)?;
    *credentials = Credentials { rgid, egid, sgid, fsgid: egid, ..credentials.clone() };
    Ok(0)
}

/// setuid(2)'s rule.
fn set_one(id: u32) -> impl Fn(Triple, bool) -> Result<Triple, Errno> {
    move |[real, effective, saved], is_privileged| match () {
        () if id == KEEP => Err(Errno::EINVAL),
        () if is_privileged => Ok([id; 3]),
        () if id == real || id == saved => Ok([real, id, saved]),
        () if id == effective => Ok([real, effective, saved]),
        () => Err(Errno::EPERM),
    }
}

/// setreuid(2)'s rule.
fn set_two(new_real: u32, new_effective: u32) -> impl Fn(Triple, bool) -> Result<Triple, Errno> {
    move |[real, effective, saved], is_privileged| {
        let may_real = is_privileged || [KEEP, real, effective].contains(&new_real);
        let may_effective =
            is_privileged || [KEEP, real, effective, saved].contains(&new_effective);
        if !may_real || !may_effective {
            return Err(Errno::EPERM);
        }
        let pick = |new: u32, old: u32| if new == KEEP { old } else { new };
        let (r, e) = (pick(new_real, real), pick(new_effective, effective));
        let sets_saved = new_real != KEEP || (new_effective != KEEP && new_effective != real);
        Ok([r, e, if sets_saved { e } else { saved }])
    }
}

/// setresuid(2)'s rule.
fn set_three(new: Triple) -> impl Fn(Triple, bool) -> Result<Triple, Errno> {
    move |old, is_privileged| {
        let may = |id: &u32| is_privileged || *id == KEEP || old.contains(id);
        if !new.iter().all(may) {
            return Err(Errno::EPERM);
        }
        let pick = |index: usize| if new[index] == KEEP { old[index] } else { new[index] };
        Ok([pick(0), pick(1), pick(2)])
    }
}

fn setuid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    change_users(thread, set_one(args.0[0] as u32))
}

fn setgid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    change_groups(thread, set_one(args.0[0] as u32))
}

fn setreuid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    change_users(thread, set_two(args.0[0] as u32, args.0[1] as u32))
}

fn setregid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    change_groups(thread, set_two(args.0[0] as u32, args.0[1] as u32))
}

fn setresuid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [real, effective, saved, ..] = args.0;
    change_users(thread, set_three([real as u32, effective as u32, saved as u32]))
}

fn setresgid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [real, effective, saved, ..] = args.0;
    change_groups(thread, set_three([real as u32, effective as u32, saved as u32]))
}

fn put_three(thread: &Thread, args: &Args, ids: Triple) -> SysResult {
    let mm = thread.mm();
    for (at, id) in args.0.iter().zip(ids) {
        mm.write(*at, &id.to_le_bytes())?;
    }
    Ok(0)
}

fn getresuid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let ids = users(&thread.process.credentials.lock());
    put_three(thread, args, ids)
}

fn getresgid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let ids = groups(&thread.process.credentials.lock());
    put_three(thread, args, ids)
}

fn setfsuid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let id = args.0[0] as u32;
    let mut credentials = thread.process.credentials.lock();
    let old = credentials.fsuid;
    if credentials.euid == 0 || users(&credentials).contains(&id) || id == old {
        credentials.fsuid = id;
    }
    Ok(old.into())
}

fn setfsgid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let id = args.0[0] as u32;
    let mut credentials = thread.process.credentials.lock();
    let old = credentials.fsgid;
    if credentials.euid == 0 || groups(&credentials).contains(&id) || id == old {
        credentials.fsgid = id;
    }
    Ok(old.into())
}

fn getgroups(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [size, to, ..] = args.0;
    let groups = thread.process.credentials.lock().groups.clone();
    if size as u32 != 0 {
        if (size as u32 as usize) < groups.len() {
            return Err(Errno::EINVAL);
        }
        let bytes: alloc::vec::Vec<u8> = groups.iter().flat_map(|g| g.to_le_bytes()).collect();
        thread.mm().write(to, &bytes)?;
    }
    Ok(groups.len() as u64)
}

fn setgroups(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [size, from, ..] = args.0;
    if thread.process.credentials.lock().euid != 0 {
        return Err(Errno::EPERM);
    }
    if size > MAX_GROUPS {
        return Err(Errno::EINVAL);
    }
    let mut bytes = alloc::vec![0; size as usize * 4];
    thread.mm().read(from, &mut bytes)?;
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    thread.process.credentials.lock().groups = bytes.chunks_exact(4).map(word).collect();
    Ok(0)
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn capget(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [header, data, ..] = args.0;
    let mm = thread.mm();
    let version = mm.read_u32(header)?;
    if version != CAPABILITY_VERSION_3 {
        mm.write(header, &CAPABILITY_VERSION_3.to_le_bytes())?;
        return if data == 0 { Ok(0) } else { Err(Errno::EINVAL) };
    }
    if data != 0 {
        let is_root = thread.process.credentials.lock().euid == 0;
        let (low, high): (u32, u32) = if is_root { (u32::MAX, 0x1ff) } else { (0, 0) };
        let mut bytes = alloc::vec::Vec::new();
        for word in [low, low, 0, high, high, 0] {
            bytes.extend(word.to_le_bytes());
        }
        mm.write(data, &bytes)?;
    }
    Ok(0)
}

fn capset(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let version = thread.mm().read_u32(args.0[0])?;
    if version == CAPABILITY_VERSION_3 { Ok(0) } else { Err(Errno::EINVAL) }
}
