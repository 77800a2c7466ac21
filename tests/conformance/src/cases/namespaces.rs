//! Namespaces.

use crate::{Bundle, Runtime, expect};
use serde_json::json;
use std::path::Path;

super::cases!(
    each_kind_is_new,
    a_new_network_has_its_loopback,
    a_missing_kind_is_the_hosts,
    joins_by_path,
    joins_a_pid_namespace_by_path,
    a_user_namespace_has_its_maps,
    a_user_namespace_can_bind_what_its_root_cannot_reach,
    sysctls_are_set,
    a_cgroup_namespace_hides_the_path,
    a_time_namespace_has_its_offsets,
    a_user_namespace_can_be_entered_again,
    domainname_is_set,
);

const KINDS: [(&str, &str); 5] =
    [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("mount", "mnt")];

fn own(kind: &str) -> Result<String, String> {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).map_err(|e| e.to_string())?;
    Ok(link.display().to_string())
}

fn of(pid: i64, kind: &str) -> Result<String, String> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).map_err(|e| e.to_string())?;
    Ok(link.display().to_string())
}

fn each_kind_is_new(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let pid = runtime.state(&bundle.id)?["pid"].as_i64().unwrap_or(0);
    for (kind, file) in KINDS {
        if of(pid, file)? == own(file)? {
            return Err(format!("{kind}: expected a new one, got the host's"));
        }
    }
    Ok(())
}

fn a_new_network_has_its_loopback(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let pid = runtime.state(&bundle.id)?["pid"].as_i64().unwrap_or(0);
    let routes =
        std::fs::read_to_string(format!("/proc/{pid}/net/fib_trie")).map_err(|e| e.to_string())?;
    // The kernel adds the address when the interface comes up.
    if !routes.contains("127.0.0.1") {
        return Err(format!("routes of the container: expected 127.0.0.1, got {routes:?}"));
    }
    Ok(())
}

fn a_missing_kind_is_the_hosts(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.set("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "pid"}]));
    // sysfs and mqueue of another namespace need rights that only its owner has; both are ours here.
    bundle.start()?;
    let pid = runtime.state(&bundle.id)?["pid"].as_i64().unwrap_or(0);
    for file in ["net", "ipc"] {
        expect(file, of(pid, file)?, own(file)?)?;
    }
    Ok(())
}

fn joins_by_path(runtime: &Runtime) -> Result<(), String> {
    let first = Bundle::new(runtime, "sleep 1000")?;
    first.start()?;
    let pid = runtime.state(&first.id)?["pid"].as_i64().unwrap_or(0);
    let mut second = Bundle::new(runtime, "sleep 1000")?;
    let join =
        |kind: &str, file: &str| json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")});
    second.set("/linux/namespaces", json!([
        {"type": "pid"}, {"type": "mount"}, join("network", "net"), join("ipc", "ipc"), join("uts", "uts")
    ]));
    if let Some(object) = second.config.as_object_mut() {
        object.remove("hostname");
    }
    second.start()?;
    let other = runtime.state(&second.id)?["pid"].as_i64().unwrap_or(0);
    for file in ["net", "ipc", "uts"] {
        expect(file, of(other, file)?, of(pid, file)?)?;
    }
    Ok(())
}

fn joins_a_pid_namespace_by_path(runtime: &Runtime) -> Result<(), String> {
    let first = Bundle::new(runtime, "sleep 1234")?;
    first.start()?;
    let pid = runtime.state(&first.id)?["pid"].as_i64().unwrap_or(0);
    let mut second = Bundle::new(runtime, "ps | grep -c 'sleep 123[4]'; exit 4")?;
    second.set("/linux/namespaces", json!([
        {"type": "pid", "path": format!("/proc/{pid}/ns/pid")}, {"type": "mount"}, {"type": "network"},
        {"type": "ipc"}, {"type": "uts"}
    ]));
    let outcome = second.run()?;
    outcome.expect(4)?;
    expect("processes of the other container seen", outcome.stdout.as_str(), "1\n")
}

fn with_user_namespace(bundle: &mut Bundle) {
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
}

fn a_user_namespace_has_its_maps(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(
        runtime,
        "id -u; cat /proc/self/uid_map | tr -s ' '; echo x >/dev/null && stat -c %u /bin",
    )?;
    with_user_namespace(&mut bundle);
    let outcome = bundle.run()?;
    outcome.expect(0)?;
    expect("output", outcome.stdout.as_str(), "0\n 0 100000 2000\n65534\n")
}

fn a_user_namespace_can_bind_what_its_root_cannot_reach(runtime: &Runtime) -> Result<(), String> {
    // mkdtemp makes it 0700 and root's: the container's root may not enter it.
    let hidden = tempfile::tempdir().map_err(|e| e.to_string())?;
    let inner = hidden.path().join("inner");
    std::fs::create_dir(&inner).map_err(|e| e.to_string())?;
    std::fs::write(inner.join("f"), "seen\n").map_err(|e| e.to_string())?;
    let mut bundle = Bundle::new(runtime, "cat /mnt/f")?;
    with_user_namespace(&mut bundle);
    bundle.push(
        "/mounts",
        json!({"destination": "/mnt", "type": "bind", "source": inner, "options": ["rbind"]}),
    );
    let outcome = bundle.run()?;
    expect("output", outcome.expect(0)?.stdout.as_str(), "seen\n")
}

fn sysctls_are_set(runtime: &Runtime) -> Result<(), String> {
    let before = std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap_or_default();
    let mut bundle =
        Bundle::new(runtime, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")?;
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "8888"}));
    let outcome = bundle.run()?;
    expect("values", outcome.expect(0)?.stdout.as_str(), "1\n8888\n")?;
    let after = std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap_or_default();
    expect("the host's", after, before)
}

fn a_cgroup_namespace_hides_the_path(runtime: &Runtime) -> Result<(), String> {
    if !Path::new("/proc/self/ns/cgroup").exists() {
        return Ok(());
    }
    let mut bundle = Bundle::new(
        runtime,
        "cut -d: -f3 /proc/self/cgroup | sort -u; test -d /sys/fs/cgroup/memory -o -e /sys/fs/cgroup/cgroup.procs",
    )?;
    bundle.push("/linux/namespaces", json!({"type": "cgroup"}));
    let outcome = bundle.run()?;
    expect("paths", outcome.expect(0)?.stdout.as_str(), "/\n")
}

fn a_time_namespace_has_its_offsets(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "cut -d. -f1 /proc/uptime")?;
    bundle.push("/linux/namespaces", json!({"type": "time"}));
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 10_000_000, "nanosecs": 0}}));
    let outcome = bundle.run()?;
    let uptime: u64 =
        outcome.expect(0)?.stdout.trim().parse().map_err(|_| outcome.stdout.clone())?;
    if uptime < 10_000_000 {
        return Err(format!("uptime: expected ten million seconds and more, got {uptime}"));
    }
    Ok(())
}

fn a_user_namespace_can_be_entered_again(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    with_user_namespace(&mut bundle);
    bundle.start()?;
    let outcome = bundle.exec(&[], &["sh", "-c", "id -u; tr -s ' ' </proc/self/uid_map"])?;
    expect("output", outcome.expect(0)?.stdout.as_str(), "0\n 0 100000 2000\n")
}

fn domainname_is_set(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "cat /proc/sys/kernel/domainname")?;
    bundle.set("/domainname", json!("inner.example"));
    expect("domain", bundle.run()?.expect(0)?.stdout.as_str(), "inner.example\n")
}
