//! The system calls about signals.

use super::frame::{self, HEAD_SIZE, StackT};
use super::{Action, Disposition, Info, Set, action::ACTION_SIZE, info::code, signo, valid};
use crate::errno::Errno;
use crate::platform::UserContext;
use crate::process::{Pid, Process};
use crate::syscall::clock::read_timespec;
use crate::syscall::{Args, Entry, Handler, Support, SysResult};
use crate::thread::{STACK_DISABLED, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry::full(13, rt_sigaction),
    Entry::full(14, rt_sigprocmask),
    Entry { number: 15, support: Support::Full, handler: Handler::Registers(rt_sigreturn) },
    Entry::full(34, pause),
    Entry::full(62, kill),
    Entry::full(127, rt_sigpending),
    Entry::full(128, rt_sigtimedwait),
    Entry::full(129, rt_sigqueueinfo),
    Entry::full(130, rt_sigsuspend),
    Entry { number: 131, support: Support::Full, handler: Handler::Registers(sigaltstack) },
    Entry::full(200, tkill),
    Entry::full(234, tgkill),
    Entry::full(297, rt_tgsigqueueinfo),
];

/// Smallest alternate stack (MINSIGSTKSZ).
const SMALLEST_STACK: u64 = 2048;

fn read_set(thread: &Thread, address: u64, size: u64) -> Result<Set, Errno> {
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    thread.mm().read_u64(address).map(Set)
}

fn rt_sigaction(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [number, new, old, size, ..] = args.0;
    let signal = valid(number).ok_or(Errno::EINVAL)?;
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let mm = thread.mm();
    let actions = thread.process.actions();
    let former = if new == 0 {
        actions.lock().get(signal)
    } else {
        let action = Action::decode(&mm.read_array::<ACTION_SIZE>(new)?);
        if Set::UNBLOCKABLE.contains(signal) {
            return Err(Errno::EINVAL);
        }
        let former = actions.lock().set(signal, action);
        // What is ignored is not pending.
        if actions.lock().disposition(signal) == Disposition::Ignore {
            let gone = Set::of(&[signal]);
            thread.process.pending.lock().discard(gone);
            for thread in thread.process.thread_list() {
                thread.signals.lock().pending.discard(gone);
            }
        }
        former
    };
    if old != 0 {
        mm.write(old, &former.encode())?;
    }
    Ok(0)
}

fn rt_sigprocmask(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [how, new, old, size, ..] = args.0;
    let present = thread.signals.lock().blocked;
    if new != 0 {
        let set = read_set(thread, new, size)?;
        let mask = match how as u32 {
            0 => present.or(set),
            1 => present.without(set),
            2 => set,
            _ => return Err(Errno::EINVAL),
        };
        thread.set_blocked(mask);
    } else if size != 8 {
        return Err(Errno::EINVAL);
    }
    if old != 0 {
        thread.mm().write(old, &present.0.to_le_bytes())?;
    }
    Ok(0)
}

fn rt_sigreturn(thread: &Arc<Thread>, context: &mut UserContext, _: &Args) -> SysResult {
    let mm = thread.mm();
    let at = context.regs.rsp.wrapping_sub(8);
    let broken = |_| {
        thread
            .kernel
            .log_debug(format_args!("process {}: no signal frame at {at:#x}", thread.process.pid));
        thread.process.end(crate::process::killed(signo::SIGSEGV, true));
        Errno::EFAULT
    };
    let head = mm.read_array::<HEAD_SIZE>(at).map_err(broken)?;
    let restored = frame::restore(&head, &context.regs);
    let platform = thread.kernel.platform;
    let initial = platform.initial_xstate();
    if restored.fpstate == 0 {
        context.xstate = initial;
    } else {
        let mut bytes = alloc::vec![0; frame::area_size(platform.xfrm()) + 4];
        if mm.read(restored.fpstate, &mut bytes).is_err() {
            bytes.truncate(512);
            mm.read(restored.fpstate, &mut bytes).map_err(broken)?;
        }
        context.xstate = frame::xstate(&bytes, &initial, platform.xfrm());
    }
    context.xstate_is_full = true;
    context.regs = restored.regs;
    thread.set_blocked(Set(restored.mask));
    let stack = StackT { flags: restored.stack.flags & !1, ..restored.stack };
    thread.signals.lock().stack = stack;
    Ok(context.regs.rax)
}

fn sigaltstack(thread: &Arc<Thread>, context: &mut UserContext, args: &Args) -> SysResult {
    let [new, old, ..] = args.0;
    let mm = thread.mm();
    let present = thread.signals.lock().stack;
    let rsp = context.regs.rsp;
    let is_enabled = present.flags & STACK_DISABLED == 0;
    let on_stack = is_enabled && rsp > present.base && rsp - present.base <= present.size;
    if new != 0 {
        let raw = mm.read_array::<24>(new)?;
        let word =
            |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().expect("8 of 24 bytes"));
        let wanted = StackT { base: word(0), flags: word(8) as u32, size: word(16) };
        if on_stack {
            return Err(Errno::EPERM);
        }
        let mode = wanted.flags & !(1 << 31);
        if mode > 2 {
            return Err(Errno::EINVAL);
        }
        let stack = if mode == STACK_DISABLED {
            StackT { base: 0, flags: STACK_DISABLED, size: 0 }
        } else {
            if wanted.size < SMALLEST_STACK {
                return Err(Errno::ENOMEM);
            }
            StackT { flags: wanted.flags & !3, ..wanted }
        };
        thread.signals.lock().stack = stack;
    }
    if old != 0 {
        let mut raw = [0; 24];
        raw[..8].copy_from_slice(&present.base.to_le_bytes());
        let flags = present.flags | u32::from(on_stack);
        raw[8..12].copy_from_slice(&flags.to_le_bytes());
        raw[16..].copy_from_slice(&present.size.to_le_bytes());
        mm.write(old, &raw)?;
    }
    Ok(0)
}

fn pause(thread: &Arc<Thread>, _: &Args) -> SysResult {
    let never = thread.wait(&[], None, || None::<()>);
    never.map(|()| 0).map_err(|_| Errno::ERESTARTNOHAND)
}

fn rt_sigpending(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [to, size, ..] = args.0;
    if size > 8 {
        return Err(Errno::EINVAL);
    }
    let signals = thread.signals.lock();
    let pending = signals.pending.set().or(thread.process.pending_set()).and(signals.blocked);
    drop(signals);
    thread.mm().write(to, &pending.0.to_le_bytes()[..size as usize])?;
    Ok(0)
}

fn rt_sigsuspend(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let mask = read_set(thread, args.0[0], args.0[1])?;
    thread.replace_mask(mask);
    let never = thread.wait(&[], None, || None::<()>);
    never.map(|()| 0).map_err(|_| Errno::ERESTARTNOHAND)
}

fn rt_sigtimedwait(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [set, to, timeout, size, ..] = args.0;
    let wanted = read_set(thread, set, size)?.without(Set::UNBLOCKABLE);
    let platform = thread.kernel.platform;
    let deadline = match timeout {
        0 => None,
        at => {
            let length = read_timespec(thread, at)?;
            Some(platform.monotonic_ns().saturating_add(length))
        }
    };
    thread.signals.lock().awaited = wanted;
    let queue = thread.process.signal_queue.clone();
    let taken = thread.wait(&[&queue], deadline, || thread.take_pending(wanted));
    thread.signals.lock().awaited = Set::EMPTY;
    match taken {
        Ok(info) => {
            if to != 0 {
                thread.mm().write(to, &info.encode())?;
            }
            Ok(u64::from(info.signal))
        }
        Err(crate::wait::WaitError::TimedOut) => Err(Errno::EAGAIN),
        Err(crate::wait::WaitError::Interrupted) => Err(Errno::EINTR),
    }
}

/// Signal 0 asks only whether the target exists.
fn optional(number: u64) -> Result<Option<u8>, Errno> {
    match number as u32 {
        0 => Ok(None),
        other => valid(u64::from(other)).map(Some).ok_or(Errno::EINVAL),
    }
}

/// kill(2)'s rule: root, or the same real or effective user as the target's real or saved one; SIGCONT
/// within the session.
fn may_signal(thread: &Thread, target: &Process, signal: Option<u8>) -> bool {
    let mine = thread.process.credentials.lock().clone();
    let theirs = target.credentials.lock().clone();
    mine.euid == 0
        || [mine.ruid, mine.euid].iter().any(|id| *id == theirs.ruid || *id == theirs.suid)
        || (signal == Some(signo::SIGCONT)
            && thread.process.job.lock().sid == target.job.lock().sid)
}

fn sender(thread: &Thread, signal: u8, code: i32) -> Info {
    Info::sent(signal, code, thread.process.pid, thread.process.credentials.lock().ruid)
}

fn kill(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let target = args.int(0);
    let signal = optional(args.0[1])?;
    let all: Vec<Arc<Process>> = thread.kernel.processes.lock().values().cloned().collect();
    let own_group = thread.process.job.lock().pgid;
    let is_target = |process: &Process| match target {
        pid if pid > 0 => process.pid == pid as Pid,
        0 => process.job.lock().pgid == own_group,
        -1 => process.pid != 1 && process.pid != thread.process.pid,
        group => process.job.lock().pgid == group.unsigned_abs(),
    };
    let targets: Vec<_> = all.into_iter().filter(|process| is_target(process)).collect();
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    let mut result = Err(Errno::EPERM);
    for process in targets.iter().filter(|process| may_signal(thread, process, signal)) {
        result = Ok(0);
        if let Some(signal) = signal {
            process.signal(sender(thread, signal, code::SI_USER))?;
        }
    }
    result
}

fn to_thread(
    thread: &Arc<Thread>,
    group: Option<Pid>,
    tid: i32,
    info: impl Fn(u8) -> Result<Info, Errno>,
    signal: Option<u8>,
) -> SysResult {
    if tid <= 0 || group == Some(0) {
        return Err(Errno::EINVAL);
    }
    let target = thread.kernel.thread(tid as Pid).ok_or(Errno::ESRCH)?;
    if group.is_some_and(|group| target.process.pid != group) {
        return Err(Errno::ESRCH);
    }
    if !may_signal(thread, &target.process, signal) {
        return Err(Errno::EPERM);
    }
    if let Some(signal) = signal {
        target.signal(info(signal)?)?;
    }
    Ok(0)
}

fn tkill(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let info = |signal| Ok(sender(thread, signal, code::SI_TKILL));
    to_thread(thread, None, args.int(0), info, optional(args.0[1])?)
}

fn tgkill(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let info = |signal| Ok(sender(thread, signal, code::SI_TKILL));
    to_thread(thread, Some(args.0[0] as Pid), args.int(1), info, optional(args.0[2])?)
}

/// A program's own siginfo: it may not pass for the kernel's or kill(2)'s to others.
fn own_info(thread: &Thread, target: Pid, signal: u8, at: u64) -> Result<Info, Errno> {
    let info = Info::queued(signal, &thread.mm().read_array(at)?);
    if (info.code >= 0 || info.code == code::SI_TKILL) && target != thread.process.pid {
        return Err(Errno::EPERM);
    }
    Ok(info)
}

fn rt_sigqueueinfo(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let pid = args.0[0] as Pid;
    let target = thread.kernel.process(pid).ok_or(Errno::ESRCH)?;
    let signal = optional(args.0[1])?;
    if !may_signal(thread, &target, signal) {
        return Err(Errno::EPERM);
    }
    if let Some(signal) = signal {
        target.signal(own_info(thread, pid, signal, args.0[2])?)?;
    }
    Ok(0)
}

fn rt_tgsigqueueinfo(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let group = args.0[0] as Pid;
    let info = |signal| own_info(thread, group, signal, args.0[3]);
    to_thread(thread, Some(group), args.int(1), info, optional(args.0[2])?)
}

impl Thread {
    /// Replaces the blocked signals until the present call is over.
    pub fn replace_mask(&self, mask: Set) {
        let mut signals = self.signals.lock();
        let old = signals.blocked;
        signals.saved.get_or_insert(old);
        signals.blocked = mask.without(Set::UNBLOCKABLE);
        drop(signals);
        self.note();
    }

    /// Takes a pending signal of `wanted`, blocked or not.
    pub fn take_pending(&self, wanted: Set) -> Option<Info> {
        let own = self.signals.lock().pending.take(wanted);
        own.or_else(|| self.process.pending.lock().take(wanted))
    }
}
