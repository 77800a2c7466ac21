//! Limits.

use crate::{Bundle, Runtime, expect, expect_part};
use serde_json::json;
use std::path::PathBuf;

super::cases!(
    limits_are_written,
    update_changes_limits,
    events_show_usage,
    the_memory_limit_kills,
    the_process_limit_refuses,
    unlisted_devices_are_refused,
    an_absolute_path_is_taken,
);

fn v1(bundle: &Bundle, controller: &str, file: &str) -> Result<String, String> {
    let all = bundle.cgroups();
    let marker = format!("/sys/fs/cgroup/{controller}/");
    let directory = all.iter().find(|d| d.to_string_lossy().starts_with(&marker));
    let directory = directory.ok_or_else(|| format!("no {controller} cgroup among {all:?}"))?;
    let path: PathBuf = directory.join(file);
    std::fs::read_to_string(&path)
        .map(|t| t.trim().to_owned())
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn limits_are_written(runtime: &Runtime) -> Result<(), String> {
    if !runtime.has_v1() {
        return Ok(());
    }
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864, "reservation": 33_554_432}));
    bundle.set(
        "/linux/resources/cpu",
        json!({"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"}),
    );
    bundle.set("/linux/resources/pids", json!({"limit": 77}));
    bundle.start()?;
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("pids", "pids.max", "77"),
    ] {
        expect(file, v1(&bundle, controller, file)?.as_str(), value)?;
    }
    let pid = runtime.state(&bundle.id)?["pid"].to_string();
    for controller in ["memory", "cpu", "devices", "freezer", "blkio", "pids"] {
        expect_part(controller, &v1(&bundle, controller, "cgroup.procs")?, &pid)?;
    }
    Ok(())
}

fn update_changes_limits(runtime: &Runtime) -> Result<(), String> {
    if !runtime.has_v1() {
        return Ok(());
    }
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    runtime
        .run(&[
            "update",
            "--memory",
            "33554432",
            "--pids-limit",
            "55",
            "--cpu-share",
            "99",
            &bundle.id,
        ])?
        .expect(0)?;
    expect("memory", v1(&bundle, "memory", "memory.limit_in_bytes")?.as_str(), "33554432")?;
    expect("pids", v1(&bundle, "pids", "pids.max")?.as_str(), "55")?;
    expect("cpu", v1(&bundle, "cpu", "cpu.shares")?.as_str(), "99")?;
    let json = r#"{"memory":{"limit":16777216},"pids":{"limit":44}}"#;
    runtime.run_with(&["update", "--resources", "-", &bundle.id], json.as_bytes())?.expect(0)?;
    expect("memory", v1(&bundle, "memory", "memory.limit_in_bytes")?.as_str(), "16777216")?;
    expect("pids", v1(&bundle, "pids", "pids.max")?.as_str(), "44")
}

fn events_show_usage(runtime: &Runtime) -> Result<(), String> {
    if !runtime.has_v1() {
        return Ok(());
    }
    if runtime.name() == "crun" {
        return Ok(()); // it has no such command
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

fn the_memory_limit_kills(runtime: &Runtime) -> Result<(), String> {
    if !runtime.has_v1() {
        return Ok(());
    }
    let mut bundle =
        Bundle::new(runtime, "head -c 100000000 /dev/zero | tail >/dev/null; echo $?")?;
    bundle.set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    let outcome = bundle.run()?;
    expect("status of the big process", outcome.stdout.trim(), "137")
}

fn the_process_limit_refuses(runtime: &Runtime) -> Result<(), String> {
    if !runtime.has_v1() {
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
    if let Ok(tops) = std::fs::read_dir("/sys/fs/cgroup") {
        for top in tops.filter_map(Result::ok) {
            let _ = std::fs::remove_dir(top.path().join("conformance/sub"));
            let _ = std::fs::remove_dir(top.path().join("conformance"));
        }
    }
    Ok(())
}
