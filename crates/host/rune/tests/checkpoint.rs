//! `checkpoint` and `restore`: with criu where one works here (`INCLAVARE_TEST_CRIU` names another than that of
//! `PATH`), and with stand-ins for what criu answers.

use conformance::{Bundle, Outcome, Runtime, obstacle};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

struct Place {
    // Dropped in this order: the bundle's drop deletes its container by the state in the directory.
    bundle: Bundle,
    criu: PathBuf,
    directory: tempfile::TempDir,
}

fn place(name: &str, script: &str, criu: Option<&str>) -> Option<Place> {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rune"));
    let runtime = Runtime { program, root: directory.path().join("state"), hides_cgroup2: false };
    let bundle = Bundle::new(&runtime, script).unwrap();
    let criu = match criu {
        None => std::env::var_os("INCLAVARE_TEST_CRIU").unwrap_or_else(|| "criu".into()).into(),
        Some(script) => {
            let path = directory.path().join("criu");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        }
    };
    Some(Place { directory, bundle, criu })
}

impl Place {
    fn run(&self, args: &[&str]) -> Outcome {
        let output = std::fs::File::create(self.directory.path().join("out")).unwrap();
        let criu = self.criu.display().to_string();
        let mut all = vec!["--criu", criu.as_str()];
        all.extend(args);
        let status = self
            .bundle
            .runtime()
            .command(&all)
            .current_dir(self.bundle.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        let said = std::fs::read_to_string(self.directory.path().join("out")).unwrap();
        Outcome { code: status.code().unwrap_or(-1), stdout: said.clone(), stderr: said }
    }

    fn status(&self) -> String {
        let state = self.bundle.runtime().state(&self.bundle.id).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_container_goes_on_where_it_was_saved() {
    let name = "a_container_goes_on_where_it_was_saved";
    let script = "i=0; while true; do i=$((i+1)); echo $i >/mnt/new; mv /mnt/new /mnt/count; sleep 0.05; done";
    let Some(mut place) = place(name, script, None) else { return };
    let check = Command::new(&place.criu).arg("check").output();
    if !check.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: {name}: no criu that works with this kernel");
        return;
    }
    let data = place.directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    place.bundle.push(
        "/mounts",
        json!({"destination": "/mnt", "type": "bind", "source": data, "options": ["bind"]}),
    );
    place.bundle.set("/linux/resources/pids", json!({"limit": 55}));
    let count = || {
        let text = std::fs::read_to_string(data.join("count")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    let wait_beyond = |old: u64| {
        for _ in 0..400 {
            if count() > old {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("the counter stands at {old}");
    };
    let id = place.bundle.id.clone();
    place.bundle.start().unwrap();
    wait_beyond(10);
    place.run(&["checkpoint", "--leave-running", "--image-path", "first", &id]).expect(0).unwrap();
    assert_eq!(place.status(), "running");
    place.run(&["checkpoint", &id]).expect(0).unwrap();
    place.bundle.expect_nothing_left().unwrap();
    let saved = count();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(count(), saved, "it still runs");
    place.run(&["restore", "--detach", "--pid-file", "pid", &id]).expect(0).unwrap();
    wait_beyond(saved + 5);
    assert_eq!(place.status(), "running");
    let state = place.bundle.runtime().state(&id).unwrap();
    let pid = std::fs::read_to_string(place.bundle.path().join("pid")).unwrap();
    assert_eq!(state["pid"].to_string(), pid);
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(groups.contains(&id), "{groups}");
    let outcome = place.bundle.exec(&[], &["sh", "-c", "hostname; ls /mnt"]).unwrap();
    assert_eq!(outcome.expect(0).unwrap().stdout.lines().next(), Some("box"));
    place.run(&["delete", "--force", &id]).expect(0).unwrap();
    place.bundle.expect_nothing_left().unwrap();
    // In the foreground, and its end is the command's.
    let killer = {
        let (runtime, id) = (place.bundle.runtime().clone(), id.clone());
        std::thread::spawn(move || {
            for _ in 0..400 {
                std::thread::sleep(std::time::Duration::from_millis(25));
                if runtime.run(&["kill", &id, "KILL"]).is_ok_and(|o| o.code == 0) {
                    return;
                }
            }
        })
    };
    assert_eq!(place.run(&["restore", &id]).code, 137);
    killer.join().unwrap();
    place.bundle.expect_nothing_left().unwrap();
}

/// Writes what criu writes when it fails: a limit first that it can do without, then the cause.
const FAILING: &str = r#"while [ $# -gt 0 ]; do
  case $1 in --images-dir) dir=$2;; --log-file) log=$2;; esac; shift
done
printf '(0.1) Error (criu/util.c:1): rlimit: RLIMIT_NOFILE\n(0.2) Error (criu/x.c:7): the real cause\n' >$dir/$log
exit 1"#;

#[test]
fn a_failing_criu_is_quoted_and_the_container_goes_on() {
    let name = "a_failing_criu_is_quoted_and_the_container_goes_on";
    let Some(place) = place(name, "sleep 1000", Some(FAILING)) else { return };
    let id = place.bundle.id.clone();
    place.bundle.start().unwrap();
    let outcome = place.run(&["checkpoint", &id]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("criu dump") && outcome.stderr.contains("the real cause"));
    assert!(outcome.stderr.contains("dump.log"), "{}", outcome.stderr);
    assert_eq!(place.status(), "running");
    place.run(&["delete", "--force", &id]).expect(0).unwrap();
    // The list of what comes from outside is there, so a restore gets as far as criu.
    let outcome = place.run(&["restore", "--detach", &id]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("criu restore"), "{}", outcome.stderr);
    place.bundle.expect_nothing_left().unwrap();
}

#[test]
fn options_reach_criu_by_its_own_names() {
    let name = "options_reach_criu_by_its_own_names";
    let record = "echo \"$@\" >${0%/*}/args; exit 0";
    let Some(place) = place(name, "sleep 1000", Some(record)) else { return };
    let id = place.bundle.id.clone();
    place.bundle.start().unwrap();
    let options = [
        "--tcp-established",
        "--file-locks",
        "--parent-path",
        "../p",
        "--page-server",
        "1.2.3.4:5",
    ];
    let mut args = vec!["checkpoint", "--pre-dump"];
    args.extend(options);
    args.push(&id);
    place.run(&args).expect(0).unwrap();
    let said = std::fs::read_to_string(place.directory.path().join("args")).unwrap();
    for part in [
        "pre-dump ",
        "--tcp-established",
        "--file-locks",
        "--prev-images-dir=../p",
        "--track-mem",
        "--page-server --address=1.2.3.4 --port=5",
        "--manage-cgroups=ignore",
        "--external mnt[/proc/keys]:/proc/keys",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(place.status(), "running", "saving memory ahead ends nothing");
}

#[test]
fn what_cannot_be_saved_is_refused_by_name() {
    let name = "what_cannot_be_saved_is_refused_by_name";
    let Some(mut place) = place(name, "sleep 1000", Some("exit 99")) else { return };
    let id = place.bundle.id.clone();
    assert!(place.run(&["checkpoint", &id]).stderr.contains("does not exist"));
    place.bundle.create().unwrap().expect(0).unwrap();
    assert!(place.run(&["checkpoint", &id]).stderr.contains("expected a running container"));
    place.run(&["start", &id]).expect(0).unwrap();
    // What init-runelet's container has in its state.
    let file = place.directory.path().join("state").join(&id).join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    state["enclave"] = json!({"type": "intelSgx", "emulated": true});
    std::fs::write(&file, state.to_string()).unwrap();
    let outcome = place.run(&["checkpoint", &id]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("enclave container"), "{}", outcome.stderr);
    place.run(&["delete", "--force", &id]).expect(0).unwrap();
    place.criu = "/no/such/criu".into();
    place.bundle.start().unwrap();
    assert!(place.run(&["checkpoint", &id]).stderr.contains("package criu"));
    let missing = place.run(&["restore", "--image-path", "none", "--detach", "other"]);
    assert!(missing.stderr.contains("rune.json"), "{}", missing.stderr);
}
