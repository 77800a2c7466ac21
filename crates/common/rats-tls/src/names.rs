//! The instance names of Enclave-TLS and RATS-TLS, and what each means here.
//!
//! Upstream loads instances as libraries by name and, where a peer shows no evidence, falls back to one that
//! accepts everything. Here a name never loads anything and never weakens anything: it is one that is built in,
//! or it is refused with what to do instead.

use crate::binding::Role;
use crate::frame::Format;
use core::fmt;

/// Which of the four kinds of instance a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TLS.
    Tls,
    /// Its cryptography.
    Crypto,
    /// What makes evidence.
    Attester,
    /// What verifies it.
    Verifier,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Crypto => "crypto",
            Self::Attester => "attester",
            Self::Verifier => "verifier",
        }
    }

    const fn known(self) -> &'static str {
        match self {
            Self::Tls => "none or rustls",
            Self::Crypto => "none or ring",
            Self::Attester => "none, sgx_ecdsa or nullattester",
            Self::Verifier => "none, sgx_ecdsa, tdx_ecdsa or nullverifier",
        }
    }
}

/// A name that means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    /// Of which kind of instance.
    pub kind: Kind,
    /// The name.
    pub got: String,
}

impl NameError {
    /// Why a name of upstream's is not here, or what to do instead.
    fn advice(&self) -> &'static str {
        match (self.kind, self.got.as_str()) {
            (Kind::Tls | Kind::Crypto, "openssl") => {
                ": sessions speak TLS 1.3 with any peer of bound-v1; leave it out"
            }
            (Kind::Tls | Kind::Crypto, "nulltls" | "nullcrypto") => {
                ": there is no session without TLS; leave it out"
            }
            (Kind::Verifier, "sgx_ecdsa_qve") => {
                ": quotes are verified in this process; use sgx_ecdsa"
            }
            (Kind::Attester | Kind::Verifier, "sgx_la" | "sev" | "sev_snp" | "csv")
            | (Kind::Attester, "tdx_ecdsa") => ": no session carries this evidence yet",
            _ => "",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, got } = self;
        write!(f, "{}: expected {}, got {got:?}{}", kind.name(), kind.known(), self.advice())
    }
}

impl core::error::Error for NameError {}

/// The four names that a configuration has; an empty one leaves the choice to the library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// TLS.
    pub tls: &'a str,
    /// Its cryptography.
    pub crypto: &'a str,
    /// What makes evidence.
    pub attester: &'a str,
    /// What verifies it.
    pub verifier: &'a str,
}

/// What an end does, by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Whether it may prove itself. Only `nullattester` says that it does not.
    pub attests: bool,
    /// Evidence that it takes. Only `nullverifier` says that it takes none: then nobody's evidence is taken for
    /// accepted, and an end that does nothing else opens no session.
    pub formats: Vec<Format>,
}

/// A server attests and a client verifies; a mutual session has both do both, as far as the names allow.
impl Chosen {
    /// Whether an end of this role proves itself.
    #[must_use]
    pub fn attests_as(&self, role: Role, is_mutual: bool) -> bool {
        self.attests && (is_mutual || role == Role::Server)
    }

    /// Whether an end of this role verifies.
    #[must_use]
    pub fn verifies_as(&self, role: Role, is_mutual: bool) -> bool {
        !self.formats.is_empty() && (is_mutual || role == Role::Client)
    }
}

impl Names<'_> {
    /// What they mean.
    ///
    /// # Errors
    /// The first that means nothing here.
    pub fn choose(&self) -> Result<Chosen, NameError> {
        let unknown = |kind, got: &str| NameError { kind, got: got.to_owned() };
        if !matches!(self.tls, "" | "rustls") {
            return Err(unknown(Kind::Tls, self.tls));
        }
        if !matches!(self.crypto, "" | "ring") {
            return Err(unknown(Kind::Crypto, self.crypto));
        }
        let attests = match self.attester {
            "" | "sgx_ecdsa" => true,
            "nullattester" => false,
            got => return Err(unknown(Kind::Attester, got)),
        };
        let formats = match self.verifier {
            "" => vec![Format::Sgx, Format::Tdx],
            "sgx_ecdsa" => vec![Format::Sgx],
            "tdx_ecdsa" => vec![Format::Tdx],
            "nullverifier" => vec![],
            got => return Err(unknown(Kind::Verifier, got)),
        };
        Ok(Chosen { attests, formats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_chosen_that_accepts_everything() {
        let chosen = Names::default().choose().unwrap();
        assert!(chosen.attests_as(Role::Server, false) && chosen.verifies_as(Role::Client, false));
        assert!(
            !chosen.attests_as(Role::Client, false) && !chosen.verifies_as(Role::Server, false)
        );
        assert!(chosen.attests_as(Role::Client, true) && chosen.verifies_as(Role::Server, true));
        let chosen = Names { verifier: "nullverifier", ..Names::default() }.choose().unwrap();
        assert!(!chosen.verifies_as(Role::Client, true) && chosen.formats.is_empty());
        let chosen = Names { attester: "nullattester", verifier: "tdx_ecdsa", ..Names::default() };
        let chosen = chosen.choose().unwrap();
        assert!(!chosen.attests_as(Role::Server, true) && chosen.verifies_as(Role::Client, false));
        assert_eq!(chosen.formats, [Format::Tdx]);
    }

    #[test]
    fn other_names_are_refused_with_what_to_do() {
        let refused = |names: Names<'_>| names.choose().unwrap_err().to_string();
        assert_eq!(
            refused(Names { tls: "openssl", ..Names::default() }),
            "tls: expected none or rustls, got \"openssl\": sessions speak TLS 1.3 with any peer of bound-v1; leave it out"
        );
        assert_eq!(
            refused(Names { attester: "sgx_epid", ..Names::default() }),
            "attester: expected none, sgx_ecdsa or nullattester, got \"sgx_epid\""
        );
        let qve = refused(Names { verifier: "sgx_ecdsa_qve", ..Names::default() });
        assert!(qve.ends_with("use sgx_ecdsa"), "{qve}");
        let null = refused(Names { crypto: "nullcrypto", ..Names::default() });
        assert!(null.contains("no session without TLS"), "{null}");
        assert!(refused(Names { verifier: "csv", ..Names::default() }).contains("yet"));
    }
}
