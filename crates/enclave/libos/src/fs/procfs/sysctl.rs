//! /proc/sys: the values that programs look at. They are read-only.

use super::Processes;
use crate::fs::context::Caller;
use crate::fs::pseudo::{Entry, Names, made};
use crate::fs::socket::SOMAXCONN;
use crate::fs::socket::inet::ports::{CHOSEN, UNPRIVILEGED};
use crate::fs::socket::options::{DEFAULT_BUFFER, MAX_BUFFER};
use crate::fs::stat::FileType;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

type Maker = fn(&dyn Processes) -> String;

/// Path below /proc/sys and what it says.
const VALUES: &[(&str, Maker)] = &[
    ("fs/file-max", |_| String::from("1048576")),
    ("fs/nr_open", |_| String::from("1048576")),
    ("fs/pipe-max-size", |_| format!("{}", crate::fs::pipe::MAX_CAPACITY)),
    ("kernel/cap_last_cap", |_| String::from("40")),
    ("kernel/domainname", |_| String::from("(none)")),
    ("kernel/hostname", |p| p.system().hostname),
    ("kernel/ngroups_max", |_| String::from("65536")),
    ("kernel/osrelease", |p| p.system().release.0),
    ("kernel/ostype", |_| String::from("Linux")),
    ("kernel/overflowgid", |_| String::from("65534")),
    ("kernel/overflowuid", |_| String::from("65534")),
    ("kernel/pid_max", |_| String::from("32768")),
    ("kernel/randomize_va_space", |_| String::from("2")),
    ("kernel/threads-max", |_| String::from("65536")),
    ("kernel/version", |p| p.system().release.1),
    ("net/core/rmem_default", |_| format!("{DEFAULT_BUFFER}")),
    ("net/core/rmem_max", |_| format!("{MAX_BUFFER}")),
    ("net/core/somaxconn", |_| format!("{SOMAXCONN}")),
    ("net/core/wmem_default", |_| format!("{DEFAULT_BUFFER}")),
    ("net/core/wmem_max", |_| format!("{MAX_BUFFER}")),
    ("net/ipv4/ip_local_port_range", |_| format!("{}\t{}", CHOSEN.start(), CHOSEN.end())),
    ("net/ipv4/ip_unprivileged_port_start", |_| format!("{UNPRIVILEGED}")),
    ("net/ipv4/tcp_rmem", |_| String::from("4096\t131072\t6291456")),
    ("net/ipv4/tcp_wmem", |_| String::from("4096\t16384\t4194304")),
    ("net/ipv6/bindv6only", |_| String::from("0")),
    ("vm/max_map_count", |_| String::from("65530")),
    ("vm/mmap_min_addr", |_| String::from("65536")),
    ("vm/overcommit_memory", |_| String::from("1")),
    ("vm/overcommit_ratio", |_| String::from("50")),
    ("vm/swappiness", |_| String::from("60")),
];

pub(super) fn tree(processes: &Arc<dyn Processes>) -> Entry {
    Entry::Directory(Box::new(Below { processes: processes.clone(), prefix: String::new() }))
}

/// The names below a prefix of [`VALUES`].
struct Below {
    processes: Arc<dyn Processes>,
    prefix: String,
}

impl Names for Below {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let path = format!("{}{}", self.prefix, core::str::from_utf8(name).ok()?);
        if let Some((_, make)) = VALUES.iter().find(|(known, _)| *known == path) {
            let (processes, make) = (self.processes.clone(), *make);
            return Some(made(move || make(&*processes) + "\n"));
        }
        let prefix = path + "/";
        let is_directory = VALUES.iter().any(|(known, _)| known.starts_with(&prefix));
        let processes = self.processes.clone();
        is_directory.then(|| Entry::Directory(Box::new(Self { processes, prefix })))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let below = VALUES.iter().filter_map(|(path, _)| path.strip_prefix(&*self.prefix));
        let mut names: Vec<(Vec<u8>, FileType)> = below
            .map(|rest| match rest.split_once('/') {
                Some((directory, _)) => (Vec::from(directory), FileType::Directory),
                None => (Vec::from(rest), FileType::Regular),
            })
            .collect();
        names.dedup();
        names
    }
}
