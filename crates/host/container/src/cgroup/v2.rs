//! Limits on the v2 tree.
//!
//! Device rules are an eBPF program, attached when the group is new ([`super::devices`]).

use super::{Cgroups, read, refused, weight_of_shares, write};
use crate::error::{Error, Result};
use crate::spec::Resources;
use crate::spec::resources::{DeviceRule, Rdma};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::path::Path;

/// Makes the directory; if the tree is the only one, its controllers are passed down to it.
pub(super) fn make(directory: &Path, top: &Path, is_only: bool) -> Result<()> {
    let relative = directory.strip_prefix(top).unwrap_or(directory);
    let mut current = top.to_owned();
    for component in relative.components() {
        if is_only {
            pass_down(&current);
        }
        current.push(component);
        match rustix::fs::mkdir(&current, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::os("make the cgroup", &current)(e)),
        }
    }
    Ok(())
}

/// Enables every available controller for the groups below, one by one: one that cannot be (a process in
/// an inner group, a threaded group) must not keep the others away. A limit that needs it then fails by name.
fn pass_down(directory: &Path) {
    let enabled = read(directory, "cgroup.subtree_control").unwrap_or_default();
    let available = read(directory, "cgroup.controllers").unwrap_or_default();
    let missing: Vec<String> = available
        .split(' ')
        .filter(|c| !c.is_empty() && !enabled.split(' ').any(|e| e == *c))
        .map(|c| format!("+{c}"))
        .collect();
    if missing.is_empty() || write(directory, "cgroup.subtree_control", &missing.join(" ")).is_ok()
    {
        return;
    }
    for controller in missing {
        let _ = write(directory, "cgroup.subtree_control", &controller);
    }
}

/// Writes limits.
pub(super) fn set(groups: &Cgroups, resources: &Resources, is_new: bool) -> Result<()> {
    let Some(directory) = &groups.unified else { return Ok(()) };
    // Only root may load the program; what the user's own rights refuse stays refused.
    if is_new && !groups.is_rootless {
        set_devices(directory, &resources.devices)?;
    }
    let put = |file: &str, field: &str, value: &str| {
        write(directory, file, value).map_err(refused(field, value))
    };
    let bytes = |v: i64| if v < 0 { "max".to_owned() } else { v.to_string() };
    if let Some(memory) = &resources.memory {
        let limit = memory.limit.filter(|v| *v != 0);
        if let (Some(true), Some(limit)) = (memory.check_before_update, limit) {
            let usage = read(directory, "memory.current").and_then(|t| t.parse::<i64>().ok());
            if let Some(usage) = usage.filter(|usage| limit > 0 && limit < *usage) {
                let field = "linux.resources.memory.limit";
                let expected = format!("at least what is in use ({usage}, checkBeforeUpdate)");
                return Err(Error::config(field, expected, limit));
            }
        }
        // v1's value is memory and swap together, v2's is swap alone.
        match (memory.swap.filter(|v| *v != 0), limit) {
            (Some(-1), _) => put("memory.swap.max", "memory.swap", "max")?,
            (Some(swap), Some(limit)) if limit > 0 => {
                let Some(only) = swap.checked_sub(limit).filter(|v| *v >= 0) else {
                    let expected = format!("at least memory.limit ({limit})");
                    return Err(Error::config("linux.resources.memory.swap", expected, swap));
                };
                match write(directory, "memory.swap.max", &only.to_string()) {
                    Err(Errno::NOENT) => {}
                    other => other.map_err(refused("memory.swap", &only.to_string()))?,
                }
            }
            (Some(swap), _) => {
                return Err(Error::config(
                    "linux.resources.memory.swap",
                    "memory.limit beside it",
                    swap,
                ));
            }
            (None, _) => {}
        }
        if let Some(limit) = limit {
            put("memory.max", "memory.limit", &bytes(limit))?;
        }
        if let Some(v) = memory.reservation.filter(|v| *v != 0) {
            put("memory.low", "memory.reservation", &bytes(v))?;
        }
    }
    if let Some(cpu) = &resources.cpu {
        if let Some(shares) = cpu.shares.filter(|v| *v != 0) {
            put("cpu.weight", "cpu.shares", &weight_of_shares(shares).to_string())?;
        }
        if cpu.quota.is_some() || cpu.period.is_some() {
            let quota = cpu.quota.filter(|v| *v > 0).map_or("max".into(), |v| v.to_string());
            let period = cpu.period.filter(|v| *v != 0).unwrap_or(100_000);
            put("cpu.max", "cpu.quota", &format!("{quota} {period}"))?;
        }
        if let Some(v) = cpu.burst {
            put("cpu.max.burst", "cpu.burst", &v.to_string())?;
        }
        if let Some(v) = cpu.idle {
            put("cpu.idle", "cpu.idle", &v.to_string())?;
        }
        if let Some(v) = cpu.cpus.as_deref().filter(|v| !v.is_empty()) {
            put("cpuset.cpus", "cpu.cpus", v)?;
        }
        if let Some(v) = cpu.mems.as_deref().filter(|v| !v.is_empty()) {
            put("cpuset.mems", "cpu.mems", v)?;
        }
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|p| p.limit) {
        let value = if limit > 0 { limit.to_string() } else { "max".into() };
        put("pids.max", "pids.limit", &value)?;
    }
    if let Some(io) = &resources.block_io {
        if let Some(v) = io.weight.filter(|v| *v != 0) {
            // 10..1000 of v1 to 1..10000.
            let converted = 1 + (u64::from(v).saturating_sub(10)) * 9999 / 990;
            write(directory, "io.bfq.weight", &v.to_string())
                .or_else(|_| write(directory, "io.weight", &converted.to_string()))
                .map_err(refused("blockIO.weight", &v.to_string()))?;
        }
        for device in &io.weight_device {
            if let Some(weight) = device.weight {
                let line = |w: u64| format!("{}:{} {w}", device.major, device.minor);
                let converted = 1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990;
                write(directory, "io.bfq.weight", &line(u64::from(weight)))
                    .or_else(|_| write(directory, "io.weight", &line(converted)))
                    .map_err(refused("blockIO.weightDevice", &line(u64::from(weight))))?;
            }
        }
        for (devices, key) in [
            (&io.throttle_read_bps_device, "rbps"),
            (&io.throttle_write_bps_device, "wbps"),
            (&io.throttle_read_iops_device, "riops"),
            (&io.throttle_write_iops_device, "wiops"),
        ] {
            for d in devices {
                put("io.max", "blockIO", &format!("{}:{} {key}={}", d.major, d.minor, d.rate))?;
            }
        }
    }
    for limit in &resources.hugepage_limits {
        let file = format!("hugetlb.{}.max", limit.page_size);
        put(&file, "hugepageLimits", &limit.limit.to_string())?;
    }
    for (device, limits) in &resources.rdma {
        put("rdma.max", "rdma", &rdma_line(device, limits))?;
    }
    set_unified(directory, resources)
}

fn set_devices(directory: &Path, own: &[DeviceRule]) -> Result<()> {
    use rustix::fd::AsFd;
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |operation| Error::os(operation, Path::new("linux.resources.devices"));
    let fd =
        rustix::fs::open(directory, flags, Mode::empty()).map_err(failed("open the cgroup for"))?;
    crate::sys::attach_device_program(
        fd.as_fd(),
        &super::devices::program(&super::devices::rules(own)),
    )
    .map_err(failed("attach the program for"))
}

/// `unified`: file names of the v2 tree and their contents.
pub(super) fn set_unified(directory: &Path, resources: &Resources) -> Result<()> {
    for (file, value) in &resources.unified {
        let field = format!("unified.{file:?}");
        if file.contains('/') || file.starts_with('.') || file.is_empty() {
            let field = format!("linux.resources.{field}");
            return Err(Error::config(field, "a file name", format!("{file:?}")));
        }
        for line in value.lines() {
            write(directory, file, line).map_err(refused(&field, line))?;
        }
    }
    Ok(())
}

/// One line of `rdma.max`.
pub(super) fn rdma_line(device: &str, limits: &Rdma) -> String {
    let mut line = device.to_owned();
    if let Some(v) = limits.hca_handles {
        line.push_str(&format!(" hca_handle={v}"));
    }
    if let Some(v) = limits.hca_objects {
        line.push_str(&format!(" hca_object={v}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[&str]) -> (tempfile::TempDir, Cgroups) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let groups = Cgroups { unified: Some(dir.path().to_owned()), ..Cgroups::default() };
        (dir, groups)
    }

    #[test]
    fn limits_become_files() {
        let files =
            ["memory.max", "memory.swap.max", "cpu.weight", "cpu.max", "pids.max", "memory.high"];
        let (dir, groups) = group(&files);
        let json = r#"{"memory":{"limit":1000,"swap":1500},"cpu":{"shares":1024,"quota":50000},
            "pids":{"limit":7},"unified":{"memory.high":"5"}}"#;
        set(&groups, &serde_json::from_str(json).unwrap(), false).unwrap();
        let content = |f: &str| std::fs::read_to_string(dir.path().join(f)).unwrap();
        assert_eq!(content("memory.max"), "1000");
        assert_eq!(content("memory.swap.max"), "500");
        assert_eq!(content("cpu.weight"), "39");
        assert_eq!(content("cpu.max"), "50000 100000");
        assert_eq!(content("pids.max"), "7");
        assert_eq!(content("memory.high"), "5");
    }

    #[test]
    fn impossible_ones_are_named() {
        let (_dir, groups) = group(&["memory.max"]);
        for (json, field) in [
            (r#"{"memory":{"limit":1000,"swap":500}}"#, "memory.swap"),
            (r#"{"unified":{"../x":"5"}}"#, "unified"),
            (r#"{"pids":{"limit":7}}"#, "pids.limit"),
        ] {
            let e =
                set(&groups, &serde_json::from_str(json).unwrap(), false).unwrap_err().to_string();
            assert!(e.contains(field), "{e}");
        }
    }
}
