//! `events`: that memory ran out is told when it happens.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn running_out_of_memory_is_told() {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: running_out_of_memory_is_told: {reason}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime {
        program: env!("CARGO_BIN_EXE_rune").into(),
        root: directory.path().join("state"),
        hides_cgroup2: false,
    };
    let script =
        "while [ ! -e /tmp/go ]; do sleep 0.05; done; tail /dev/zero; echo killed; sleep 1000";
    let mut bundle = Bundle::new(&runtime, script).unwrap();
    bundle.set("/linux/resources/memory", json!({"limit": 16 << 20, "swap": 16 << 20}));
    bundle.start().unwrap();
    let mut events = runtime
        .command(&["events", "--interval", "50ms", &bundle.id])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next()?.unwrap()).ok();
    // Figures come when it watches already.
    let first = next().unwrap();
    assert_eq!((&first["type"], &first["id"]), (&json!("stats"), &json!(bundle.id)));
    for part in ["cpu", "memory", "pids", "blkio"] {
        assert!(first["data"][part].is_object(), "{part}: {first}");
    }
    std::fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
    let told = std::iter::from_fn(&mut next).find(|line| line["type"] == "oom").unwrap();
    assert_eq!(told, json!({"type": "oom", "id": bundle.id}));
    bundle.wait_for_output("killed").unwrap();
    // It ends with the container.
    runtime.run(&["delete", "--force", &bundle.id]).unwrap().expect(0).unwrap();
    while next().is_some() {}
    assert!(events.wait().unwrap().success());
    bundle.expect_nothing_left().unwrap();
}
