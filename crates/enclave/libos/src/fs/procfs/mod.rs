//! /proc: what programs read there, made from the processes of the enclave.
//!
//! Limits and sizes are the enclave's, not the host's. What the process side knows comes through
//! [`Processes`] and [`ProcessInfo`].

mod mounts;
mod net;
mod process;
mod sysctl;
mod system;

use super::context::Caller;
use super::fd::Table;
use super::location::Location;
use super::pseudo::{Entry, Names, Pseudo, made};
use super::socket::inet::network::Network;
use super::stat::{FileType, Time};
use crate::process::Credentials;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `f_type` of procfs (statfs(2)).
const PROC_MAGIC: u64 = 0x9fa0;

/// All processes, and what is said of the machine.
pub trait Processes: Send + Sync {
    /// Process ids, ascending.
    fn pids(&self) -> Vec<u32>;
    /// A process.
    fn process(&self, pid: u32) -> Option<Arc<dyn ProcessInfo>>;
    /// The machine.
    fn system(&self) -> SystemInfo;
    /// Text of /proc/inclavare/syscalls: one line per call with its support and count.
    fn syscalls(&self) -> String;
    /// The network.
    fn network(&self) -> Arc<Network>;
    /// Text of `flags` in /proc/cpuinfo.
    fn cpu_flags(&self) -> String;
}

/// What is said of the machine.
#[derive(Clone, Debug, Default)]
pub struct SystemInfo {
    /// Bytes of memory that programs may use in all.
    pub memory_total: u64,
    /// Of them free.
    pub memory_free: u64,
    /// Processors that programs see.
    pub cpus: u32,
    /// Nanoseconds since the enclave started.
    pub uptime_ns: u64,
    /// Seconds since 1970 at the start.
    pub boot_time: u64,
    /// Nanoseconds that programs ran, in all.
    pub user_ns: u64,
    /// Threads that are ready to run, and threads in all.
    pub threads: (u32, u32),
    /// Processes made since the start.
    pub forks: u64,
    /// Last process id given.
    pub last_pid: u32,
    /// Host name.
    pub hostname: String,
    /// `utsname.release` and `utsname.version`.
    pub release: (String, String),
    /// Whether the enclave runs on the emulator.
    pub is_emulated: bool,
}

/// What is said of one process.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Command name, at most 15 bytes.
    pub comm: Vec<u8>,
    /// `R`, `S`, `T`, `Z`.
    pub state: char,
    /// Parent.
    pub ppid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// Threads.
    pub threads: u32,
    /// Nanoseconds in user mode, in system calls, and of waited-for children.
    pub times_ns: [u64; 4],
    /// Start, in nanoseconds after the enclave's.
    pub start_ns: u64,
    /// Bytes of address space, and of it resident.
    pub memory: (u64, u64),
    /// Bytes of text, data and stack.
    pub parts: [u64; 3],
    /// Signals: pending, blocked, ignored, caught.
    pub signals: [u64; 4],
    /// Nice value.
    pub nice: i32,
    /// Exit status as wait(2) gives it, of a zombie.
    pub exit_status: u32,
}

/// A process, as /proc shows it.
pub trait ProcessInfo: Send + Sync {
    /// Numbers.
    fn summary(&self) -> Summary;
    /// argv, each word with its NUL; empty for a zombie.
    fn cmdline(&self) -> Vec<u8>;
    /// Environment, each entry with its NUL.
    fn environ(&self) -> Vec<u8>;
    /// Auxiliary vector.
    fn auxv(&self) -> Vec<u8>;
    /// Text of /proc/PID/maps.
    fn maps(&self) -> Vec<u8>;
    /// Users and groups.
    fn credentials(&self) -> Credentials;
    /// The program.
    fn exe(&self) -> Option<Location>;
    /// Working directory and root; None for a zombie.
    fn places(&self) -> Option<(Location, Location)>;
    /// Descriptors; None for a zombie.
    fn files(&self) -> Option<Arc<Table>>;
    /// Umask.
    fn umask(&self) -> u32;
    /// Thread ids, ascending.
    fn tids(&self) -> Vec<u32>;
    /// Soft and hard limit of a resource.
    fn limit(&self, resource: u32) -> (u64, u64);
    /// Sets the command name.
    fn set_comm(&self, comm: &[u8]);
    /// Value of /proc/PID/oom_score_adj.
    fn oom_score_adj(&self) -> i32;
    /// Sets it.
    fn set_oom_score_adj(&self, value: i32);
}

/// The tree of /proc.
#[must_use]
pub fn tree(processes: Arc<dyn Processes>, made: Time) -> Arc<Pseudo> {
    Pseudo::root(Box::new(Root { processes }), PROC_MAGIC, made)
}

struct Root {
    processes: Arc<dyn Processes>,
}

type Maker = fn(&Arc<dyn Processes>) -> Entry;

/// Names beside the processes.
const FIXED: &[(&str, FileType, Maker)] = &[
    ("cgroups", FileType::Regular, |_| super::pseudo::text(system::CGROUPS)),
    ("cmdline", FileType::Regular, |_| super::pseudo::text("\n")),
    ("cpuinfo", FileType::Regular, |p| system_file(p, system::cpuinfo)),
    ("devices", FileType::Regular, |_| super::pseudo::text(system::DEVICES)),
    ("filesystems", FileType::Regular, |_| super::pseudo::text(system::FILE_SYSTEMS)),
    ("inclavare", FileType::Directory, |p| Entry::Directory(Box::new(Inclavare(p.clone())))),
    ("loadavg", FileType::Regular, |p| system_file(p, system::loadavg)),
    ("meminfo", FileType::Regular, |p| system_file(p, system::meminfo)),
    ("mounts", FileType::Symlink, |_| link("self/mounts")),
    ("net", FileType::Symlink, |_| link("self/net")),
    ("self", FileType::Symlink, |_| {
        Entry::Link(Box::new(|caller: &Caller| Ok(caller.pid.to_string().into_bytes())))
    }),
    ("stat", FileType::Regular, |p| system_file(p, system::stat)),
    ("swaps", FileType::Regular, |_| super::pseudo::text(system::SWAPS)),
    ("sys", FileType::Directory, |p| sysctl::tree(p)),
    ("thread-self", FileType::Symlink, |_| {
        Entry::Link(Box::new(|caller: &Caller| {
            Ok(alloc::format!("{}/task/{}", caller.pid, caller.tid).into_bytes())
        }))
    }),
    ("uptime", FileType::Regular, |p| system_file(p, system::uptime)),
    ("version", FileType::Regular, |p| system_file(p, system::version)),
    ("vmstat", FileType::Regular, |p| system_file(p, system::vmstat)),
];

fn system_file(
    processes: &Arc<dyn Processes>,
    make: fn(&dyn Processes, &SystemInfo) -> String,
) -> Entry {
    let processes = processes.clone();
    made(move || make(&*processes, &processes.system()))
}

fn link(target: &'static str) -> Entry {
    Entry::Link(Box::new(move |_| Ok(Vec::from(target))))
}

impl Names for Root {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        if let Some((.., make)) = FIXED.iter().find(|(known, ..)| known.as_bytes() == name) {
            return Some(make(&self.processes));
        }
        let pid = number(name)?;
        if let Some(info) = self.processes.process(pid) {
            return Some(process::directory(info, pid, self.processes.network()));
        }
        // A thread's directory is found under its own number, though it is not listed.
        let pids = self.processes.pids().into_iter();
        let mut infos = pids.filter_map(|pid| Some((pid, self.processes.process(pid)?)));
        let (pid, info) = infos.find(|(_, info)| info.tids().contains(&pid))?;
        Some(process::directory(info, pid, self.processes.network()))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let fixed = FIXED.iter().map(|(name, kind, _)| (Vec::from(*name), *kind));
        let pids = self.processes.pids().into_iter();
        fixed.chain(pids.map(|pid| (pid.to_string().into_bytes(), FileType::Directory))).collect()
    }
}

/// /proc/inclavare: what this library OS says of itself.
struct Inclavare(Arc<dyn Processes>);

impl Names for Inclavare {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let processes = self.0.clone();
        match name {
            b"network" => Some(made(move || processes.network().text())),
            b"syscalls" => Some(made(move || processes.syscalls())),
            _ => None,
        }
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        ["network", "syscalls"].map(|name| (Vec::from(name), FileType::Regular)).into()
    }
}

/// A decimal number without sign or leading zeros.
fn number(name: &[u8]) -> Option<u32> {
    if name.first() == Some(&b'0') && name.len() > 1 || name.first() == Some(&b'+') {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}
