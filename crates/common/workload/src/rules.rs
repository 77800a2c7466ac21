//! The rules a manifest is made of.

use crate::digest::Digest;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which command lines are admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ArgvRule {
    /// This one.
    Exact(Vec<String>),
    /// Any that starts with these arguments. On a shell or interpreter that hands the workload to whoever
    /// writes the rest, so it needs `force`.
    Prefix {
        /// The arguments that are fixed; at least the program.
        argv: Vec<String>,
        /// Says that an interpreter is meant.
        force: bool,
    },
}

/// Which values of an environment variable are admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum EnvRule {
    /// This value; it is set even if the host leaves it out.
    Exact(String),
    /// Any value that starts so.
    Prefix(String),
    /// Any of these.
    OneOf(Vec<String>),
    /// Any value.
    Any,
}

/// What becomes of a mount that the host asks for at a listed destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MountRule {
    /// An empty file system in enclave memory, of at most so many bytes.
    Tmpfs {
        /// Most bytes.
        size: u64,
    },
    /// A host directory or file: untrusted, plaintext, noexec and never a loader input.
    Host {
        /// Whether programs are kept from writing.
        read_only: bool,
    },
}

/// A command that `exec` may start, as liveness and readiness probes do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRule {
    /// The full command line.
    pub argv: Vec<String>,
    /// Its standard input.
    pub stdin: Availability,
    /// A terminal for it.
    pub tty: Availability,
}

/// Whether something the host may offer is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// No.
    #[default]
    Denied,
    /// Yes, where the host offers it.
    Allowed,
}

/// What becomes of a file that the engine writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum InputRule {
    /// It is invisible inside.
    #[default]
    Drop,
    /// It replaces the image's, whatever it says; its digest enters `config-digest`.
    Accept,
    /// Contents with this SHA-256 or none.
    Exact(Digest),
}

/// A member that this version keeps for a later one: `null`, and nothing else is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved;

impl Serialize for Reserved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Reserved {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

/// A signal that may pass from the host. Its text is the name without `SIG`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// Linux x86-64 numbers. KILL and STOP cannot be handled by a program and are not rules.
const SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("TRAP", 5),
    ("ABRT", 6),
    ("USR1", 10),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("CONT", 18),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// First and last real-time signal, spelt `RTMIN+n`.
const REAL_TIME: core::ops::RangeInclusive<u8> = 34..=64;

impl Signal {
    /// What passes where a manifest says nothing: TERM, INT, HUP, WINCH.
    pub const DEFAULT: [Self; 4] = [Self(15), Self(2), Self(1), Self(28)];

    /// The Linux number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The signal of that number, if it is one that can be listed.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let is_known = SIGNALS.iter().any(|entry| entry.1 == number);
        (is_known || REAL_TIME.contains(&number)).then_some(Self(number))
    }

    /// The signal of that name; `SIG` in front is allowed.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("SIG").unwrap_or(name);
        if let Some(offset) = name.strip_prefix("RTMIN+") {
            let number = REAL_TIME.start().checked_add(offset.parse().ok()?)?;
            return REAL_TIME.contains(&number).then_some(Self(number));
        }
        SIGNALS.iter().find(|entry| entry.0 == name).map(|entry| Self(entry.1))
    }
}

impl core::fmt::Display for Signal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match SIGNALS.iter().find(|entry| entry.1 == self.0) {
            Some(entry) => f.write_str(entry.0),
            None => write!(f, "RTMIN+{}", self.0 - REAL_TIME.start()),
        }
    }
}

impl core::fmt::Debug for Signal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SIG{self}")
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| {
            de::Error::invalid_value(
                de::Unexpected::Str(&name),
                &"the name of a signal other than KILL and STOP",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Signal;
    use std::string::ToString;

    #[test]
    fn signal_names_round_trip() {
        for number in 0..=255 {
            if let Some(signal) = Signal::from_number(number) {
                assert_eq!(Signal::from_name(&signal.to_string()), Some(signal));
                assert_eq!(signal.number(), number);
            }
        }
        assert_eq!(Signal::from_name("SIGTERM"), Signal::from_number(15));
        for name in ["KILL", "STOP", "SIGKILL", "", "RTMIN+31", "RTMIN+", "RTMIN+x", "15"] {
            assert_eq!(Signal::from_name(name), None, "{name}");
        }
    }
}
