//! Usage figures of a container, in the shape of runc's `events --stats`; `rdma`, which runc leaves out, is
//! the kernel's own table.

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
    if let Some(directory) = groups.controller("blkio") {
        let recursive = |file: &str| {
            // Which of the two counts depends on the disk's scheduler; a kernel may have either.
            let of =
                |policy: &str| v1_block(directory, &format!("blkio.{policy}.{file}_recursive"));
            let own = of("bfq");
            if own.is_empty() { of("throttle") } else { own }
        };
        block_io(recursive("io_service_bytes"), recursive("io_serviced"), out);
    }
    let (hugetlb, unified) = (groups.controller("hugetlb"), groups.unified.as_deref());
    if let Some(directory) = hugetlb {
        huge_pages(directory, &V1_HUGE_PAGES, out);
    } else if let Some(directory) = unified {
        // A hybrid host may have it there.
        huge_pages(directory, &V2_HUGE_PAGES, out);
    }
    if let Some(directory) = groups.controller("rdma").or(unified) {
        rdma(directory, out);
    }
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
    let (bytes, operations) = v2_block(directory);
    block_io(bytes, operations, out);
    huge_pages(directory, &V2_HUGE_PAGES, out);
    rdma(directory, out);
}

/// Lines such as `8:0 Read 4096`; the last is a total, which is not of a device.
fn v1_block(directory: &Path, file: &str) -> Vec<Value> {
    let text = read(directory, file).unwrap_or_default();
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (device, operation) = (words.next()?, words.next()?);
        block_entry(device, operation, words.next()?.parse().ok()?)
    };
    text.lines().filter_map(entry).collect()
}

/// Lines such as `8:0 rbytes=1 wbytes=2 rios=3 wios=4`: bytes, operations.
fn v2_block(directory: &Path) -> (Vec<Value>, Vec<Value>) {
    let text = read(directory, "io.stat").unwrap_or_default();
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next() else { continue };
        for word in words {
            let Some((name, value)) = word.split_once('=') else { continue };
            let (list, operation) = match name {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            list.extend(value.parse().ok().and_then(|value| block_entry(device, operation, value)));
        }
    }
    (bytes, operations)
}

/// As runc writes it: nothing that is zero.
fn block_entry(device: &str, operation: &str, value: u64) -> Option<Value> {
    let (major, minor) = device.split_once(':')?;
    let mut entry = Map::new();
    let numbers =
        [("major", major.parse().ok()?), ("minor", minor.parse().ok()?), ("value", value)];
    entry.extend(numbers.into_iter().filter(|n| n.1 != 0).map(|(k, v)| (k.to_owned(), json!(v))));
    entry.insert("op".into(), json!(operation));
    Some(Value::Object(entry))
}

fn block_io(bytes: Vec<Value>, operations: Vec<Value>, out: &mut Map<String, Value>) {
    let lists = [("ioServiceBytesRecursive", bytes), ("ioServicedRecursive", operations)];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let block: Map<_, _> = lists.map(|(k, list)| (k.to_owned(), Value::Array(list))).collect();
    out.insert("blkio".into(), Value::Object(block));
}

/// The endings of the files of a page size.
struct HugePageFiles {
    usage: &'static str,
    /// v2 has none.
    most: Option<&'static str>,
    failures: &'static str,
}

const V1_HUGE_PAGES: HugePageFiles = HugePageFiles {
    usage: "usage_in_bytes",
    most: Some("max_usage_in_bytes"),
    failures: "failcnt",
};
const V2_HUGE_PAGES: HugePageFiles =
    HugePageFiles { usage: "current", most: None, failures: "events" };

/// By page size.
fn huge_pages(directory: &Path, files: &HugePageFiles, out: &mut Map<String, Value>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut sizes = Map::new();
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name();
        let size = name.to_str().and_then(|name| {
            name.strip_prefix("hugetlb.")?.strip_suffix(files.usage)?.strip_suffix('.')
        });
        // `hugetlb.2MB.rsvd.current` is another figure.
        let Some(size) = size.filter(|size| !size.contains('.')) else { continue };
        let file = |ending: &str| format!("hugetlb.{size}.{ending}");
        // On v2 `max 3`: how often the limit was met.
        let failures = number(directory, &file(files.failures))
            .or_else(|| table(directory, &file(files.failures)).get("max").and_then(Value::as_u64));
        let mut figures = Map::new();
        let usage = number(directory, &file(files.usage)).filter(|n| *n != 0);
        figures.extend(usage.map(|n| ("usage".to_owned(), json!(n))));
        let most = files.most.and_then(|f| number(directory, &file(f))).filter(|n| *n != 0);
        figures.extend(most.map(|n| ("max".to_owned(), json!(n))));
        figures.insert("failcnt".into(), json!(failures.unwrap_or(0)));
        sizes.insert(size.to_owned(), Value::Object(figures));
    }
    out.insert("hugetlb".into(), Value::Object(sizes));
}

/// Lines such as `mlx4_0 hca_handle=1 hca_object=20`, by device.
fn rdma(directory: &Path, out: &mut Map<String, Value>) {
    let Some(text) = read(directory, "rdma.current") else { return };
    let mut devices = Map::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next() else { continue };
        let pairs = words.filter_map(|word| word.split_once('='));
        let numbers =
            pairs.filter_map(|(k, v)| Some((k.to_owned(), json!(v.parse::<u64>().ok()?))));
        devices.insert(device.to_owned(), Value::Object(numbers.collect()));
    }
    if !devices.is_empty() {
        out.insert("rdma".into(), Value::Object(devices));
    }
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

    #[test]
    fn disks_huge_pages_and_rdma_are_counted_on_both_kinds() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 4096\n8:0 Write 0\nTotal 4096\n",
            ),
            ("blkio.throttle.io_serviced_recursive", "8:0 Read 1\nTotal 1\n"),
            ("hugetlb.2MB.usage_in_bytes", "2097152\n"),
            ("hugetlb.2MB.max_usage_in_bytes", "4194304\n"),
            ("hugetlb.2MB.failcnt", "3\n"),
            ("rdma.current", "mlx4_0 hca_handle=1 hca_object=20\n"),
            ("io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=7 dios=8\n"),
            ("hugetlb.2MB.current", "2097152\n"),
            ("hugetlb.2MB.rsvd.current", "1\n"),
            ("hugetlb.2MB.events", "max 3\n"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let all = "blkio,hugetlb,rdma".to_owned();
        let v1 = Cgroups { v1: vec![(all, dir.path().into())], ..Cgroups::default() };
        let v2 = Cgroups { unified: Some(dir.path().into()), ..Cgroups::default() };
        let bytes = json!([{"major": 8, "op": "Read", "value": 4096}, {"major": 8, "op": "Write"}]);
        for (figures, has_most) in [(stats(&v1), true), (stats(&v2), false)] {
            assert_eq!(figures["blkio"]["ioServiceBytesRecursive"], bytes);
            assert_eq!(figures["blkio"]["ioServicedRecursive"][0]["value"], 1);
            let huge = figures["hugetlb"].as_object().unwrap();
            assert_eq!(huge.len(), 1, "{huge:?}");
            assert_eq!(
                (&huge["2MB"]["usage"], &huge["2MB"]["failcnt"]),
                (&json!(2_097_152), &json!(3))
            );
            assert_eq!(huge["2MB"].get("max").is_some(), has_most);
            assert_eq!(figures["rdma"]["mlx4_0"]["hca_object"], 20);
        }
    }

    #[test]
    fn a_hybrid_hosts_huge_pages_are_in_its_v2_tree() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hugetlb.1GB.current"), "0\n").unwrap();
        let (v1, unified) = (vec![("pids".to_owned(), "/no".into())], Some(dir.path().into()));
        let groups = Cgroups { v1, unified, ..Cgroups::default() };
        assert_eq!(stats(&groups)["hugetlb"], json!({"1GB": {"failcnt": 0}}));
    }
}
