//! A container in the background.

use fixtures::{Bundle, fresh_id};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long something may take that takes no time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A container in the background; killed and deleted when dropped.
pub struct Running<'a> {
    bundle: &'a Bundle,
    id: String,
    /// `rune run` of it.
    pub child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
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
        Self::run(bundle, bundle.programs().rune())
    }

    /// Starts it in this mode of the emulator ([`MODES`](crate::MODES)).
    ///
    /// # Panics
    /// Where rune cannot be started.
    #[must_use]
    pub fn spawn_in(bundle: &'a Bundle, mode: &str) -> Self {
        let mut rune = bundle.programs().rune();
        rune.env("RUNE_EMULATOR_MODE", mode);
        Self::run(bundle, rune)
    }

    fn run(bundle: &'a Bundle, mut rune: Command) -> Self {
        let id = fresh_id();
        let run = rune.arg("run").arg("--bundle").arg(bundle.directory()).arg(&id);
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = run.spawn().expect("rune starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        Self { bundle, id, child, stdout, stderr }
    }

    /// The next line that it writes; empty at the end.
    ///
    /// # Panics
    /// Where its output cannot be read.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line of text");
        line
    }

    /// Reads what it and its runtime write to standard error, up to a line with these words, and gives that line.
    ///
    /// # Panics
    /// Where there is none.
    pub fn says(&mut self, words: &str) -> String {
        let mut all = String::new();
        loop {
            let start = all.len();
            let count = self.stderr.read_line(&mut all).expect("lines of text");
            assert_ne!(count, 0, "{words:?} is not in:\n{all}");
            if all[start..].contains(words) {
                return all[start..].trim_end().into();
            }
        }
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

    /// Kills it and gives what it and its runtime wrote to standard error, from where [`says`](Self::says) left off.
    ///
    /// # Panics
    /// Where that cannot be read.
    #[must_use]
    pub fn log(mut self) -> String {
        let _ = self.rune(&["kill"]).arg("KILL").output();
        let _ = self.ends_with();
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).expect("lines of text");
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
