//! What can go wrong, with the operation, the field and the missing right named.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal. Every variant says whose doing it is: the configuration's, the host's or the caller's.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused an operation.
    Os {
        /// System call or step.
        operation: &'static str,
        /// What it was done to.
        subject: String,
        /// `errno`.
        errno: i32,
    },
    /// The operating system refused for want of a capability, and which setting avoids it is known.
    Capability {
        /// What was attempted, with its values.
        operation: String,
        /// `CAP_...`.
        capability: &'static str,
        /// The field of `config.json` that asks for it.
        field: String,
        /// What to do instead.
        advice: String,
        /// `errno`.
        errno: i32,
    },
    /// A JSON file does not parse.
    Parse {
        /// Which file.
        file: PathBuf,
        /// Path of the field, empty at the top.
        field: String,
        /// 1-based.
        line: usize,
        /// 1-based, in bytes.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A file is larger than anything sensible.
    TooLarge {
        /// Which file.
        file: PathBuf,
        /// Bytes allowed.
        limit: u64,
        /// Bytes found.
        got: u64,
    },
    /// A value of the configuration is not possible.
    Config {
        /// Path of the field.
        field: String,
        /// What would be.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A container id that cannot be a directory name.
    Id {
        /// The id, shortened.
        id: String,
        /// Why not.
        reason: &'static str,
    },
    /// The id is taken.
    Exists {
        /// The id.
        id: String,
    },
    /// There is no such container.
    NotFound {
        /// The id.
        id: String,
    },
    /// The container is not in a state that allows the operation.
    Status {
        /// The id.
        id: String,
        /// The operation.
        operation: &'static str,
        /// What it would have to be.
        expected: &'static str,
        /// What it is.
        got: &'static str,
    },
    /// The container's first process reported this before it ran the program.
    Init {
        /// Its message.
        message: String,
    },
    /// The container's first process ended without a report.
    InitDied {
        /// What it was doing.
        stage: &'static str,
    },
    /// A hook failed.
    Hook {
        /// Kind and index, `createRuntime[0]`.
        hook: String,
        /// Program.
        path: PathBuf,
        /// How.
        failure: HookFailure,
    },
    /// systemd cannot be reached, or refused.
    Systemd {
        /// What was asked of it, and where.
        operation: String,
        /// Its answer.
        reason: String,
    },
    /// criu failed.
    Criu {
        /// `dump`, `pre-dump` or `restore`.
        action: String,
        /// Its log.
        log: PathBuf,
        /// Its last error there.
        said: String,
    },
    /// A helper program refused.
    Helper {
        /// Its name.
        program: &'static str,
        /// The field it was run for.
        field: String,
        /// What it wrote to its standard error.
        said: String,
    },
    /// This kernel or build cannot do what the configuration asks for.
    Unsupported {
        /// Path of the field.
        field: String,
        /// Why.
        reason: String,
    },
}

/// How a hook failed.
#[derive(Debug, PartialEq, Eq)]
pub enum HookFailure {
    /// Exit status and what it wrote to its standard error.
    Exited(i32, String),
    /// Signal number.
    Signaled(i32),
    /// Seconds waited.
    TimedOut(i64),
    /// It could not be started: `errno`.
    Start(i32),
}

impl Error {
    /// From an `errno` of rustix.
    pub(crate) fn os(
        operation: &'static str,
        subject: impl AsRef<Path>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Os {
            operation,
            subject: subject.as_ref().display().to_string(),
            errno: errno.raw_os_error(),
        }
    }

    /// From an error of the standard library.
    pub(crate) fn os_io(
        operation: &'static str,
        subject: impl AsRef<Path>,
        error: &std::io::Error,
    ) -> Self {
        Self::Os {
            operation,
            subject: subject.as_ref().display().to_string(),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// A value that cannot be.
    pub(crate) fn config(
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl fmt::Display,
    ) -> Self {
        Self::Config { field: field.into(), expected: expected.into(), got: got.to_string() }
    }

    /// The `errno` at the root of it, if there is one.
    #[must_use]
    pub const fn errno(&self) -> Option<i32> {
        match self {
            Self::Os { errno, .. } | Self::Capability { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

fn strerror(errno: i32) -> String {
    // "No such file or directory (os error 2)": people and scripts look for the first half.
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { operation, subject, errno } => {
                write!(f, "{operation} {subject}: {}", strerror(*errno))
            }
            Self::Capability { operation, capability, field, advice, errno } => write!(
                f,
                "{operation}: {}: this needs {capability}, which rune does not have here; {field} asks \
                 for it: {advice}",
                strerror(*errno)
            ),
            Self::Parse { file, field, line, column, message } => {
                write!(f, "{}: ", file.display())?;
                if !field.is_empty() {
                    write!(f, "{field}: ")?;
                }
                write!(f, "{message} at line {line} column {column}")
            }
            Self::TooLarge { file, limit, got } => {
                write!(f, "{}: expected at most {limit} bytes, got {got}", file.display())
            }
            Self::Config { field, expected, got } => {
                write!(f, "config.json: {field}: expected {expected}, got {got}")
            }
            Self::Id { id, reason } => write!(f, "invalid container id {id:?}: {reason}"),
            Self::Exists { id } => write!(f, "container with given ID already exists: {id:?}"),
            Self::NotFound { id } => write!(f, "container {id:?} does not exist"),
            Self::Status { id, operation, expected, got } => {
                // Engines look for these words, which runc uses, to tell "gone" from "failed".
                let gone = if *got == "stopped" { "container not running: " } else { "" };
                write!(
                    f,
                    "cannot {operation} container {id:?}: {gone}expected a {expected} container, it is {got}"
                )
            }
            Self::Init { message } => f.write_str(message),
            Self::InitDied { stage } => {
                write!(f, "the container's first process was killed while {stage}")
            }
            Self::Hook { hook, path, failure } => {
                write!(f, "hook {hook} {}: ", path.display())?;
                match failure {
                    HookFailure::Exited(status, output) => {
                        write!(f, "exit status {status}")?;
                        if output.is_empty() { Ok(()) } else { write!(f, ": {output}") }
                    }
                    HookFailure::Signaled(signal) => write!(f, "killed by signal {signal}"),
                    HookFailure::TimedOut(seconds) => write!(f, "timed out after {seconds} s"),
                    HookFailure::Start(errno) => f.write_str(&strerror(*errno)),
                }
            }
            Self::Systemd { operation, reason } => {
                write!(f, "systemd (--systemd-cgroup): {operation}: {reason}")
            }
            Self::Criu { action, log, said } => {
                write!(f, "criu {action}: {said} (log: {})", log.display())
            }
            Self::Helper { program, field, said } => {
                write!(f, "config.json: {field}: {program} refused: {said}")
            }
            Self::Unsupported { field, reason } => write!(f, "config.json: {field}: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_operation_subject_and_reason() {
        let e = Error::Os { operation: "mount", subject: "/x".into(), errno: libc::EPERM };
        assert_eq!(e.to_string(), "mount /x: operation not permitted");
        let e = Error::Capability {
            operation: "set RLIMIT_NOFILE to 1048576".into(),
            capability: "CAP_SYS_RESOURCE",
            field: "process.rlimits[0]".into(),
            advice: "lower it".into(),
            errno: libc::EPERM,
        };
        let text = e.to_string();
        assert!(text.contains("CAP_SYS_RESOURCE") && text.contains("process.rlimits[0]"), "{text}");
    }
}
