//! All cases on rune, and that nothing is left when they end.

use conformance::{Runtime, cases, obstacle};
use std::path::Path;

#[test]
fn rune_conforms() {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: rune_conforms: {reason}");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    // Built by `cargo xtask test` before; two levels up from the test's own directory.
    let exe = std::env::current_exe().unwrap();
    let program = exe.ancestors().nth(2).map(|d| d.join("rune")).unwrap();
    assert!(program.exists(), "{}: build it first (cargo build -p rune)", program.display());
    let runtime = Runtime { program, root: root.path().into(), hides_cgroup2: false };
    let only = std::env::var("CONFORMANCE_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for case in cases().filter(|c| c.name.contains(&only)) {
        if let Err(error) = (case.run)(&runtime) {
            failed.push(format!("{}: {error}", case.name));
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    let left = std::fs::read_dir(root.path()).unwrap().count();
    assert_eq!(left, 0, "container directories left");
    assert!(!Path::new("/sys/fs/cgroup/pids/conformance").exists());
}
