//! Usage figures of a container, in the shape of runc's `events --stats`.

use super::{Cgroups, read};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The figures that this host's cgroups have; what is missing is left out.
#[must_use]
pub fn stats(groups: &Cgroups) -> Value {
    let mut out = Map::new();
    if groups.is_unified() {
        if let Some(directory) = &groups.unified {
            v2(directory, &mut out);
        }
    } else {
        v1(groups, &mut out);
    }
    Value::Object(out)
}

/// How often the kernel killed for want of memory.
#[must_use]
pub fn oom_kills(groups: &Cgroups) -> u64 {
    let v1 = groups.controller("memory").map(|d| table(d, "memory.oom_control"));
    let figures = match (v1, &groups.unified) {
        (Some(figures), _) => figures,
        (None, Some(directory)) => table(directory, "memory.events"),
        (None, None) => return 0,
    };
    figures.get("oom_kill").and_then(Value::as_u64).unwrap_or(0)
}

fn number(directory: &Path, file: &str) -> Option<u64> {
    read(directory, file)?.trim().parse().ok()
}

/// `name value` lines.
fn table(directory: &Path, file: &str) -> Map<String, Value> {
    let text = read(directory, file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(k, v)| Some((k.to_owned(), json!(v.trim().parse::<u64>().ok()?)))).collect()
}

/// A limit; `max` and absurdly large ones are none.
fn limit(directory: &Path, file: &str) -> u64 {
    number(directory, file).unwrap_or(0)
}

fn v1(groups: &Cgroups, out: &mut Map<String, Value>) {
    if let Some(directory) = groups.controller("cpuacct") {
        let percpu: Vec<u64> = read(directory, "cpuacct.usage_percpu")
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        let throttling = groups.controller("cpu").map(|d| table(d, "cpu.stat")).unwrap_or_default();
        let get = |name: &str| throttling.get(name).cloned().unwrap_or(json!(0));
        out.insert(
            "cpu".into(),
            json!({
                "usage": {
                    "total": number(directory, "cpuacct.usage"),
                    "percpu": percpu,
                    "kernel": number(directory, "cpuacct.usage_sys").unwrap_or(0),
                    "user": number(directory, "cpuacct.usage_user").unwrap_or(0),
                },
                "throttling": {
                    "periods": get("nr_periods"),
                    "throttledPeriods": get("nr_throttled"),
                    "throttledTime": get("throttled_time"),
                },
            }),
        );
    }
    if let Some(directory) = groups.controller("memory") {
        let raw = table(directory, "memory.stat");
        let usage = |prefix: &str| {
            json!({
                "limit": limit(directory, &format!("{prefix}.limit_in_bytes")),
                "usage": number(directory, &format!("{prefix}.usage_in_bytes")).unwrap_or(0),
                "max": number(directory, &format!("{prefix}.max_usage_in_bytes")).unwrap_or(0),
                "failcnt": number(directory, &format!("{prefix}.failcnt")).unwrap_or(0),
            })
        };
        out.insert(
            "memory".into(),
            json!({
                "cache": raw.get("cache").cloned().unwrap_or(json!(0)),
                "usage": usage("memory"),
                "swap": usage("memory.memsw"),
                "kernel": usage("memory.kmem"),
                "raw": raw,
            }),
        );
    }
    pids(groups.controller("pids"), out);
}

fn v2(directory: &Path, out: &mut Map<String, Value>) {
    let cpu = table(directory, "cpu.stat");
    let nanos =
        |name: &str| cpu.get(name).and_then(Value::as_u64).unwrap_or(0).saturating_mul(1000);
    let plain = |name: &str| cpu.get(name).and_then(Value::as_u64).unwrap_or(0);
    out.insert(
        "cpu".into(),
        json!({
            "usage": {
                "total": nanos("usage_usec"),
                "kernel": nanos("system_usec"),
                "user": nanos("user_usec"),
            },
            "throttling": {
                "periods": plain("nr_periods"),
                "throttledPeriods": plain("nr_throttled"),
                "throttledTime": nanos("throttled_usec"),
            },
        }),
    );
    if let Some(usage) = number(directory, "memory.current") {
        let raw = table(directory, "memory.stat");
        out.insert(
            "memory".into(),
            json!({
                "cache": raw.get("file").cloned().unwrap_or(json!(0)),
                "usage": {
                    "limit": limit(directory, "memory.max"),
                    "usage": usage,
                    "max": number(directory, "memory.peak").unwrap_or(0),
                    "failcnt": table(directory, "memory.events").get("max").cloned().unwrap_or(json!(0)),
                },
                "raw": raw,
            }),
        );
    }
    pids(Some(directory), out);
}

fn pids(directory: Option<&Path>, out: &mut Map<String, Value>) {
    let Some(directory) = directory else { return };
    if let Some(current) = number(directory, "pids.current") {
        out.insert(
            "pids".into(),
            json!({"current": current, "limit": limit(directory, "pids.max")}),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_figures_and_missing_ones_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.limit_in_bytes", "8192\n"),
            ("memory.stat", "cache 5\nrss 6\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            ("pids.current", "2\n"),
            ("pids.max", "max\n"),
            ("cpuacct.usage", "77\n"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let all = "memory,pids,cpuacct,cpu".to_owned();
        let groups = Cgroups { v1: vec![(all, dir.path().into())], ..Cgroups::default() };
        let figures = stats(&groups);
        assert_eq!(figures["memory"]["usage"]["usage"], 4096);
        assert_eq!(figures["memory"]["cache"], 5);
        assert_eq!(figures["pids"], json!({"current": 2, "limit": 0}));
        assert_eq!(figures["cpu"]["usage"]["total"], 77);
        assert_eq!(oom_kills(&groups), 3);
    }
}
