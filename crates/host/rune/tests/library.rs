//! Containers whose enclave runtime is a library: run, exec, signals, and the administrator's list.
//!
//! Needs root, as containers do. The list is a file in /etc, so the tests run in a mount namespace of their own with an
//! /etc of their own.

use std::path::Path;
use std::process::{Command, Output};

/// Runs a script in the bundle's directory with `$RUNE`, and with `$LIBRARIES` listed if `is_listed`.
fn script(bundle: &Path, is_listed: bool, script: &str) -> Output {
    let list = if is_listed { "\"'$LIBRARIES'\"" } else { "" };
    let set_up = format!(
        "mount -t tmpfs tmpfs /etc\nmkdir /etc/inclavare-containers\n\
         echo '[enclave_runtime]\ndirectories = [{list}]' > /etc/inclavare-containers/config.toml\n"
    );
    Command::new("unshare")
        .args(["--mount", "timeout", "60", "sh", "-ec"])
        .arg(set_up + script)
        .env("RUNE", format!("{} --root {}/state", env!("CARGO_BIN_EXE_rune"), bundle.display()))
        .env("LIBRARIES", bundle.join("lib"))
        .current_dir(bundle)
        .output()
        .expect("unshare is installed (util-linux)")
}

/// A bundle that names the library, compiled from the `pal` crate's test runtime.
fn bundle(defines: &[&str]) -> Option<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: containers need root");
        return None;
    }
    let bundle = tempfile::tempdir().unwrap();
    for directory in ["lib", "rootfs", "rootfs/proc", "rootfs/dev", "rootfs/sys"] {
        let path = bundle.path().join(directory);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let library = bundle.path().join("lib/liberpal-test.so");
    let pal = concat!(env!("CARGO_MANIFEST_DIR"), "/../pal");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-D_GNU_SOURCE"])
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg(format!("-I{pal}/include"))
        .arg("-o")
        .arg(&library)
        .arg(format!("{pal}/tests/pals/plain.c"))
        .status()
        .expect("a C compiler is installed as cc");
    assert!(compiled.success());
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).unwrap();

    let config = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/program", "a b"],
            "env": ["A=1"],
            "cwd": "/",
        },
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
        "annotations": {
            "enclave.type": "intelSgx",
            "enclave.runtime.path": library,
            "enclave.runtime.args": "one,two",
        },
    });
    std::fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
    Some(bundle)
}

#[test]
fn versions_1_and_2_run_a_program() {
    let said = "one two/info /bin/program [/bin/program] [a b]";
    for (defines, code, said) in [
        (&["PAL_VERSION=1"][..], 7, said.to_owned()),
        (&["PAL_VERSION=2"][..], 42, format!("{said} {{A=1}}")),
    ] {
        let Some(bundle) = bundle(defines) else { return };
        let output = script(bundle.path(), true, "$RUNE run pal-run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{errors}");
    }
}

#[test]
fn version_4_is_emulated_if_it_says_so_and_takes_exec_and_signals() {
    let Some(bundle) = bundle(&["PAL_VERSION=4", "WAITS"]) else { return };
    let commands = "
        $RUNE create --pid-file pid pal-4 > log 2>&1
        $RUNE start pal-4
        $RUNE state pal-4 | grep '\"emulated\": true'
        code=0; $RUNE exec pal-4 /bin/other > other || code=$?
        echo exec $code
        $RUNE kill pal-4 TERM
        while $RUNE state pal-4 | grep -q running; do sleep 0.05; done
        $RUNE delete pal-4
        cat other log";
    let output = script(bundle.path(), true, commands);
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    for part in
        ["\"emulated\": true", "exec 42", "/bin/other [/bin/other]", "kill -1 15", "root given"]
    {
        assert!(said.contains(part), "expected {part:?} in {said}{errors}");
    }
}

#[test]
fn an_unlisted_library_is_refused_and_nothing_is_left() {
    let Some(bundle) = bundle(&["PAL_VERSION=2"]) else { return };
    let output = script(bundle.path(), false, "$RUNE run pal-unlisted || ls -A state; exit 3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("only the built-in runtime may be used"), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "no state");
}
