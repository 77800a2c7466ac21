//! A container in the background.

use fixtures::{Bundle, fresh_id};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long something may take that takes no time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A container in the background; killed and deleted when dropped.
pub struct Running<'a> {
    bundle: &'a Bundle,
    id: String,
    /// `rune run` of it.
    pub child: Child,
}

impl<'a> Running<'a> {
    /// Starts it and waits until it writes the line `ready`.
    ///
    /// # Panics
    /// Where it writes something else.
    #[must_use]
    pub fn start(bundle: &'a Bundle) -> Self {
        let mut running = Self::spawn(bundle);
        assert_eq!(running.line(), "ready\n");
        running
    }

    /// Starts it.
    ///
    /// # Panics
    /// Where rune cannot be started.
    #[must_use]
    pub fn spawn(bundle: &'a Bundle) -> Self {
        let id = fresh_id();
        let child = bundle
            .programs()
            .rune()
            .arg("run")
            .arg("--bundle")
            .arg(bundle.directory())
            .arg(&id)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rune starts");
        Self { bundle, id, child }
    }

    /// The next line that it writes; empty at the end.
    ///
    /// # Panics
    /// Where its output cannot be read.
    pub fn line(&mut self) -> String {
        // One byte at a time: nothing of the next line is taken.
        let stdout = self.child.stdout.as_mut().expect("it is a pipe");
        let mut line = String::new();
        BufReader::with_capacity(1, stdout).read_line(&mut line).expect("a line of text");
        line
    }

    /// `rune VERB... ID`.
    #[must_use]
    pub fn rune(&self, verb: &[&str]) -> Command {
        let mut command = self.bundle.programs().rune();
        command.args(verb).arg(&self.id);
        command
    }

    /// Waits for its end and gives the exit code.
    ///
    /// # Panics
    /// Where it still runs after [`PATIENCE`].
    pub fn ends_with(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            }
            assert!(start.elapsed() < PATIENCE, "still running after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it and gives what it and its runtime wrote to standard error.
    ///
    /// # Panics
    /// Where that cannot be read.
    #[must_use]
    pub fn log(mut self) -> String {
        let _ = self.rune(&["kill"]).arg("KILL").output();
        let _ = self.ends_with();
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("it is a pipe");
        stderr.read_to_string(&mut text).expect("lines of text");
        text
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.rune(&["delete", "--force"]).output();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
