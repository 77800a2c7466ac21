//! Processes: thread groups with memory, descriptors, signals, and a place among the others.
//!
//! Lock order: the kernel's table, then a process's `children`, then its `life`, then `threads`; signal
//! locks last. None is held while a thread waits.

pub mod clone;
pub mod exec;
pub mod exit;
pub mod ids;
pub mod jobs;
pub mod limits;
pub mod wait;

use crate::fs;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::signal::{Actions, Pending, Set};
use crate::sync::Mutex;
use crate::thread::Thread;
use crate::wait::WaitQueue;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};
use limits::Limits;

/// Process, thread, process group and session ids share one number space.
pub type Pid = u32;

/// Who a process acts as. Semantics, not a boundary: all processes of a container trust each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // credentials(7)
pub struct Credentials {
    pub ruid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub rgid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    pub groups: Vec<u32>,
}

/// A process: a thread group.
pub struct Process {
    /// The library OS.
    pub kernel: &'static Kernel,
    /// Its id.
    pub pid: Pid,
    /// Its memory; execve(2) puts another in its place. Take a clone, do not hold the lock.
    pub mm: Mutex<Arc<Mm>>,
    /// Its descriptors. Take a clone, do not hold the lock.
    pub files: Mutex<Arc<fs::fd::Table>>,
    /// Its working directory, root and umask.
    pub fs: Mutex<Arc<fs::context::FsContext>>,
    /// Who it acts as.
    pub credentials: Mutex<Credentials>,
    /// Process group and session.
    pub job: Mutex<Job>,
    /// Its parent; None for the first process and for exec sessions.
    pub parent: Mutex<Weak<Process>>,
    /// Its parent's id; 0 for none.
    pub parent_pid: AtomicU32,
    /// Its children, zombies included.
    pub children: Mutex<Vec<Arc<Process>>>,
    /// Its living threads.
    pub threads: Mutex<BTreeMap<Pid, Arc<Thread>>>,
    /// Whether it lives, stands or is dead.
    pub life: Mutex<Life>,
    /// What it does on signals (shared by CLONE_SIGHAND).
    pub actions: Mutex<Arc<Mutex<Actions>>>,
    /// Signals for any of its threads.
    pub pending: Mutex<Pending>,
    /// Woken when a signal becomes pending.
    pub signal_queue: Arc<WaitQueue>,
    /// Woken when a child changes, and when the process is continued or has to end.
    pub events: WaitQueue,
    /// Resource limits.
    pub limits: Mutex<Limits>,
    /// What runs: for /proc/PID.
    pub program: Mutex<Program>,
    /// Signal its end sends to the parent; 0 for none.
    pub exit_signal: AtomicU32,
    /// Exec session, 0 for the container's own processes.
    pub session: u32,
    /// A parent waits until this process has its own memory (vfork(2)).
    pub borrows_memory: AtomicBool,
    /// Whether it has called execve(2) since its fork (setpgid(2) of a parent ends there).
    pub has_execed: AtomicBool,
    /// prctl(PR_SET_CHILD_SUBREAPER).
    pub is_subreaper: AtomicBool,
    /// /proc/PID/oom_score_adj, kept and without effect.
    pub oom_score_adj: AtomicI32,
    /// When it started, monotonic nanoseconds.
    pub started_ns: u64,
    /// Processor time of threads that ended, and of children that were waited for.
    pub cpu_ns: AtomicU64,
    /// Processor time of children that were waited for.
    pub children_cpu_ns: AtomicU64,
    /// Interval timers, POSIX timers.
    pub timers: Mutex<crate::timers::ProcessTimers>,
}

/// Where a process stands in job control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Process group.
    pub pgid: Pid,
    /// Session.
    pub sid: Pid,
}

/// What a process runs.
#[derive(Clone, Default)]
pub struct Program {
    /// Name of the command (TASK_COMM_LEN less one).
    pub comm: Vec<u8>,
    /// Path of the executable.
    pub path: Vec<u8>,
    /// The executable's place in the tree.
    pub location: Option<fs::location::Location>,
    /// Addresses of argv's strings.
    pub arguments: core::ops::Range<u64>,
    /// Addresses of the environment's strings.
    pub environment: core::ops::Range<u64>,
    /// Addresses of the auxiliary vector.
    pub auxiliary: core::ops::Range<u64>,
}

/// Whether a process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// All threads have to end; the wait status it ends with.
    pub ending: Option<u32>,
    /// All threads but this one have to end (execve(2)).
    pub survivor: Option<Pid>,
    /// It is dead; the wait status.
    pub zombie: Option<u32>,
    /// It stands; the signal that stopped it.
    pub stopped: Option<u8>,
    /// A stop or continuation the parent has not waited for; the wait status.
    pub unreported: Option<u32>,
}

/// Wait status of a process that called exit(2).
#[must_use]
pub const fn exited(code: u32) -> u32 {
    (code & 0xff) << 8
}

/// Wait status of a process that a signal ended.
#[must_use]
pub const fn killed(signal: u8, dumped: bool) -> u32 {
    signal as u32 | if dumped { 0x80 } else { 0 }
}

/// Wait status of a process that a signal stopped.
#[must_use]
pub const fn stopped(signal: u8) -> u32 {
    (signal as u32) << 8 | 0x7f
}

/// Wait status of a process that went on.
pub const CONTINUED: u32 = 0xffff;

impl Process {
    /// Its memory, now.
    pub fn mm(&self) -> Arc<Mm> {
        self.mm.lock().clone()
    }

    /// Its descriptors, now.
    pub fn files(&self) -> Arc<fs::fd::Table> {
        self.files.lock().clone()
    }

    /// Its working directory, root and umask, now.
    pub fn fs(&self) -> Arc<fs::context::FsContext> {
        self.fs.lock().clone()
    }

    /// Soft limit of a resource (RLIMIT_*).
    pub fn rlimit(&self, resource: u32) -> u64 {
        self.limits.lock().soft(resource)
    }

    /// Its parent's id; 0 for none.
    pub fn ppid(&self) -> Pid {
        self.parent_pid.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Its threads, now.
    pub fn thread_list(&self) -> Vec<Arc<Thread>> {
        self.threads.lock().values().cloned().collect()
    }

    /// Whether it is dead.
    pub fn is_zombie(&self) -> bool {
        self.life.lock().zombie.is_some()
    }

    /// What it does on signals, now.
    pub fn actions(&self) -> Arc<Mutex<Actions>> {
        self.actions.lock().clone()
    }

    /// Whether it is the container's first process, which no default action ends.
    pub fn is_init(&self) -> bool {
        self.pid == 1
    }

    /// Processor time of all its threads in nanoseconds.
    pub fn cpu_time_ns(&self) -> u64 {
        let now = self.kernel.platform.monotonic_ns();
        let living: u64 = self.thread_list().iter().map(|thread| thread.cpu_time_ns(now)).sum();
        living + self.cpu_ns.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Signals that are pending for the whole process.
    pub fn pending_set(&self) -> Set {
        self.pending.lock().set()
    }

    /// State letter of /proc/PID/stat.
    pub fn state_letter(&self) -> char {
        let life = *self.life.lock();
        match life {
            Life { zombie: Some(_), .. } => 'Z',
            Life { stopped: Some(_), .. } => 'T',
            _ if self.threads.lock().values().any(|thread| thread.is_running()) => 'R',
            _ => 'S',
        }
    }
}
