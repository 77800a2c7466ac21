//! A bundle with busybox, changed case by case.

use crate::runtime::{Outcome, Runtime};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A static busybox.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

const APPLETS: [&str; 43] = [
    "sh", "ls", "cat", "echo", "sleep", "true", "false", "id", "ps", "mount", "hostname", "env",
    "kill", "stty", "head", "tty", "readlink", "wc", "seq", "grep", "ulimit", "dd", "touch",
    "mkdir", "rm", "test", "pwd", "stat", "tr", "cut", "sort", "chmod", "tail", "mknod", "umount",
    "nice", "ionice", "uname", "taskset", "sed", "awk", "ln", "date",
];

/// A bundle whose container is removed with it.
#[derive(Debug)]
pub struct Bundle {
    directory: tempfile::TempDir,
    runtime: Runtime,
    /// The container's id.
    pub id: String,
    /// `config.json`, written by [`write`](Self::write) and what starts containers.
    pub config: Value,
}

impl Bundle {
    /// A bundle that runs a shell script.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(runtime: &Runtime, script: &str) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let directory =
            tempfile::Builder::new().prefix("conformance-").tempdir().map_err(|e| e.to_string())?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("conf-{}-{number}", std::process::id());
        let bundle =
            Self { directory, runtime: runtime.clone(), id, config: default_config(script) };
        bundle.make_root().map_err(|e| e.to_string())?;
        Ok(bundle)
    }

    fn make_root(&self) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let root = self.rootfs();
        for directory in ["bin", "etc", "tmp", "proc", "sys", "dev", "mnt"] {
            std::fs::create_dir_all(root.join(directory))?;
        }
        // The temporary directory is 0700; a container's user must be able to enter its root.
        for directory in [self.path(), &root] {
            std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755))?;
        }
        let busybox = root.join("bin/busybox");
        if std::fs::hard_link(BUSYBOX, &busybox).is_err() {
            std::fs::copy(BUSYBOX, &busybox)?;
        }
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n",
        )
    }

    /// The bundle's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The root directory.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// The runtime.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Sets a value by JSON pointer.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let mut at = &mut self.config;
        for part in parent.split('/').filter(|p| !p.is_empty()) {
            at = &mut at[part];
        }
        at[key] = value;
        self
    }

    /// Appends to a list by JSON pointer.
    pub fn push(&mut self, pointer: &str, value: Value) -> &mut Self {
        let mut at = &mut self.config;
        for part in pointer.split('/').filter(|p| !p.is_empty()) {
            at = &mut at[part];
        }
        match at {
            Value::Array(list) => list.push(value),
            other => *other = json!([value]),
        }
        self
    }

    /// Makes the container one that a user without rights can have: with its own id alone, without a group of its
    /// own to be seen or limits, and without group 5 for terminals.
    pub fn belong_to(&mut self, id: u32) -> &mut Self {
        let kinds = ["user", "pid", "ipc", "uts", "mount", "network"];
        self.set("/linux/namespaces", kinds.iter().map(|kind| json!({"type": kind})).collect());
        let own = json!([{"containerID": 0, "hostID": id, "size": 1}]);
        self.set("/linux/uidMappings", own.clone()).set("/linux/gidMappings", own);
        self.set("/linux/resources", json!({}));
        let mounts = self.config["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| mount["type"] != "cgroup");
        for options in mounts.iter_mut().filter_map(|mount| mount["options"].as_array_mut()) {
            options.retain(|option| option != "gid=5");
        }
        self
    }

    /// Writes `config.json`.
    ///
    /// # Errors
    /// As writing.
    pub fn write(&self) -> Result<(), String> {
        std::fs::write(self.path().join("config.json"), self.config.to_string())
            .map_err(|e| e.to_string())
    }

    fn bundle_arg(&self) -> String {
        self.path().display().to_string()
    }

    /// `run` in the foreground with an input.
    ///
    /// # Errors
    /// As [`Runtime::run_with`].
    pub fn run_with(&self, input: &[u8]) -> Result<Outcome, String> {
        self.write()?;
        self.runtime.run_with(&["run", "--bundle", &self.bundle_arg(), &self.id], input)
    }

    /// `run` in the foreground.
    ///
    /// # Errors
    /// As [`Runtime::run_with`].
    pub fn run(&self) -> Result<Outcome, String> {
        self.run_with(b"")
    }

    /// `create`; what the container writes is in [`output`](Self::output).
    ///
    /// # Errors
    /// As [`Runtime::detached`].
    pub fn create(&self) -> Result<Outcome, String> {
        self.write()?;
        let arg = self.bundle_arg();
        self.runtime.detached(&["create", "--bundle", &arg, &self.id], &self.path().join("output"))
    }

    /// `create` and `start`.
    ///
    /// # Errors
    /// Either fails.
    pub fn start(&self) -> Result<(), String> {
        self.create()?.expect(0)?;
        self.runtime.run(&["start", &self.id])?.expect(0)?;
        Ok(())
    }

    /// What a created container wrote so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.path().join("output")).unwrap_or_default()
    }

    /// Waits for a text in the output.
    ///
    /// # Errors
    /// It does not come within ten seconds.
    pub fn wait_for_output(&self, part: &str) -> Result<(), String> {
        for _ in 0..500 {
            if self.output().contains(part) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(format!("output: expected {part:?} in it, got {:?}", self.output()))
    }

    /// `exec` of a command.
    ///
    /// # Errors
    /// As [`Runtime::run`].
    pub fn exec(&self, options: &[&str], command: &[&str]) -> Result<Outcome, String> {
        let mut args = vec!["exec"];
        args.extend(options);
        args.push(&self.id);
        args.extend(command);
        self.runtime.run(&args)
    }

    /// The container's cgroup directories on this host.
    #[must_use]
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find(Path::new("/sys/fs/cgroup"), &self.id, 0, &mut found);
        found
    }

    /// Fails if anything of the container is left.
    ///
    /// # Errors
    /// What is left.
    pub fn expect_nothing_left(&self) -> Result<(), String> {
        let cgroups = self.cgroups();
        if !cgroups.is_empty() {
            return Err(format!("left behind: {cgroups:?}"));
        }
        let directory = self.runtime.root.join(&self.id);
        if directory.exists() {
            return Err(format!("left behind: {}", directory.display()));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let path = self.path().display().to_string();
        if let Some(line) = mounts.lines().find(|l| l.contains(&path)) {
            return Err(format!("left behind: mount {line}"));
        }
        Ok(())
    }
}

fn find(directory: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let candidate = directory.join(name);
    if candidate.is_dir() {
        found.push(candidate);
    }
    if depth < 4 {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries.filter_map(Result::ok) {
            if entry.path().is_dir() {
                find(&entry.path(), name, depth + 1, found);
            }
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.runtime.run(&["delete", "--force", &self.id]);
    }
}

/// What engines ask for, without a terminal and with a writable root.
fn default_config(script: &str) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
