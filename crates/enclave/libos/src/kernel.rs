//! The one library OS: what all processes share.

use crate::cpuid::Cpuid;
use crate::errno::Errno;
use crate::fs;
use crate::fs::socket::inet::network::Network;
use crate::futex::{self, Futexes};
use crate::host::Level;
use crate::mm::{self, Memory, Mm};
use crate::platform::Platform;
use crate::process::{self, Pid, Process};
use crate::signal;
use crate::sync::Mutex;
use crate::syscall::{Table, clock, misc};
use crate::thread::{self, Thread};
use crate::timers::{self, Timers};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// `utsname.release`: the Linux whose interfaces this follows.
pub const RELEASE: &str = "6.1.0-inclavare";
/// `utsname.version`.
pub const VERSION: &str = concat!("#1 SMP Inclavare ", env!("CARGO_PKG_VERSION"));

/// Highest process or thread id (pid_max).
const MAX_PID: Pid = 32768;

/// Global state; leaked at boot, so that everything may hold a `&'static Kernel`.
pub struct Kernel {
    /// The machine below.
    pub platform: &'static dyn Platform,
    /// The system calls.
    pub syscalls: Table,
    /// Memory of all programs.
    pub memory: &'static Memory,
    /// What dead processes have for memory.
    pub no_memory: Arc<Mm>,
    /// All processes, zombies included.
    pub processes: Mutex<BTreeMap<Pid, Arc<Process>>>,
    /// All threads.
    threads: Mutex<BTreeMap<Pid, Arc<Thread>>>,
    /// Who waits in futex(2).
    pub futexes: Futexes,
    /// Timers of programs.
    pub timers: Timers,
    /// The network of all programs.
    pub network: Arc<Network>,
    /// What CPUID says.
    pub cpuid: Cpuid,
    /// Processors that programs see.
    pub cpus: u32,
    /// Host name.
    pub hostname: String,
    /// Bytes of memory that programs are told of.
    pub memory_limit: u64,
    /// When the library OS started, monotonic nanoseconds.
    pub started_ns: u64,
    /// Processes made since the start.
    pub forks: AtomicU64,
    last_pid: Mutex<Pid>,
    /// The file layer knows which sessions of the host there are.
    pub(crate) on_session_end: Mutex<Option<SessionEnd>>,
    /// The file layer keeps what processes said to /dev/attestation.
    pub(crate) on_process_end: Mutex<Option<ProcessEnd>>,
    /// The attester's process; 0: there is none.
    pub(crate) attester: AtomicU32,
    is_ending: AtomicBool,
}

/// Told when the first process of a session of the host ended.
pub(crate) type SessionEnd = Box<dyn Fn(u32) + Send>;

/// Told when a process is forgotten and its number free again.
pub(crate) type ProcessEnd = Box<dyn Fn(Pid) + Send>;

/// What a library OS is made of.
pub struct Settings {
    /// Processors that programs see.
    pub cpus: u32,
    /// Host name.
    pub hostname: String,
    /// Bytes of memory that programs are told of.
    pub memory_limit: u64,
}

impl Kernel {
    /// A library OS with no processes, for good.
    #[must_use]
    pub fn leak(platform: &'static dyn Platform, settings: Settings) -> &'static Self {
        crate::sync::set_platform(platform);
        let memory: &'static Memory = Box::leak(Box::new(Memory::new(platform)));
        Box::leak(Box::new(Self {
            platform,
            syscalls: Table::new(&[
                fs::syscalls::TABLE,
                clock::TABLE,
                futex::TABLE,
                misc::TABLE,
                mm::syscalls::TABLE,
                process::clone::TABLE,
                process::exec::TABLE,
                process::exit::TABLE,
                process::ids::TABLE,
                process::jobs::TABLE,
                process::limits::TABLE,
                process::wait::TABLE,
                signal::syscalls::TABLE,
                thread::syscalls::TABLE,
                timers::TABLE,
            ]),
            memory,
            no_memory: Mm::new(memory),
            processes: Mutex::new(BTreeMap::new()),
            threads: Mutex::new(BTreeMap::new()),
            futexes: Futexes::default(),
            timers: Timers::default(),
            network: Network::new(platform),
            cpuid: Cpuid::new(platform.xfrm(), settings.cpus),
            cpus: settings.cpus,
            hostname: settings.hostname,
            memory_limit: settings.memory_limit,
            started_ns: platform.monotonic_ns(),
            forks: AtomicU64::new(0),
            last_pid: Mutex::new(0),
            on_session_end: Mutex::new(None),
            on_process_end: Mutex::new(None),
            attester: AtomicU32::new(0),
            is_ending: AtomicBool::new(false),
        }))
    }

    /// A process id that no process, thread, group or session has.
    ///
    /// # Errors
    /// EAGAIN where all are in use.
    pub fn new_pid(&self) -> Result<Pid, Errno> {
        let processes = self.processes.lock();
        let threads = self.threads.lock();
        let mut last = self.last_pid.lock();
        for _ in 0..MAX_PID {
            *last = *last % MAX_PID + 1;
            let pid = *last;
            let is_name = processes.values().any(|process| {
                let job = *process.job.lock();
                job.pgid == pid || job.sid == pid
            });
            if !is_name && !processes.contains_key(&pid) && !threads.contains_key(&pid) {
                self.forks.fetch_add(1, Ordering::Relaxed);
                return Ok(pid);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// The id given last.
    #[must_use]
    pub fn last_pid(&self) -> Pid {
        *self.last_pid.lock()
    }

    /// A process that is not forgotten.
    #[must_use]
    pub fn process(&self, pid: Pid) -> Option<Arc<Process>> {
        self.processes.lock().get(&pid).cloned()
    }

    /// A living thread.
    #[must_use]
    pub fn thread(&self, tid: Pid) -> Option<Arc<Thread>> {
        self.threads.lock().get(&tid).cloned()
    }

    /// Living threads in all.
    #[must_use]
    pub fn thread_count(&self) -> u32 {
        self.threads.lock().len() as u32
    }

    /// Adds a thread to the table.
    pub fn remember_thread(&self, thread: &Arc<Thread>) {
        self.threads.lock().insert(thread.tid, thread.clone());
    }

    /// Removes a thread that ended.
    pub fn forget_thread(&self, tid: Pid) {
        self.threads.lock().remove(&tid);
    }

    /// Removes a process that was waited for.
    pub fn forget_process(&self, process: &Process) {
        // Before the number is free.
        if let Some(told) = &*self.on_process_end.lock() {
            told(process.pid);
        }
        self.processes.lock().remove(&process.pid);
    }

    /// Bytes of memory that programs are told of.
    #[must_use]
    pub fn memory_total(&self) -> u64 {
        self.memory_limit
    }

    /// Of them not filled.
    #[must_use]
    pub fn memory_free(&self) -> u64 {
        let processes: alloc::vec::Vec<_> = self.processes.lock().values().cloned().collect();
        let used: u64 = processes.iter().map(|process| process.mm().usage().1).sum();
        self.memory_limit.saturating_sub(used)
    }

    /// The first process ended: so does the container. Does not return on a machine that ends.
    pub fn end_container(&self, status: u32) {
        if self.is_ending.swap(true, Ordering::SeqCst) {
            return;
        }
        for (number, name, support, count) in self.syscalls.list() {
            if count > 0 && support.is_none() {
                self.log_debug(format_args!("system call {number} {name}: {count} times ENOSYS"));
            }
        }
        let refused = self.memory.refused_shared.load(Ordering::Relaxed);
        if refused > 0 {
            self.log_debug(format_args!(
                "{refused} mappings of a shared object at a second address"
            ));
        }
        self.platform.host().exit(status);
    }

    /// The attester ended: nobody can tell any more what runs here, so that nothing shall. Does not return on a
    /// machine that ends.
    pub fn attester_ended(&self, status: u32) {
        if self.is_ending.swap(true, Ordering::SeqCst) {
            return;
        }
        let how = match (status & 0x7f, status >> 8 & 0xff) {
            (0, code) => alloc::format!("exit code {code}"),
            (signal, _) => alloc::format!("signal {signal}"),
        };
        self.platform.host().refuse(&alloc::format!(
            "attester: expected to run as long as the container, ended with {how}"
        ));
    }

    /// The first process of an exec session ended.
    pub fn end_session(&self, session: u32, status: u32) {
        if let Some(told) = &*self.on_session_end.lock() {
            told(session);
        }
        self.platform.host().session_ended(session, status);
    }

    /// A line for the operator.
    pub fn log_error(&self, line: Arguments<'_>) {
        self.platform.host().log(Level::Error, alloc::format!("{line}"));
    }

    /// A line for who looks for a fault.
    pub fn log_debug(&self, line: Arguments<'_>) {
        self.platform.host().log(Level::Debug, alloc::format!("{line}"));
    }
}
