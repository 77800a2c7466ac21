//! The same cases on Debian's runc and crun: a wrong expectation shows here.
//!
//! Slow, and a peer may be missing or of another version: run by `cargo xtask test --all`.

use conformance::{KNOWN, Runtime, cases, obstacle};
use machine::SecurityModule;

fn check(program: &str, hides_cgroup2: bool) {
    if std::env::var_os("INCLAVARE_TEST_ALL").is_none() {
        eprintln!("skipped: {program}: only with --all");
        return;
    }
    let reason =
        obstacle().or_else(|| (!std::path::Path::new(program).exists()).then_some("not installed"));
    if let Some(reason) = reason {
        eprintln!("skipped: {program}: {reason}");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let runtime = Runtime { program: program.into(), root: root.path().into(), hides_cgroup2 };
    let name = runtime.name();
    let mut wrong = Vec::new();
    for case in cases() {
        let known = KNOWN.iter().find(|(p, c, _)| *p == name && case.name.ends_with(c));
        match ((case.run)(&runtime), known) {
            (Err(error), None) => wrong.push(format!("{}: {error}", case.name)),
            (Err(error), Some((_, _, why))) => eprintln!("known: {}: {why}: {error}", case.name),
            (Ok(()), _) => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases fail on {name}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn runc_agrees() {
    check("/usr/sbin/runc", false);
}

#[test]
fn crun_agrees() {
    check("/usr/bin/crun", true);
}

/// Runs a test of this file in a machine with Debian's kernel, where v2 has the controllers.
fn below_debians_kernel(test: &str) {
    match machine::obstacle() {
        Some(reason) => eprintln!("skipped: {test} on Debian's kernel: {reason}"),
        None => machine::repeat_test(SecurityModule::AppArmor, test).unwrap(),
    }
}

#[test]
fn runc_agrees_on_debians_kernel() {
    below_debians_kernel("runc_agrees");
}

#[test]
fn crun_agrees_on_debians_kernel() {
    below_debians_kernel("crun_agrees");
}
