//! Limits.

use crate::runtime::Version;
use crate::{Bundle, Runtime, expect, expect_part};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

super::cases!(
    limits_are_written,
    unified_keys_are_written,
    limits_of_a_disk_are_written,
    update_changes_limits,
    events_show_usage,
    events_tell_of_memory_that_ran_out,
    the_memory_limit_kills,
    the_process_limit_refuses,
    unlisted_devices_are_refused,
    an_absolute_path_is_taken,
);

/// A limit by the files of both versions: controller and file of v1, then file of v2, each with its value.
type Limit = ([&'static str; 3], [&'static str; 2]);

/// A file of the container's cgroup below v1's hierarchy of a controller.
fn v1(bundle: &Bundle, controller: &str, file: &str) -> Result<String, String> {
    read(bundle, &format!("/sys/fs/cgroup/{controller}/"), file)
}

/// A file of the container's cgroup in v2's only hierarchy.
fn v2(bundle: &Bundle, file: &str) -> Result<String, String> {
    read(bundle, "/sys/fs/cgroup/", file)
}

fn read(bundle: &Bundle, below: &str, file: &str) -> Result<String, String> {
    let all = bundle.cgroups();
    let directory = all.iter().find(|d| d.to_string_lossy().starts_with(below));
    let path =
        directory.ok_or_else(|| format!("no cgroup below {below} among {all:?}"))?.join(file);
    std::fs::read_to_string(&path)
        .map(|t| t.trim().to_owned())
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn expect_limits(bundle: &Bundle, version: Version, limits: &[Limit]) -> Result<(), String> {
    for ([controller, file, value], [unified, unified_value]) in limits {
        match version {
            Version::V1 => expect(file, v1(bundle, controller, file)?.as_str(), *value)?,
            Version::V2 => expect(unified, v2(bundle, unified)?.as_str(), *unified_value)?,
        }
    }
    Ok(())
}

fn limits_are_written(runtime: &Runtime) -> Result<(), String> {
    let Some(version) = runtime.limits() else { return Ok(()) };
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864, "reservation": 33_554_432}));
    bundle.set(
        "/linux/resources/cpu",
        json!({"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"}),
    );
    bundle.set("/linux/resources/pids", json!({"limit": 77}));
    bundle.start()?;
    let limits: [Limit; 5] = [
        (["memory", "memory.limit_in_bytes", "67108864"], ["memory.max", "67108864"]),
        (["memory", "memory.soft_limit_in_bytes", "33554432"], ["memory.low", "33554432"]),
        (["cpu", "cpu.cfs_quota_us", "50000"], ["cpu.max", "50000 100000"]),
        (["cpuset", "cpuset.cpus", "0"], ["cpuset.cpus", "0"]),
        (["pids", "pids.max", "77"], ["pids.max", "77"]),
    ];
    expect_limits(&bundle, version, &limits)?;
    let pid = runtime.state(&bundle.id)?["pid"].to_string();
    match version {
        Version::V1 => {
            expect("cpu.shares", v1(&bundle, "cpu", "cpu.shares")?.as_str(), "512")?;
            for controller in ["memory", "cpu", "devices", "freezer", "blkio", "pids"] {
                expect_part(controller, &v1(&bundle, controller, "cgroup.procs")?, &pid)?;
            }
            Ok(())
        }
        // The two peers of today and of Debian 12 convert shares to weights by different curves.
        Version::V2 => {
            let weight = v2(&bundle, "cpu.weight")?;
            if !["20", "59"].contains(&weight.as_str()) {
                return Err(format!("cpu.weight: expected 20 or 59, got {weight}"));
            }
            expect_part("cgroup.procs", &v2(&bundle, "cgroup.procs")?, &pid)
        }
    }
}

fn unified_keys_are_written(runtime: &Runtime) -> Result<(), String> {
    let Some(Version::V2) = runtime.limits() else { return Ok(()) };
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.set(
        "/linux/resources/unified",
        json!({"memory.high": "50331648", "pids.max": "66", "cpu.weight": "7"}),
    );
    bundle.start()?;
    for (file, value) in [("memory.high", "50331648"), ("pids.max", "66"), ("cpu.weight", "7")] {
        expect(file, v2(&bundle, file)?.as_str(), value)?;
    }
    Ok(())
}

fn limits_of_a_disk_are_written(runtime: &Runtime) -> Result<(), String> {
    let (Some(version), Some((major, minor))) = (runtime.limits(), first_disk()) else {
        return Ok(());
    };
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.set(
        "/linux/resources/blockIO",
        json!({"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1_048_576}]}),
    );
    bundle.start()?;
    let (text, expected) = match version {
        Version::V1 => (
            v1(&bundle, "blkio", "blkio.throttle.read_bps_device")?,
            format!("{major}:{minor} 1048576"),
        ),
        Version::V2 => (v2(&bundle, "io.max")?, format!("{major}:{minor} rbps=1048576")),
    };
    expect_part("limit", &text, &expected)
}

/// A whole disk, which partitions are not.
fn first_disk() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/partitions").ok()?;
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, _, name] = words[..] else { return None };
        let is_disk = std::path::Path::new("/sys/block").join(name).join("queue").exists();
        Some((major.parse().ok()?, minor.parse().ok()?)).filter(|_| is_disk)
    })
}

fn update_changes_limits(runtime: &Runtime) -> Result<(), String> {
    let Some(version) = runtime.limits() else { return Ok(()) };
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let args = ["update", "--memory", "33554432", "--pids-limit", "55", "--cpu-share", "99"];
    runtime.run(&[&args[..], &[&bundle.id]].concat())?.expect(0)?;
    let limits: [Limit; 2] = [
        (["memory", "memory.limit_in_bytes", "33554432"], ["memory.max", "33554432"]),
        (["pids", "pids.max", "55"], ["pids.max", "55"]),
    ];
    expect_limits(&bundle, version, &limits)?;
    if version == Version::V1 {
        expect("cpu.shares", v1(&bundle, "cpu", "cpu.shares")?.as_str(), "99")?;
    }
    let json = r#"{"memory":{"limit":16777216},"pids":{"limit":44}}"#;
    runtime.run_with(&["update", "--resources", "-", &bundle.id], json.as_bytes())?.expect(0)?;
    let limits: [Limit; 2] = [
        (["memory", "memory.limit_in_bytes", "16777216"], ["memory.max", "16777216"]),
        (["pids", "pids.max", "44"], ["pids.max", "44"]),
    ];
    expect_limits(&bundle, version, &limits)
}

fn events_show_usage(runtime: &Runtime) -> Result<(), String> {
    if runtime.limits().is_none() || runtime.name() == "crun" {
        return Ok(()); // crun has no such command
    }
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let outcome = runtime.run(&["events", "--stats", &bundle.id])?;
    outcome.expect(0)?;
    let line: serde_json::Value =
        serde_json::from_str(&outcome.stdout).map_err(|e| e.to_string())?;
    expect("type", line["type"].as_str(), Some("stats"))?;
    expect("id", line["id"].as_str(), Some(bundle.id.as_str()))?;
    for pointer in ["/data/memory/usage/usage", "/data/pids/current", "/data/cpu/usage/total"] {
        if line.pointer(pointer).and_then(serde_json::Value::as_u64).is_none_or(|n| n == 0) {
            return Err(format!("{pointer}: expected more than 0 in {line}"));
        }
    }
    Ok(())
}

/// More than a limit of 16 MiB holds, in one process.
const HOG: &str = "head -c 100000000 /dev/zero | tail >/dev/null; echo $?";

fn events_tell_of_memory_that_ran_out(runtime: &Runtime) -> Result<(), String> {
    if runtime.limits().is_none() || runtime.name() == "crun" {
        return Ok(());
    }
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    bundle.start()?;
    let mut command = runtime.command(&["events", "--interval", "1s", &bundle.id]);
    let mut events = command.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let lines = BufReader::new(events.stdout.take().ok_or("no stdout")?).lines();
    // The first line says that it listens; then one of the kernel's news follows within a minute of lines.
    let mut told = Err("events: expected one of type oom, got none".to_owned());
    for (number, line) in lines.take(60).enumerate() {
        let line = line.map_err(|e| e.to_string())?;
        if line.contains(r#""type":"oom""#) {
            told = Ok(());
            break;
        }
        if number == 0 {
            bundle.exec(&[], &["sh", "-c", HOG])?;
        }
    }
    let _ = events.kill();
    let _ = events.wait();
    told
}

fn the_memory_limit_kills(runtime: &Runtime) -> Result<(), String> {
    if runtime.limits().is_none() {
        return Ok(());
    }
    let mut bundle = Bundle::new(runtime, HOG)?;
    bundle.set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    let outcome = bundle.run()?;
    expect("status of the big process", outcome.stdout.trim(), "137")
}

fn the_process_limit_refuses(runtime: &Runtime) -> Result<(), String> {
    if runtime.limits().is_none() {
        return Ok(());
    }
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done 2>&1; echo done";
    let mut bundle = Bundle::new(runtime, script)?;
    bundle.set("/linux/resources/pids", json!({"limit": 5}));
    let outcome = bundle.run()?;
    expect_part("output", &(outcome.stdout + &outcome.stderr), "fork")
}

fn unlisted_devices_are_refused(runtime: &Runtime) -> Result<(), String> {
    let script = "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg >/dev/null 2>&1 || echo refused; \
                  mknod /tmp/zero c 1 5 && head -c 1 /tmp/zero >/dev/null && echo allowed";
    let mut bundle = Bundle::new(runtime, script)?;
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_MKNOD", "CAP_SYSLOG"]));
    }
    let outcome = bundle.run()?;
    expect("output", outcome.stdout.as_str(), "refused\nallowed\n")
}

fn an_absolute_path_is_taken(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    let path = format!("/conformance/sub/{}", bundle.id);
    bundle.set("/linux/cgroupsPath", json!(path));
    bundle.start()?;
    let outcome = bundle.exec(&[], &["cat", "/proc/self/cgroup"])?;
    expect_part("own group", &outcome.stdout, &path)?;
    runtime.run(&["delete", "--force", &bundle.id])?.expect(0)?;
    bundle.expect_nothing_left()?;
    // What engines make above is theirs; here it is ours.
    let tops = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok);
    for top in tops.map(|top| top.path()).chain(["/sys/fs/cgroup".into()]) {
        let _ = std::fs::remove_dir(top.join("conformance/sub"));
        let _ = std::fs::remove_dir(top.join("conformance"));
    }
    Ok(())
}
