//! A host that does not give what a container needs, or takes it back: a full disk, cgroups that vanish, state
//! that is cut short, rights that are missing. Each is said in words, and nothing is left behind.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};

struct Place {
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

fn place(name: &str) -> Option<Place> {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("state");
    let program = env!("CARGO_BIN_EXE_rune").into();
    Some(Place { runtime: Runtime { program, root, hides_cgroup2: false }, _directory: directory })
}

/// Runs a shell script in a mount namespace of its own; `$@` is the runtime.
fn script(runtime: &Runtime, text: &str) -> Output {
    Command::new("unshare")
        .args(["-m", "sh", "-c", text, "sh"])
        .arg(&runtime.program)
        .arg("--root")
        .arg(&runtime.root)
        .output()
        .unwrap()
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let Some(place) = place("a_full_disk_is_said_and_leaves_nothing") else { return };
    std::fs::create_dir(&place.runtime.root).unwrap();
    let mut refused = 0;
    // Neither bytes nor names for all that a container's directory holds.
    let sizes = ["4k", "8k", "12k"].map(|size| format!("size={size}"));
    let names = [2, 3, 4, 5, 6].map(|names| format!("size=1m,nr_inodes={names}"));
    for limit in sizes.iter().chain(&names) {
        let bundle = Bundle::new(&place.runtime, "true").unwrap();
        bundle.write().unwrap();
        let text = format!(
            "root={root}; mount -t tmpfs -o {limit} full $root || exit 9
             \"$@\" run -b {bundle} {id} </dev/null; code=$?; ls -A $root; exit $code",
            root = place.runtime.root.display(),
            bundle = bundle.path().display(),
            id = bundle.id,
        );
        let output = script(&place.runtime, &text);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{limit}: left behind");
        if output.status.code() != Some(0) {
            assert_eq!(output.status.code(), Some(1), "{limit}: {said}");
            let path = place.runtime.root.display().to_string();
            assert!(said.contains("no space left on device") && said.contains(&path), "{said}");
            refused += 1;
        }
        bundle.expect_nothing_left().unwrap();
    }
    assert!(refused >= 3, "{refused} of them were full");
}

#[test]
fn a_container_whose_cgroups_have_vanished_can_be_ended() {
    let Some(place) = place("a_container_whose_cgroups_have_vanished_can_be_ended") else { return };
    let runtime = &place.runtime;
    let bundle = Bundle::new(runtime, "sleep 1000").unwrap();
    bundle.start().unwrap();
    let pid = runtime.state(&bundle.id).unwrap()["pid"].as_i64().unwrap();
    let groups = bundle.cgroups();
    assert!(!groups.is_empty());
    for group in &groups {
        for process in std::fs::read_to_string(group.join("cgroup.procs")).unwrap().lines() {
            std::fs::write(group.parent().unwrap().join("cgroup.procs"), process).unwrap();
        }
        std::fs::remove_dir(group).unwrap();
    }
    assert_eq!(runtime.state(&bundle.id).unwrap()["status"], "running");
    let run = |args: &[&str]| runtime.run(args).unwrap();
    run(&["events", "--stats", &bundle.id]).expect(0).unwrap();
    run(&["ps", &bundle.id]).expect(0).unwrap();
    for (args, part) in [
        (vec!["update", "--pids-limit", "7", &bundle.id], "pids"),
        (vec!["pause", &bundle.id], "freezer"),
        (vec!["exec", &bundle.id, "true"], "cgroup.procs"),
    ] {
        let outcome = run(&args);
        assert_ne!(outcome.code, 0, "{args:?}");
        let said = outcome.stderr.to_lowercase();
        assert!(said.contains(part) && said.contains("no such file"), "{args:?}: {said}");
    }
    run(&["kill", &bundle.id, "KILL"]).expect(0).unwrap();
    runtime.wait_for(&bundle.id, "stopped").unwrap();
    run(&["delete", &bundle.id]).expect(0).unwrap();
    assert!(!Path::new(&format!("/proc/{pid}/root/bin")).exists());
    bundle.expect_nothing_left().unwrap();
}

#[test]
fn a_container_whose_state_is_cut_short_can_be_removed() {
    let Some(place) = place("a_container_whose_state_is_cut_short_can_be_removed") else { return };
    let runtime = &place.runtime;
    for part in [0, 1, 3] {
        let bundle = Bundle::new(runtime, "sleep 1000").unwrap();
        bundle.start().unwrap();
        let pid = runtime.state(&bundle.id).unwrap()["pid"].as_i64().unwrap();
        let file = runtime.root.join(&bundle.id).join("state.json");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() * part / 4]).unwrap();
        for verb in ["state", "start", "delete", "ps", "pause"] {
            let outcome = runtime.run(&[verb, &bundle.id]).unwrap();
            assert_eq!(outcome.code, 1, "{verb}");
            assert!(outcome.stderr.contains("state.json"), "{verb}: {}", outcome.stderr);
        }
        runtime.run(&["list"]).unwrap().expect(0).unwrap();
        runtime.run(&["delete", "--force", &bundle.id]).unwrap().expect(0).unwrap();
        assert!(!Path::new(&format!("/proc/{pid}/root/bin")).exists(), "its process runs on");
        bundle.expect_nothing_left().unwrap();
    }
}

/// Runs a bundle with fewer rights than the test has; it must fail and leave nothing.
fn refusal(place: &Place, change: impl FnOnce(&mut Bundle), rights: &[&str]) -> String {
    let mut bundle = Bundle::new(&place.runtime, "true").unwrap();
    change(&mut bundle);
    bundle.write().unwrap();
    let output = Command::new("setpriv")
        .args(rights)
        .arg(&place.runtime.program)
        .arg("--root")
        .arg(&place.runtime.root)
        .args(["run", "--bundle"])
        .arg(bundle.path())
        .arg(&bundle.id)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{rights:?}: {said}");
    bundle.expect_nothing_left().unwrap();
    said
}

#[test]
fn a_directory_without_permission_is_named() {
    let Some(place) = place("a_directory_without_permission_is_named") else { return };
    std::fs::create_dir(&place.runtime.root).unwrap();
    // The test's temporary directory is root's alone; so are the program's. The user sees neither.
    let public = tempfile::Builder::new().prefix("public-").tempdir_in("/tmp").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(public.path(), mode(0o755)).unwrap();
    let program = public.path().join("rune");
    std::fs::copy(&place.runtime.program, &program).unwrap();
    let root = public.path().join("state");
    let runtime = Runtime { program, root: root.clone(), hides_cgroup2: false };
    std::fs::create_dir(&root).unwrap();
    let place = Place { runtime, _directory: public };
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let said = refusal(&place, |_| (), &nobody);
    let path = root.display().to_string();
    assert!(said.contains(&path) && said.contains("permission denied"), "{said}");
}

#[test]
fn a_missing_capability_is_named_with_the_field_and_what_avoids_it() {
    let name = "a_missing_capability_is_named_with_the_field_and_what_avoids_it";
    let Some(place) = place(name) else { return };
    let ids = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
    let root = json!({"uid": 0, "gid": 0});
    for (capability, user, field, advice) in [
        ("sys_admin", &root, "linux.namespaces", "type user"),
        ("setpcap", &root, "process.capabilities.bounding", "leave process.capabilities out"),
        ("setgid", &ids, "process.user.", "user namespace"),
        ("setuid", &ids, "process.user.uid", "user namespace"),
    ] {
        let change = |bundle: &mut Bundle| {
            bundle.set("/process/user", user.clone());
        };
        let said = refusal(&place, change, &[&format!("--bounding-set=-{capability}")]);
        let capability = format!("CAP_{}", capability.to_uppercase());
        for part in [capability.as_str(), field, advice, "operation not permitted"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
