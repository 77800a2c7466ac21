//! What rune refuses, and that its messages name the field, the reason and what to do.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::{Value, json};

fn runtime(root: &tempfile::TempDir) -> Runtime {
    Runtime {
        program: env!("CARGO_BIN_EXE_rune").into(),
        root: root.path().join("state"),
        hides_cgroup2: false,
    }
}

/// A directory for state, or none with a word why.
fn place(name: &str) -> Option<tempfile::TempDir> {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    Some(tempfile::tempdir().unwrap())
}

/// The message of a create that must fail and leave nothing.
fn refusal(root: &tempfile::TempDir, change: impl FnOnce(&mut Bundle)) -> String {
    let mut bundle = Bundle::new(&runtime(root), "true").unwrap();
    change(&mut bundle);
    let outcome = bundle.create().unwrap();
    assert_ne!(outcome.code, 0, "{}", bundle.config);
    bundle.expect_nothing_left().unwrap();
    outcome.stdout
}

fn has_sys_resource() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() & (1 << 24) != 0
}

#[test]
fn a_wrong_type_names_its_field() {
    let Some(root) = place("a_wrong_type_names_its_field") else { return };
    for (pointer, value, field) in [
        ("/process/args", json!(["a", 1]), "process.args[1]"),
        ("/linux/resources/memory", json!({"limit": "1g"}), "linux.resources.memory.limit"),
        ("/mounts", json!([{"destination": 7}]), "mounts[0].destination"),
        ("/linux/namespaces", json!([{"type": "moon"}]), "linux.namespaces[0].type"),
    ] {
        let message = refusal(&root, |b| {
            b.set(pointer, value);
        });
        assert!(message.contains(field), "{field}: {message}");
    }
}

#[test]
fn a_missing_capability_is_named() {
    let Some(root) = place("a_missing_capability_is_named") else { return };
    if has_sys_resource() {
        eprintln!("skipped: a_missing_capability_is_named: CAP_SYS_RESOURCE is there");
        return;
    }
    let message = refusal(&root, |b| {
        b.set("/process/oomScoreAdj", json!(-998));
    });
    for part in ["process.oomScoreAdj", "CAP_SYS_RESOURCE", "-998", "restrict_oom_score_adj"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1 << 30, "hard": 1 << 30}]);
    let message = refusal(&root, |b| {
        b.set("/process/rlimits", limit);
    });
    for part in ["RLIMIT_NOFILE", "CAP_SYS_RESOURCE", "1073741824"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_newer_specification_is_accepted_and_another_major_one_refused() {
    let Some(root) = place("a_newer_specification_is_accepted") else { return };
    let message = refusal(&root, |b| {
        b.set("/ociVersion", json!("2.0.0"));
    });
    assert!(message.contains("ociVersion: expected 1.x.y, got"), "{message}");
    let mut bundle = Bundle::new(&runtime(&root), "echo ok").unwrap();
    bundle.set("/ociVersion", json!("1.99.0")).set("/newField", json!({"a": [1]}));
    assert_eq!(bundle.run().unwrap().expect(0).unwrap().stdout, "ok\n");
}

#[test]
fn the_json_log_has_the_message_and_so_has_standard_error() {
    let Some(root) = place("the_json_log_has_the_message") else { return };
    let log = root.path().join("log.json");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rune"))
        .args(["--log", log.to_str().unwrap(), "--log-format", "json", "state", "none"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = std::fs::read_to_string(&log).unwrap();
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("does not exist"), "{line}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not exist"));
}

#[test]
fn enclave_settings_that_do_not_serve_are_named() {
    let Some(root) = place("enclave_settings_that_do_not_serve_are_named") else { return };
    let with_env = |entries: &[&str]| {
        let mut env = vec!["PATH=/bin"];
        env.extend(entries);
        json!(env)
    };
    for (entries, parts) in [
        (vec!["ENCLAVE_TYPE=Jailhouse"], vec!["enclave.type", "intelSgx", "Jailhouse"]),
        (vec!["ENCLAVE_TYPE=intelSgx"], vec!["/.inclavare", "inclavare image convert"]),
        (
            vec!["ENCLAVE_TYPE=intelSgx", "ENCLAVE_RUNTIME_PATH=/usr/lib/liberpal-x.so"],
            vec!["ENCLAVE_RUNTIME_PATH", "/usr/lib/liberpal-x.so", "config.toml"],
        ),
        (
            vec!["ENCLAVE_TYPE=intelSgx", "ENCLAVE_RA_TYPE=epidLinkable"],
            vec!["ra_type", "retired EPID"],
        ),
    ] {
        let env = with_env(&entries);
        let message = refusal(&root, |b| {
            b.set("/process/env", env);
        });
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
