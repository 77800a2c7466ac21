//! System calls about the calling thread and the machine it sees.

use super::Thread;
use crate::errno::Errno;
use crate::mm::Mm;
use crate::platform::UserContext;
use crate::process::Pid;
use crate::signal::valid;
use crate::syscall::{Args, Entry, Handler, Support, SysResult};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry::full(63, uname),
    Entry::full(99, sysinfo),
    Entry::partial(135, "PER_LINUX only", personality),
    Entry::partial(140, "always 0: the host schedules", getpriority),
    Entry::partial(141, "taken and ignored: the host schedules", setpriority),
    Entry::partial(157, "names, death signal, dumpable, subreaper, no new privileges", prctl),
    Entry {
        number: 158,
        support: Support::Partial("FS only: GS is the enclave's"),
        handler: Handler::Registers(arch_prctl),
    },
    Entry::partial(203, "taken and ignored: the host schedules", sched_setaffinity),
    Entry::full(204, sched_getaffinity),
    Entry::full(218, set_tid_address),
    Entry::full(273, set_robust_list),
    Entry::full(274, get_robust_list),
    Entry::partial(324, "every private command is a full barrier of all threads", membarrier),
];

fn uname(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let kernel = thread.kernel;
    let mut bytes = [0; 6 * 65];
    let fields = [
        b"Linux" as &[u8],
        kernel.hostname.as_bytes(),
        crate::kernel::RELEASE.as_bytes(),
        crate::kernel::VERSION.as_bytes(),
        b"x86_64",
        b"(none)",
    ];
    for (place, field) in bytes.chunks_exact_mut(65).zip(fields) {
        let length = field.len().min(64);
        place[..length].copy_from_slice(&field[..length]);
    }
    thread.mm().write(args.0[0], &bytes)?;
    Ok(0)
}

fn sysinfo(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let kernel = thread.kernel;
    let total = kernel.memory_total();
    let mut bytes = [0; 112];
    let mut put = |index: usize, value: u64| {
        bytes[index * 8..index * 8 + 8].copy_from_slice(&value.to_le_bytes());
    };
    put(0, kernel.platform.monotonic_ns().saturating_sub(kernel.started_ns) / 1_000_000_000);
    put(4, total);
    put(5, kernel.memory_free());
    put(10, kernel.processes.lock().len() as u64);
    bytes[104..108].copy_from_slice(&1u32.to_le_bytes());
    thread.mm().write(args.0[0], &bytes)?;
    Ok(0)
}

fn personality(_: &Arc<Thread>, args: &Args) -> SysResult {
    match args.0[0] as u32 {
        0 | u32::MAX => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn getpriority(_: &Arc<Thread>, _: &Args) -> SysResult {
    // The system call answers 20 less the nice value.
    Ok(20)
}

fn setpriority(_: &Arc<Thread>, args: &Args) -> SysResult {
    if args.0[0] > 2 { Err(Errno::EINVAL) } else { Ok(0) }
}

/// PR_* (prctl(2)).
mod option {
    pub(super) const SET_PDEATHSIG: i32 = 1;
    pub(super) const GET_PDEATHSIG: i32 = 2;
    pub(super) const GET_DUMPABLE: i32 = 3;
    pub(super) const SET_DUMPABLE: i32 = 4;
    pub(super) const GET_KEEPCAPS: i32 = 7;
    pub(super) const SET_KEEPCAPS: i32 = 8;
    pub(super) const SET_NAME: i32 = 15;
    pub(super) const GET_NAME: i32 = 16;
    pub(super) const CAPBSET_READ: i32 = 23;
    pub(super) const SET_TIMERSLACK: i32 = 29;
    pub(super) const GET_TIMERSLACK: i32 = 30;
    pub(super) const SET_CHILD_SUBREAPER: i32 = 36;
    pub(super) const GET_CHILD_SUBREAPER: i32 = 37;
    pub(super) const SET_NO_NEW_PRIVS: i32 = 38;
    pub(super) const GET_NO_NEW_PRIVS: i32 = 39;
    pub(super) const SET_VMA: i32 = 0x5356_4d41;
}

fn prctl(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [_, value, ..] = args.0;
    let process = &thread.process;
    let mm = thread.mm();
    match args.int(0) {
        // A parent in the enclave dies with it; nobody has needed the signal yet.
        option::SET_PDEATHSIG if value == 0 || valid(value).is_some() => Ok(0),
        option::GET_PDEATHSIG => mm.write(value, &0u32.to_le_bytes()).map(|()| 0),
        option::GET_DUMPABLE | option::GET_NO_NEW_PRIVS => Ok(1),
        option::SET_DUMPABLE if value <= 1 => Ok(0),
        option::SET_NO_NEW_PRIVS if value == 1 => Ok(0),
        option::GET_KEEPCAPS => Ok(0),
        option::SET_KEEPCAPS if value <= 1 => Ok(0),
        option::SET_NAME => {
            let mut name = thread.name_argument(value)?;
            name.truncate(15);
            if thread.tid == process.pid {
                process.program.lock().comm.clone_from(&name);
            }
            *thread.name.lock() = Some(name);
            Ok(0)
        }
        option::GET_NAME => {
            let name = thread.name.lock().clone();
            let name = name.unwrap_or_else(|| process.program.lock().comm.clone());
            let mut bytes = [0; 16];
            bytes[..name.len().min(15)].copy_from_slice(&name[..name.len().min(15)]);
            mm.write(value, &bytes).map(|()| 0)
        }
        option::CAPBSET_READ if value <= 40 => Ok(1),
        option::SET_TIMERSLACK => Ok(0),
        option::GET_TIMERSLACK => Ok(50_000),
        option::SET_CHILD_SUBREAPER => {
            process.is_subreaper.store(value != 0, Ordering::Relaxed);
            Ok(0)
        }
        option::GET_CHILD_SUBREAPER => {
            let is_set = u32::from(process.is_subreaper.load(Ordering::Relaxed));
            mm.write(value, &is_set.to_le_bytes()).map(|()| 0)
        }
        option::SET_VMA => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

impl Thread {
    /// At most 16 bytes, as PR_SET_NAME reads them.
    fn name_argument(&self, at: u64) -> Result<alloc::vec::Vec<u8>, Errno> {
        match self.string(at, 16) {
            Err(Errno::ENAMETOOLONG) => self.mm().read_array::<15>(at).map(|name| name.to_vec()),
            other => other,
        }
    }
}

const ARCH_SET_FS: u64 = 0x1002;
const ARCH_GET_FS: u64 = 0x1003;

fn arch_prctl(thread: &Arc<Thread>, context: &mut UserContext, args: &Args) -> SysResult {
    let [code, value, ..] = args.0;
    match code {
        ARCH_SET_FS if value >= 1 << 47 => Err(Errno::EPERM),
        ARCH_SET_FS => {
            context.regs.fs_base = value;
            Ok(0)
        }
        ARCH_GET_FS => {
            thread.mm().write(value, &context.regs.fs_base.to_le_bytes())?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn sched_setaffinity(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let mask = thread.mm().read_array::<1>(args.0[2])?[0];
    if args.0[1] == 0 || mask == 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

fn sched_getaffinity(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [_, size, to, ..] = args.0;
    if size < 8 || size % 8 != 0 {
        return Err(Errno::EINVAL);
    }
    let mask = (1u64 << thread.kernel.cpus.clamp(1, 63)) - 1;
    thread.mm().write(to, &mask.to_le_bytes())?;
    Ok(8)
}

fn set_tid_address(thread: &Arc<Thread>, args: &Args) -> SysResult {
    thread.clear_tid.store(args.0[0], Ordering::Relaxed);
    Ok(thread.tid.into())
}

const MEMBARRIER_QUERY: i32 = 0;
/// GLOBAL, PRIVATE_EXPEDITED and its registration, and the SYNC_CORE pair.
const MEMBARRIER_COMMANDS: u64 = 1 | 8 | 16 | 32 | 64;

fn membarrier(thread: &Arc<Thread>, args: &Args) -> SysResult {
    match args.int(0) {
        MEMBARRIER_QUERY => Ok(MEMBARRIER_COMMANDS),
        16 | 64 => Ok(0),
        1 | 8 | 32 => {
            // Leaving and entering user mode is a barrier and serialises.
            for other in thread.process.thread_list() {
                if other.tid != thread.tid {
                    other.notify();
                }
            }
            core::sync::atomic::fence(Ordering::SeqCst);
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Size of `struct robust_list_head`.
const ROBUST_HEAD: u64 = 24;
/// Locks of a dead thread that are looked at (ROBUST_LIST_LIMIT).
const ROBUST_LIMIT: usize = 2048;
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const OWNER: u32 = 0x3fff_ffff;

fn set_robust_list(thread: &Arc<Thread>, args: &Args) -> SysResult {
    if args.0[1] != ROBUST_HEAD {
        return Err(Errno::EINVAL);
    }
    thread.robust_list.store(args.0[0], Ordering::Relaxed);
    Ok(0)
}

fn get_robust_list(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [tid, head, length, ..] = args.0;
    let target = match tid as Pid {
        0 => thread.clone(),
        tid => thread.kernel.thread(tid).ok_or(Errno::ESRCH)?,
    };
    let mm = thread.mm();
    mm.write(head, &target.robust_list.load(Ordering::Relaxed).to_le_bytes())?;
    mm.write(length, &ROBUST_HEAD.to_le_bytes())?;
    Ok(0)
}

impl Thread {
    /// Marks the locks that a thread which ends holds (the list is the program's: it may lead anywhere),
    /// clears its id word, and wakes who waits for either.
    pub fn release_words(&self, mm: &Mm) {
        self.release_robust(mm);
        let word = self.clear_tid.swap(0, Ordering::Relaxed);
        if word != 0 && mm.write(word, &0u32.to_le_bytes()).is_ok() {
            self.wake_word(mm, word);
        }
    }

    fn wake_word(&self, mm: &Mm, word: u64) {
        // Who waits may have said either.
        for is_private in [true, false] {
            let _ = self.kernel.futexes.wake(mm, word, is_private, 1, u32::MAX);
        }
    }

    fn release_robust(&self, mm: &Mm) {
        let head = self.robust_list.swap(0, Ordering::Relaxed);
        if head == 0 {
            return;
        }
        let Ok(offset) = mm.read_u64(head.wrapping_add(8)) else { return };
        let pending = mm.read_u64(head.wrapping_add(16)).unwrap_or(0) & !1;
        let mut entry = mm.read_u64(head).unwrap_or(head) & !1;
        for _ in 0..ROBUST_LIMIT {
            if entry == head {
                break;
            }
            // Bit 0 marks a priority-inheritance futex.
            let Ok(next) = mm.read_u64(entry) else { return };
            if entry != pending {
                self.mark_dead(mm, entry.wrapping_add(offset));
            }
            entry = next & !1;
        }
        if pending != 0 {
            self.mark_dead(mm, pending.wrapping_add(offset));
        }
    }

    fn mark_dead(&self, mm: &Mm, word: u64) {
        let is_mine = |value: u32| value & OWNER == self.tid;
        let found =
            mm.update_u32(word, |value| is_mine(value).then_some(value & WAITERS | OWNER_DIED));
        if found.is_ok_and(|value| is_mine(value) && value & WAITERS != 0) {
            self.wake_word(mm, word);
        }
    }
}
