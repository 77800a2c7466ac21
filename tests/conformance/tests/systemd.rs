//! Containers as units of Debian's systemd: of the machine's manager and of a user's. In a machine, since a host
//! need not have systemd: run by `cargo xtask test --all`.

use conformance::{Bundle, Runtime, obstacle};
use fixtures::rune;
use machine::Manager;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Which manager the test runs below, in the machine.
const MANAGER: &str = "INCLAVARE_TEST_MANAGER";

const SYSTEMD: &str = "/lib/systemd/systemd";

#[test]
fn containers_are_scopes_of_the_machine() {
    below(Manager::System, "containers_are_scopes_of_the_machine");
}

#[test]
fn containers_are_scopes_of_a_user() {
    below(Manager::User, "containers_are_scopes_of_a_user");
}

fn below(manager: Manager, name: &str) {
    if std::env::var_os(MANAGER).is_some() {
        return check(manager).unwrap();
    }
    let none = || (!Path::new(SYSTEMD).exists()).then(|| format!("no {SYSTEMD} (package systemd)"));
    match machine::obstacle().or_else(|| obstacle().map(String::from)).or_else(none) {
        Some(reason) => eprintln!("skipped: {name}: {reason}"),
        None => machine::repeat_test_below(manager, name, &[&rune()]).unwrap(),
    }
}

/// rune, told to ask systemd.
fn runtime(directory: &Path) -> Runtime {
    let program = directory.join("rune-with-systemd");
    let script = format!("#!/bin/sh\nexec '{}' --systemd-cgroup \"$@\"\n", rune().display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    Runtime { program, root: directory.join("state"), hides_cgroup2: false }
}

/// A unit, and what its manager says of it.
struct Unit {
    manager: Manager,
    name: String,
}

impl Unit {
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("systemctl");
        command.args((self.manager == Manager::User).then_some("--user"));
        command.args([verb, &self.name]);
        command
    }

    fn property(&self, name: &str) -> String {
        let output = self.command("show").args(["--value", "--property", name]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().into()
    }

    /// A file of its group.
    fn file(&self, name: &str) -> String {
        let group = format!("/sys/fs/cgroup{}", self.property("ControlGroup"));
        let file = Path::new(&group).join(name);
        let text = std::fs::read_to_string(&file);
        text.unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().into()
    }
}

fn check(manager: Manager) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let mut bundle = Bundle::new(&runtime(directory.path()), "sleep 1000")?;
    if manager == Manager::User {
        bundle.belong_to(1000);
    }
    let unit = Unit { manager, name: format!("test-{}.scope", bundle.id) };
    bundle.set("/linux/cgroupsPath", json!(format!("conformance.slice:test:{}", bundle.id)));
    bundle.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    bundle.set("/linux/resources/pids", json!({"limit": 50}));
    bundle.set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000}));
    bundle.start()?;

    // The unit has the limits, and so has the kernel.
    let wanted = [
        ("ActiveState", "active"),
        ("Slice", "conformance.slice"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "50"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("Delegate", "yes"),
    ];
    for (property, value) in wanted {
        assert_eq!(unit.property(property), value, "{property}");
    }
    for (file, value) in
        [("memory.max", "67108864"), ("pids.max", "50"), ("cpu.max", "50000 100000")]
    {
        assert_eq!(unit.file(file), value, "{file}");
    }
    let inside = bundle.exec(&[], &["cat", "/proc/self/cgroup"])?;
    assert!(inside.stdout.trim_end().ends_with(&unit.name), "{inside:?}");

    // What systemd would set again at its next reload is what was asked for last.
    let runtime = bundle.runtime().clone();
    runtime.run(&["update", "--memory", "33554432", &bundle.id])?.expect(0)?;
    assert_eq!(unit.property("MemoryMax"), "33554432");
    assert_eq!(unit.file("memory.max"), "33554432");

    runtime.run(&["pause", &bundle.id])?.expect(0)?;
    assert_eq!(unit.file("cgroup.freeze"), "1");
    runtime.run(&["resume", &bundle.id])?.expect(0)?;
    assert_eq!(unit.file("cgroup.freeze"), "0");

    // systemd can stop it, too.
    assert!(unit.command("kill").args(["--signal", "KILL"]).status().unwrap().success());
    runtime.wait_for(&bundle.id, "stopped")?;
    runtime.run(&["delete", &bundle.id])?.expect(0)?;
    assert_eq!(unit.property("LoadState"), "not-found");
    bundle.expect_nothing_left()
}
