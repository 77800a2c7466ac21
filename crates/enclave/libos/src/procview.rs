//! Processes as /proc shows them.

use crate::fs::fd::Table;
use crate::fs::location::Location;
use crate::fs::procfs::{ProcessInfo, Processes, Summary, SystemInfo};
use crate::fs::socket::inet::network::Network;
use crate::kernel::{Kernel, RELEASE, VERSION};
use crate::mm::map::MappingInfo;
use crate::mm::vma::Role;
use crate::process::{Credentials, Process};
use crate::signal::action::{DEFAULT_HANDLER, IGNORE_HANDLER};
use crate::signal::{Set, signo};
use crate::syscall::Support;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::sync::atomic::Ordering;

/// All processes of a library OS.
pub struct View(pub &'static Kernel);

impl Processes for View {
    fn pids(&self) -> Vec<u32> {
        self.0.processes.lock().keys().copied().collect()
    }

    fn process(&self, pid: u32) -> Option<Arc<dyn ProcessInfo>> {
        self.0.process(pid).map(|process| Arc::new(One(process)) as Arc<dyn ProcessInfo>)
    }

    fn system(&self) -> SystemInfo {
        let kernel = self.0;
        let now = kernel.platform.monotonic_ns();
        let processes: Vec<_> = kernel.processes.lock().values().cloned().collect();
        let running = processes.iter().flat_map(|p| p.thread_list()).filter(|t| t.is_running());
        SystemInfo {
            memory_total: kernel.memory_total(),
            memory_free: kernel.memory_free(),
            cpus: kernel.cpus,
            uptime_ns: now.saturating_sub(kernel.started_ns),
            boot_time: kernel.platform.realtime_ns().saturating_sub(now - kernel.started_ns)
                / 1_000_000_000,
            user_ns: processes.iter().map(|p| p.cpu_time_ns()).sum(),
            threads: (running.count() as u32, kernel.thread_count()),
            forks: kernel.forks.load(Ordering::Relaxed),
            last_pid: kernel.last_pid(),
            hostname: kernel.hostname.clone(),
            release: (RELEASE.into(), VERSION.into()),
            is_emulated: kernel.platform.is_emulated(),
        }
    }

    fn syscalls(&self) -> String {
        let mut text = String::new();
        for (number, name, support, count) in self.0.syscalls.list() {
            let _ = match support {
                None => writeln!(text, "{number} {name} none {count}"),
                Some(Support::Full) => writeln!(text, "{number} {name} full {count}"),
                Some(Support::Partial(note)) => {
                    writeln!(text, "{number} {name} partial {count} ({note})")
                }
            };
        }
        text
    }

    fn network(&self) -> Arc<Network> {
        self.0.network.clone()
    }

    fn cpu_flags(&self) -> String {
        self.0.cpuid.flags()
    }
}

/// One process.
struct One(Arc<Process>);

impl One {
    /// Bytes of the process's memory; empty where they are not there any more.
    fn copy(&self, range: core::ops::Range<u64>) -> Vec<u8> {
        let mut bytes = alloc::vec![0; (range.end - range.start).min(1 << 21) as usize];
        if self.0.mm().read(range.start, &mut bytes).is_err() {
            bytes.clear();
        }
        bytes
    }
}

impl ProcessInfo for One {
    fn summary(&self) -> Summary {
        let process = &self.0;
        let job = *process.job.lock();
        let mm = process.mm();
        let mappings = mm.mappings();
        let size = |wanted: &dyn Fn(&MappingInfo) -> bool| -> u64 {
            mappings.iter().filter(|m| wanted(m)).map(|m| m.range.end - m.range.start).sum()
        };
        let actions = process.actions();
        let (mut ignored, mut caught) = (Set::EMPTY, Set::EMPTY);
        for signal in 1..=signo::SIGRTMAX {
            match actions.lock().get(signal).handler {
                DEFAULT_HANDLER => {}
                IGNORE_HANDLER => ignored.insert(signal),
                _ => caught.insert(signal),
            }
        }
        let threads = process.thread_list();
        let blocked = threads.first().map_or(Set::EMPTY, |thread| thread.signals.lock().blocked);
        Summary {
            comm: process.program.lock().comm.clone(),
            state: process.state_letter(),
            ppid: process.ppid(),
            pgid: job.pgid,
            sid: job.sid,
            threads: threads.len() as u32,
            times_ns: [
                process.cpu_time_ns(),
                0,
                process.children_cpu_ns.load(Ordering::Relaxed),
                0,
            ],
            start_ns: process.started_ns.saturating_sub(process.kernel.started_ns),
            memory: mm.usage(),
            parts: [
                size(&|m| m.access.execute),
                size(&|m| m.access.write && m.role != Role::Stack),
                size(&|m| m.role == Role::Stack),
            ],
            signals: [process.pending_set().0, blocked.0, ignored.0, caught.0],
            nice: 0,
            exit_status: process.life.lock().zombie.unwrap_or(0),
        }
    }

    fn cmdline(&self) -> Vec<u8> {
        let range = self.0.program.lock().arguments.clone();
        self.copy(range)
    }

    fn environ(&self) -> Vec<u8> {
        let range = self.0.program.lock().environment.clone();
        self.copy(range)
    }

    fn auxv(&self) -> Vec<u8> {
        let range = self.0.program.lock().auxiliary.clone();
        self.copy(range)
    }

    fn maps(&self) -> Vec<u8> {
        let mut text = String::new();
        let mut bytes = Vec::new();
        for mapping in self.0.mm().mappings() {
            let flag = |is_set: bool, letter: char| if is_set { letter } else { '-' };
            text.clear();
            let _ = write!(
                text,
                "{:08x}-{:08x} {}{}{}{} {:08x} {} {} ",
                mapping.range.start,
                mapping.range.end,
                flag(mapping.access.read, 'r'),
                flag(mapping.access.write, 'w'),
                flag(mapping.access.execute, 'x'),
                if mapping.is_shared { 's' } else { 'p' },
                mapping.offset,
                if mapping.path.is_empty() { "00:00" } else { "00:01" },
                0,
            );
            while text.len() < 73 {
                text.push(' ');
            }
            bytes.extend(text.as_bytes());
            match mapping.role {
                Role::Heap => bytes.extend(b"[heap]"),
                Role::Stack => bytes.extend(b"[stack]"),
                Role::Plain => bytes.extend(&*mapping.path),
            }
            bytes.push(b'\n');
        }
        bytes
    }

    fn credentials(&self) -> Credentials {
        self.0.credentials.lock().clone()
    }

    fn exe(&self) -> Option<Location> {
        self.0.program.lock().location.clone()
    }

    fn places(&self) -> Option<(Location, Location)> {
        let fs = self.0.fs();
        (!self.0.is_zombie()).then(|| (fs.cwd(), fs.root()))
    }

    fn files(&self) -> Option<Arc<Table>> {
        (!self.0.is_zombie()).then(|| self.0.files())
    }

    fn umask(&self) -> u32 {
        self.0.fs().umask()
    }

    fn tids(&self) -> Vec<u32> {
        self.0.threads.lock().keys().copied().collect()
    }

    fn limit(&self, resource: u32) -> (u64, u64) {
        self.0.limits.lock().both(resource)
    }

    fn set_comm(&self, comm: &[u8]) {
        self.0.program.lock().comm = comm[..comm.len().min(15)].to_vec();
    }

    fn oom_score_adj(&self) -> i32 {
        self.0.oom_score_adj.load(Ordering::Relaxed)
    }

    fn set_oom_score_adj(&self, value: i32) {
        self.0.oom_score_adj.store(value, Ordering::Relaxed);
    }
}
