//! Attacks on the runtime, one test each, that a naive runtime does not survive.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::json;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

struct Place {
    runtime: Runtime,
    directory: tempfile::TempDir,
}

fn place(name: &str) -> Option<Place> {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("state");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rune"));
    Some(Place { runtime: Runtime { program, root, hides_cgroup2: false }, directory })
}

/// CVE-2019-5736: a container that holds `/proc/PID/exe` of the runtime opens it for writing when the
/// runtime has ended.
#[test]
fn the_runtimes_file_cannot_be_written_through_proc() {
    let Some(place) = place("the_runtimes_file_cannot_be_written_through_proc") else { return };
    // A copy: were the test to fail, the file would be damaged.
    let copy = place.directory.path().join("rune");
    std::fs::copy(&place.runtime.program, &copy).unwrap();
    let runtime = Runtime { program: copy.clone(), ..place.runtime };
    let bundle = Bundle::new(&runtime, "true").unwrap();
    bundle.create().unwrap().expect(0).unwrap();
    let pid = runtime.state(&bundle.id).unwrap()["pid"].as_i64().unwrap();
    let held = OpenOptions::new().read(true).open(format!("/proc/{pid}/exe")).unwrap();
    runtime.run(&["delete", "--force", &bundle.id]).unwrap().expect(0).unwrap();
    // Nothing runs the file any more, so "text file busy" protects it no longer.
    OpenOptions::new().write(true).open(&copy).expect("the file itself is writable by root");
    let error = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{}", held.as_raw_fd()))
        .expect_err("opened for writing");
    assert_eq!(error.raw_os_error(), Some(30), "expected a read-only file system, got {error}");
}

/// CVE-2024-21626: a working directory behind a descriptor that the runtime leaked.
#[test]
fn a_working_directory_outside_is_refused() {
    let Some(place) = place("a_working_directory_outside_is_refused") else { return };
    let mut bundle = Bundle::new(&place.runtime, "ls").unwrap();
    bundle.set("/process/cwd", json!("/proc/self/fd/9"));
    bundle.write().unwrap();
    let script = format!(
        "exec 9</; exec {} --root {} run -b {} {}",
        place.runtime.program.display(),
        place.runtime.root.display(),
        bundle.path().display(),
        bundle.id
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("process.cwd"), "{message}");
    bundle.expect_nothing_left().unwrap();
}

/// CVE-2025-52565: `/dev/pts/ptmx` of the image, not of a devpts, must not become the terminal.
#[test]
fn a_terminal_that_is_not_the_containers_is_refused() {
    let Some(place) = place("a_terminal_that_is_not_the_containers_is_refused") else { return };
    let mut bundle = Bundle::new(&place.runtime, "tty").unwrap();
    bundle.set("/process/terminal", json!(true));
    let mounts = bundle.config["mounts"].as_array().unwrap().clone();
    let kept: Vec<_> = mounts
        .into_iter()
        .filter(|m| !m["destination"].as_str().unwrap_or_default().starts_with("/dev"))
        .collect();
    bundle.set("/mounts", json!(kept));
    let pts = bundle.rootfs().join("dev/pts");
    std::fs::create_dir_all(&pts).unwrap();
    std::fs::write(pts.join("ptmx"), "mine").unwrap();
    let outcome = bundle.run().unwrap();
    assert_ne!(outcome.code, 0);
    assert!(outcome.stderr.contains("/dev/pts/ptmx"), "{}", outcome.stderr);
    bundle.expect_nothing_left().unwrap();
}

/// CVE-2025-31133: a masked path that is a link must not mask, or unmask, something else.
#[test]
fn a_masked_link_stays_in_the_container() {
    let Some(place) = place("a_masked_link_stays_in_the_container") else { return };
    let host = place.directory.path().join("host-file");
    std::fs::write(&host, "host").unwrap();
    let mut bundle = Bundle::new(&place.runtime, "cat /link 2>/dev/null | wc -c").unwrap();
    std::os::unix::fs::symlink(&host, bundle.rootfs().join("link")).unwrap();
    bundle.push("/linux/maskedPaths", json!("/link"));
    bundle.push("/linux/maskedPaths", json!("/../../../../etc/hostname"));
    bundle.run().unwrap().expect(0).unwrap();
    assert_eq!(std::fs::read_to_string(&host).unwrap(), "host");
}

/// CVE-2025-52881: sysctls are written before the container's `/proc` exists.
#[test]
fn a_false_proc_in_the_image_gets_no_sysctl() {
    let Some(place) = place("a_false_proc_in_the_image_gets_no_sysctl") else { return };
    let mut bundle = Bundle::new(&place.runtime, "cat /proc/sys/net/ipv4/ip_forward").unwrap();
    let trap = bundle.rootfs().join("proc/sys/net/ipv4");
    std::fs::create_dir_all(&trap).unwrap();
    std::fs::write(trap.join("ip_forward"), "untouched").unwrap();
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    assert_eq!(bundle.run().unwrap().expect(0).unwrap().stdout, "1\n");
    assert_eq!(std::fs::read_to_string(trap.join("ip_forward")).unwrap(), "untouched");
}

/// With `rootfsPropagation: rshared` the host's tree is a peer of the container's: dropping it in the
/// container must not unmount it on the host.
#[test]
fn dropping_the_old_root_unmounts_nothing_on_the_host() {
    let Some(place) = place("dropping_the_old_root_unmounts_nothing_on_the_host") else { return };
    let mut bundle = Bundle::new(&place.runtime, "echo ran").unwrap();
    bundle.set("/linux/rootfsPropagation", json!("rshared"));
    bundle.write().unwrap();
    let mounted = place.directory.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    // A host of its own, whose mounts are shared as on any machine that systemd has started.
    let script = format!(
        "mount --make-rshared / && mount -t tmpfs mine {m} && mkdir {m}/below && \
         mount -t tmpfs mine {m}/below && {} --root {} run -b {} {}; \
         grep -c ' {m}' /proc/self/mountinfo",
        place.runtime.program.display(),
        place.runtime.root.display(),
        bundle.path().display(),
        bundle.id,
        m = mounted.display(),
    );
    let output =
        std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ran\n2\n", "{output:?}");
}
