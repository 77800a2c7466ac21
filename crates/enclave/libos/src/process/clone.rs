//! New processes and threads.

use super::{Job, Life, Pid, Process};
use crate::errno::Errno;
use crate::mm::Mm;
use crate::platform::UserContext;
use crate::signal::{Pending, signo, valid};
use crate::sync::Mutex;
use crate::syscall::{Args, Entry, Handler, Support, SysResult};
use crate::thread::{Thread, run};
use crate::wait::WaitQueue;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Served here.
pub const TABLE: &[Entry] =
    &[registers(56, clone), registers(57, fork), registers(58, vfork), registers(435, clone3)];

const fn registers(
    number: u16,
    handler: fn(&Arc<Thread>, &mut UserContext, &Args) -> SysResult,
) -> Entry {
    let support = Support::Partial("no namespaces, no pidfd, no ptrace");
    Entry { number, support, handler: Handler::Registers(handler) }
}

/// CLONE_* (clone(2)).
mod flag {
    pub(super) const VM: u64 = 0x100;
    pub(super) const FS: u64 = 0x200;
    pub(super) const FILES: u64 = 0x400;
    pub(super) const SIGHAND: u64 = 0x800;
    pub(super) const PIDFD: u64 = 0x1000;
    pub(super) const VFORK: u64 = 0x4000;
    pub(super) const PARENT: u64 = 0x8000;
    pub(super) const THREAD: u64 = 0x1_0000;
    pub(super) const SYSVSEM: u64 = 0x4_0000;
    pub(super) const SETTLS: u64 = 0x8_0000;
    pub(super) const PARENT_SETTID: u64 = 0x10_0000;
    pub(super) const CHILD_CLEARTID: u64 = 0x20_0000;
    pub(super) const DETACHED: u64 = 0x40_0000;
    pub(super) const CHILD_SETTID: u64 = 0x100_0000;
    pub(super) const IO: u64 = 0x8000_0000;
    pub(super) const CLEAR_SIGHAND: u64 = 1 << 32;
    pub(super) const KNOWN: u64 = VM
        | FS
        | FILES
        | SIGHAND
        | VFORK
        | PARENT
        | THREAD
        | SYSVSEM
        | SETTLS
        | PARENT_SETTID
        | CHILD_CLEARTID
        | DETACHED
        | CHILD_SETTID
        | IO
        | CLEAR_SIGHAND;
}

/// `struct clone_args`, as far as it is served.
#[derive(Clone, Copy, Debug, Default)]
struct Request {
    flags: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    /// The child's first RSP; 0 for the parent's.
    stack: u64,
    tls: u64,
}

fn fork(thread: &Arc<Thread>, context: &mut UserContext, _: &Args) -> SysResult {
    start(
        thread,
        context,
        &Request { exit_signal: u64::from(signo::SIGCHLD), ..Request::default() },
    )
}

fn vfork(thread: &Arc<Thread>, context: &mut UserContext, _: &Args) -> SysResult {
    let exit_signal = u64::from(signo::SIGCHLD);
    let flags = flag::VM | flag::VFORK;
    start(thread, context, &Request { flags, exit_signal, ..Request::default() })
}

fn clone(thread: &Arc<Thread>, context: &mut UserContext, args: &Args) -> SysResult {
    let [flags, stack, parent_tid, child_tid, tls, _] = args.0;
    let exit_signal = flags & 0xff;
    let flags = flags & 0xffff_ff00;
    start(thread, context, &Request { flags, child_tid, parent_tid, exit_signal, stack, tls })
}

fn clone3(thread: &Arc<Thread>, context: &mut UserContext, args: &Args) -> SysResult {
    let [at, size, ..] = args.0;
    if size < 64 {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    let mut raw = alloc::vec![0; size.max(88) as usize];
    thread.mm().read(at, &mut raw[..size as usize])?;
    if raw[88..].iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let word =
        |index: usize| u64::from_le_bytes(raw[index * 8..index * 8 + 8].try_into().expect("8"));
    let (stack, stack_size) = (word(5), word(6));
    // set_tid, set_tid_size and cgroup ask for what is not there.
    if word(8) != 0 || word(9) != 0 || (stack == 0) != (stack_size == 0) {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        flags: word(0),
        child_tid: word(2),
        parent_tid: word(3),
        exit_signal: word(4),
        stack: stack.checked_add(stack_size).ok_or(Errno::EINVAL)?,
        tls: word(7),
    };
    start(thread, context, &request)
}

fn start(thread: &Arc<Thread>, context: &mut UserContext, request: &Request) -> SysResult {
    let flags = request.flags;
    let has = |bits: u64| flags & bits == bits;
    if flags & !flag::KNOWN != 0 || has(flag::PIDFD) {
        return Err(Errno::EINVAL);
    }
    if (has(flag::SIGHAND) && !has(flag::VM))
        || (has(flag::THREAD) && !has(flag::SIGHAND))
        || (has(flag::SIGHAND | flag::CLEAR_SIGHAND))
        || (request.exit_signal != 0 && valid(request.exit_signal).is_none())
    {
        return Err(Errno::EINVAL);
    }
    if !context.xstate_is_full {
        thread.kernel.platform.capture_xstate(context);
        context.xstate_is_full = true;
    }
    let mut child_context = Box::new(context.clone());
    child_context.regs.rax = 0;
    if request.stack != 0 {
        child_context.regs.rsp = request.stack;
    }
    if has(flag::SETTLS) {
        child_context.regs.fs_base = request.tls;
    }
    if has(flag::THREAD) {
        new_thread(thread, child_context, request)
    } else {
        new_process(thread, child_context, request)
    }
}

/// What parent and child find in their memory before the child runs.
fn announce(request: &Request, tid: Pid, parent: &Mm, child: &Thread, child_mm: &Mm) {
    let bytes = tid.to_le_bytes();
    // Linux ignores failures here too.
    if request.flags & flag::PARENT_SETTID != 0 {
        let _ = parent.write(request.parent_tid, &bytes);
    }
    if request.flags & flag::CHILD_SETTID != 0 {
        let _ = child_mm.write(request.child_tid, &bytes);
    }
    if request.flags & flag::CHILD_CLEARTID != 0 {
        child.clear_tid.store(request.child_tid, Ordering::Relaxed);
    }
}

fn new_thread(thread: &Arc<Thread>, context: Box<UserContext>, request: &Request) -> SysResult {
    let kernel = thread.kernel;
    let process = &thread.process;
    let tid = kernel.new_pid()?;
    let blocked = thread.signals.lock().blocked;
    let child = Thread::new(process.clone(), tid, blocked);
    let mm = thread.mm();
    announce(request, tid, &mm, &child, &mm);
    process.threads.lock().insert(tid, child.clone());
    kernel.remember_thread(&child);
    let body = child.clone();
    if kernel.platform.spawn(Box::new(move || run::run(body, context, false))).is_err() {
        process.threads.lock().remove(&tid);
        kernel.forget_thread(tid);
        return Err(Errno::EAGAIN);
    }
    if thread.must_end() {
        child.notify();
    }
    Ok(u64::from(tid))
}

fn new_process(thread: &Arc<Thread>, context: Box<UserContext>, request: &Request) -> SysResult {
    let kernel = thread.kernel;
    let parent = &thread.process;
    let flags = request.flags;
    let has = |bits: u64| flags & bits != 0;
    if kernel.processes.lock().len() as u64 >= parent.rlimit(super::limits::NPROC) {
        return Err(Errno::EAGAIN);
    }
    let pid = kernel.new_pid()?;
    let parent_mm = thread.mm();
    let shares_memory = has(flag::VM);
    let child_mm = if shares_memory {
        parent_mm.clone()
    } else {
        thread.hold_residency(&parent_mm)?;
        parent_mm.stop_others();
        let copy = parent_mm.fork();
        thread.leave_residency();
        parent_mm.resume_others();
        copy
    };
    let fs = parent.fs();
    let files = parent.files();
    let actions = parent.actions();
    let new_actions = match () {
        () if has(flag::SIGHAND) => actions,
        () if has(flag::CLEAR_SIGHAND) => {
            let mut cleared = actions.lock().clone();
            cleared.reset_handlers();
            Arc::new(Mutex::new(cleared))
        }
        () => Arc::new(Mutex::new(actions.lock().clone())),
    };
    let of = if has(flag::PARENT) { parent.parent.lock().upgrade() } else { Some(parent.clone()) };
    let of = of.unwrap_or_else(|| parent.clone());
    let exit_signal = if has(flag::PARENT) {
        parent.exit_signal.load(Ordering::Relaxed)
    } else {
        request.exit_signal as u32
    };
    let job = *parent.job.lock();
    let child = Arc::new(Process {
        kernel,
        pid,
        mm: Mutex::new(child_mm.clone()),
        files: Mutex::new(if has(flag::FILES) { files } else { Arc::new(files.duplicate()) }),
        fs: Mutex::new(if has(flag::FS) { fs } else { Arc::new(fs.duplicate()) }),
        credentials: Mutex::new(parent.credentials.lock().clone()),
        job: Mutex::new(Job { ..job }),
        parent: Mutex::new(Arc::downgrade(&of)),
        parent_pid: AtomicU32::new(of.pid),
        children: Mutex::new(Vec::new()),
        threads: Mutex::new(BTreeMap::new()),
        life: Mutex::new(Life::default()),
        actions: Mutex::new(new_actions),
        pending: Mutex::new(Pending::default()),
        signal_queue: Arc::new(WaitQueue::new()),
        events: WaitQueue::new(),
        limits: Mutex::new(parent.limits.lock().clone()),
        program: Mutex::new(parent.program.lock().clone()),
        exit_signal: AtomicU32::new(exit_signal),
        session: parent.session,
        borrows_memory: AtomicBool::new(has(flag::VFORK)),
        has_execed: AtomicBool::new(false),
        is_subreaper: AtomicBool::new(false),
        oom_score_adj: AtomicI32::new(parent.oom_score_adj.load(Ordering::Relaxed)),
        started_ns: kernel.platform.monotonic_ns(),
        cpu_ns: AtomicU64::new(0),
        children_cpu_ns: AtomicU64::new(0),
        timers: Mutex::default(),
    });
    let (blocked, stack) = {
        let signals = thread.signals.lock();
        (signals.blocked, signals.stack)
    };
    let first = Thread::new(child.clone(), pid, blocked);
    if !shares_memory || has(flag::VFORK) {
        first.signals.lock().stack = stack;
    }
    announce(request, pid, &parent_mm, &first, &child_mm);
    child.threads.lock().insert(pid, first.clone());
    kernel.remember_thread(&first);
    kernel.processes.lock().insert(pid, child.clone());
    of.children.lock().push(child.clone());
    drop(parent_mm);
    drop(child_mm);
    let is_first = !shares_memory;
    if kernel.platform.spawn(Box::new(move || run::run(first, context, is_first))).is_err() {
        of.children.lock().retain(|other| other.pid != pid);
        kernel.forget_process(&child);
        kernel.forget_thread(pid);
        if is_first {
            child.mm().cancel_first();
        }
        child.threads.lock().clear();
        return Err(Errno::EAGAIN);
    }
    if has(flag::VFORK) {
        // Only the end of this process ends the wait: the child uses its stack.
        thread.leave_residency();
        crate::wait::wait_uninterrupted(
            kernel.platform,
            &[&child.events, &parent.events],
            None,
            || {
                let is_done = !child.borrows_memory.load(Ordering::SeqCst);
                (is_done || thread.must_end()).then_some(())
            },
        );
    }
    Ok(u64::from(pid))
}
