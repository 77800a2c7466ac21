//! A runtime killed at any system call leaves nothing that `delete --force` does not remove.

use conformance::{Bundle, Runtime, obstacle};
use std::process::{Command, Stdio};

fn exists(program: &str) -> bool {
    Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Runs a command of rune under strace, which kills it at its `count`-th system call. False if it came
/// through.
fn is_killed_at(runtime: &Runtime, args: &[&str], count: usize) -> bool {
    let inject = format!("inject=all:signal=SIGKILL:when={count}");
    let status = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", &inject])
        .arg(&runtime.program)
        .arg("--root")
        .arg(&runtime.root)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.code() != Some(0)
}

/// Every how many system calls.
fn step() -> usize {
    if std::env::var_os("INCLAVARE_TEST_ALL").is_some() { 1 } else { 9 }
}

#[test]
fn nothing_survives_delete_force() {
    let reason = obstacle().or_else(|| (!exists("strace")).then_some("no strace"));
    if let Some(reason) = reason {
        eprintln!("skipped: nothing_survives_delete_force: {reason}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime {
        program: env!("CARGO_BIN_EXE_rune").into(),
        root: directory.path().join("state"),
        hides_cgroup2: false,
    };
    for verb in ["create", "start", "delete"] {
        let mut count = 1;
        loop {
            let bundle = Bundle::new(&runtime, "sleep 1000").unwrap();
            bundle.write().unwrap();
            let path = bundle.path().display().to_string();
            let id = bundle.id.clone();
            let args: Vec<&str> = match verb {
                "create" => vec!["create", "--bundle", &path, &id],
                "start" => {
                    bundle.create().unwrap().expect(0).unwrap();
                    vec!["start", &id]
                }
                _ => {
                    bundle.start().unwrap();
                    vec!["delete", "--force", &id]
                }
            };
            let is_killed = is_killed_at(&runtime, &args, count);
            let outcome = runtime.run(&["delete", "--force", &id]).unwrap();
            assert_eq!(outcome.code, 0, "{verb} killed at call {count}: {}", outcome.stderr);
            bundle
                .expect_nothing_left()
                .unwrap_or_else(|left| panic!("{verb} killed at call {count}: {left}"));
            if !is_killed {
                break;
            }
            count += step();
        }
        assert!(count > 20, "{verb}: strace did not kill it");
    }
}
