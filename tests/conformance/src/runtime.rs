//! A runtime's program, and running it.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Its program.
    pub program: PathBuf,
    /// Where it keeps its containers.
    pub root: PathBuf,
    /// Run as `unshare -m sh -c 'umount cgroup2; exec "$@"'`: for crun, which refuses hybrid hosts.
    pub hides_cgroup2: bool,
}

/// Of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One for all.
    V2,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code, or 128 and the signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Fails unless the exit code is this.
    ///
    /// # Errors
    /// Another code, with what was said.
    pub fn expect(&self, code: i32) -> Result<&Self, String> {
        if self.code == code {
            return Ok(self);
        }
        let said = format!("{}{}", self.stdout, self.stderr);
        Err(format!("exit code: expected {code}, got {}: {}", self.code, said.trim_end()))
    }
}

impl Runtime {
    /// The program's file name.
    #[must_use]
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whose controllers it sees, if any, so that there are limits. A wrapper that hides those of v1 says so by
    /// its name; where v1 has the controllers, v2 has none.
    #[must_use]
    pub fn limits(&self) -> Option<Version> {
        let has_v1 = Path::new("/sys/fs/cgroup/memory").is_dir();
        if has_v1 {
            return (!self.name().ends_with("-on-v2")).then_some(Version::V1);
        }
        let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").ok()?;
        controllers.split_whitespace().any(|it| it == "memory").then_some(Version::V2)
    }

    /// A command of it.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = if self.hides_cgroup2 {
            let mut command = Command::new("unshare");
            // crun makes directories there even so: in a place of its own.
            let script = "cd /sys/fs/cgroup/unified 2>/dev/null && cd / && \
                          umount -l /sys/fs/cgroup/unified && \
                          mount -t tmpfs none /sys/fs/cgroup/unified; exec \"$@\"";
            command.args(["-m", "sh", "-c", script, "sh"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.arg("--root").arg(&self.root).args(args);
        command
    }

    /// Runs it with an input to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end within a minute.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Result<Outcome, String> {
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("start {}: {e}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input);
        }
        collect(child)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run(&self, args: &[&str]) -> Result<Outcome, String> {
        self.run_with(args, b"")
    }

    /// `create` with standard streams on `/dev/null`: the container holds them, so pipes would never end.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn detached(&self, args: &[&str], output: &std::path::Path) -> Result<Outcome, String> {
        let file = std::fs::File::create(output).map_err(|e| e.to_string())?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        let status = self
            .command(args)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .status()
            .map_err(|e| e.to_string())?;
        let stdout = std::fs::read_to_string(output).unwrap_or_default();
        Ok(Outcome { code: status.code().unwrap_or(-1), stdout, stderr: String::new() })
    }

    /// `state` as JSON.
    ///
    /// # Errors
    /// There is none.
    pub fn state(&self, id: &str) -> Result<Value, String> {
        let outcome = self.run(&["state", id])?;
        outcome.expect(0)?;
        serde_json::from_str(&outcome.stdout).map_err(|e| format!("state: {e}: {}", outcome.stdout))
    }

    /// Waits for a status.
    ///
    /// # Errors
    /// Another one after ten seconds.
    pub fn wait_for(&self, id: &str, status: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let got = self.state(id)?["status"].as_str().unwrap_or_default().to_owned();
            if got == status {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("status: expected {status}, got {got}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Collects a program's output and end, which must come within a minute.
pub(crate) fn collect(mut child: std::process::Child) -> Result<Outcome, String> {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.read_to_end(&mut text);
        }
        text
    });
    let output = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stdout) = &mut stdout {
            let _ = stdout.read_to_end(&mut text);
        }
        text
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            return Err("it did not end within a minute".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |thread: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
    };
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Outcome { code, stdout: text(output), stderr: text(reader) })
}
