//! /proc/PID.

use super::net::Net;
use super::{ProcessInfo, Summary, mounts, number};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::fd::OpenFile;
use crate::fs::location::Location;
use crate::fs::pseudo::{Entry, Names, made, text};
use crate::fs::socket::inet::network::Network;
use crate::fs::stat::FileType;
use crate::fs::walk::path_of;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;

type Info = Arc<dyn ProcessInfo>;

/// Ticks of `times(2)` per second.
const TICKS: u64 = 100;
const PAGE: u64 = 4096;

#[derive(Clone)]
struct Process {
    info: Info,
    pid: u32,
    network: Arc<Network>,
}

/// The directory of a process.
pub(super) fn directory(info: Info, pid: u32, network: Arc<Network>) -> Entry {
    Entry::Directory(Box::new(Process { info, pid, network }))
}

/// A thread's directory: the same files without `task`.
struct Thread(Process);

impl Names for Thread {
    fn find(&self, caller: &Caller, name: &[u8]) -> Option<Entry> {
        if name == b"task" { None } else { self.0.find(caller, name) }
    }

    fn list(&self, caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let mut names = self.0.list(caller);
        names.retain(|(name, _)| name != b"task");
        names
    }
}

type Maker = fn(&Info, u32) -> Entry;

const FILES: &[(&str, FileType, Maker)] = &[
    ("auxv", FileType::Regular, |info, _| bytes(info, |info| info.auxv())),
    ("cgroup", FileType::Regular, |_, _| text("0::/\n")),
    ("cmdline", FileType::Regular, |info, _| bytes(info, |info| info.cmdline())),
    ("comm", FileType::Regular, |info, _| comm(info)),
    ("coredump_filter", FileType::Regular, |_, _| text("00000033\n")),
    ("cwd", FileType::Symlink, |info, _| place(info, |info| Some(info.places()?.0))),
    ("environ", FileType::Regular, |info, _| bytes(info, |info| info.environ())),
    ("exe", FileType::Symlink, |info, _| place(info, |info| info.exe())),
    ("fd", FileType::Directory, |info, _| Entry::Directory(Box::new(Fds(info.clone())))),
    ("fdinfo", FileType::Directory, |info, _| Entry::Directory(Box::new(FdInfos(info.clone())))),
    ("limits", FileType::Regular, |info, _| string(info, limits)),
    ("maps", FileType::Regular, |info, _| bytes(info, |info| info.maps())),
    ("mountinfo", FileType::Regular, |_, _| mounts::mountinfo()),
    ("mounts", FileType::Regular, |_, _| mounts::mounts()),
    ("oom_score", FileType::Regular, |_, _| text("0\n")),
    ("oom_score_adj", FileType::Regular, |info, _| oom_score_adj(info)),
    ("root", FileType::Symlink, |info, _| place(info, |info| Some(info.places()?.1))),
    ("stat", FileType::Regular, |info, pid| {
        let info = info.clone();
        made(move || stat(pid, &info.summary()))
    }),
    ("statm", FileType::Regular, |info, _| string(info, statm)),
    ("status", FileType::Regular, |info, pid| {
        let info = info.clone();
        made(move || status(pid, &*info))
    }),
];

impl Names for Process {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        match name {
            b"net" => return Some(Entry::Directory(Box::new(Net(self.network.clone())))),
            b"task" => return Some(Entry::Directory(Box::new(Tasks(self.clone())))),
            _ => {}
        }
        let (.., make) = FILES.iter().find(|(known, ..)| known.as_bytes() == name)?;
        Some(make(&self.info, self.pid))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let directories = ["net", "task"].map(|name| (Vec::from(name), FileType::Directory));
        let files = FILES.iter().map(|(name, kind, _)| (Vec::from(*name), *kind));
        files.chain(directories).collect()
    }
}

fn bytes(info: &Info, make: fn(&dyn ProcessInfo) -> Vec<u8>) -> Entry {
    let info = info.clone();
    Entry::Text(Box::new(move |_| Ok(make(&*info))))
}

fn string(info: &Info, make: fn(&dyn ProcessInfo) -> String) -> Entry {
    let info = info.clone();
    made(move || make(&*info))
}

fn comm(info: &Info) -> Entry {
    let (shown, set) = (info.clone(), info.clone());
    Entry::Control(
        Box::new(move |_| {
            let mut comm = shown.summary().comm;
            comm.push(b'\n');
            Ok(comm)
        }),
        Box::new(move |_, bytes| {
            let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            set.set_comm(&bytes[..bytes.len().min(15)]);
            Ok(())
        }),
    )
}

fn oom_score_adj(info: &Info) -> Entry {
    let (shown, set) = (info.clone(), info.clone());
    Entry::Control(
        Box::new(move |_| Ok(format!("{}\n", shown.oom_score_adj()).into_bytes())),
        Box::new(move |_, bytes| {
            let value = core::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
            let value = value.filter(|value| (-1000..=1000).contains(value));
            set.set_oom_score_adj(value.ok_or(Errno::EINVAL)?);
            Ok(())
        }),
    )
}

fn place(info: &Info, find: fn(&dyn ProcessInfo) -> Option<Location>) -> Entry {
    let (shown, found) = (info.clone(), info.clone());
    Entry::Magic(
        Box::new(move |caller| {
            find(&*shown).map(|location| path_of(caller, &location)).ok_or(Errno::ENOENT)
        }),
        Box::new(move |_| find(&*found).ok_or(Errno::ENOENT)),
    )
}

/// /proc/PID/fd
struct Fds(Info);

fn open_file(info: &Info, name: &[u8]) -> Option<Arc<OpenFile>> {
    let fd = i32::try_from(number(name)?).ok()?;
    info.files()?.get(fd).ok()
}

impl Names for Fds {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let open = open_file(&self.0, name)?;
        let target = open.clone();
        let place = Box::new(move |_: &Caller| match &open.location {
            Some(location) => Ok(location.clone()),
            None => anonymous(&open),
        });
        Some(Entry::Magic(Box::new(move |caller| Ok(target.path(caller))), place))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        fd_names(&self.0, FileType::Symlink)
    }
}

/// A pipe or stream opened again through /proc/self/fd (`/dev/stdin`): a place that leads back to it.
fn anonymous(open: &Arc<OpenFile>) -> Result<Location, Errno> {
    crate::fs::reopen::location(open)
}

fn fd_names(info: &Info, kind: FileType) -> Vec<(Vec<u8>, FileType)> {
    let fds = info.files().map(|files| files.open_fds()).unwrap_or_default();
    fds.into_iter().map(|(fd, _)| (fd.to_string().into_bytes(), kind)).collect()
}

/// /proc/PID/fdinfo
struct FdInfos(Info);

impl Names for FdInfos {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let open = open_file(&self.0, name)?;
        Some(made(move || {
            let mount = open.location.as_ref().map_or(0, |location| location.mount.id);
            let ino = open.file.stat().ino;
            let (offset, flags) = (open.offset(), open.flags());
            let more = open.file.fdinfo();
            format!("pos:\t{offset}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n{more}")
        }))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        fd_names(&self.0, FileType::Regular)
    }
}

/// /proc/PID/task
struct Tasks(Process);

impl Names for Tasks {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let tid = number(name)?;
        let is_there = self.0.info.tids().contains(&tid);
        is_there.then(|| Entry::Directory(Box::new(Thread(Process { pid: tid, ..self.0.clone() }))))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let tids = self.0.info.tids().into_iter();
        tids.map(|tid| (tid.to_string().into_bytes(), FileType::Directory)).collect()
    }
}

fn ticks(ns: u64) -> u64 {
    ns / (1_000_000_000 / TICKS)
}

/// proc_pid_stat(5), 52 fields.
fn stat(pid: u32, s: &Summary) -> String {
    let comm = String::from_utf8_lossy(&s.comm);
    let [user, system, child_user, child_system] = s.times_ns.map(ticks);
    let (vsize, rss) = (s.memory.0, s.memory.1 / PAGE);
    let [pending, blocked, ignored, caught] = s.signals.map(|mask| mask & 0x7fff_ffff);
    let mut out = format!("{pid} ({comm}) {} {} {} {}", s.state, s.ppid, s.pgid, s.sid);
    let (nice, threads, start) = (s.nice, s.threads, ticks(s.start_ns));
    let _ = write!(out, " 0 -1 4194304 0 0 0 0 {user} {system} {child_user} {child_system}");
    let _ = write!(out, " {} {nice} {threads} 0 {start} {vsize} {rss}", 20 + nice);
    let _ = write!(out, " 18446744073709551615 0 0 0 0 0 {pending} {blocked} {ignored} {caught}");
    let _ = writeln!(out, " 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 {}", s.exit_status);
    out
}

fn statm(info: &dyn ProcessInfo) -> String {
    let s = info.summary();
    let [text, data, stack] = s.parts.map(|bytes| bytes / PAGE);
    format!("{} {} 0 {text} 0 {} 0\n", s.memory.0 / PAGE, s.memory.1 / PAGE, data + stack)
}

fn status(pid: u32, info: &dyn ProcessInfo) -> String {
    let s = info.summary();
    let c = info.credentials();
    let state = match s.state {
        'R' => "R (running)",
        'T' => "T (stopped)",
        'Z' => "Z (zombie)",
        _ => "S (sleeping)",
    };
    let comm = String::from_utf8_lossy(&s.comm);
    let mut out = format!("Name:\t{comm}\nUmask:\t{:04o}\nState:\t{state}\n", info.umask());
    let _ = write!(out, "Tgid:\t{pid}\nNgid:\t0\nPid:\t{pid}\nPPid:\t{}\nTracerPid:\t0\n", s.ppid);
    let _ = writeln!(out, "Uid:\t{}\t{}\t{}\t{}", c.ruid, c.euid, c.suid, c.fsuid);
    let _ = writeln!(out, "Gid:\t{}\t{}\t{}\t{}", c.rgid, c.egid, c.sgid, c.fsgid);
    let slots = info.files().map_or(0, |files| files.open_fds().len().next_multiple_of(64));
    let _ = write!(out, "FDSize:\t{slots}\nGroups:\t");
    for group in &c.groups {
        let _ = write!(out, "{group} ");
    }
    let kib = |bytes: u64| bytes / 1024;
    let [text, data, stack] = s.parts.map(kib);
    let (size, resident) = (kib(s.memory.0), kib(s.memory.1));
    let _ = write!(
        out,
        "\nVmPeak:\t{size:8} kB\nVmSize:\t{size:8} kB\nVmLck:\t       0 kB\nVmPin:\t       0 kB\n\
         VmHWM:\t{resident:8} kB\nVmRSS:\t{resident:8} kB\nVmData:\t{data:8} kB\n\
         VmStk:\t{stack:8} kB\nVmExe:\t{text:8} kB\nVmSwap:\t       0 kB\nThreads:\t{}\n",
        s.threads
    );
    let [pending, blocked, ignored, caught] = s.signals;
    let _ = write!(
        out,
        "SigPnd:\t{pending:016x}\nShdPnd:\t0000000000000000\nSigBlk:\t{blocked:016x}\n\
         SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
    );
    let capabilities = if c.euid == 0 { "000001ffffffffff" } else { "0000000000000000" };
    for name in ["Prm", "Eff"] {
        let _ = writeln!(out, "Cap{name}:\t{capabilities}");
    }
    out.push_str("NoNewPrivs:\t0\nSeccomp:\t0\nCpus_allowed_list:\t0\n");
    out
}

/// Names and units of /proc/PID/limits, in the order of RLIMIT_*.
const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limits(info: &dyn ProcessInfo) -> String {
    let mut out =
        format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let value = |value: u64| match value {
        u64::MAX => String::from("unlimited"),
        _ => value.to_string(),
    };
    for (resource, (name, unit)) in (0..).zip(LIMITS) {
        let (soft, hard) = info.limit(resource);
        let _ = writeln!(out, "{name:<25} {:<20} {:<20} {unit:<10}", value(soft), value(hard));
    }
    out
}
