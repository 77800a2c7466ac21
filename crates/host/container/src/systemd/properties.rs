//! Limits as properties of a unit, so that systemd keeps them when it writes the groups again (at a reload).
//!
//! The files of the groups are written besides, by the same code as without systemd: they have limits that
//! no property covers.

use super::message::Value;
use crate::cgroup::{DeviceLine, device_lines, weight_of_shares};
use crate::spec::Resources;
use crate::tuning::parse_list;

/// Name and value.
pub(super) type Property = (&'static str, Value);

/// What a scope has whatever its limits: it is ours to divide, and ends with its last process.
pub(super) fn fixed(description: String, slice: &str, pid: u32, is_v2: bool) -> Vec<Property> {
    let accounting: &[&'static str] = if is_v2 {
        &["CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting"]
    } else {
        &["CPUAccounting", "BlockIOAccounting", "MemoryAccounting", "TasksAccounting"]
    };
    let mut out = vec![
        ("Description", Value::Text(description)),
        ("Slice", Value::Text(slice.to_owned())),
        ("Delegate", Value::Bool(true)),
        ("PIDs", Value::Numbers(vec![pid])),
        ("DefaultDependencies", Value::Bool(false)),
    ];
    out.extend(accounting.iter().map(|name| (*name, Value::Bool(true))));
    out
}

/// The limits that have properties. Device rules only for a new unit, as the files.
pub(super) fn limits(resources: &Resources, is_v2: bool, is_new: bool) -> Vec<Property> {
    let mut out: Vec<Property> = Vec::new();
    let bytes = |v: i64| Value::U64(u64::try_from(v).unwrap_or(u64::MAX));
    if let Some(memory) = &resources.memory {
        let limit = memory.limit.filter(|v| *v != 0);
        if let Some(v) = limit {
            out.push((if is_v2 { "MemoryMax" } else { "MemoryLimit" }, bytes(v)));
        }
        if let (true, Some(v)) = (is_v2, memory.reservation.filter(|v| *v != 0)) {
            out.push(("MemoryLow", bytes(v)));
        }
        match (is_v2, memory.swap.filter(|v| *v != 0), limit) {
            (true, Some(-1), _) => out.push(("MemorySwapMax", Value::U64(u64::MAX))),
            // Of v1 it is memory and swap together; an impossible pair is refused by the files.
            (true, Some(swap), Some(limit)) if swap >= limit => {
                out.push(("MemorySwapMax", bytes(swap - limit)));
            }
            _ => {}
        }
    }
    if let Some(cpu) = &resources.cpu {
        if let Some(shares) = cpu.shares.filter(|v| *v != 0) {
            out.push(if is_v2 {
                ("CPUWeight", Value::U64(weight_of_shares(shares)))
            } else {
                ("CPUShares", Value::U64(shares))
            });
        }
        if let Some(quota) = cpu.quota {
            out.push(("CPUQuotaPerSecUSec", Value::U64(quota_per_second(quota, cpu.period))));
        }
        if let Some(period) = cpu.period.filter(|v| *v != 0) {
            out.push(("CPUQuotaPeriodUSec", Value::U64(period)));
        }
        if is_v2 {
            for (list, name) in [(&cpu.cpus, "AllowedCPUs"), (&cpu.mems, "AllowedMemoryNodes")] {
                let mask = list.as_deref().filter(|l| !l.is_empty()).and_then(parse_list);
                out.extend(mask.map(|mask| (name, Value::Bytes(mask_bytes(&mask)))));
            }
        }
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|p| p.limit) {
        let limit = if limit > 0 { limit as u64 } else { u64::MAX };
        out.push(("TasksMax", Value::U64(limit)));
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|io| io.weight).filter(|w| *w != 0) {
        let weight = u64::from(weight);
        out.push(if is_v2 {
            ("IOWeight", Value::U64(1 + weight.saturating_sub(10) * 9999 / 990))
        } else {
            ("BlockIOWeight", Value::U64(weight))
        });
    }
    if is_new {
        devices(resources, &mut out);
    }
    out
}

/// systemd counts in steps of 10 ms of a second; a limit is never made tighter than asked for.
fn quota_per_second(quota: i64, period: Option<u64>) -> u64 {
    const STEP: u64 = 10_000;
    let Ok(quota) = u64::try_from(quota) else { return u64::MAX };
    if quota == 0 {
        return u64::MAX;
    }
    let period = period.filter(|p| *p != 0).unwrap_or(100_000);
    (quota.saturating_mul(1_000_000) / period).div_ceil(STEP).saturating_mul(STEP)
}

/// Lowest bit first, as many bytes as needed.
fn mask_bytes(words: &[u64]) -> Vec<u8> {
    let mut out: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    while out.last() == Some(&0) {
        out.pop();
    }
    out
}

fn devices(resources: &Resources, out: &mut Vec<Property>) {
    let Some(lines) = device_lines(&resources.devices) else {
        out.push(("DevicePolicy", Value::Text("auto".into())));
        return;
    };
    let pairs = lines.into_iter().filter_map(|line| Some((path(&line)?, line.access)));
    out.push(("DevicePolicy", Value::Text("strict".into())));
    out.push(("DeviceAllow", Value::Pairs(pairs.collect())));
}

/// As `DeviceAllow=` names devices. A whole class has the name that `/proc/devices` gives its number.
fn path(line: &DeviceLine) -> Option<String> {
    let (kind, heading) = match line.kind {
        'b' => ("block", "Block devices:"),
        _ => ("char", "Character devices:"),
    };
    match (line.major, line.minor) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (None, _) => Some(format!("{kind}-*")),
        (Some(major), None) => {
            let text = std::fs::read_to_string("/proc/devices").ok()?;
            let section = text.split_once(heading)?.1;
            let lines = section.lines().skip(1).take_while(|l| !l.is_empty());
            let mut classes = lines.filter_map(|l| l.trim().split_once(' '));
            let name = classes.find(|(n, _)| n.parse() == Ok(major))?.1;
            Some(format!("{kind}-{name}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str, is_v2: bool) -> Vec<Property> {
        limits(&serde_json::from_str(json).unwrap(), is_v2, true)
    }

    fn get<'a>(properties: &'a [Property], name: &str) -> Option<&'a Value> {
        properties.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    const ALL: &str = r#"{"memory":{"limit":1000,"swap":1500,"reservation":500},
        "cpu":{"shares":1024,"quota":25000,"period":100000,"cpus":"0,9"},"pids":{"limit":-1},
        "blockIO":{"weight":500},"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},{"allow":true,"type":"b","access":"m"}]}"#;

    #[test]
    fn limits_have_the_names_of_their_hierarchy() {
        let v2 = of(ALL, true);
        for (name, value) in [
            ("MemoryMax", 1000),
            ("MemorySwapMax", 500),
            ("MemoryLow", 500),
            ("CPUWeight", 39),
            ("CPUQuotaPerSecUSec", 250_000),
            ("CPUQuotaPeriodUSec", 100_000),
            ("TasksMax", u64::MAX),
            ("IOWeight", 4950),
        ] {
            assert_eq!(get(&v2, name), Some(&Value::U64(value)), "{name}");
        }
        assert_eq!(get(&v2, "AllowedCPUs"), Some(&Value::Bytes(vec![1, 2])));
        let v1 = of(ALL, false);
        assert_eq!(get(&v1, "MemoryLimit"), Some(&Value::U64(1000)));
        assert_eq!(get(&v1, "CPUShares"), Some(&Value::U64(1024)));
        assert_eq!(get(&v1, "BlockIOWeight"), Some(&Value::U64(500)));
        assert_eq!(get(&v1, "MemoryMax"), None);
    }

    #[test]
    fn devices_are_listed_or_all_allowed() {
        let Some(Value::Pairs(pairs)) = get(&of(ALL, true), "DeviceAllow").cloned() else {
            panic!("no DeviceAllow")
        };
        for pair in [
            ("/dev/char/10:229", "rw"),
            ("block-*", "m"),
            ("/dev/char/1:3", "rwm"),
            ("char-pts", "rwm"),
        ] {
            assert!(
                pairs.iter().any(|(p, a)| (p.as_str(), a.as_str()) == pair),
                "{pair:?}: {pairs:?}"
            );
        }
        let open = of(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#, false);
        assert_eq!(get(&open, "DevicePolicy"), Some(&Value::Text("auto".into())));
    }

    #[test]
    fn a_quota_is_rounded_up_to_systemds_steps() {
        assert_eq!(quota_per_second(1001, Some(100_000)), 20_000);
        assert_eq!(quota_per_second(-1, None), u64::MAX);
        assert_eq!(quota_per_second(i64::MAX, Some(1)), u64::MAX);
    }
}
