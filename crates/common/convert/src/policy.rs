//! Rules for a workload, as a person writes them: a TOML file that says where the manifest differs from what
//! the image gives. Every member may be left out; an unknown one is an error.
//!
//! ```toml
//! argv = ["/bin/server"]              # or { prefix = ["/bin/server"], force = false }
//! stdin = "allowed"                   # denied: programs read end of file
//! tty = "allowed"
//! signals = ["TERM", "INT", "USR1"]
//!
//! [env]
//! MODE = "fast"                       # this value
//! TZ = { any = true }                 # whatever the host says
//! LEVEL = { one-of = ["info", "debug"] }
//! LD_LIBRARY_PATH = false             # the image sets it; we do not want it
//!
//! [[exec]]
//! argv = ["/bin/probe", "live"]
//!
//! [mounts."/run"]
//! tmpfs = "16M"
//!
//! [mounts."/data"]
//! host = "read-only"                  # or "writable"
//!
//! [inputs]
//! hosts = "accept"                    # drop, accept, or { exact = "sha256 in hex" }
//!
//! [network]                           # sockets of the host; none if left out
//! listen = [8443]
//! connect = ["10.0.0.5:5432", "[2001:db8::/32]:443", "any:443"]
//!
//! [enclave]
//! size = "64G"
//! threads = 64
//! heap_max = "1G"
//!
//! [attestation]
//! uids = [0]                          # nobody if left out
//! files = ["quote", "user_report_data"]
//!
//! [attester]                          # none if left out
//! listen = 8443                       # port of the host
//! forward = "127.0.0.1:8080"          # where the program listens, inside
//! ```

use crate::attester;
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use workload::manifest::{
    AttestationFiles, Availability, BadRule, ConnectRule, Enclave, EnvRule, ExecRule, Identity,
    Inputs, Manifest, MountRule, Network, Signal, User,
};

/// Where a manifest differs from what the image gives.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The command line.
    pub argv: Option<Argv>,
    /// Rules for variables, beside the image's own.
    pub env: BTreeMap<String, Env>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User and groups, by number.
    pub user: Option<User>,
    /// Standard input; denied if left out.
    pub stdin: Option<Availability>,
    /// A terminal; denied if left out.
    pub tty: Option<Availability>,
    /// Commands for exec.
    pub exec: Vec<Exec>,
    /// Mounts, by destination.
    pub mounts: BTreeMap<String, Mount>,
    /// What engines write.
    pub inputs: Option<Inputs>,
    /// Signals that pass.
    pub signals: Option<Vec<Signal>>,
    /// Sockets of the host; none if left out.
    pub network: Sockets,
    /// Size of the enclave.
    pub enclave: Option<Size>,
    /// Who may open /dev/attestation.
    pub attestation: Option<AttestationFiles>,
    /// The attester.
    pub attester: Option<attester::Rules>,
    /// Identity fields of SIGSTRUCT.
    pub identity: Option<Identity>,
    /// A debug enclave.
    pub debug: Option<bool>,
}

/// A command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Argv {
    /// This one.
    Exact(Vec<String>),
    /// Any that starts so.
    Prefix {
        /// The fixed arguments.
        prefix: Vec<String>,
        /// Says that an interpreter is meant.
        #[serde(default)]
        force: bool,
    },
}

/// A variable.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Env {
    /// This value.
    Exact(String),
    /// `false`: not the image's variable.
    Listed(bool),
    /// Some freedom.
    Rule(Freedom),
}

/// What values are allowed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Freedom {
    /// `any = true`.
    Any(bool),
    /// Those that start so.
    Prefix(String),
    /// These.
    OneOf(Vec<String>),
}

/// A command for exec.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Full command line.
    pub argv: Vec<String>,
    /// Standard input; denied if left out.
    #[serde(default)]
    pub stdin: Availability,
    /// A terminal; denied if left out.
    #[serde(default)]
    pub tty: Availability,
}

/// A mount.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mount {
    /// In enclave memory, of so many bytes.
    Tmpfs(Bytes),
    /// The host's.
    Host(Access),
}

/// What programs may do with a host mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    Writable,
}

/// Sockets of the host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sockets {
    /// TCP ports to listen on.
    pub listen: Vec<u16>,
    /// Destinations to connect to.
    pub connect: Vec<Destination>,
}

/// A destination: text such as `10.0.0.5:5432`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Destination(pub ConnectRule);

impl TryFrom<String> for Destination {
    type Error = BadRule;
    fn try_from(text: String) -> Result<Self, BadRule> {
        text.parse()
    }
}

impl std::str::FromStr for Destination {
    type Err = BadRule;
    fn from_str(text: &str) -> Result<Self, BadRule> {
        text.parse().map(Self)
    }
}

/// Size of the enclave.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Size {
    /// ELRANGE.
    pub size: Option<Bytes>,
    /// Threads.
    pub threads: Option<u32>,
    /// Most bytes of the library OS's heap.
    pub heap_max: Option<Bytes>,
}

/// A number of bytes: a number, or text such as `64M`, in powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Number")]
pub struct Bytes(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Text(String),
}

impl TryFrom<Number> for Bytes {
    type Error = String;
    fn try_from(number: Number) -> Result<Self, String> {
        match number {
            Number::Plain(bytes) => Ok(Self(bytes)),
            Number::Text(text) => text.parse(),
        }
    }
}

impl std::str::FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a number of bytes such as 64M, got \"{text}\"");
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let shift = match text[digits.len()..].trim_end_matches(['i', 'B', 'b']) {
            "" => 0,
            "k" | "K" => 10,
            "m" | "M" => 20,
            "g" | "G" => 30,
            "t" | "T" => 40,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

impl Policy {
    /// Parses a rules file.
    ///
    /// # Errors
    /// Not TOML, or an unknown or wrong member.
    pub fn parse(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Policy {
            field: "rules".into(),
            expected: "toml with the members of a policy".into(),
            got: error.to_string().trim_end().into(),
        })
    }

    /// Reads a rules file.
    ///
    /// # Errors
    /// It cannot be read, or as [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path);
        Self::parse(&text.map_err(Error::io(format!("read {}", path.display())))?)
    }

    /// Applies everything but command line and environment, which depend on the image's.
    pub(crate) fn apply(self, manifest: &mut Manifest) -> Result<(), Error> {
        let process = &mut manifest.process;
        set(&mut process.cwd, self.cwd);
        if let Some(mut user) = self.user {
            user.additional_gids.sort_unstable();
            user.additional_gids.dedup();
            process.user = user;
        }
        set(&mut process.stdin, self.stdin);
        set(&mut process.tty, self.tty);
        manifest.exec = (self.exec.into_iter())
            .map(|Exec { argv, stdin, tty }| ExecRule { argv, stdin, tty })
            .collect();
        let rule = |mount| match mount {
            Mount::Tmpfs(Bytes(size)) => MountRule::Tmpfs { size },
            Mount::Host(access) => MountRule::Host { read_only: access == Access::ReadOnly },
        };
        manifest.mounts =
            self.mounts.into_iter().map(|(path, mount)| (path, rule(mount))).collect();
        set(&mut manifest.inputs, self.inputs);
        set(&mut manifest.signals, self.signals);
        let Sockets { mut listen, connect } = self.network;
        let mut connect: Vec<ConnectRule> = connect.into_iter().map(|rule| rule.0).collect();
        listen.sort_unstable();
        listen.dedup();
        connect.sort_unstable();
        connect.dedup();
        manifest.network = Network { connect, listen };
        if let Some(mut attestation) = self.attestation {
            attestation.uids.sort_unstable();
            attestation.uids.dedup();
            attestation.files.sort_unstable();
            attestation.files.dedup();
            manifest.attestation = attestation;
        }
        manifest.attester = self.attester.map(attester::Rules::rule);
        set(&mut manifest.identity, self.identity);
        set(&mut manifest.debug, self.debug);
        let Size { size, threads, heap_max } = self.enclave.unwrap_or_default();
        let enclave: &mut Enclave = &mut manifest.enclave;
        set(&mut enclave.size, size.map(|bytes| bytes.0));
        set(&mut enclave.threads, threads);
        set(&mut enclave.heap_max, heap_max.map(|bytes| bytes.0));
        Ok(())
    }
}

impl Env {
    /// The rule; None takes the variable away.
    pub(crate) fn rule(self, name: &str) -> Result<Option<EnvRule>, Error> {
        let wrong = |expected: &str| Error::Policy {
            field: format!("env.{name}"),
            expected: expected.into(),
            got: "the opposite".into(),
        };
        Ok(Some(match self {
            Self::Exact(value) => EnvRule::Exact(value),
            Self::Listed(false) => return Ok(None),
            Self::Listed(true) => return Err(wrong("false, or { any = true }")),
            Self::Rule(Freedom::Any(true)) => EnvRule::Any,
            Self::Rule(Freedom::Any(false)) => return Err(wrong("any = true, or false")),
            Self::Rule(Freedom::Prefix(prefix)) => EnvRule::Prefix(prefix),
            Self::Rule(Freedom::OneOf(values)) => EnvRule::OneOf(values),
        }))
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_parses() {
        let example = block(include_str!("policy.rs"), "//! ");
        let policy = Policy::parse(&example).unwrap();
        assert!(matches!(policy.argv, Some(Argv::Exact(_))));
        assert_eq!(policy.enclave.unwrap().size, Some(Bytes(64 << 30)));
        assert_eq!(policy.network.listen, [8443]);
        assert_eq!(policy.network.connect[0], "10.0.0.5:5432".parse().unwrap());
        assert_eq!(policy.env.len(), 4);
        let prefix = Policy::parse("argv = { prefix = [\"a\"], force = true }").unwrap();
        assert!(matches!(prefix.argv, Some(Argv::Prefix { force: true, .. })));
    }

    /// The first block of TOML in a text whose lines start with `prefix`.
    fn block(text: &str, prefix: &str) -> String {
        let lines = text.lines().map(|line| line.strip_prefix(prefix).unwrap_or(line));
        let inside = lines.skip_while(|line| *line != "```toml").skip(1);
        inside
            .take_while(|line| *line != "```")
            .map(|line| line.replace("//!", "") + "\n")
            .collect()
    }

    #[test]
    fn the_example_in_the_docs_parses() {
        let text = include_str!("../../../../docs/converting.md");
        let policy = Policy::parse(&block(text, "")).unwrap();
        assert_eq!(policy.env.len(), 5);
        assert_eq!((policy.network.listen.len(), policy.network.connect.len()), (1, 3));
        assert_eq!(policy.identity.unwrap().isv_svn, 2);
    }

    #[test]
    fn unknown_and_wrong_members_are_refused() {
        for text in [
            "debgu = true",
            "[enclave]\nsizes = 1",
            "signals = [\"KILL\"]",
            "[env]\nA = 5",
            "[env]\nA = { some = true }",
            "[mounts.\"/x\"]\nhost = \"rw\"",
            "argv = { prefix = [\"a\"], froce = true }",
            "[enclave]\nsize = \"1Q\"",
            "[network]\nlisten = [65536]",
            "[network]\nlisten = 80",
            "[network]\nbind = [80]",
            "[network]\nconnect = [\"example.org:80\"]",
            "[network]\nconnect = [{ address = \"any\", port = 80 }]",
            "debug = ",
            "[attester]\nlisten = 1",
            "[attester]\nlisten = 1\nforward = \"a\"\nlevel = \"best\"",
        ] {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes() {
        for (text, bytes) in [("4096", 4096), ("64M", 64 << 20), ("1GiB", 1 << 30), ("2k", 2048)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "99999999999T", "1 G"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
