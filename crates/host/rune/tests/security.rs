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

/// A container's file is a copy of rune, which a failing test would damage.
fn with_copy(place: &Place) -> Runtime {
    let copy = place.directory.path().join("rune");
    std::fs::copy(&place.runtime.program, &copy).unwrap();
    Runtime { program: copy, ..place.runtime.clone() }
}

/// CVE-2019-5736: a container that holds `/proc/PID/exe` of the runtime opens it for writing when the
/// runtime has ended. The bundle is created, and what its first process runs must be of no use.
fn expect_nothing_to_write(bundle: &Bundle) {
    let runtime = bundle.runtime();
    let before = std::fs::read(&runtime.program).unwrap();
    let pid = runtime.state(&bundle.id).unwrap()["pid"].as_i64().unwrap();
    let held = OpenOptions::new().read(true).open(format!("/proc/{pid}/exe")).unwrap();
    runtime.run(&["delete", "--force", &bundle.id]).unwrap().expect(0).unwrap();
    // Nothing runs the file any more, so "text file busy" protects it no longer.
    OpenOptions::new().write(true).open(&runtime.program).expect("root may write the file itself");
    let opened = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{}", held.as_raw_fd()))
        .and_then(|mut file| std::io::Write::write(&mut file, b"#!/evil"));
    let error = opened.expect_err("written").raw_os_error();
    // A read-only file system, or a sealed file.
    assert!(matches!(error, Some(30 | 1)), "{error:?}");
    assert!(before == std::fs::read(&runtime.program).unwrap());
}

#[test]
fn the_runtimes_file_cannot_be_written_through_proc() {
    let Some(place) = place("the_runtimes_file_cannot_be_written_through_proc") else { return };
    let runtime = with_copy(&place);
    let bundle = Bundle::new(&runtime, "true").unwrap();
    bundle.create().unwrap().expect(0).unwrap();
    // Nothing of rune waits in the container: what does is a page of code.
    let pid = runtime.state(&bundle.id).unwrap()["pid"].as_i64().unwrap();
    assert!(std::fs::metadata(format!("/proc/{pid}/exe")).unwrap().len() < 1 << 16);
    expect_nothing_to_write(&bundle);
}

/// The same where something may run in the container before its program: with hooks, in the host's pid
/// namespace, and where files in memory may not be executed.
#[test]
fn the_runtimes_file_cannot_be_written_where_others_run_earlier() {
    let name = "the_runtimes_file_cannot_be_written_where_others_run_earlier";
    let Some(place) = place(name) else { return };
    let runtime = with_copy(&place);
    for hook in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let mut bundle = Bundle::new(&runtime, "true").unwrap();
        bundle.set("/hooks", json!({hook: [{"path": "/bin/true"}]}));
        bundle.create().unwrap().expect(0).unwrap();
        expect_nothing_to_write(&bundle);
    }
    let mut bundle = Bundle::new(&runtime, "true").unwrap();
    let kinds = ["mount", "uts", "ipc", "network"].map(|kind| json!({"type": kind}));
    bundle.set("/linux/namespaces", json!(kinds));
    bundle.create().unwrap().expect(0).unwrap();
    expect_nothing_to_write(&bundle);

    let bundle = Bundle::new(&runtime, "true").unwrap();
    bundle.write().unwrap();
    let script = format!(
        "[ -e /proc/sys/vm/memfd_noexec ] || exit 9; echo 2 >/proc/sys/vm/memfd_noexec || exit 9; \
         r=\"{} --root {}\"; $r create -b {b} {id} </dev/null >/dev/null 2>&1 || exit 1; \
         pid=$($r list --format json | tr , '\\n' | sed -n 's/.*\"pid\": *//p'); \
         exec 3</proc/$pid/exe; $r delete -f {id} || exit 1; echo evil >>/proc/self/fd/3",
        runtime.program.display(),
        runtime.root.display(),
        b = bundle.path().display(),
        id = bundle.id,
    );
    let output = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
        .output()
        .unwrap();
    if output.status.code() == Some(9) {
        eprintln!("skipped: the last part of {name}: no vm.memfd_noexec");
        return;
    }
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(said.contains("read-only file system"), "{output:?}");
}

/// Lets rune itself run in the container, were it started there.
fn add_own_libraries(bundle: &Bundle) {
    let program = &bundle.runtime().program;
    let listed = std::process::Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    for path in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = bundle.rootfs().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(path, copy).unwrap();
    }
}

/// CVE-2019-5736, the chain of `execve`: a program that leads back to `/proc/self/exe` would run the runtime
/// inside the container, with libraries of the image.
#[test]
fn a_program_that_is_the_running_file_is_not_the_runtime() {
    let Some(place) = place("a_program_that_is_the_running_file_is_not_the_runtime") else {
        return;
    };
    let runtime = with_copy(&place);
    for kind in ["link", "script"] {
        let mut bundle = Bundle::new(&runtime, "").unwrap();
        add_own_libraries(&bundle);
        let evil = bundle.rootfs().join("bin/evil");
        if kind == "link" {
            std::os::unix::fs::symlink("/proc/self/exe", &evil).unwrap();
        } else {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(&evil, "#!/proc/self/exe --version\n").unwrap();
            std::fs::set_permissions(&evil, PermissionsExt::from_mode(0o755)).unwrap();
        }
        bundle.set("/process/args", json!(["/bin/evil", "--version"]));
        let outcome = bundle.run().unwrap();
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{kind}: {outcome:?}");
        bundle.expect_nothing_left().unwrap();
    }
}

/// The same by `PT_INTERP`: the interpreter of an ELF file is read from `/proc/self/exe`.
#[test]
fn an_interpreter_that_is_the_running_file_is_not_the_runtime() {
    let name = "an_interpreter_that_is_the_running_file_is_not_the_runtime";
    let Some(place) = place(name) else { return };
    let runtime = with_copy(&place);
    let mut bundle = Bundle::new(&runtime, "").unwrap();
    add_own_libraries(&bundle);
    // rune is such a file itself: its interpreter's name, replaced by a shorter one.
    let mut bytes = std::fs::read(&runtime.program).unwrap();
    let (loader, own) = (b"/lib64/ld-linux-x86-64.so.2\0", b"/proc/self/exe\0");
    let at = bytes.windows(loader.len()).position(|w| w == loader).unwrap();
    bytes[at..at + own.len()].copy_from_slice(own);
    bytes[at + own.len()..at + loader.len()].fill(0);
    let evil = bundle.rootfs().join("bin/evil");
    std::fs::write(&evil, bytes).unwrap();
    std::fs::set_permissions(&evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle.set("/process/args", json!(["/bin/evil"]));
    // rune as an interpreter crashes; the launcher finds nothing to wait for and ends.
    let outcome = bundle.run().unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{outcome:?}");
    bundle.expect_nothing_left().unwrap();
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
