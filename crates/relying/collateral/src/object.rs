//! What collateral is made of: objects that are signed one by one, and what names each.

use attestation::quote::{CertificationData, Quote, QuoteTee};
use attestation::x509::{Certificate, PckExtension, PemError, X509Error, chain, common_name};
use serde::{Deserialize, Serialize};
use std::fmt;
use workload::digest::Hex;

/// Which TEE's collateral. TCB info and QE identity exist once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tee {
    /// SGX.
    Sgx,
    /// TDX.
    Tdx,
}

impl Tee {
    /// As it stands in addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
        }
    }
}

/// Which of the two CAs issues a platform's PCK certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ca {
    /// Single-package platforms.
    Processor,
    /// Multi-package platforms, which register themselves.
    Platform,
}

impl Ca {
    /// As it stands in addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }

    /// Which one has this common name: Intel's and the emulator's alike have its kind in it.
    #[must_use]
    pub fn of_name(common_name: &str) -> Option<Self> {
        match (common_name.contains("Processor"), common_name.contains("Platform")) {
            (true, false) => Some(Self::Processor),
            (false, true) => Some(Self::Platform),
            _ => None,
        }
    }
}

/// Which collateral a quote needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The quote's TEE.
    pub tee: Tee,
    /// Kind of platform, from the PCK certificate.
    pub fmspc: [u8; 6],
    /// Issuer of the PCK certificate.
    pub ca: Ca,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fmspc = Hex(self.fmspc).to_string().to_uppercase();
        write!(f, "{} collateral of FMSPC {fmspc}, {} CA", self.tee.name(), self.ca.name())
    }
}

/// Why a quote does not say which collateral it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// It carries no PCK certificate chain (certification data type 5).
    Certification {
        /// Type of what it carries.
        got: u16,
    },
    /// The chain cannot be read.
    Pem(PemError),
    /// The PCK certificate cannot be read.
    Certificate(X509Error),
    /// Its issuer is neither of the two CAs.
    Issuer {
        /// The issuer's common name.
        got: String,
    },
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certification { got } => write!(
                f,
                "certification data: expected type 5, a PCK certificate chain, got type {got}"
            ),
            Self::Pem(error) => write!(f, "PCK certificate chain: {error}"),
            Self::Certificate(error) => write!(f, "PCK certificate: {error}"),
            Self::Issuer { got } => {
                write!(
                    f,
                    "PCK certificate: issuer: expected a Processor or Platform CA, got {got:?}"
                )
            }
        }
    }
}

impl std::error::Error for Unnamed {}

impl Wanted {
    /// Which collateral a quote needs, by its own PCK certificate. Nothing of that is verified: who lies here gets
    /// collateral that does not fit.
    ///
    /// # Errors
    /// It does not say.
    pub fn of(quote: &Quote<'_>) -> Result<Self, Unnamed> {
        let pem = match quote.signature.certification {
            CertificationData::PckChain(pem) => pem,
            CertificationData::Other { kind, .. } => {
                return Err(Unnamed::Certification { got: kind });
            }
        };
        let ders = chain(pem).map_err(Unnamed::Pem)?;
        let leaf = ders.first().ok_or(Unnamed::Pem(PemError::Empty))?;
        let leaf = Certificate::parse(leaf).map_err(Unnamed::Certificate)?;
        let fmspc = PckExtension::of(&leaf).map_err(Unnamed::Certificate)?.fmspc;
        let issuer = common_name(leaf.issuer).unwrap_or_default();
        let ca = Ca::of_name(issuer).ok_or_else(|| Unnamed::Issuer { got: issuer.into() })?;
        let tee = match quote.header.tee {
            QuoteTee::Sgx => Tee::Sgx,
            QuoteTee::Tdx => Tee::Tdx,
        };
        Ok(Self { tee, fmspc, ca })
    }
}

/// One object, as it came: bytes, and the certificates that are to show whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Object {
    /// TCB info or a QE identity.
    Signed {
        /// The signed JSON text, byte for byte.
        body: String,
        /// ECDSA P-256, r and s, 64 bytes.
        #[serde(with = "hexadecimal")]
        signature: Vec<u8>,
        /// PEM: signer, root.
        issuer_chain: String,
    },
    /// A certificate revocation list.
    Crl {
        /// DER.
        #[serde(with = "hexadecimal")]
        crl: Vec<u8>,
        /// PEM: issuer, root; empty for the root's own.
        issuer_chain: String,
    },
}

/// Bytes as hexadecimal text.
mod hexadecimal {
    use attestation::hex;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&hex::Hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::vec(&text).map_err(de::Error::custom)
    }
}
