//! Many containers at once leave nothing behind, and `run` always returns.
//!
//! `cargo xtask test --all` takes 2,000 cycles and 1,000 runs; the default suite a part of them.

use conformance::{Bundle, Runtime, obstacle};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cycles at a time.
const AT_ONCE: usize = 50;

/// Both tests count the children of this process.
static ALONE: Mutex<()> = Mutex::new(());

fn is_all() -> bool {
    std::env::var_os("INCLAVARE_TEST_ALL").is_some()
}

fn runtime(root: &Path) -> Runtime {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rune"));
    Runtime { program, root: root.into(), hides_cgroup2: false }
}

/// Does `count` times what `step` does, by several threads with a bundle each. Gives the failures and the
/// bundles' directories.
fn in_parallel(
    threads: usize,
    count: usize,
    runtime: &Runtime,
    args: &[&str],
    step: impl Fn(&mut Bundle, usize) -> Result<(), String> + Sync,
) -> (Vec<String>, Vec<PathBuf>) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let places = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut bundle = Bundle::new(runtime, "").unwrap();
                bundle.set("/process/args", args.into());
                places.lock().unwrap().push(bundle.path().to_owned());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    bundle.id = format!("stress-{}-{number}", std::process::id());
                    let done = step(&mut bundle, number).and_then(|()| bundle_is_clean(&bundle));
                    if let Err(error) = done {
                        failures.lock().unwrap().push(format!("{number}: {error}"));
                    }
                }
            });
        }
    });
    (failures.into_inner().unwrap(), places.into_inner().unwrap())
}

fn bundle_is_clean(bundle: &Bundle) -> Result<(), String> {
    let mut names: Vec<_> = std::fs::read_dir(bundle.path())
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != "output")
        .collect();
    names.sort();
    if names == ["config.json", "rootfs"] { Ok(()) } else { Err(format!("left: {names:?}")) }
}

/// Lines of this namespace's mount table about something in these directories.
fn mounts_in(places: &[PathBuf]) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let is_ours = |line: &&str| places.iter().any(|place| line.contains(place));
    text.lines().filter(is_ours).map(str::to_owned).collect()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Control groups of any hierarchy that are named after this test's containers.
fn groups() -> Vec<PathBuf> {
    let name = format!("stress-{}-", std::process::id());
    let mut found = Vec::new();
    let mut places = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(place) = places.pop() {
        // Groups of others come and go while we look.
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(&name) {
                found.push(entry.path());
            }
            places.push(entry.path());
        }
    }
    found
}

/// Waits for all children, orphans included; there must be `expected`, all of them ended.
fn expect_ended_children(expected: usize) {
    use rustix::process::{WaitOptions, wait};
    let mut ended = 0;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => ended += 1,
            Ok(None) => panic!("a process of a container is still there"),
            Err(_) => break,
        }
    }
    assert_eq!(ended, expected, "first processes that came to their subreaper");
}

#[test]
fn cycles_leave_nothing_behind() {
    if let Some(reason) = obstacle() {
        return eprintln!("skipped: cycles_leave_nothing_behind: {reason}");
    }
    let _guard = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // What is created comes to us when its `create` ends, so that it can be counted.
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    let root = tempfile::tempdir().unwrap();
    let runtime = runtime(root.path());
    let descriptors_before = descriptors();
    let count = if is_all() { 2000 } else { 100 };

    let args = ["sleep", "1000"];
    let (failures, mut places) = in_parallel(AT_ONCE, count, &runtime, &args, |bundle, number| {
        bundle.create()?.expect(0)?;
        runtime.run(&["start", &bundle.id])?.expect(0)?;
        if number % 2 == 0 {
            runtime.run(&["kill", &bundle.id, "KILL"])?.expect(0)?;
            runtime.wait_for(&bundle.id, "stopped")?;
            runtime.run(&["delete", &bundle.id])?.expect(0).map(drop)
        } else {
            runtime.run(&["delete", "--force", &bundle.id])?.expect(0).map(drop)
        }
    });

    let some = failures.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} failed:\n{some}", failures.len());
    expect_ended_children(count);
    rustix::process::set_child_subreaper(None).unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "container directories left");
    assert_eq!(groups(), Vec::<PathBuf>::new());
    places.push(root.path().to_owned());
    assert_eq!(mounts_in(&places), Vec::<String>::new());
    assert_eq!(descriptors(), descriptors_before);
}

#[test]
fn run_returns_every_time() {
    if let Some(reason) = obstacle() {
        return eprintln!("skipped: run_returns_every_time: {reason}");
    }
    let _guard = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let root = tempfile::tempdir().unwrap();
    let runtime = runtime(root.path());
    let count = if is_all() { 1000 } else { 50 };
    // Several at once, so that the program's end meets every moment of `run`.
    let (failures, _) =
        in_parallel(4, count, &runtime, &["true"], |bundle, _| bundle.run()?.expect(0).map(drop));
    let some = failures.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} failed:\n{some}", failures.len());
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "container directories left");
    assert_eq!(groups(), Vec::<PathBuf>::new());
}
