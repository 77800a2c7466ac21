//! Limits on v1 hierarchies.

use super::devices::{Rule, rules};
use super::{Cgroups, read, refused, write};
use crate::error::{Error, Result};
use crate::spec::Resources;
use crate::spec::resources::{BlockIo, Cpu, DeviceRule, Memory, ThrottleDevice};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::path::Path;

/// Makes one directory and the missing ones above it. A new cpuset is empty, which no process may join: it
/// takes its parent's sets.
pub(super) fn make(directory: &Path, is_cpuset: bool) -> Result<()> {
    match rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            match directory.parent() {
                Some(parent) => make(parent, is_cpuset)?,
                None => return Err(Error::os("make the cgroup", directory)(Errno::NOENT)),
            }
            // EEXIST: another runtime made the same parent at the same moment.
            match rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::os("make the cgroup", directory)(e)),
            }
        }
        Err(e) => return Err(Error::os("make the cgroup", directory)(e)),
    }
    match directory.parent() {
        Some(parent) if is_cpuset => inherit_cpuset(parent, directory),
        _ => Ok(()),
    }
}

fn inherit_cpuset(parent: &Path, directory: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        // Without these names (mount option noprefix) there is nothing that could be copied.
        let Some(value) = read(parent, file) else { return Ok(()) };
        write(directory, file, &value)
            .map_err(Error::os("copy the parent's sets to", directory.join(file)))?;
    }
    Ok(())
}

/// Writes limits. Device rules only into a new group: taking a device away from a running container by
/// rewriting its whole list would open a moment without any.
pub(super) fn set(groups: &Cgroups, resources: &Resources, is_new: bool) -> Result<()> {
    if is_new
        && !groups.is_rootless
        && let Some(directory) = groups.controller("devices")
    {
        set_devices(directory, &resources.devices)?;
    }
    if let Some(memory) = &resources.memory {
        let directory = need(groups, "memory", "memory")?;
        set_memory(directory, memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        set_cpu(groups, cpu)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|p| p.limit) {
        let value = if limit > 0 { limit.to_string() } else { "max".into() };
        put(need(groups, "pids", "pids.limit")?, "pids.max", "pids.limit", &value)?;
    }
    if let Some(io) = &resources.block_io {
        set_block_io(groups, io)?;
    }
    for limit in &resources.hugepage_limits {
        // A hybrid host may have this controller in its v2 tree.
        let unified = groups.unified.as_deref().filter(|_| groups.controller("hugetlb").is_none());
        let v2_file = format!("hugetlb.{}.max", limit.page_size);
        let (directory, file) = match unified.filter(|directory| directory.join(&v2_file).exists())
        {
            Some(directory) => (directory, v2_file),
            None => {
                let file = format!("hugetlb.{}.limit_in_bytes", limit.page_size);
                (need(groups, "hugetlb", "hugepageLimits")?, file)
            }
        };
        put(directory, &file, "hugepageLimits", &limit.limit.to_string())?;
    }
    if let Some(network) = &resources.network {
        if let Some(id) = network.class_id {
            let directory = need(groups, "net_cls", "network.classID")?;
            put(directory, "net_cls.classid", "network.classID", &id.to_string())?;
        }
        for priority in &network.priorities {
            let directory = need(groups, "net_prio", "network.priorities")?;
            let value = format!("{} {}", priority.name, priority.priority);
            put(directory, "net_prio.ifpriomap", "network.priorities", &value)?;
        }
    }
    for (device, limits) in &resources.rdma {
        let directory = need(groups, "rdma", "rdma")?;
        put(directory, "rdma.max", "rdma", &super::v2::rdma_line(device, limits))?;
    }
    if let (Some(directory), false) = (&groups.unified, resources.unified.is_empty()) {
        super::v2::set_unified(directory, resources)?;
    } else if !resources.unified.is_empty() {
        return Err(Error::Unsupported {
            field: "linux.resources.unified".into(),
            reason: "this host has no cgroup v2 tree".into(),
        });
    }
    Ok(())
}

/// The directory of a controller that a field needs.
fn need<'a>(groups: &'a Cgroups, controller: &str, field: &str) -> Result<&'a Path> {
    groups.controller(controller).ok_or_else(|| Error::Unsupported {
        field: format!("linux.resources.{field}"),
        reason: if groups.is_rootless {
            format!("this user may write no {controller} cgroup")
        } else {
            format!("this host has no {controller} cgroup controller")
        },
    })
}

fn put(directory: &Path, file: &str, field: &str, value: &str) -> Result<()> {
    write(directory, file, value).map_err(refused(field, value))
}

fn set_devices(directory: &Path, own: &[DeviceRule]) -> Result<()> {
    use rustix::fs::OFlags;
    let rules = rules(own);
    // Deny all, then what is listed: a group inherits its parent's list, mostly "all".
    let is_denied_first = rules.first().is_some_and(Rule::is_everything);
    let first = (!is_denied_first).then(|| (false, "a".to_owned()));
    // Each file is opened once, however many rules there are.
    let mut files = [None, None];
    for (is_allowed, line) in
        first.into_iter().chain(rules.iter().map(|r| (r.is_allowed, r.line())))
    {
        let file = &mut files[usize::from(is_allowed)];
        let opened = match file {
            Some(opened) => opened,
            None => {
                let name = if is_allowed { "devices.allow" } else { "devices.deny" };
                let path = directory.join(name);
                let opened =
                    rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                        .map_err(refused("devices", &line))?;
                file.insert(opened)
            }
        };
        rustix::io::retry_on_intr(|| rustix::io::write(&*opened, line.as_bytes()))
            .map_err(refused("devices", &line))?;
    }
    Ok(())
}

fn set_memory(directory: &Path, memory: &Memory) -> Result<()> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let write_limit = |v: i64| put(directory, LIMIT, "memory.limit", &v.to_string());
    let write_swap = |v: i64| match write(directory, SWAP, &v.to_string()) {
        // A kernel without swap accounting: no limit, or one at least as high, is what there is anyway.
        Err(Errno::NOENT) if v == -1 || memory.limit.is_some() => Ok(()),
        other => other.map_err(refused("memory.swap", &v.to_string())),
    };
    let swap = memory.swap.filter(|v| *v != 0);
    let limit = memory.limit.filter(|v| *v != 0);
    // The swap limit may never be below the memory limit, at no moment in between.
    match (limit, swap) {
        (Some(limit), Some(swap)) => {
            let current = read(directory, LIMIT).and_then(|t| t.parse::<i64>().ok()).unwrap_or(0);
            if swap == -1 || swap > current {
                write_swap(swap)?;
                write_limit(limit)?;
            } else {
                write_limit(limit)?;
                write_swap(swap)?;
            }
        }
        (Some(limit), None) => write_limit(limit)?,
        (None, Some(swap)) => write_swap(swap)?,
        (None, None) => {}
    }
    if let Some(v) = memory.reservation.filter(|v| *v != 0) {
        put(directory, "memory.soft_limit_in_bytes", "memory.reservation", &v.to_string())?;
    }
    if let Some(v) = memory.kernel_tcp.filter(|v| *v != 0) {
        put(directory, "memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP", &v.to_string())?;
    }
    if memory.disable_oom_killer == Some(true) {
        put(directory, "memory.oom_control", "memory.disableOOMKiller", "1")?;
    }
    // Docker sends 2^64-1 for "not set".
    if let Some(v) = memory.swappiness.filter(|v| *v != u64::MAX) {
        if v > 100 {
            return Err(Error::config("linux.resources.memory.swappiness", "0 to 100", v));
        }
        put(directory, "memory.swappiness", "memory.swappiness", &v.to_string())?;
    }
    Ok(())
}

fn set_cpu(groups: &Cgroups, cpu: &Cpu) -> Result<()> {
    let directory = || need(groups, "cpu", "cpu");
    if let Some(v) = cpu.shares.filter(|v| *v != 0) {
        put(directory()?, "cpu.shares", "cpu.shares", &v.to_string())?;
    }
    if let Some(v) = cpu.period.filter(|v| *v != 0) {
        put(directory()?, "cpu.cfs_period_us", "cpu.period", &v.to_string())?;
    }
    if let Some(v) = cpu.quota.filter(|v| *v != 0) {
        put(directory()?, "cpu.cfs_quota_us", "cpu.quota", &v.to_string())?;
    }
    if let Some(v) = cpu.burst {
        put(directory()?, "cpu.cfs_burst_us", "cpu.burst", &v.to_string())?;
    }
    if let Some(v) = cpu.realtime_period.filter(|v| *v != 0) {
        put(directory()?, "cpu.rt_period_us", "cpu.realtimePeriod", &v.to_string())?;
    }
    if let Some(v) = cpu.realtime_runtime.filter(|v| *v != 0) {
        put(directory()?, "cpu.rt_runtime_us", "cpu.realtimeRuntime", &v.to_string())?;
    }
    if let Some(v) = cpu.idle {
        put(directory()?, "cpu.idle", "cpu.idle", &v.to_string())?;
    }
    for (value, file, field) in
        [(&cpu.cpus, "cpuset.cpus", "cpu.cpus"), (&cpu.mems, "cpuset.mems", "cpu.mems")]
    {
        if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
            put(need(groups, "cpuset", field)?, file, field, value)?;
        }
    }
    Ok(())
}

fn set_block_io(groups: &Cgroups, io: &BlockIo) -> Result<()> {
    let directory = || need(groups, "blkio", "blockIO");
    if let Some(v) = io.weight.filter(|v| *v != 0) {
        let directory = directory()?;
        // The BFQ scheduler has its own file; which exists depends on the kernel.
        let result = write(directory, "blkio.weight", &v.to_string())
            .or_else(|_| write(directory, "blkio.bfq.weight", &v.to_string()));
        result.map_err(refused("blockIO.weight", &v.to_string()))?;
    }
    if let Some(v) = io.leaf_weight.filter(|v| *v != 0) {
        put(directory()?, "blkio.leaf_weight", "blockIO.leafWeight", &v.to_string())?;
    }
    for device in &io.weight_device {
        if let Some(weight) = device.leaf_weight {
            let line = format!("{}:{} {weight}", device.major, device.minor);
            put(directory()?, "blkio.leaf_weight_device", "blockIO.weightDevice", &line)?;
        }
        if let Some(weight) = device.weight {
            let line = format!("{}:{} {weight}", device.major, device.minor);
            let directory = directory()?;
            write(directory, "blkio.weight_device", &line)
                .or_else(|_| write(directory, "blkio.bfq.weight_device", &line))
                .map_err(refused("blockIO.weightDevice", &line))?;
        }
    }
    let throttles: [(&[ThrottleDevice], &str, &str); 4] = [
        (&io.throttle_read_bps_device, "blkio.throttle.read_bps_device", "throttleReadBpsDevice"),
        (
            &io.throttle_write_bps_device,
            "blkio.throttle.write_bps_device",
            "throttleWriteBpsDevice",
        ),
        (
            &io.throttle_read_iops_device,
            "blkio.throttle.read_iops_device",
            "throttleReadIOPSDevice",
        ),
        (
            &io.throttle_write_iops_device,
            "blkio.throttle.write_iops_device",
            "throttleWriteIOPSDevice",
        ),
    ];
    for (devices, file, field) in throttles {
        for device in devices {
            let line = format!("{}:{} {}", device.major, device.minor, device.rate);
            put(directory()?, file, &format!("blockIO.{field}"), &line)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_files() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["pids.max", "cpu.shares", "memory.limit_in_bytes", "memory.swappiness"] {
            std::fs::write(dir.path().join(file), "0").unwrap();
        }
        let all = "memory,cpu,pids";
        let groups =
            Cgroups { v1: vec![(all.into(), dir.path().to_owned())], ..Cgroups::default() };
        let json = r#"{"memory":{"limit":1048576,"swappiness":18446744073709551615},
            "cpu":{"shares":512},"pids":{"limit":-1}}"#;
        let resources: Resources = serde_json::from_str(json).unwrap();
        set(&groups, &resources, false).unwrap();
        let content = |f: &str| std::fs::read_to_string(dir.path().join(f)).unwrap();
        assert_eq!(content("memory.limit_in_bytes"), "1048576");
        assert_eq!(content("cpu.shares"), "512");
        assert_eq!(content("pids.max"), "max");
        assert_eq!(content("memory.swappiness"), "0");
        let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#;
        let e = set(&groups, &serde_json::from_str(json).unwrap(), false).unwrap_err();
        assert!(e.to_string().contains("hugepageLimits"), "{e}");
        let unified = tempfile::tempdir().unwrap();
        std::fs::write(unified.path().join("hugetlb.2MB.max"), "0").unwrap();
        let groups = Cgroups { unified: Some(unified.path().to_owned()), ..groups };
        set(&groups, &serde_json::from_str(json).unwrap(), false).unwrap();
        let limit = std::fs::read_to_string(unified.path().join("hugetlb.2MB.max")).unwrap();
        assert_eq!(limit, "1", "a hybrid host's v2 tree");
    }
}
