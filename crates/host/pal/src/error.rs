//! Errors, by who is at fault: the library, the administrator's set-up, the runtime.

use rustix::io::Errno;
use std::fmt;
use std::path::PathBuf;

/// A call of the runtime failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PalError {
    /// It returned a value that the version's rule calls a failure.
    Returned {
        /// Call.
        call: &'static str,
        /// Value.
        value: i32,
    },
    /// The library has no such function, or its version no such call.
    NotImplemented {
        /// Symbol.
        symbol: &'static str,
        /// Version of the library.
        version: i32,
    },
    /// A field of the request is not what the runtime takes. The caller is at fault.
    Argument {
        /// Field.
        field: &'static str,
    },
    /// No process of that number has been prepared, or it was run before.
    NoProcess {
        /// Number.
        got: i32,
    },
    /// A value that the runtime gave back is outside what the interface allows.
    Answer {
        /// Call.
        call: &'static str,
        /// Field.
        field: &'static str,
        /// What the interface allows.
        expected: i64,
        /// What came.
        got: i64,
    },
    /// Calls in the wrong order.
    State {
        /// Call.
        call: &'static str,
        /// What must come first, or must not have come.
        expected: &'static str,
    },
    /// The enclave refused the process, or to run at all: the line says why.
    Refused(String),
    /// The enclave could not be made, or ended before the process did: the line says why.
    Ended(String),
}

impl fmt::Display for PalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned { call, value } => write!(f, "pal {call}() failed with {value}"),
            Self::NotImplemented { symbol, version } => {
                write!(f, "{symbol}() not implemented by this runtime (PAL version {version})")
            }
            Self::Argument { field } => write!(f, "{field}: missing or not usable"),
            Self::NoProcess { got } => write!(f, "pid: no prepared process {got}"),
            Self::Answer { call, field, expected, got } => {
                write!(f, "{field} from pal {call}(): expected {expected}, got {got}")
            }
            Self::State { call, expected } => write!(f, "pal {call}(): expected {expected}"),
            Self::Refused(line) | Self::Ended(line) => f.write_str(line),
        }
    }
}

impl std::error::Error for PalError {}

/// A path that may not be a runtime library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// Its directory is not on the administrator's list.
    NotListed {
        /// Path asked for.
        path: PathBuf,
        /// How many directories are listed.
        listed: usize,
    },
    /// The file's name is not `liberpal-*.so`.
    Name {
        /// Path asked for.
        path: PathBuf,
    },
    /// A directory or file cannot be opened; ELOOP is a symbolic link.
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Neither root nor the trusted user owns it.
    Owner {
        /// Which.
        path: PathBuf,
        /// Owner.
        got: u32,
    },
    /// Users other than the owner may write it.
    Writable {
        /// Which.
        path: PathBuf,
        /// Mode bits.
        mode: u32,
    },
    /// It is not a directory, or not a regular file.
    Kind {
        /// Which.
        path: PathBuf,
    },
    /// It lies in procfs or sysfs.
    Virtual {
        /// Which.
        path: PathBuf,
    },
    /// It lies inside the container's root.
    InContainer {
        /// Which.
        path: PathBuf,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed { path, listed: 0 } => write!(
                f,
                "enclave runtime path {}: no directory for runtime libraries is listed on this host \
                 (only the built-in runtime may be used)",
                path.display()
            ),
            Self::NotListed { path, listed } => write!(
                f,
                "enclave runtime path {}: its directory is none of the {listed} listed on this host",
                path.display()
            ),
            Self::Name { path } => write!(
                f,
                "enclave runtime path {}: expected the name liberpal-*.so",
                path.display()
            ),
            Self::Open { path, errno } => {
                write!(f, "{}: {}", path.display(), std::io::Error::from(*errno))
            }
            Self::Owner { path, got } => {
                write!(f, "{}: owner: expected root, got uid {got}", path.display())
            }
            Self::Writable { path, mode } => write!(
                f,
                "{}: mode: expected writable by the owner only, got {mode:04o}",
                path.display()
            ),
            Self::Kind { path } => {
                write!(f, "{}: expected a directory of regular files", path.display())
            }
            Self::Virtual { path } => {
                write!(f, "{}: expected a real file system, got procfs or sysfs", path.display())
            }
            Self::InContainer { path } => {
                write!(f, "{}: lies inside the container's root", path.display())
            }
        }
    }
}

impl std::error::Error for PolicyError {}

/// A library that a child process could not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// No child process could be made.
    Os(Errno),
    /// The dynamic loader refused it.
    Dlopen(String),
    /// Loading it, or asking its version, ended the process.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// Loading it, or asking its version, crashed.
    Killed {
        /// Signal.
        signal: i32,
    },
    /// It took too long.
    TimedOut {
        /// Milliseconds.
        after_ms: u64,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "probe process: {}", std::io::Error::from(*errno)),
            Self::Dlopen(line) => f.write_str(line),
            Self::Exited { code } => {
                write!(f, "the library ended the process with exit code {code}")
            }
            Self::Killed { signal } => write!(f, "the library crashed with signal {signal}"),
            Self::TimedOut { after_ms } => write!(f, "loading took more than {after_ms} ms"),
        }
    }
}

impl std::error::Error for ProbeError {}

/// A library that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The path may not be one.
    Policy(PolicyError),
    /// It did not load in a child process.
    Probe(ProbeError),
    /// It loaded in a child process, but not here.
    Dlopen(String),
    /// Its version is not known.
    Version {
        /// Highest version known.
        at_most: i32,
        /// Version of the library.
        got: i32,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::Probe(error) => write!(f, "loading the enclave runtime: {error}"),
            Self::Dlopen(line) => write!(f, "loading the enclave runtime: {line}"),
            Self::Version { at_most, got } => {
                write!(f, "unsupported pal api version: expected 1 to {at_most}, got {got}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl From<PolicyError> for LoadError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl From<ProbeError> for LoadError {
    fn from(error: ProbeError) -> Self {
        Self::Probe(error)
    }
}
