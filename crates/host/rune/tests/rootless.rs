//! A user without rights runs containers: user 65534, whose bundle and state are its own.

use conformance::{Bundle, Outcome, Runtime, obstacle};
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

const NOBODY: u32 = 65534;

struct Place {
    // Dropped in this order: the bundle's drop deletes its container by the state in the directory.
    state: PathBuf,
    bundle: Bundle,
    _directory: tempfile::TempDir,
}

fn place(name: &str, script: &str) -> Option<Place> {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    // A copy of its own, so that it may be run wherever the repository is.
    let program = directory.path().join("rune");
    std::fs::copy(env!("CARGO_BIN_EXE_rune"), &program).unwrap();
    let runtime = Runtime { program, root: state.clone(), hides_cgroup2: false };
    let mut bundle = Bundle::new(&runtime, script).unwrap();
    bundle.belong_to(NOBODY);
    Some(Place { _directory: directory, state, bundle })
}

impl Place {
    /// A command of rune as the user.
    fn command(&self, args: &[&str]) -> Command {
        self.bundle.write().unwrap();
        let owner = format!("{NOBODY}:{NOBODY}");
        for path in [self.bundle.path(), self._directory.path()] {
            let status = Command::new("chown").args(["-hR", &owner]).arg(path).status().unwrap();
            assert!(status.success());
        }
        let mut command = self.bundle.runtime().command(args);
        command.uid(NOBODY).gid(NOBODY).current_dir(self.bundle.path());
        command
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Outcome { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn start(&self) {
        let output = std::fs::File::create(self.bundle.path().join("output")).unwrap();
        let status = self
            .command(&["create", &self.bundle.id])
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        assert!(status.success(), "{}", self.bundle.output());
        self.run(&["start", &self.bundle.id]).expect(0).unwrap();
    }

    fn expect_nothing_left(&self) {
        assert_eq!(std::fs::read_dir(&self.state).unwrap().count(), 0);
        self.bundle.expect_nothing_left().unwrap();
    }
}

#[test]
fn a_user_is_root_in_its_own_container() {
    let script = "id -u; id -g; touch /tmp/x && stat -c %u /tmp/x; grep CapEff /proc/self/status; \
                  echo x >/dev/null; hostname";
    let Some(place) = place("a_user_is_root_in_its_own_container", script) else { return };
    let outcome = place.run(&["run", &place.bundle.id]);
    outcome.expect(0).unwrap();
    assert_eq!(outcome.stdout, "0\n0\n0\nCapEff:\t0000000020000420\nbox\n");
    // Its capabilities are those of the namespace: nothing is missing.
    assert!(!outcome.stderr.contains("not available"), "{}", outcome.stderr);
    let file = place.bundle.rootfs().join("tmp/x");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&file.metadata().unwrap()), NOBODY);
    place.expect_nothing_left();
}

#[test]
fn a_users_container_takes_every_verb() {
    let Some(place) = place("a_users_container_takes_every_verb", "sleep 1000 & sleep 1000") else {
        return;
    };
    let id = place.bundle.id.clone();
    place.start();
    let outcome = place.run(&["exec", &id, "sh", "-c", "id -u; ls /proc | grep -c ^1$; exit 7"]);
    outcome.expect(7).unwrap();
    assert_eq!(outcome.stdout, "0\n1\n");
    // The shell becomes its last command. They are found without a cgroup.
    let pids = place.run(&["ps", "--format", "json", &id]);
    let pids: Vec<i64> = serde_json::from_str(&pids.stdout).unwrap();
    assert_eq!(pids.len(), 2, "{pids:?}");
    let state: serde_json::Value =
        serde_json::from_str(&place.run(&["state", &id]).expect(0).unwrap().stdout).unwrap();
    assert_eq!(state["status"], "running");
    assert!(pids.contains(&state["pid"].as_i64().unwrap()));
    let outcome = place.run(&["pause", &id]);
    assert!(outcome.code == 1 && outcome.stderr.contains("freezer"), "{outcome:?}");
    place.run(&["kill", "--all", &id, "KILL"]).expect(0).unwrap();
    place.run(&["delete", "--force", &id]).expect(0).unwrap();
    place.expect_nothing_left();
}

#[test]
fn a_limit_that_a_user_cannot_set_is_refused_by_name() {
    let Some(mut place) = place("a_limit_that_a_user_cannot_set_is_refused_by_name", "true") else {
        return;
    };
    place.bundle.set("/linux/resources", json!({"pids": {"limit": 7}}));
    let outcome = place.run(&["run", &place.bundle.id]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("linux.resources.pids.limit"), "{}", outcome.stderr);
    place.expect_nothing_left();
}

#[test]
fn more_ids_than_the_own_come_by_newuidmap() {
    let name = "more_ids_than_the_own_come_by_newuidmap";
    let Some(mut place) = place(name, "id -u; id -G; tr -s ' ' </proc/self/uid_map") else {
        return;
    };
    if !std::path::Path::new("/usr/bin/newuidmap").exists() {
        eprintln!("skipped: {name}: no newuidmap (package uidmap)");
        return;
    }
    let maps = json!([{"containerID": 0, "hostID": NOBODY, "size": 1},
                      {"containerID": 1, "hostID": 300_000, "size": 100}]);
    place.bundle.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    place.bundle.set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7]}));
    let refused = place.run(&["run", &place.bundle.id]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("newuidmap refused"), "{}", refused.stderr);
    place.expect_nothing_left();
    // The grant, in a mount namespace of the test alone.
    let grant = place.bundle.path().join("subids");
    std::fs::write(&grant, format!("{NOBODY}:300000:100\n")).unwrap();
    let script = format!(
        "for f in subuid subgid; do [ -e /etc/$f ] || exit 9; mount --bind {} /etc/$f; done; \
         exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\"",
        grant.display()
    );
    let user = place.command(&["run", &place.bundle.id]);
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .arg(user.get_program())
        .args(user.get_args())
        .current_dir(place.bundle.path())
        .output()
        .unwrap();
    if output.status.code() == Some(9) {
        eprintln!("skipped: {name}: no /etc/subuid");
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text, "5\n6 7\n 0 65534 1\n 1 300000 100\n", "{output:?}");
    place.expect_nothing_left();
}

/// CVE-2019-5736 where no read-only view can be made: a user's own binary runs as a sealed copy.
#[test]
fn a_users_own_runtime_cannot_be_written_through_proc() {
    let Some(place) = place("a_users_own_runtime_cannot_be_written_through_proc", "true") else {
        return;
    };
    let output = std::fs::File::create(place.bundle.path().join("output")).unwrap();
    let status = place
        .command(&["create", &place.bundle.id])
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .status()
        .unwrap();
    assert!(status.success(), "{}", place.bundle.output());
    let state = place.run(&["state", &place.bundle.id]);
    let state: serde_json::Value = serde_json::from_str(&state.stdout).unwrap();
    let pid = state["pid"].as_i64().unwrap();
    let exe = format!("/proc/{pid}/exe");
    let before = std::fs::read(&place.bundle.runtime().program).unwrap();
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(&exe) {
        let error = std::io::Write::write(&mut file, b"#!/evil").expect_err("written");
        assert_eq!(error.raw_os_error(), Some(1));
    }
    assert!(std::fs::read_link(&exe).unwrap().to_string_lossy().contains("memfd:"));
    assert!(before == std::fs::read(&place.bundle.runtime().program).unwrap());
    place.run(&["delete", "--force", &place.bundle.id]).expect(0).unwrap();
    place.expect_nothing_left();
}
