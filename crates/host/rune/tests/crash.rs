//! A runtime killed at any system call leaves nothing that `delete --force` does not remove; one whose
//! container dies while it is set up leaves nothing at all.

use conformance::{Bundle, Runtime, obstacle};
use std::process::{Command, Stdio};

fn exists(program: &str) -> bool {
    Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Runs a command of rune under strace, which kills it at its `count`-th system call; or its children, too,
/// at those of `calls`. False if it came through.
fn is_killed_at(runtime: &Runtime, args: &[&str], calls: Option<&str>, count: usize) -> bool {
    let inject = format!("inject={}:signal=SIGKILL:when={count}", calls.unwrap_or("all"));
    let status = Command::new("strace")
        .args(calls.map(|_| "-f"))
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

fn place(name: &str) -> Option<(Runtime, tempfile::TempDir)> {
    let reason = obstacle().or_else(|| (!exists("strace")).then_some("no strace"));
    if let Some(reason) = reason {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_rune").into();
    let root = directory.path().join("state");
    Some((Runtime { program, root, hides_cgroup2: false }, directory))
}

/// Calls of the container's first process while it is set up, and none of rune's own.
const OF_THE_FIRST_PROCESS: &str = "setsid,mount,open_tree,move_mount,mount_setattr,mknodat,symlinkat,pivot_root,umount2,\
     sethostname,setgroups,setresgid,setresuid,capset,execveat";

#[test]
fn a_container_that_dies_while_it_is_set_up_leaves_nothing() {
    let name = "a_container_that_dies_while_it_is_set_up_leaves_nothing";
    let Some((runtime, _directory)) = place(name) else { return };
    let calls = Some(OF_THE_FIRST_PROCESS);
    let mut count = 1;
    loop {
        let bundle = Bundle::new(&runtime, "true").unwrap();
        bundle.write().unwrap();
        let path = bundle.path().display().to_string();
        let is_killed =
            is_killed_at(&runtime, &["run", "--bundle", &path, &bundle.id], calls, count);
        bundle.expect_nothing_left().unwrap_or_else(|left| panic!("killed at {count}: {left}"));
        if !is_killed {
            break;
        }
        count += if step() == 1 { 1 } else { 5 };
    }
    // Seven mounts and some thirty masked paths and devices.
    assert!(count > 15, "strace did not kill it");
}

#[test]
fn nothing_survives_delete_force() {
    let Some((runtime, _directory)) = place("nothing_survives_delete_force") else { return };
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
            let is_killed = is_killed_at(&runtime, &args, None, count);
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
