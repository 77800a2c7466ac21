//! Files of /proc that describe the machine: the enclave, not the host.

use super::{Processes, SystemInfo};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

pub(super) const FILE_SYSTEMS: &str =
    "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\toverlay\n";
pub(super) const DEVICES: &str =
    "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n";
pub(super) const CGROUPS: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
pub(super) const SWAPS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

pub(super) fn version(_: &dyn Processes, system: &SystemInfo) -> String {
    let emulated = if system.is_emulated { " (SGX emulated)" } else { "" };
    let (release, version) = &system.release;
    format!("Linux version {release} (inclavare libos{emulated}) {version}\n")
}

pub(super) fn uptime(_: &dyn Processes, system: &SystemInfo) -> String {
    let hundredths = |ns: u64| (ns / 1_000_000_000, ns / 10_000_000 % 100);
    let (seconds, part) = hundredths(system.uptime_ns);
    let all = system.uptime_ns.saturating_mul(u64::from(system.cpus.max(1)));
    let (idle, idle_part) = hundredths(all.saturating_sub(system.user_ns));
    format!("{seconds}.{part:02} {idle}.{idle_part:02}\n")
}

pub(super) fn loadavg(_: &dyn Processes, system: &SystemInfo) -> String {
    // No history is kept: all three show the threads that are ready now.
    let (ready, all) = system.threads;
    format!("{ready}.00 {ready}.00 {ready}.00 {ready}/{all} {}\n", system.last_pid)
}

pub(super) fn meminfo(_: &dyn Processes, system: &SystemInfo) -> String {
    let (total, free) = (system.memory_total / 1024, system.memory_free / 1024);
    let zero_lines = [
        "Buffers",
        "Cached",
        "SwapCached",
        "Active",
        "Inactive",
        "SwapTotal",
        "SwapFree",
        "Dirty",
        "Writeback",
        "AnonPages",
        "Mapped",
        "Shmem",
        "Slab",
        "SReclaimable",
        "SUnreclaim",
        "PageTables",
        "CommitLimit",
        "Committed_AS",
        "VmallocTotal",
        "VmallocUsed",
    ];
    let mut out = String::new();
    for (name, value) in [("MemTotal", total), ("MemFree", free), ("MemAvailable", free)] {
        line(&mut out, name, value);
    }
    for name in zero_lines {
        line(&mut out, name, 0);
    }
    out.push_str(
        "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n",
    );
    out
}

fn line(out: &mut String, name: &str, kib: u64) {
    let _ = writeln!(out, "{:<15} {kib:>8} kB", format!("{name}:"));
}

pub(super) fn stat(_: &dyn Processes, system: &SystemInfo) -> String {
    let ticks = |ns: u64| ns / 10_000_000;
    let cpus = u64::from(system.cpus.max(1));
    let user = ticks(system.user_ns);
    let idle = ticks(system.uptime_ns.saturating_mul(cpus)).saturating_sub(user);
    let mut out = format!("cpu  {user} 0 0 {idle} 0 0 0 0 0 0\n");
    for cpu in 0..cpus {
        let _ = writeln!(out, "cpu{cpu} {} 0 0 {} 0 0 0 0 0 0", user / cpus, idle / cpus);
    }
    let (ready, _) = system.threads;
    let _ = write!(
        out,
        "intr 0\nctxt 0\nbtime {}\nprocesses {}\nprocs_running {ready}\nprocs_blocked 0\n\
         softirq 0 0 0 0 0 0 0 0 0 0 0\n",
        system.boot_time, system.forks
    );
    out
}

pub(super) fn vmstat(_: &dyn Processes, system: &SystemInfo) -> String {
    format!("nr_free_pages {}\npgfault 0\npgmajfault 0\noom_kill 0\n", system.memory_free / 4096)
}

pub(super) fn cpuinfo(processes: &dyn Processes, system: &SystemInfo) -> String {
    let flags = processes.cpu_flags();
    let cpus = system.cpus.max(1);
    let mut out = String::new();
    for cpu in 0..cpus {
        let _ = write!(
            out,
            "processor\t: {cpu}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\n\
             model name\t: SGX enclave\nstepping\t: 6\ncpu MHz\t\t: 0.000\nphysical id\t: 0\n\
             siblings\t: {cpus}\ncore id\t\t: {cpu}\ncpu cores\t: {cpus}\nfpu\t\t: yes\n\
             fpu_exception\t: yes\ncpuid level\t: 27\nwp\t\t: yes\nflags\t\t: {flags}\n\
             clflush size\t: 64\ncache_alignment\t: 64\n\
             address sizes\t: 46 bits physical, 48 bits virtual\n\n"
        );
    }
    out
}
