//! The command line. Read by hand: the program is measured into every image that has it, and a general parser
//! would be a fifth of its size.

use crate::net::Address;
use crate::server::Limits;
use core::fmt;
use core::str::FromStr;
use rats_tls::claims::{Custom, PLATFORM};
use std::path::PathBuf;
use std::time::Duration;

/// Shown by `--help`.
pub const USAGE: &str = "\
Ends attested sessions and forwards their plaintext to one program.

usage: attester --listen ADDRESS --forward ADDRESS [OPTION]...
       attester --listen ADDRESS --connect ADDRESS --verify POLICY --root CERTIFICATE [OPTION]...

An ADDRESS is IP:PORT or unix:PATH.

  --listen ADDRESS         where connections come in
  --forward ADDRESS        the program behind the sessions; only loopback or a Unix socket
  --forward-anywhere       another --forward too: whoever is on the way reads and changes the plaintext
  --connect ADDRESS        the other way round: take plaintext, and open a session to the attester there
  --name NAME              with --connect: SNI, by which a relay on the way chooses the container

Evidence:
  --level LEVEL            bound (default); compat: in the certificate, which can be relayed once a key leaks;
                           both: the peer's ALPN decides, and a policy that says bound gets bound or nothing
  --attest                 with --connect: prove this end too
  --device DIR             where evidence is made (default /dev/attestation)
  --evidence KIND          bound-device (default), or user-report-data for other enclave runtimes, under which
                           every program in the enclave must be trusted
  --claim NAME=VALUE       a claim of one's own in the evidence; any number of them
  --endorsements FILE      collateral to send with the evidence (QuoteCollateralV3, JSON)

The peer's evidence:
  --verify POLICY          the peer must prove itself by this policy
  --root CERTIFICATE       the trust anchor, DER or PEM
  --collateral FILE        collateral for the peer's evidence (default: what the peer sends)
  --verify-first           withhold one's own evidence until the peer's is accepted
  --reattest SECONDS       ask for new evidence this often

Limits:
  --sessions N             open sessions (default 256)
  --opening N              sessions being opened (default 32); one more is told `busy`
  --quotes N               quotes in the making (default 2), each on a thread
  --patience SECONDS       for the peer's part of opening a session and of re-attestation (default 10)
  --idle SECONDS           for a session in which nothing passes (default 3600)
  --grace SECONDS          for sessions to end after SIGTERM (default 10)
";

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Where connections come in.
    pub listen: Address,
    /// Which end of sessions it is.
    pub role: Role,
    /// How it proves itself.
    pub level: Level,
    /// Whether it does.
    pub attests: bool,
    /// What makes evidence.
    pub evidence: EvidenceKind,
    /// Where.
    pub device: PathBuf,
    /// Claims of its own.
    pub claims: Custom,
    /// Collateral that goes with evidence.
    pub endorsements: Option<PathBuf>,
    /// Whether and how the peer must prove itself.
    pub verify: Option<Verify>,
    /// What strangers may cost.
    pub limits: Limits,
}

/// Which end of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sessions come in; plaintext goes to the program.
    Ends {
        /// The program.
        forward: Address,
    },
    /// Plaintext comes in; sessions go out.
    Opens {
        /// The attester there.
        connect: Address,
        /// SNI.
        name: String,
    },
}

/// How it proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In the session, bound to it.
    Bound,
    /// In the certificate.
    Compat,
    /// As the peer's ALPN asks.
    Both,
}

/// What makes evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceKind {
    /// `bound`, of an Inclavare enclave.
    BoundDevice,
    /// `user_report_data` and `quote`, of Gramine and others.
    UserReportData,
}

/// How the peer must prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// The policy.
    pub policy: PathBuf,
    /// The trust anchor.
    pub root: PathBuf,
    /// Collateral; what the peer sends if there is none.
    pub collateral: Option<PathBuf>,
    /// Before this end proves itself.
    pub is_first: bool,
    /// How often again.
    pub reattest: Option<Duration>,
}

/// A command line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    /// The option.
    pub option: String,
    /// What it takes.
    pub expected: &'static str,
    /// What came.
    pub got: String,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, expected, got } = self;
        write!(f, "{option}: expected {expected}, got {got}")
    }
}

impl core::error::Error for UsageError {}

const ADDRESS: &str = "IP:PORT or unix:PATH";
const COUNT: &str = "a number from 1 to 65536";
const SECONDS: &str = "seconds from 1 to 31536000";

/// Options as they were given.
#[derive(Default)]
struct Given {
    values: Vec<(&'static str, String)>,
    switches: Vec<&'static str>,
    claims: Custom,
}

const VALUES: &[&str] = &[
    "--listen",
    "--forward",
    "--connect",
    "--name",
    "--level",
    "--device",
    "--evidence",
    "--endorsements",
    "--verify",
    "--root",
    "--collateral",
    "--reattest",
    "--sessions",
    "--opening",
    "--quotes",
    "--patience",
    "--idle",
    "--grace",
];
const SWITCHES: &[&str] = &["--forward-anywhere", "--attest", "--verify-first"];

impl Arguments {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// The first option that is unknown, wrong, missing, or does not go with another.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, UsageError> {
        let given = Given::read(words)?;
        let role = given.role()?;
        let is_client = matches!(role, Role::Opens { .. });
        let attests = !is_client || given.has("--attest");
        let verify = given.verify()?;
        if is_client && verify.is_none() {
            return Err(given.wrong("--verify", "a policy with --connect"));
        }
        if !is_client && given.has("--attest") {
            let expected = "--connect: with --forward this end always attests";
            return Err(wrong("--attest", expected, "no --connect"));
        }
        let level = match given.value("--level") {
            None | Some("bound") => Level::Bound,
            Some("compat") => Level::Compat,
            Some("both") => Level::Both,
            Some(_) => return Err(given.wrong("--level", "bound, compat or both")),
        };
        if level != Level::Bound && (is_client || verify.is_some()) {
            return Err(given.wrong("--level", "bound with --connect or --verify"));
        }
        let evidence = match given.value("--evidence") {
            None | Some("bound-device") => EvidenceKind::BoundDevice,
            Some("user-report-data") => EvidenceKind::UserReportData,
            Some(_) => return Err(given.wrong("--evidence", "bound-device or user-report-data")),
        };
        let file = |name| given.value(name).map(PathBuf::from);
        Ok(Self {
            listen: given.listen(is_client)?,
            role,
            level,
            attests,
            evidence,
            device: file("--device").unwrap_or_else(|| "/dev/attestation".into()),
            endorsements: file("--endorsements"),
            verify,
            limits: given.limits()?,
            claims: given.claims,
        })
    }
}

impl Given {
    fn read(words: impl IntoIterator<Item = String>) -> Result<Self, UsageError> {
        let mut given = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            if let Some(switch) = SWITCHES.iter().find(|known| **known == name) {
                if let Some(value) = joined {
                    return Err(wrong(switch, "no value", &value));
                }
                given.switches.push(switch);
                continue;
            }
            let known = VALUES.iter().find(|known| **known == name).copied();
            let is_claim = name == "--claim";
            if known.is_none() && !is_claim {
                return Err(wrong(&name, "an option of --help", "one that is unknown"));
            }
            let value = joined.or_else(|| words.next());
            let value = value.ok_or_else(|| wrong(&name, "a value", "none"))?;
            match known {
                Some(known) if given.value(known).is_some() => {
                    return Err(wrong(known, "to be given once", "it twice"));
                }
                Some(known) => given.values.push((known, value)),
                None => given.claim(&value)?,
            }
        }
        Ok(given)
    }

    fn claim(&mut self, text: &str) -> Result<(), UsageError> {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = pair.ok_or_else(|| wrong("--claim", "NAME=VALUE", text))?;
        // More than a claims buffer holds is refused by the device; this is what it refuses by name.
        if PLATFORM.contains(&name) {
            return Err(wrong("--claim", "a name that is not the platform's", name));
        }
        match self.claims.insert(name.to_owned(), value.into()) {
            None => Ok(()),
            Some(_) => Err(wrong("--claim", "each name once", name)),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.switches.contains(&name)
    }

    fn wrong(&self, name: &str, expected: &'static str) -> UsageError {
        wrong(name, expected, self.value(name).unwrap_or("none"))
    }

    fn parsed<T: FromStr>(&self, name: &str, expected: &'static str) -> Result<T, UsageError> {
        let parsed = self.value(name).and_then(|value| value.parse().ok());
        parsed.ok_or_else(|| self.wrong(name, expected))
    }

    fn role(&self) -> Result<Role, UsageError> {
        match (self.value("--forward"), self.value("--connect")) {
            (Some(_), None) => {
                let forward: Address = self.parsed("--forward", ADDRESS)?;
                if !forward.is_local() && !self.has("--forward-anywhere") {
                    let expected = "loopback or a Unix socket, for what goes there is plaintext";
                    return Err(self.wrong("--forward", expected));
                }
                if self.value("--name").is_some() {
                    return Err(self.wrong("--name", "--connect with it"));
                }
                Ok(Role::Ends { forward })
            }
            (None, Some(_)) => {
                let connect = self.parsed("--connect", ADDRESS)?;
                let name = self.value("--name").unwrap_or("attester").to_owned();
                Ok(Role::Opens { connect, name })
            }
            (None, None) => Err(self.wrong("--forward", "it, or --connect")),
            (Some(_), Some(_)) => Err(self.wrong("--connect", "no --forward with it")),
        }
    }

    fn listen(&self, is_client: bool) -> Result<Address, UsageError> {
        let listen: Address = self.parsed("--listen", ADDRESS)?;
        if is_client && !listen.is_local() {
            let expected = "loopback or a Unix socket with --connect: what comes in is plaintext";
            return Err(self.wrong("--listen", expected));
        }
        Ok(listen)
    }

    fn verify(&self) -> Result<Option<Verify>, UsageError> {
        let file = |name| self.value(name).map(PathBuf::from);
        let Some(policy) = file("--verify") else {
            for name in ["--root", "--collateral", "--reattest"] {
                if self.value(name).is_some() {
                    return Err(self.wrong(name, "--verify with it"));
                }
            }
            if self.has("--verify-first") {
                return Err(wrong("--verify-first", "--verify with it", "none"));
            }
            return Ok(None);
        };
        let root = file("--root").ok_or_else(|| self.wrong("--root", "a file with --verify"))?;
        let reattest = self.value("--reattest").map(|_| self.seconds("--reattest", 0));
        Ok(Some(Verify {
            policy,
            root,
            collateral: file("--collateral"),
            is_first: self.has("--verify-first"),
            reattest: reattest.transpose()?,
        }))
    }

    fn limits(&self) -> Result<Limits, UsageError> {
        Ok(Limits {
            sessions: self.count("--sessions", 256)?,
            opening: self.count("--opening", 32)?,
            quotes: self.count("--quotes", 2)?,
            patience: self.seconds("--patience", 10)?,
            idle: self.seconds("--idle", 3600)?,
            grace: self.seconds("--grace", 10)?,
        })
    }

    fn count(&self, name: &str, default: usize) -> Result<usize, UsageError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        let count = value.parse().ok().filter(|count| (1..=65_536).contains(count));
        count.ok_or_else(|| self.wrong(name, COUNT))
    }

    fn seconds(&self, name: &str, default: u64) -> Result<Duration, UsageError> {
        let Some(value) = self.value(name) else { return Ok(Duration::from_secs(default)) };
        let seconds = value.parse().ok().filter(|seconds| (1..=31_536_000).contains(seconds));
        seconds.map(Duration::from_secs).ok_or_else(|| self.wrong(name, SECONDS))
    }
}

fn wrong(option: &str, expected: &'static str, got: &str) -> UsageError {
    UsageError { option: option.into(), expected, got: got.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = line.split_whitespace().map(String::from);
        Arguments::parse(words).map_err(|error| error.to_string())
    }

    const SERVER: &str = "--listen 0.0.0.0:8443 --forward 127.0.0.1:8080";
    const CLIENT: &str = "--listen 127.0.0.1:1 --connect 10.0.0.1:8443 --verify p --root r";

    #[test]
    fn a_server_attests_and_a_client_verifies() {
        let server = parse(SERVER).unwrap();
        assert!(server.attests && server.verify.is_none());
        assert_eq!((server.level, server.limits.quotes), (Level::Bound, 2));
        assert_eq!(server.device, PathBuf::from("/dev/attestation"));
        let client = parse(CLIENT).unwrap();
        assert!(!client.attests);
        assert_eq!(client.verify.unwrap().policy, PathBuf::from("p"));
        let mutual = format!("{CLIENT} --attest --reattest=60 --verify-first --name web");
        let mutual = parse(&mutual).unwrap();
        assert!(mutual.attests);
        assert_eq!(mutual.verify.unwrap().reattest, Some(Duration::from_secs(60)));
        let claims = parse(&format!("{SERVER} --claim a=b=c --claim d=")).unwrap().claims;
        assert_eq!((&claims["a"][..], &claims["d"][..]), (&b"b=c"[..], &b""[..]));
    }

    #[test]
    fn each_refusal_names_its_option() {
        let lines = [
            ("", "--forward: expected it, or --connect, got none"),
            ("--forward 127.0.0.1:1", "--listen: expected IP:PORT or unix:PATH, got none"),
            (
                "--listen 127.0.0.1:1 --forward 10.0.0.1:80",
                "--forward: expected loopback or a Unix socket, for what goes there is plaintext, got 10.0.0.1:80",
            ),
            (
                "--listen 0.0.0.0:1 --connect 10.0.0.1:1 --verify p --root r",
                "--listen: expected loopback or a Unix socket with --connect: what comes in is plaintext, got \
                 0.0.0.0:1",
            ),
            (
                "--listen 127.0.0.1:1 --connect 10.0.0.1:1",
                "--verify: expected a policy with --connect, got none",
            ),
            ("--lisen a", "--lisen: expected an option of --help, got one that is unknown"),
            ("--listen", "--listen: expected a value, got none"),
            ("--attest=yes", "--attest: expected no value, got yes"),
            ("--name a --name b", "--name: expected to be given once, got it twice"),
            (
                "--claim instance-id=1",
                "--claim: expected a name that is not the platform's, got instance-id",
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
        let more = [
            ("--level best", "--level: expected bound, compat or both, got best"),
            (
                "--level both --verify p --root r",
                "--level: expected bound with --connect or --verify, got both",
            ),
            ("--verify p", "--root: expected a file with --verify, got none"),
            ("--root r", "--root: expected --verify with it, got r"),
            ("--quotes 0", "--quotes: expected a number from 1 to 65536, got 0"),
            ("--idle 1.5", "--idle: expected seconds from 1 to 31536000, got 1.5"),
            ("--evidence both", "--evidence: expected bound-device or user-report-data, got both"),
            (
                "--attest",
                "--attest: expected --connect: with --forward this end always attests, got no --connect",
            ),
        ];
        for (line, expected) in more {
            assert_eq!(parse(&format!("{SERVER} {line}")).unwrap_err(), expected, "{line}");
        }
        assert!(parse("--listen 127.0.0.1:1 --forward 10.0.0.1:80 --forward-anywhere").is_ok());
    }
}
