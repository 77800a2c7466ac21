//! The attester: a process of the runtime's beside the workload's own, which ends attested sessions and forwards
//! their plaintext to one program of the enclave.
//!
//! Its program is a file of the measured root, [`Attester::PATH`], that conversion puts there. What it may do is said here
//! and nowhere else: nothing of its command line comes from the host.

use crate::manifest::{Enclave, Invalid, Manifest};
use crate::validate::{absolute, invalid, quoted};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// What it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attester {
    /// The program behind it: `127.0.0.1:PORT`, `[::1]:PORT` or `unix:/PATH`.
    pub forward: String,
    /// How it proves what runs here.
    pub level: AttesterLevel,
    /// TCP port of the host at which sessions come in.
    pub listen: u16,
    /// User and group id of its process, and of nothing else.
    pub uid: u32,
    /// Open sessions, at most.
    pub sessions: u32,
    /// Quotes in the making, at most; each takes a thread of [`Enclave::threads`].
    pub quotes: u32,
    /// A file with collateral that goes with its evidence.
    pub endorsements: Option<String>,
    /// What its peers must prove; `null`: nothing.
    pub verify: Option<AttesterVerify>,
}

/// How it proves what runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttesterLevel {
    /// In the session, bound to it.
    Bound,
    /// In the certificate: it can be relayed once a key leaks.
    Compat,
    /// As the peer's ALPN asks.
    Both,
}

impl AttesterLevel {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Compat => "compat",
            Self::Both => "both",
        }
    }
}

/// What its peers must prove. The files are the root's, so measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttesterVerify {
    /// The policy.
    pub policy: String,
    /// The trust anchor, a certificate.
    pub root: String,
    /// Collateral for the peer's evidence; `null`: the peer sends it.
    pub collateral: Option<String>,
    /// Whether the peer proves itself first.
    pub first: bool,
    /// Seconds after which it proves itself again; `null`: when the session is opened and never again.
    pub reattest: Option<u32>,
}

impl Attester {
    /// The program's place in the root.
    pub const PATH: &str = "/.inclavare/attester";
    /// Open sessions where nothing says more.
    pub const SESSIONS: u32 = 256;
    /// Quotes in the making where nothing says more.
    pub const QUOTES: u32 = 2;
    /// User id where nothing says more: below those of nobody and above those of systems and people.
    pub const UID: u32 = 65_500;
    /// Most sessions.
    pub const MAX_SESSIONS: u32 = 1 << 16;
    /// Most quotes: more than are made at once would only wait.
    pub const MAX_QUOTES: u32 = 16;

    /// Names below /dev/attestation that its process opens.
    #[must_use]
    pub const fn files(&self) -> &'static [&'static str] {
        match self.level {
            AttesterLevel::Bound => &["bound", "claims"],
            AttesterLevel::Compat => &["quote", "user_report_data"],
            AttesterLevel::Both => &["bound", "claims", "quote", "user_report_data"],
        }
    }

    /// Threads that it has at most.
    #[must_use]
    pub const fn threads(&self) -> u32 {
        1 + self.quotes
    }

    /// Its command line.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let mut argv = vec![Self::PATH.to_string()];
        let mut put = |name: &str, value: &str| {
            argv.push(name.into());
            argv.push(value.into());
        };
        put("--listen", &format!("0.0.0.0:{}", self.listen));
        put("--forward", &self.forward);
        put("--level", self.level.name());
        put("--sessions", &self.sessions.to_string());
        put("--quotes", &self.quotes.to_string());
        if let Some(path) = &self.endorsements {
            put("--endorsements", path);
        }
        if let Some(verify) = &self.verify {
            put("--verify", &verify.policy);
            put("--root", &verify.root);
            if let Some(path) = &verify.collateral {
                put("--collateral", path);
            }
            if let Some(seconds) = verify.reattest {
                put("--reattest", &seconds.to_string());
            }
            if verify.first {
                argv.push("--verify-first".into());
            }
        }
        argv
    }

    pub(crate) fn validate(&self, manifest: &Manifest) -> Result<(), Invalid> {
        let port = self.program_port()?;
        if self.listen == 0 || port == Some(self.listen) {
            let expected = "a port other than 0 and the program's";
            return Err(invalid("attester.listen", expected, self.listen.to_string()));
        }
        if self.uid == manifest.process.user.uid {
            let expected = "a user id other than the program's (process.user.uid)";
            return Err(invalid("attester.uid", expected, self.uid.to_string()));
        }
        for (field, got, most) in [
            ("attester.sessions", self.sessions, Self::MAX_SESSIONS),
            ("attester.quotes", self.quotes, Self::MAX_QUOTES),
        ] {
            if !(1..=most).contains(&got) {
                return Err(invalid(field, format!("1 to {most}"), got.to_string()));
            }
        }
        let least = Enclave::MIN_THREADS + self.threads();
        if manifest.enclave.threads < least {
            let expected = format!("at least {least} with this attester");
            return Err(invalid("enclave.threads", expected, manifest.enclave.threads.to_string()));
        }
        if manifest.attestation.files.iter().any(|file| file == "bound") {
            let expected = "no \"bound\" beside an attester, whose alone it is";
            return Err(invalid("attestation.files", expected, "it"));
        }
        let verify = self.verify.as_ref();
        if verify.is_some() && self.level != AttesterLevel::Bound {
            return Err(invalid("attester.level", "bound with verify", self.level.name()));
        }
        if let Some(verify) = verify {
            absolute("attester.verify.policy", &verify.policy)?;
            absolute("attester.verify.root", &verify.root)?;
            if let Some(path) = &verify.collateral {
                absolute("attester.verify.collateral", path)?;
            }
            if verify.reattest == Some(0) {
                return Err(invalid("attester.verify.reattest", "null, or seconds above 0", "0"));
            }
        }
        match &self.endorsements {
            Some(path) => absolute("attester.endorsements", path),
            None => Ok(()),
        }
    }

    /// The program's port. Plaintext goes nowhere but to this enclave.
    fn program_port(&self) -> Result<Option<u16>, Invalid> {
        let wrong = || {
            let expected = "127.0.0.1:PORT, [::1]:PORT or unix:/PATH";
            invalid("attester.forward", expected, quoted(&self.forward))
        };
        if let Some(path) = self.forward.strip_prefix("unix:") {
            return absolute("attester.forward", path).map(|()| None).map_err(|_| wrong());
        }
        let address: SocketAddr = self.forward.parse().map_err(|_| wrong())?;
        // One spelling: what is measured is what is compared.
        if !address.ip().is_loopback() || address.port() == 0 || address.to_string() != self.forward
        {
            return Err(wrong());
        }
        Ok(Some(address.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::example;

    fn attester() -> Attester {
        Attester {
            forward: "127.0.0.1:8080".into(),
            level: AttesterLevel::Bound,
            listen: 8443,
            uid: Attester::UID,
            sessions: Attester::SESSIONS,
            quotes: Attester::QUOTES,
            endorsements: None,
            verify: None,
        }
    }

    fn verify() -> AttesterVerify {
        AttesterVerify {
            policy: "/etc/peer.toml".into(),
            root: "/etc/root.pem".into(),
            collateral: Some("/run/collateral.json".into()),
            first: true,
            reattest: Some(60),
        }
    }

    fn refused(change: impl FnOnce(&mut Attester, &mut Manifest)) -> String {
        let (mut attester, mut manifest) = (attester(), example());
        change(&mut attester, &mut manifest);
        manifest.attester = Some(attester);
        Manifest::parse(&manifest.to_canonical()).unwrap_err().to_string()
    }

    #[test]
    fn it_is_a_member_of_the_manifest() {
        let mut manifest = example();
        manifest.attester = Some(Attester { verify: Some(verify()), ..attester() });
        let bytes = manifest.to_canonical();
        let text = core::str::from_utf8(&bytes).unwrap();
        let member = r#""attester":{"forward":"127.0.0.1:8080","level":"bound","listen":8443,"uid":65500,"sessions":256,"quotes":2,"endorsements":null,"verify":{"policy":"/etc/peer.toml","root":"/etc/root.pem","collateral":"/run/collateral.json","first":true,"reattest":60}}"#;
        assert!(text.contains(member), "{text}");
        assert_eq!(Manifest::parse(&bytes), Ok(manifest));
    }

    #[test]
    fn its_command_line_says_all_of_it() {
        let words = attester().argv().join(" ");
        assert_eq!(
            words,
            "/.inclavare/attester --listen 0.0.0.0:8443 --forward 127.0.0.1:8080 --level bound --sessions 256 \
             --quotes 2"
        );
        let endorsements = Some("/e".into());
        let words =
            Attester { verify: Some(verify()), endorsements, ..attester() }.argv().join(" ");
        assert!(
            words.ends_with(
                "--endorsements /e --verify /etc/peer.toml --root /etc/root.pem --collateral /run/collateral.json \
                 --reattest 60 --verify-first"
            ),
            "{words}"
        );
    }

    #[test]
    fn values_out_of_range_name_field_expected_and_got() {
        let forward = "attester.forward: expected 127.0.0.1:PORT, [::1]:PORT or unix:/PATH, got ";
        for text in
            ["10.0.0.1:80", "localhost:80", "127.0.0.1:0", "127.0.0.1", "unix:a", "[0::1]:80"]
        {
            let got = refused(|attester, _| attester.forward = text.into());
            assert_eq!(got, format!("{forward}{text:?}"));
        }
        for (got, want) in [
            (
                refused(|attester, _| attester.listen = 8080),
                "attester.listen: expected a port other than 0 and the program's, got 8080",
            ),
            (
                refused(|_, manifest| manifest.network.listen = vec![80, 8443]),
                "network.listen: expected ports other than the attester's, got 8443",
            ),
            (
                refused(|attester, _| attester.uid = 0),
                "attester.uid: expected a user id other than the program's (process.user.uid), got 0",
            ),
            (
                refused(|attester, _| attester.quotes = 17),
                "attester.quotes: expected 1 to 16, got 17",
            ),
            (
                refused(|_, manifest| manifest.enclave.threads = 4),
                "enclave.threads: expected at least 5 with this attester, got 4",
            ),
            (
                refused(|_, manifest| manifest.attestation.files = vec!["bound".into()]),
                "attestation.files: expected no \"bound\" beside an attester, whose alone it is, got it",
            ),
            (
                refused(|attester, _| {
                    attester.level = AttesterLevel::Both;
                    attester.verify = Some(verify());
                }),
                "attester.level: expected bound with verify, got both",
            ),
            (
                refused(|attester, _| {
                    attester.verify = Some(AttesterVerify { root: "root.pem".into(), ..verify() });
                }),
                "attester.verify.root: expected an absolute path without NUL, \"..\" or empty parts, got \"root.pem\"",
            ),
        ] {
            assert_eq!(got, want);
        }
    }
}
