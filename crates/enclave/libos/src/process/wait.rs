//! wait4(2) and waitid(2).

use super::{CONTINUED, Pid, Process};
use crate::errno::Errno;
use crate::signal::{Info, info::code};
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Served here.
pub const TABLE: &[Entry] = &[Entry::full(61, wait4), Entry::partial(247, "no P_PIDFD", waitid)];

const WNOHANG: u32 = 1;
const WSTOPPED: u32 = 2;
const WEXITED: u32 = 4;
const WCONTINUED: u32 = 8;
const WNOWAIT: u32 = 0x0100_0000;
/// __WNOTHREAD, __WALL, __WCLONE.
const CLONE_BITS: u32 = 0xe000_0000;

/// Which children.
#[derive(Clone, Copy)]
enum Which {
    Any,
    One(Pid),
    Group(Pid),
}

/// A child and what became of it.
struct Event {
    child: Arc<Process>,
    status: u32,
    user_ns: u64,
}

fn wait4(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [_, status_at, options, usage_at, ..] = args.0;
    let options = options as u32;
    if options & !(WNOHANG | WSTOPPED | WCONTINUED | CLONE_BITS) != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match args.int(0) {
        -1 => Which::Any,
        0 => Which::Group(thread.process.job.lock().pgid),
        pid if pid > 0 => Which::One(pid as Pid),
        i32::MIN => return Err(Errno::ESRCH),
        group => Which::Group(group.unsigned_abs()),
    };
    let Some(event) = wait(thread, which, options | WEXITED)? else { return Ok(0) };
    let mm = thread.mm();
    if status_at != 0 {
        mm.write(status_at, &event.status.to_le_bytes())?;
    }
    if usage_at != 0 {
        mm.write(usage_at, &super::limits::encode_rusage(event.user_ns))?;
    }
    Ok(u64::from(event.child.pid))
}

fn waitid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [kind, id, info_at, options, usage_at, _] = args.0;
    let options = options as u32;
    if options & (WEXITED | WSTOPPED | WCONTINUED) == 0
        || options & !(WNOHANG | WSTOPPED | WEXITED | WCONTINUED | WNOWAIT | CLONE_BITS) != 0
    {
        return Err(Errno::EINVAL);
    }
    let which = match kind as u32 {
        0 => Which::Any,
        1 => Which::One(id as Pid),
        2 if id == 0 => Which::Group(thread.process.job.lock().pgid),
        2 => Which::Group(id as Pid),
        _ => return Err(Errno::EINVAL),
    };
    let event = wait(thread, which, options)?;
    let mm = thread.mm();
    if info_at != 0 {
        let bytes = event.as_ref().map_or([0; 128], |event| info_of(event).encode());
        mm.write(info_at, &bytes)?;
    }
    if let Some(event) = event
        && usage_at != 0
    {
        mm.write(usage_at, &super::limits::encode_rusage(event.user_ns))?;
    }
    Ok(0)
}

fn info_of(event: &Event) -> Info {
    let status = event.status;
    let (code, value) = match status {
        CONTINUED => (code::CLD_CONTINUED, 18),
        _ if status & 0xff == 0x7f => (code::CLD_STOPPED, (status >> 8) as i32),
        _ if status & 0x7f == 0 => (code::CLD_EXITED, (status >> 8) as i32),
        _ if status & 0x80 != 0 => (code::CLD_DUMPED, (status & 0x7f) as i32),
        _ => (code::CLD_KILLED, (status & 0x7f) as i32),
    };
    Info::child(code, event.child.pid, event.child.credentials.lock().ruid, value)
}

fn wait(thread: &Arc<Thread>, which: Which, options: u32) -> Result<Option<Event>, Errno> {
    let process = &thread.process;
    let outcome = thread.wait(&[&process.events], None, || match find(process, which, options) {
        Ok(None) if options & WNOHANG == 0 => None,
        other => Some(other),
    });
    outcome.map_err(|error| error.restartable())?
}

/// An event of a child, taken unless WNOWAIT.
fn find(process: &Process, which: Which, options: u32) -> Result<Option<Event>, Errno> {
    let mut children = process.children.lock();
    let is_meant = |child: &Process| match which {
        Which::Any => true,
        Which::One(pid) => child.pid == pid,
        Which::Group(pgid) => child.job.lock().pgid == pgid,
    };
    let mut has_any = false;
    let mut found = None;
    for (index, child) in children.iter().enumerate().filter(|(_, child)| is_meant(child)) {
        has_any = true;
        let mut life = child.life.lock();
        if let Some(status) = life.zombie {
            if options & WEXITED != 0 {
                found = Some((index, status, true));
                break;
            }
            continue;
        }
        let wanted = match life.unreported {
            Some(CONTINUED) => options & WCONTINUED != 0,
            Some(_) => options & WSTOPPED != 0,
            None => false,
        };
        if let (true, Some(status)) = (wanted, life.unreported) {
            if options & WNOWAIT == 0 {
                life.unreported = None;
            }
            found = Some((index, status, false));
            break;
        }
    }
    let Some((index, status, is_end)) = found else {
        return if has_any { Ok(None) } else { Err(Errno::ECHILD) };
    };
    let child = children[index].clone();
    let user_ns = child.cpu_time_ns() + child.children_cpu_ns.load(Ordering::Relaxed);
    if is_end && options & WNOWAIT == 0 {
        children.remove(index);
        process.children_cpu_ns.fetch_add(user_ns, Ordering::Relaxed);
        drop(children);
        process.kernel.forget_process(&child);
    }
    Ok(Some(Event { child, status, user_ns }))
}
