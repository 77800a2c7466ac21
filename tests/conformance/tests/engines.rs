//! rune below real engines: podman (conmon, no shim). Slow, and it needs the packages podman, conmon and
//! catatonit: run by `cargo xtask test --all`.

use conformance::obstacle;
use std::path::Path;
use std::process::{Command, Output};

struct Podman {
    directory: tempfile::TempDir,
    rune: std::path::PathBuf,
}

impl Podman {
    /// With storage and settings of its own, or a word why not.
    fn new(name: &str) -> Option<Self> {
        let reason = obstacle()
            .or_else(|| {
                std::env::var_os("INCLAVARE_TEST_ALL").is_none().then_some("only with --all")
            })
            .or_else(|| (!Path::new("/usr/bin/podman").exists()).then_some("no podman"));
        if let Some(reason) = reason {
            eprintln!("skipped: {name}: {reason}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        // A machine without CAP_SYS_RESOURCE cannot raise podman's default limits.
        let settings = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                        [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        std::fs::write(directory.path().join("containers.conf"), settings).unwrap();
        let exe = std::env::current_exe().unwrap();
        let rune = exe.ancestors().nth(2).map(|d| d.join("rune")).unwrap();
        assert!(rune.exists(), "{}: build it first", rune.display());
        Some(Self { directory, rune })
    }

    fn run(&self, args: &[&str]) -> Output {
        let path = |name: &str| self.directory.path().join(name);
        Command::new("podman")
            .env("CONTAINERS_CONF", path("containers.conf"))
            .arg("--root")
            .arg(path("root"))
            .arg("--runroot")
            .arg(path("run"))
            .args(["--storage-driver", "vfs", "--runtime"])
            .arg(&self.rune)
            .args(args)
            .output()
            .unwrap()
    }

    /// Runs it and gives what it prints, if it ends with this code.
    fn expect(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "podman {args:?}: {text} {errors}");
        text
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.run(&["rm", "--all", "--force", "--time", "0"]);
        for top in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            // podman keeps conmon's group below its own.
            let _ = std::fs::remove_dir(top.path().join("libpod_parent/conmon"));
            let _ = std::fs::remove_dir(top.path().join("libpod_parent"));
        }
    }
}

#[test]
fn podman_runs_execs_limits_and_stops() {
    let Some(podman) = Podman::new("podman_runs_execs_limits_and_stops") else { return };
    // An image of busybox alone.
    let root = podman.directory.path().join("image");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "echo", "sleep", "cat", "id"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let tar = podman.directory.path().join("image.tar");
    let made = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".").status();
    assert!(made.unwrap().success());
    let image = podman.expect(&["import", "-q", tar.to_str().unwrap(), "bb:test"], 0);
    assert!(!image.is_empty());
    let run = ["run", "--rm", "--network", "none", "bb:test", "sh", "-c", "echo hello; exit 6"];
    assert_eq!(podman.expect(&run, 6), "hello");
    let script = "trap 'exit 3' TERM; while true; do sleep 0.1; done";
    let start = [
        "run",
        "-d",
        "--name",
        "p1",
        "--network",
        "none",
        "--memory",
        "64m",
        "bb:test",
        "sh",
        "-c",
        script,
    ];
    podman.expect(&start, 0);
    assert_eq!(podman.expect(&["exec", "p1", "sh", "-c", "echo in; exit 2"], 2), "in");
    podman.expect(&["pause", "p1"], 0);
    podman.expect(&["unpause", "p1"], 0);
    podman.expect(&["stop", "-t", "10", "p1"], 0);
    assert_eq!(podman.expect(&["inspect", "-f", "{{.State.ExitCode}}", "p1"], 0), "3");
}
