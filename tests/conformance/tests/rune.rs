//! All cases on rune, and that nothing is left when they end: with the cgroups that this host has and, with
//! `--all`, as it is shipped, with nothing but v1, with nothing but v2, and in a machine with Debian's kernel, where
//! v2 has all controllers and either AppArmor or SELinux decides besides.

use conformance::{Runtime, cases, obstacle};
use fixtures::rune;
use machine::SecurityModule;
use std::path::{Path, PathBuf};

fn check(name: &str, program: PathBuf, hides_cgroup2: bool) {
    let root = tempfile::tempdir().unwrap();
    let runtime = Runtime { program, root: root.path().into(), hides_cgroup2 };
    let only = std::env::var("CONFORMANCE_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for case in cases().filter(|c| c.name.contains(&only)) {
        if let Err(error) = (case.run)(&runtime) {
            failed.push(format!("{}: {error}", case.name));
        }
    }
    assert!(failed.is_empty(), "{name}: {} cases failed:\n{}", failed.len(), failed.join("\n"));
    // Compiled filters are kept, in a directory that no container can have.
    let names = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name != "@seccomp").collect();
    assert!(left.is_empty(), "container directories left: {left:?}");
    assert!(!Path::new("/sys/fs/cgroup/pids/conformance").exists());
}

fn is_skipped(name: &str, only_all: bool) -> bool {
    let reason = match obstacle() {
        None if only_all && std::env::var_os("INCLAVARE_TEST_ALL").is_none() => "only with --all",
        None => return false,
        Some(reason) => reason,
    };
    eprintln!("skipped: {name}: {reason}");
    true
}

#[test]
fn rune_conforms() {
    if !is_skipped("rune_conforms", false) {
        check("this host", rune(), false);
    }
}

/// As `cargo xtask dist` builds it: with another C library and allocator.
#[test]
fn rune_conforms_as_it_is_shipped() {
    let name = "rune_conforms_as_it_is_shipped";
    if is_skipped(name, true) {
        return;
    }
    match std::env::var_os("INCLAVARE_TEST_DIST_RUNE") {
        Some(program) => check("as shipped", program.into(), false),
        None => eprintln!("skipped: {name}: cargo xtask test --all builds it, if it can be built"),
    }
}

#[test]
fn rune_conforms_with_v1_alone() {
    if !is_skipped("rune_conforms_with_v1_alone", true) {
        check("v1", rune(), true);
    }
}

/// Repeats the calling test in a machine; there, all cases.
fn check_in_a_machine(name: &str, module: SecurityModule) {
    if is_skipped(name, true) {
        return;
    }
    if machine::is_inside() {
        return check("Debian's kernel", rune(), false);
    }
    match machine::obstacle() {
        Some(reason) => eprintln!("skipped: {name}: {reason}"),
        None => machine::repeat_test(module, name).unwrap(),
    }
}

#[test]
fn rune_conforms_on_debians_kernel() {
    check_in_a_machine("rune_conforms_on_debians_kernel", SecurityModule::AppArmor);
}

#[test]
fn rune_conforms_below_selinux() {
    if !Path::new("/usr/bin/checkpolicy").exists() {
        return eprintln!(
            "skipped: rune_conforms_below_selinux: no checkpolicy (package checkpolicy)"
        );
    }
    check_in_a_machine("rune_conforms_below_selinux", SecurityModule::Selinux);
}

/// Where the v1 controllers are taken, v2 has none of them: groups, devices, freezing and killing are there,
/// limits are not.
#[test]
fn rune_conforms_with_v2_alone() {
    if is_skipped("rune_conforms_with_v2_alone", true) {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let wrapper = directory.path().join("rune-on-v2");
    let script = format!(
        "#!/bin/sh\n# Runs rune where cgroup2 is all there is.\nexec unshare -m sh -c \
         'umount -l /sys/fs/cgroup/* 2>/dev/null; mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"' \
         sh {} \"$@\"\n",
        rune().display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    check("v2", wrapper, false);
}
