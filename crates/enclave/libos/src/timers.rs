//! Timers: one thread of the library OS that waits for the next deadline, and what programs set on it.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::process::Process;
use crate::signal::info::{Fields, code};
use crate::signal::{Info, signo, valid};
use crate::sync::Mutex;
use crate::syscall::clock::{read_timespec, write_timespec};
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::Thread;
use crate::wait::ThreadRef;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry::partial(36, "ITIMER_REAL only", getitimer),
    Entry::full(37, alarm),
    Entry::partial(38, "ITIMER_VIRTUAL and ITIMER_PROF count real time", setitimer),
    Entry::partial(222, "clocks of the processor count real time", timer_create),
    Entry::full(223, timer_settime),
    Entry::full(224, timer_gettime),
    Entry::full(225, timer_getoverrun),
    Entry::full(226, timer_delete),
];

type Job = Box<dyn FnOnce() + Send>;

/// What is to be done when.
#[derive(Default)]
pub struct Timers {
    jobs: Mutex<BTreeMap<(u64, u64), Job>>,
    runner: Mutex<Option<ThreadRef>>,
}

impl Timers {
    /// Does `job` at `deadline_ns` (monotonic) unless [`cancel`](Self::cancel)led. Gives its key. The first
    /// call starts the thread.
    ///
    /// # Errors
    /// EAGAIN where no thread can be started.
    pub fn at(
        &self,
        kernel: &'static Kernel,
        deadline_ns: u64,
        job: Job,
    ) -> Result<(u64, u64), Errno> {
        let key = (deadline_ns, kernel.memory.next_id());
        self.jobs.lock().insert(key, job);
        let mut runner = self.runner.lock();
        if let Some(thread) = &*runner {
            thread.wake();
            return Ok(key);
        }
        // It sets its own name as soon as it runs; until then the job waits in the table.
        match kernel.platform.spawn(Box::new(move || kernel.timers.run(kernel.platform))) {
            Ok(thread) => {
                *runner = Some(ThreadRef::new(kernel.platform, thread));
                Ok(key)
            }
            Err(_) => {
                self.jobs.lock().remove(&key);
                Err(Errno::EAGAIN)
            }
        }
    }

    /// Forgets a job; false if it was done or is being done.
    pub fn cancel(&self, key: (u64, u64)) -> bool {
        self.jobs.lock().remove(&key).is_some()
    }

    fn run(&self, platform: &'static dyn Platform) {
        loop {
            let now = platform.monotonic_ns();
            let (due, next) = {
                let mut jobs = self.jobs.lock();
                let first = jobs.first_key_value().map(|(key, _)| *key);
                match first {
                    Some(key) if key.0 <= now => (jobs.remove(&key), None),
                    other => (None, other.map(|key| key.0)),
                }
            };
            match due {
                Some(job) => job(),
                None => platform.park(next),
            }
        }
    }
}

/// A process's timers.
#[derive(Default)]
pub struct ProcessTimers {
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    intervals: [Setting; 3],
    posix: BTreeMap<i32, Posix>,
    next: i32,
}

/// A timer that is set.
#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    deadline_ns: u64,
    interval_ns: u64,
    key: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Posix {
    setting: Setting,
    is_realtime: bool,
    signal: Option<u8>,
    thread: Option<u32>,
    value: u64,
    overrun: u32,
}

/// Which of a process's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Interval(usize),
    Posix(i32),
}

impl ProcessTimers {
    /// Stops all (the process ended).
    pub fn disarm(&mut self, kernel: &Kernel) {
        for setting in &mut self.intervals {
            setting.key.take().map(|key| kernel.timers.cancel(key));
        }
        self.disarm_posix(kernel);
    }

    /// Deletes timer_create(2)'s timers (execve(2)).
    pub fn disarm_posix(&mut self, kernel: &Kernel) {
        for (_, timer) in core::mem::take(&mut self.posix) {
            timer.setting.key.map(|key| kernel.timers.cancel(key));
        }
    }

    fn setting(&mut self, which: Which) -> Option<&mut Setting> {
        match which {
            Which::Interval(index) => self.intervals.get_mut(index),
            Which::Posix(id) => self.posix.get_mut(&id).map(|timer| &mut timer.setting),
        }
    }
}

/// Sets or stops (deadline 0) a timer; gives what was left and the interval.
fn set(
    process: &Arc<Process>,
    which: Which,
    deadline_ns: u64,
    interval_ns: u64,
) -> Result<(u64, u64), Errno> {
    let kernel = process.kernel;
    let now = kernel.platform.monotonic_ns();
    let mut timers = process.timers.lock();
    let setting = timers.setting(which).ok_or(Errno::EINVAL)?;
    let old = left(setting, now);
    if let Some(key) = setting.key.take() {
        kernel.timers.cancel(key);
    }
    *setting = Setting { deadline_ns, interval_ns, key: None };
    if deadline_ns != 0 {
        setting.key = Some(arm(process, which, deadline_ns)?);
    }
    Ok(old)
}

fn left(setting: &Setting, now: u64) -> (u64, u64) {
    let left =
        if setting.key.is_some() { setting.deadline_ns.saturating_sub(now).max(1) } else { 0 };
    (left, setting.interval_ns)
}

fn arm(process: &Arc<Process>, which: Which, deadline_ns: u64) -> Result<(u64, u64), Errno> {
    let target = Arc::downgrade(process);
    process.kernel.timers.at(process.kernel, deadline_ns, Box::new(move || expire(&target, which)))
}

/// A timer's time has come: the signal, and the next time.
fn expire(process: &Weak<Process>, which: Which) {
    let Some(process) = process.upgrade() else { return };
    let now = process.kernel.platform.monotonic_ns();
    let (info, thread) = {
        let mut timers = process.timers.lock();
        let Some(setting) = timers.setting(which) else { return };
        if setting.key.take().is_none() {
            return;
        }
        let mut missed = 0;
        let late_by = now.saturating_sub(setting.deadline_ns);
        if let Some(late) = late_by.checked_div(setting.interval_ns) {
            missed = u32::try_from(late).unwrap_or(u32::MAX);
            setting.deadline_ns += (late + 1) * setting.interval_ns;
            setting.key = arm(&process, which, setting.deadline_ns).ok();
        }
        match which {
            Which::Interval(index) => {
                let signals = [signo::SIGALRM, signo::SIGVTALRM, signo::SIGPROF];
                (Some(Info::kernel(signals[index])), None)
            }
            Which::Posix(id) => {
                let Some(timer) = timers.posix.get_mut(&id) else { return };
                timer.overrun = missed;
                let fields = Fields::Timer { id, overrun: missed as i32, value: timer.value };
                let info = timer.signal.map(|signal| Info {
                    signal,
                    errno: 0,
                    code: code::SI_TIMER,
                    fields,
                });
                (info, timer.thread)
            }
        }
    };
    let Some(info) = info else { return };
    // A full queue loses an expiry, which the overrun count cannot tell either.
    let _ = match thread {
        Some(tid) => process.kernel.thread(tid).map_or(Ok(()), |thread| thread.signal(info)),
        None => process.signal(info),
    };
}

fn micros(thread: &Thread, at: u64) -> Result<u64, Errno> {
    let mm = thread.mm();
    let (seconds, micros) = (mm.read_u64(at)?, mm.read_u64(at.wrapping_add(8))?);
    if micros >= 1_000_000 || seconds > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(micros * 1000))
}

fn put_micros(thread: &Thread, at: u64, ns: u64) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(ns / 1_000_000_000).to_le_bytes());
    bytes[8..].copy_from_slice(&(ns % 1_000_000_000).div_ceil(1000).min(999_999).to_le_bytes());
    thread.mm().write(at, &bytes)
}

fn alarm(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let seconds = u64::from(args.0[0] as u32);
    let now = thread.kernel.platform.monotonic_ns();
    let deadline = if seconds == 0 { 0 } else { now + seconds * 1_000_000_000 };
    let (left, _) = set(&thread.process, Which::Interval(0), deadline, 0)?;
    Ok(left.div_ceil(1_000_000_000))
}

fn getitimer(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let which = Which::Interval(args.0[0] as usize);
    let now = thread.kernel.platform.monotonic_ns();
    let (left, interval) =
        left(thread.process.timers.lock().setting(which).ok_or(Errno::EINVAL)?, now);
    put_micros(thread, args.0[1], interval)?;
    put_micros(thread, args.0[1].wrapping_add(16), left)?;
    Ok(0)
}

fn setitimer(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [which, new, old, ..] = args.0;
    let (interval, value) = match new {
        0 => (0, 0),
        at => (micros(thread, at)?, micros(thread, at.wrapping_add(16))?),
    };
    let now = thread.kernel.platform.monotonic_ns();
    let deadline = if value == 0 { 0 } else { now.saturating_add(value) };
    let which = Which::Interval(which as usize);
    let (left, former) = set(&thread.process, which, deadline, interval)?;
    if old != 0 {
        put_micros(thread, old, former)?;
        put_micros(thread, old.wrapping_add(16), left)?;
    }
    Ok(0)
}

/// Most timers of a process.
const MAX_TIMERS: usize = 1024;
const SIGEV_NONE: u32 = 1;
const SIGEV_THREAD_ID: u32 = 4;

fn timer_create(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [clock, event, to, ..] = args.0;
    if clock as i32 > 11 {
        return Err(Errno::EINVAL);
    }
    let mm = thread.mm();
    let mut timers = thread.process.timers.lock();
    if timers.posix.len() >= MAX_TIMERS {
        return Err(Errno::EAGAIN);
    }
    let id = timers.next;
    let (signal, target, value) = match event {
        0 => (Some(signo::SIGALRM), None, id as u64),
        at => {
            let value = mm.read_u64(at)?;
            let signal = mm.read_u32(at.wrapping_add(8))?;
            let notify = mm.read_u32(at.wrapping_add(12))?;
            let tid = mm.read_u32(at.wrapping_add(16))?;
            let signal = match notify {
                SIGEV_NONE => None,
                0 | SIGEV_THREAD_ID => Some(valid(signal.into()).ok_or(Errno::EINVAL)?),
                _ => return Err(Errno::EINVAL),
            };
            let target = (notify == SIGEV_THREAD_ID).then_some(tid);
            if target.is_some_and(|tid| !thread.process.threads.lock().contains_key(&tid)) {
                return Err(Errno::EINVAL);
            }
            (signal, target, value)
        }
    };
    mm.write(to, &id.to_le_bytes())?;
    timers.next += 1;
    let is_realtime = matches!(clock as i32, 0 | 5 | 8);
    let setting = Setting::default();
    let timer = Posix { setting, is_realtime, signal, thread: target, value, overrun: 0 };
    timers.posix.insert(id, timer);
    Ok(0)
}

fn timer_settime(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [id, flags, new, old, ..] = args.0;
    let id = id as i32;
    let interval = read_timespec(thread, new)?;
    let value = read_timespec(thread, new.wrapping_add(16))?;
    let platform = thread.kernel.platform;
    let now = platform.monotonic_ns();
    let is_realtime = {
        let timers = thread.process.timers.lock();
        timers.posix.get(&id).ok_or(Errno::EINVAL)?.is_realtime
    };
    let deadline = match (value, flags & 1) {
        (0, _) => 0,
        (value, 0) => now.saturating_add(value),
        (value, _) if is_realtime => {
            now.saturating_add(value.saturating_sub(platform.realtime_ns()))
        }
        (value, _) => value,
    };
    let (left, former) = set(&thread.process, Which::Posix(id), deadline, interval)?;
    if old != 0 {
        write_timespec(thread, old, former)?;
        write_timespec(thread, old.wrapping_add(16), left)?;
    }
    Ok(0)
}

fn timer_gettime(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let which = Which::Posix(args.int(0));
    let now = thread.kernel.platform.monotonic_ns();
    let (left, interval) =
        left(thread.process.timers.lock().setting(which).ok_or(Errno::EINVAL)?, now);
    write_timespec(thread, args.0[1], interval)?;
    write_timespec(thread, args.0[1].wrapping_add(16), left)?;
    Ok(0)
}

fn timer_getoverrun(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let timers = thread.process.timers.lock();
    Ok(timers.posix.get(&args.int(0)).ok_or(Errno::EINVAL)?.overrun.into())
}

fn timer_delete(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let timer = thread.process.timers.lock().posix.remove(&args.int(0)).ok_or(Errno::EINVAL)?;
    timer.setting.key.map(|key| thread.kernel.timers.cancel(key));
    Ok(0)
}
