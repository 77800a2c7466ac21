//! Jobs in a machine. Slow: run by `cargo xtask test --all`.

use machine::{SecurityModule, obstacle, run};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10 * 60);

fn is_skipped(name: &str) -> bool {
    let reason = obstacle();
    if let Some(reason) = &reason {
        eprintln!("skipped: {name}: {reason}");
    }
    reason.is_some()
}

#[test]
fn a_job_has_the_hosts_files_all_controllers_and_its_own_end() {
    if is_skipped("a_job_has_the_hosts_files_all_controllers_and_its_own_end") {
        return;
    }
    let mine = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(mine.path(), "of the host\n").unwrap();
    let script = format!(
        "cat '{0}'; echo changed > '{0}'; cat '{0}'; cat /sys/fs/cgroup/cgroup.controllers; \
         cat /sys/kernel/security/lsm; echo; exit 3",
        mine.path().display()
    );
    let outcome = run(SecurityModule::AppArmor, &script, LIMIT).unwrap();
    assert_eq!(outcome.code, 3, "{}", outcome.output);
    for part in ["of the host\n", "changed\n", "memory", "pids", "apparmor"] {
        assert!(outcome.output.contains(part), "{part}: {}", outcome.output);
    }
    assert_eq!(std::fs::read_to_string(mine.path()).unwrap(), "of the host\n");
}

#[test]
fn a_job_that_does_not_end_is_stopped() {
    if is_skipped("a_job_that_does_not_end_is_stopped") {
        return;
    }
    let error = run(SecurityModule::AppArmor, "sleep 1000", Duration::from_secs(30)).unwrap_err();
    assert!(error.0.contains("30s and was stopped"), "{error}");
}
