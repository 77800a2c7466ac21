//! What the manifest or the measurement does not allow is refused, with the field, expected and got; what
//! engines inject by default is dropped.

use e2e::Workbench;
use fixtures::{Bundle, Outcome};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

/// Runs a bundle that must be refused before the program writes anything.
fn refused(bundle: &Bundle) -> Outcome {
    let outcome = bundle.run(b"").unwrap();
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert_eq!(outcome.stdout, "", "nothing ran");
    let left = bundle.programs().rune().args(["list", "--quiet"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "nothing stays behind");
    outcome
}

fn assert_names(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is not in: {}", outcome.stderr);
    }
}

fn push_env(config: &mut Value, entry: &str) {
    config["process"]["env"].as_array_mut().unwrap().push(entry.into());
}

#[test]
fn a_loader_variable_is_refused_and_engine_defaults_are_dropped() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("env", "env | sort", "");
    bundle
        .edit_config(|config| {
            for entry in ["HOSTNAME=abc", "TERM=xterm", "KUBERNETES_SERVICE_HOST=10.0.0.1"] {
                push_env(config, entry);
            }
        })
        .unwrap();
    let outcome = bundle.run(b"").unwrap();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for name in ["HOSTNAME", "TERM", "KUBERNETES"] {
        assert!(!outcome.stdout.contains(name), "{name} came in: {}", outcome.stdout);
    }
    assert!(outcome.stdout.contains("PATH="), "{outcome:?}");
    bundle.edit_config(|config| push_env(config, "LD_PRELOAD=/evil.so")).unwrap();
    assert_names(&refused(&bundle), &["LD_PRELOAD", "expected", "got", "/evil.so"]);
}

#[test]
fn a_changed_listed_variable_is_refused() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("listed", "echo ran", "[env]\nMODE = \"strict\"\n");
    bundle
        .edit_config(|config| {
            let env = config["process"]["env"].as_array_mut().unwrap();
            env.retain(|entry| !entry.as_str().unwrap().starts_with("MODE="));
            env.push("MODE=lax".into());
        })
        .unwrap();
    assert_names(&refused(&bundle), &["MODE", "strict", "lax"]);
}

#[test]
fn another_command_directory_or_user_is_refused() {
    let Some(workbench) = Workbench::new() else { return };
    for (name, value) in [
        ("args", json!(["sh", "-c", "id"])),
        ("cwd", json!("/tmp")),
        ("user", json!({"uid": 33, "gid": 33})),
    ] {
        let bundle = workbench.busybox(name, "echo ran", "");
        bundle.edit_config(|config| config["process"][name] = value).unwrap();
        assert_names(&refused(&bundle), &["expected", "got"]);
    }
}

#[test]
fn an_unlisted_mount_is_invisible() {
    let Some(workbench) = Workbench::new() else { return };
    let secret = workbench.path().join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("file"), "from the host").unwrap();
    let bundle = workbench.busybox("mount", "cat /root/file 2>&1; ls /root | wc -l", "");
    bundle
        .edit_config(|config| {
            let mount = json!({
                "destination": "/root", "type": "bind", "source": secret, "options": ["rbind"],
            });
            config["mounts"].as_array_mut().unwrap().push(mount);
        })
        .unwrap();
    let outcome = bundle.run(b"").unwrap();
    assert!(!outcome.stdout.contains("from the host"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("0\n"), "{outcome:?}");
}

#[test]
fn a_changed_file_is_refused_and_an_added_one_does_not_exist() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("file", "ls /etc; cat /etc/group || echo unreadable", "");
    let etc = bundle.directory().join("rootfs/etc");
    std::fs::write(etc.join("added"), "x").unwrap();
    let mut changed = std::fs::read(etc.join("group")).unwrap();
    changed[0] ^= 1;
    std::fs::write(etc.join("group"), &changed).unwrap();
    let outcome = bundle.run(b"").unwrap();
    assert!(!outcome.stdout.contains("added"), "{outcome:?}");
    assert!(outcome.stdout.contains("unreadable"), "{outcome:?}");
    assert_names(&outcome, &["/etc/group", "expected", "got"]);
}

#[test]
fn a_file_changed_after_start_is_refused() {
    let Some(workbench) = Workbench::new() else { return };
    let script = "read go; cat /etc/group || echo unreadable";
    let bundle = workbench.busybox("later", script, "stdin = \"allowed\"\n");
    let group = bundle.directory().join("rootfs/etc/group");
    let mut child = bundle
        .run_command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whenever this happens the program has not opened the file: it reads a line first.
    let mut changed = std::fs::read(&group).unwrap();
    changed[1] ^= 4;
    std::fs::write(&group, &changed).unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "unreadable\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/etc/group"));
}

#[test]
fn a_changed_or_cut_enclave_file_is_not_initialised() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("sgxs", "echo ran", "");
    let file = bundle.directory().join("rootfs/.inclavare/enclave.sgxs");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_names(&refused(&bundle), &["EINIT", "MRENCLAVE", "expected", "got"]);
    std::fs::write(&file, &bytes[..last]).unwrap();
    refused(&bundle);
}

#[test]
fn an_enclave_runtime_named_by_the_image_is_refused() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("pal", "echo ran", "");
    bundle
        .edit_config(|config| push_env(config, "ENCLAVE_RUNTIME_PATH=/lib/liberpal-evil.so"))
        .unwrap();
    assert_names(&refused(&bundle), &["liberpal-evil.so"]);
}
