//! What the host asks the enclave to run.
//!
//! A [`Request`] is untrusted. [`admit`] is the only way from it to something that runs: each environment
//! entry and mount is accepted, dropped (invisible inside, reported for the log) or refused, and any other
//! difference from the manifest is refused with the field, what was expected and what came.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

use crate::manifest::User;
use crate::validate::quoted;

pub use crate::admission::{Admitted, AdmittedMount, Dropped, admit, admit_signal};

/// Longest request that is read, in bytes.
pub const MAX_LENGTH: usize = 4 << 20;

/// Most entries in any list of a request.
pub const MAX_ENTRIES: usize = 16 << 10;

/// What the host asks for: for the first process at start, or for one more by exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which of the two.
    pub kind: Kind,
    /// Command line.
    pub argv: Vec<String>,
    /// Environment, `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User and groups; lists need not be sorted.
    pub user: User,
    /// Host name of the container. Ignored for exec.
    pub hostname: String,
    /// Mounts of the bundle, in its order. Ignored for exec.
    pub mounts: Vec<Mount>,
    /// Whether descriptors 0, 1 and 2 are a terminal that the host made for this request.
    pub tty: bool,
    /// Whether the host connects a standard input (anything but /dev/null).
    pub has_stdin: bool,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Contents of /etc/hosts, /etc/hostname and /etc/resolv.conf as the engine wrote them, by these paths.
    /// Ignored for exec.
    pub inputs: BTreeMap<String, String>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The container's first process.
    Init,
    /// One more process in it.
    Exec,
}

/// A mount of the bundle. The host path it comes from is no business of the enclave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where, absolute.
    pub destination: String,
    /// File system type as config.json has it; `bind` for bind mounts.
    pub kind: String,
    /// Options as config.json has them.
    pub options: Vec<String>,
}

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// Linux number (`RLIMIT_CPU` is 0), at most 15.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is no limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Path of the field.
    pub field: String,
    /// What the manifest allows.
    pub expected: String,
    /// What the host passed; long values are cut.
    pub got: String,
}

impl Refusal {
    pub(crate) fn new(
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), expected: expected.into(), got: got.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

impl core::error::Error for Refusal {}

impl Request {
    /// Reads a request from the host.
    ///
    /// # Errors
    /// Too long, not JSON of this shape, or a list or string that no honest host sends.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_LENGTH {
            let expected = alloc::format!("at most {MAX_LENGTH} bytes");
            return Err(Refusal::new("request", expected, bytes.len().to_string()));
        }
        let request: Self = serde_json::from_slice(bytes).map_err(|error| {
            Refusal::new("request", "a request as json", quoted(&error.to_string()))
        })?;
        request.check()?;
        Ok(request)
    }

    /// The bytes that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no map key that is not a string, no failing Serialize")
    }

    /// Bounds and shapes that hold whatever the manifest says.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        for (field, length) in [
            ("argv", self.argv.len()),
            ("env", self.env.len()),
            ("mounts", self.mounts.len()),
            ("user.additional_gids", self.user.additional_gids.len()),
            ("rlimits", self.rlimits.len()),
            ("inputs", self.inputs.len()),
        ] {
            if length > MAX_ENTRIES {
                let expected = alloc::format!("at most {MAX_ENTRIES} entries");
                return Err(Refusal::new(field, expected, length.to_string()));
            }
        }
        let mounts = self.mounts.iter().map(|mount| &mount.destination);
        let strings = (self.argv.iter().map(|word| ("argv", word)))
            .chain(self.env.iter().map(|entry| ("env", entry)))
            .chain(mounts.map(|path| ("mounts", path)))
            .chain([("cwd", &self.cwd), ("hostname", &self.hostname)]);
        for (field, text) in strings {
            if text.contains('\0') {
                return Err(Refusal::new(field, "no NUL", quoted(text)));
            }
        }
        for limit in &self.rlimits {
            if limit.resource > 15 {
                let got = limit.resource.to_string();
                return Err(Refusal::new("rlimits.resource", "at most 15", got));
            }
            if limit.soft > limit.hard {
                let field = alloc::format!("rlimits.{}.soft", limit.resource);
                let expected = alloc::format!("at most the hard limit {}", limit.hard);
                return Err(Refusal::new(field, expected, limit.soft.to_string()));
            }
        }
        Ok(())
    }
}
