//! Small settings of a process: limits, OOM score, scheduler, priorities, personality, labels.

use crate::error::{Error, Result};
use crate::spec::linux::Personality;
use crate::spec::process::{IoPriority, Scheduler};
use crate::spec::{MemoryPolicy, Rlimit as SpecRlimit};
use crate::sys::SchedAttr;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::CpuSet;
use std::path::Path;

/// Modes of `linux.memoryPolicy` (`linux/mempolicy.h`).
pub const MEMORY_POLICY_MODES: [(&str, i32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Flags of `linux.memoryPolicy`.
pub const MEMORY_POLICY_FLAGS: [(&str, i32); 3] = [
    ("MPOL_F_STATIC_NODES", 1 << 15),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
];

const RESOURCES: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

/// One limit of the configuration, with its field for messages.
pub(crate) fn rlimit(index: usize, limit: &SpecRlimit) -> Result<(Resource, Rlimit, String)> {
    let field = format!("process.rlimits[{index}] ({})", limit.kind);
    let Some((_, resource)) = RESOURCES.iter().find(|(n, _)| *n == limit.kind) else {
        let field = format!("process.rlimits[{index}].type");
        return Err(Error::config(field, "RLIMIT_...", format!("{:?}", limit.kind)));
    };
    if limit.soft > limit.hard {
        let expected = format!("soft at most hard ({})", limit.hard);
        return Err(Error::config(field, expected, limit.soft));
    }
    let value = |v: u64| (v != u64::MAX).then_some(v);
    Ok((*resource, Rlimit { current: value(limit.soft), maximum: value(limit.hard) }, field))
}

/// Sets a limit of another process of ours.
pub(crate) fn set_rlimit(pid: Pid, resource: Resource, limit: &Rlimit, field: &str) -> Result<()> {
    let show = |v: Option<u64>| v.map_or("unlimited".to_owned(), |v| v.to_string());
    match rustix::process::prlimit(Some(pid), resource, *limit) {
        Ok(_) => Ok(()),
        Err(Errno::PERM) => {
            let now = rustix::process::getrlimit(resource).maximum;
            Err(Error::Capability {
                operation: format!(
                    "raise the hard limit from {} to {}",
                    show(now),
                    show(limit.maximum)
                ),
                capability: "CAP_SYS_RESOURCE",
                field: field.to_owned(),
                advice: format!("ask for at most {}", show(now)),
                errno: libc::EPERM,
            })
        }
        Err(e) => Err(Error::os("apply", field)(e)),
    }
}

/// Sets the OOM score of another process of ours.
pub(crate) fn set_oom_score(pid: Pid, score: i32) -> Result<()> {
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    match write_file(&path, &score.to_string()) {
        Ok(()) => Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => {
            let now = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
            let now = now.trim().to_owned();
            Err(Error::Capability {
                operation: format!("lower the OOM score from {now} to {score}"),
                capability: "CAP_SYS_RESOURCE",
                field: "process.oomScoreAdj".into(),
                advice: format!(
                    "ask for {now} or more (containerd: restrict_oom_score_adj = true)"
                ),
                errno: libc::EACCES,
            })
        }
        Err(e) => Err(Error::os("write", path)(e)),
    }
}

pub(crate) fn write_file(path: impl AsRef<Path>, text: &str) -> std::result::Result<(), Errno> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path.as_ref(), flags, Mode::empty())?;
    rustix::io::write(&fd, text.as_bytes()).map(drop)
}

/// `process.scheduler`.
pub(crate) fn scheduler(s: &Scheduler) -> Result<SchedAttr> {
    const POLICIES: [(&str, u32); 7] = [
        ("SCHED_OTHER", 0),
        ("SCHED_FIFO", 1),
        ("SCHED_RR", 2),
        ("SCHED_BATCH", 3),
        ("SCHED_ISO", 4),
        ("SCHED_IDLE", 5),
        ("SCHED_DEADLINE", 6),
    ];
    const FLAGS: [(&str, u64); 7] = [
        ("SCHED_FLAG_RESET_ON_FORK", 1),
        ("SCHED_FLAG_RECLAIM", 2),
        ("SCHED_FLAG_DL_OVERRUN", 4),
        ("SCHED_FLAG_KEEP_POLICY", 8),
        ("SCHED_FLAG_KEEP_PARAMS", 16),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 32),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 64),
    ];
    let flags = s.flags.iter().try_fold(0, |all, name| {
        find("process.scheduler.flags", &FLAGS, name).map(|flag| all | flag)
    })?;
    Ok(SchedAttr {
        policy: find("process.scheduler.policy", &POLICIES, &s.policy)?,
        flags,
        nice: s.nice,
        priority: u32::try_from(s.priority)
            .map_err(|_| Error::config("process.scheduler.priority", "0 or more", s.priority))?,
        runtime: s.runtime,
        deadline: s.deadline,
        period: s.period,
        size: 0,
    })
}

/// `process.ioPriority` as `ioprio_set` takes it.
pub(crate) fn io_priority(p: &IoPriority) -> Result<i32> {
    const CLASSES: [(&str, i32); 3] =
        [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
    if !(0..=7).contains(&p.priority) {
        return Err(Error::config("process.ioPriority.priority", "0 to 7", p.priority));
    }
    Ok(find("process.ioPriority.class", &CLASSES, &p.class)? << 13 | p.priority)
}

/// `linux.personality`.
pub(crate) fn personality(p: &Personality) -> Result<u64> {
    let domain = find("linux.personality.domain", &[("LINUX", 0u64), ("LINUX32", 8)], &p.domain)?;
    match p.flags.first() {
        None => Ok(domain),
        Some(flag) => {
            Err(Error::config("linux.personality.flags[0]", "none (none is defined)", flag))
        }
    }
}

/// `linux.memoryPolicy`: mode with flags, and the node mask.
pub(crate) fn memory_policy(p: &MemoryPolicy) -> Result<(i32, Vec<u64>)> {
    let mut mode = find("linux.memoryPolicy.mode", &MEMORY_POLICY_MODES, &p.mode)?;
    for flag in &p.flags {
        mode |= find("linux.memoryPolicy.flags", &MEMORY_POLICY_FLAGS, flag)?;
    }
    let nodes = parse_list(&p.nodes).ok_or_else(|| {
        Error::config("linux.memoryPolicy.nodes", "a list such as 0-3,7", format!("{:?}", p.nodes))
    })?;
    Ok((mode, nodes))
}

/// A list such as `0-3,7` (below 1024) as a bit mask.
pub(crate) fn parse_list(text: &str) -> Option<Vec<u64>> {
    let mut mask: Vec<u64> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= 1024 {
            return None;
        }
        if mask.len() <= last / 64 {
            mask.resize(last / 64 + 1, 0);
        }
        for bit in first..=last {
            mask[bit / 64] |= 1 << (bit % 64);
        }
    }
    Some(mask)
}

/// A list of processors as a set.
pub(crate) fn cpu_list(field: &str, text: &str) -> Result<Option<CpuSet>> {
    if text.is_empty() {
        return Ok(None);
    }
    let words = parse_list(text)
        .filter(|w| !w.is_empty())
        .ok_or_else(|| Error::config(field, "a list such as 0-3,7", format!("{text:?}")))?;
    let mut set = CpuSet::new();
    for cpu in (0..words.len() * 64).filter(|cpu| words[cpu / 64] & 1 << (cpu % 64) != 0) {
        set.set(cpu);
    }
    Ok(Some(set))
}

fn find<T: Copy>(field: &str, table: &[(&str, T)], name: &str) -> Result<T> {
    table.iter().find(|(n, _)| *n == name).map(|(_, v)| *v).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|(n, _)| *n).collect();
        Error::config(field, names.join(", "), format!("{name:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        assert_eq!(parse_list("0-2,65"), Some(vec![7, 2]));
        assert_eq!(parse_list(""), Some(vec![]));
        for bad in ["3-1", "x", "1024", "-", "1-"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_are_checked() {
        let limit = |kind: &str, soft, hard| SpecRlimit { kind: kind.into(), soft, hard };
        let (_, value, _) = rlimit(0, &limit("RLIMIT_NOFILE", 5, u64::MAX)).unwrap();
        assert_eq!((value.current, value.maximum), (Some(5), None));
        assert!(rlimit(0, &limit("RLIMIT_NOFILES", 5, 5)).is_err());
        assert!(rlimit(0, &limit("RLIMIT_CORE", 6, 5)).is_err());
    }
}
