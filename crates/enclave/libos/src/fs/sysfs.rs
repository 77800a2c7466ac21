//! /sys: the few files that language runtimes and tools look at.

use super::context::Caller;
use super::pseudo::{Entry, Names, Pseudo, text};
use super::stat::{FileType, Time};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `f_type` of sysfs (statfs(2)).
const SYSFS_MAGIC: u64 = 0x6265_6572;

const CLOCK: &str = "devices/system/clocksource/clocksource0";

/// The tree of /sys for so many processors and bytes of memory.
#[must_use]
pub fn tree(cpus: u32, memory: u64, made: Time) -> Arc<Pseudo> {
    let online = match cpus {
        0 | 1 => String::from("0\n"),
        _ => format!("0-{}\n", cpus - 1),
    };
    let mut files: Vec<(String, String)> = Vec::new();
    let mut add = |path: &str, contents: &str| {
        files.push((String::from(path), String::from(contents)));
    };
    for name in ["online", "possible", "present"] {
        add(&format!("devices/system/cpu/{name}"), &online);
    }
    for cpu in 0..cpus.max(1) {
        let base = format!("devices/system/cpu/cpu{cpu}");
        add(&format!("{base}/online"), "1\n");
        add(&format!("{base}/topology/core_id"), &format!("{cpu}\n"));
        add(&format!("{base}/topology/physical_package_id"), "0\n");
        add(&format!("{base}/microcode/version"), "0x0\n");
    }
    add("devices/system/node/online", "0\n");
    add("devices/system/node/node0/cpulist", &online);
    add(&format!("{CLOCK}/current_clocksource"), "tsc\n");
    add(&format!("{CLOCK}/available_clocksource"), "tsc\n");
    add("kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    add("kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise madvise [never]\n");
    add(
        "kernel/mm/transparent_hugepage/shmem_enabled",
        "always within_size advise [never] deny force\n",
    );
    add("kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n");
    add("fs/cgroup/cgroup.controllers", "cpu memory pids\n");
    add("fs/cgroup/cpu.max", "max 100000\n");
    add("fs/cgroup/memory.max", &format!("{memory}\n"));
    add("fs/cgroup/memory.high", "max\n");
    add("fs/cgroup/memory.swap.max", "0\n");
    add("fs/cgroup/pids.max", "max\n");
    let files: Arc<[(String, String)]> = files.into();
    Pseudo::root(Box::new(Below { files, prefix: String::new() }), SYSFS_MAGIC, made)
}

/// The names below a prefix of the list.
struct Below {
    files: Arc<[(String, String)]>,
    prefix: String,
}

impl Names for Below {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let path = format!("{}{}", self.prefix, core::str::from_utf8(name).ok()?);
        if let Some((_, contents)) = self.files.iter().find(|(known, _)| *known == path) {
            return Some(text(contents.as_bytes()));
        }
        let prefix = path + "/";
        let is_directory = self.files.iter().any(|(known, _)| known.starts_with(&prefix));
        let files = self.files.clone();
        is_directory.then(|| Entry::Directory(Box::new(Self { files, prefix })))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let mut names: Vec<(Vec<u8>, FileType)> = Vec::new();
        for rest in self.files.iter().filter_map(|(path, _)| path.strip_prefix(&*self.prefix)) {
            let name = match rest.split_once('/') {
                Some((directory, _)) => (Vec::from(directory), FileType::Directory),
                None => (Vec::from(rest), FileType::Regular),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}
