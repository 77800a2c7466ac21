//! What `rune features` reports is what works: every name in it is tried.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::{Value, json};

fn document() -> Value {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_rune")).arg("features").output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(document: &Value, pointer: &str) -> Vec<String> {
    let list = document.pointer(pointer).and_then(Value::as_array);
    let list = list.unwrap_or_else(|| panic!("{pointer}: expected a list"));
    assert!(!list.is_empty(), "{pointer}");
    list.iter().map(|n| n.as_str().unwrap().to_owned()).collect()
}

/// Runs a container with one change, and says whether it ran.
fn runs(root: &tempfile::TempDir, what: &str, change: impl FnOnce(&mut Bundle)) {
    let program = env!("CARGO_BIN_EXE_rune").into();
    let runtime = Runtime { program, root: root.path().join("state"), hides_cgroup2: false };
    let mut bundle = Bundle::new(&runtime, "echo ok").unwrap();
    change(&mut bundle);
    let outcome = bundle.run().unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "ok\n"), "{what}: {outcome:?}");
}

#[test]
fn every_name_that_is_reported_is_accepted() {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: every_name_that_is_reported_is_accepted: {reason}");
        return;
    }
    let document = document();
    let root = tempfile::tempdir().unwrap();
    for kind in names(&document, "/linux/namespaces") {
        runs(&root, &kind, |b| {
            let list = b.config["linux"]["namespaces"].as_array().unwrap().clone();
            if !list.iter().any(|n| n["type"] == kind.as_str()) {
                b.push("/linux/namespaces", json!({"type": kind}));
            }
            if kind == "user" {
                let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
                b.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
            }
        });
    }
    let profile = |action: &str| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere",
               "syscalls": [{"names": ["swapon"], "action": action}]})
    };
    for action in names(&document, "/linux/seccomp/actions") {
        if action == "SCMP_ACT_NOTIFY" {
            continue; // needs somebody who listens: a conformance case has one
        }
        runs(&root, &action, |b| {
            b.set("/linux/seccomp", profile(&action));
        });
    }
    for operator in names(&document, "/linux/seccomp/operators") {
        runs(&root, &operator, |b| {
            b.set("/linux/seccomp", profile("SCMP_ACT_ERRNO"));
            let args = json!([{"index": 1, "value": 5, "op": operator}]);
            b.config["linux"]["seccomp"]["syscalls"][0]["args"] = args;
        });
    }
    for architecture in names(&document, "/linux/seccomp/archs") {
        runs(&root, &architecture, |b| {
            b.set("/linux/seccomp", profile("SCMP_ACT_ERRNO"));
            b.set("/linux/seccomp/architectures", json!([architecture]));
        });
    }
    for flag in names(&document, "/linux/seccomp/supportedFlags") {
        if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            continue; // the kernel takes it only with a listener
        }
        runs(&root, &flag, |b| {
            b.set("/linux/seccomp", profile("SCMP_ACT_ERRNO"));
            b.set("/linux/seccomp/flags", json!([flag]));
        });
    }
    for mode in names(&document, "/linux/memoryPolicy/modes") {
        let nodes = if matches!(mode.as_str(), "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
        runs(&root, &mode, |b| {
            b.set("/linux/memoryPolicy", json!({"mode": mode, "nodes": nodes}));
        });
    }
}

#[test]
fn every_mount_option_is_known_and_not_passed_to_the_file_system() {
    for name in names(&document(), "/mountOptions") {
        let options = container::rootfs::options::Options::parse(&[name.as_str()]);
        assert_eq!(options.data, "", "{name}");
    }
}

#[test]
fn every_capability_of_this_kernel_is_known() {
    let known = names(&document(), "/linux/capabilities");
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    assert!(known.len() > last.trim().parse::<usize>().unwrap());
}

#[test]
fn what_a_document_must_have_is_there() {
    let document = document();
    assert_eq!(document["ociVersionMax"], "1.3.0");
    let hooks = names(&document, "/hooks");
    assert_eq!(hooks.len(), 6);
    for (pointer, value) in [
        ("/linux/cgroup/systemd", true),
        ("/linux/cgroup/v1", true),
        ("/linux/cgroup/v2", true),
        ("/linux/netDevices/enabled", true),
        ("/linux/intelRdt/enabled", true),
        ("/linux/mountExtensions/idmap/enabled", true),
    ] {
        assert_eq!(document.pointer(pointer), Some(&json!(value)), "{pointer}");
    }
}
