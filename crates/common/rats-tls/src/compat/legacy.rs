//! Certificates of peers that are older than the interoperable format: read so that a refusal can say what they
//! hold, and never accepted.
//!
//! Enclave-TLS, early Gramine and the SGX SDK put an IAS report, a quote or a local report into an extension of
//! its own, as raw bytes. The report data are the SHA-256 of the key, then zeros; there are no claims, no hash
//! that is named, no freshness, and such a certificate is valid for ten years. Enclave-TLS also writes X.509
//! version 4, which does not exist, and signs with RSA: so that this reader takes what other readers refuse, and
//! looks at structure only. Nothing here is verified.

use attestation::hex::Hex;
use attestation::quote::{Body, Quote};
use base64ct::{Base64, Encoding as _};
use core::fmt;
use sgx::report::ReportBody;
use sha2::{Digest as _, Sha256};

/// Longest certificate that is looked at, in bytes. An IAS report and its two certificates are below 8 KiB.
const MAX_BYTES: usize = 64 << 10;
/// Most extensions that are looked at.
const MAX_EXTENSIONS: usize = 32;

/// DER of 1.2.840.113741.1337 without its last arc.
const ENCLAVE_TLS: &[u8] = b"\x2a\x86\x48\x86\xf8\x4d\x8a\x39";
/// 0.6.9.42.840.113741.1337.6: the bytes of the identifier above, with their header, taken for arcs.
const GRAMINE: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf8\x4d\x8a\x39\x06";
/// 1.2.840.113741.1.13.1.
const SGX_SDK: &[u8] = b"\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01";

/// Last arcs of Enclave-TLS's extensions.
mod arc {
    pub(super) const IAS_REPORT: u8 = 2;
    pub(super) const IAS_ROOT: u8 = 3;
    pub(super) const IAS_LEAF: u8 = 4;
    pub(super) const IAS_SIGNATURE: u8 = 5;
    pub(super) const QUOTE: u8 = 6;
    pub(super) const LOCAL_REPORT: u8 = 14;
}

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Enclave-TLS.
    EnclaveTls,
    /// Gramine before the interoperable format.
    Gramine,
    /// The SGX SDK before the interoperable format.
    SgxSdk,
}

/// What it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A report of Intel's retired service over an EPID quote.
    Ias {
        /// Its isvEnclaveQuoteStatus.
        status: String,
        /// What the quote in it is of.
        enclave: Enclave,
        /// Parts of the report's proof that are not there: "signature", "leaf", "root".
        missing: Vec<&'static str>,
    },
    /// A DCAP quote.
    Quote {
        /// Of its format.
        version: u16,
        /// What it is of; `None` for a trust domain.
        enclave: Option<Enclave>,
    },
    /// A local report, which only an enclave on the same machine can verify.
    LocalReport(Enclave),
    /// Something that is not what its extension says.
    Malformed {
        /// What it should be.
        expected: &'static str,
        /// Its length in bytes.
        got: usize,
    },
}

/// An enclave by its report body, as the certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enclave {
    /// MRENCLAVE.
    pub mrenclave: [u8; 32],
    /// Whether its host may look inside.
    pub is_debug: bool,
    /// Whether the report data are the digest of the certificate's key, then zeros.
    pub names_key: bool,
}

/// An older certificate. The peer is not at fault; it is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Whose it is.
    pub maker: Maker,
    /// What it holds.
    pub held: Held,
}

impl fmt::Display for Legacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.maker {
            Maker::EnclaveTls => "an Enclave-TLS certificate with ",
            Maker::Gramine => "a Gramine certificate with ",
            Maker::SgxSdk => "an SGX SDK certificate with ",
        })?;
        match &self.held {
            Held::Ias { status, enclave, missing } => {
                write!(f, "an IAS report over an EPID quote, status {status:?}, {enclave}")?;
                missing.iter().try_for_each(|what| write!(f, ", without the report's {what}"))
            }
            Held::Quote { version, enclave: Some(enclave) } => {
                write!(f, "a quote of version {version} and no claims, {enclave}")
            }
            Held::Quote { version, enclave: None } => {
                write!(f, "a quote of version {version} of a trust domain and no claims")
            }
            Held::LocalReport(enclave) => write!(f, "a local report and no claims, {enclave}"),
            Held::Malformed { expected, got } => {
                write!(f, "{got} bytes that are not {expected}")
            }
        }
    }
}

impl fmt::Display for Enclave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let debug = if self.is_debug { " (debug)" } else { "" };
        write!(f, "of enclave {}{debug}", Hex(&self.mrenclave))?;
        if !self.names_key {
            f.write_str(" over another key")?;
        }
        Ok(())
    }
}

impl Enclave {
    fn of(body: &ReportBody, key: &[u8; 32]) -> Self {
        let (digest, rest) = body.reportdata.split_at(32);
        Self {
            mrenclave: body.mrenclave,
            is_debug: body.attributes.flags.contains(sgx::AttributeFlags::DEBUG),
            names_key: digest == key && rest == [0; 32],
        }
    }
}

impl Legacy {
    /// What an older certificate holds; `None` for any other bytes.
    #[must_use]
    pub fn find(der: &[u8]) -> Option<Self> {
        let certificate = Outline::read(der)?;
        let (maker, value) = certificate.evidence()?;
        let key = certificate.key_digest()?;
        let held = match value {
            (arc::IAS_REPORT, report) => certificate.ias(report, &key),
            (arc::LOCAL_REPORT, report) => local(report, &key),
            (_, quote) => self::quote(quote, &key),
        };
        Some(Self { maker, held })
    }
}

fn quote(bytes: &[u8], key: &[u8; 32]) -> Held {
    let Ok(quote) = Quote::parse(bytes) else {
        return Held::Malformed { expected: "a quote", got: bytes.len() };
    };
    let enclave = match &quote.body {
        Body::Sgx(body) => Some(Enclave::of(body, key)),
        Body::Tdx(_) => None,
    };
    Held::Quote { version: quote.header.version, enclave }
}

fn local(bytes: &[u8], key: &[u8; 32]) -> Held {
    match attestation::local::parse(bytes) {
        Ok(report) => Held::LocalReport(Enclave::of(&report.body, key)),
        Err(_) => Held::Malformed { expected: "a local report", got: bytes.len() },
    }
}

/// A certificate as far as this module needs it.
struct Outline<'a> {
    /// DER of the SubjectPublicKeyInfo.
    spki: &'a [u8],
    /// Identifiers, without header, and values.
    extensions: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Outline<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        if der.len() > MAX_BYTES {
            return None;
        }
        let mut outer = Items(der);
        let mut certificate = Items(outer.contents(SEQUENCE)?);
        let mut signed = Items(certificate.contents(SEQUENCE)?);
        // Version, serial number, algorithm, issuer, dates, subject.
        signed.contents(0xa0)?;
        signed.contents(INTEGER)?;
        for _ in 0..4 {
            signed.contents(SEQUENCE)?;
        }
        let (_, spki, _) = signed.item().filter(|(tag, ..)| *tag == SEQUENCE)?;
        let mut explicit = Items(signed.contents(0xa3)?);
        let mut list = Items(explicit.contents(SEQUENCE)?);
        let mut extensions = Vec::new();
        while !list.0.is_empty() && extensions.len() < MAX_EXTENSIONS {
            let mut extension = Items(list.contents(SEQUENCE)?);
            let oid = extension.contents(OID)?;
            let (tag, _, mut value) = extension.item()?;
            if tag == BOOLEAN {
                value = extension.contents(OCTETS)?;
            } else if tag != OCTETS {
                return None;
            }
            extensions.push((oid, value));
        }
        Some(Self { spki, extensions })
    }

    fn enclave_tls(&self, last: u8) -> Option<&'a [u8]> {
        let is = |oid: &[u8]| oid.split_last() == Some((&last, ENCLAVE_TLS));
        self.extensions.iter().find(|(oid, _)| is(oid)).map(|(_, value)| *value)
    }

    /// Whose evidence it holds, of which kind, and its bytes.
    fn evidence(&self) -> Option<(Maker, (u8, &'a [u8]))> {
        let enclave_tls = [arc::QUOTE, arc::LOCAL_REPORT, arc::IAS_REPORT].into_iter();
        let enclave_tls = enclave_tls.map(|last| (Maker::EnclaveTls, last, self.enclave_tls(last)));
        let other =
            |known| self.extensions.iter().find(|(oid, _)| *oid == known).map(|(_, value)| *value);
        let others = [
            (Maker::Gramine, arc::QUOTE, other(GRAMINE)),
            (Maker::SgxSdk, arc::QUOTE, other(SGX_SDK)),
        ];
        enclave_tls
            .chain(others)
            .find_map(|(maker, last, value)| value.map(|value| (maker, (last, value))))
    }

    /// What the report data begin with: SHA-256 of the SubjectPublicKeyInfo, or of the RSAPublicKey in it.
    fn key_digest(&self) -> Option<[u8; 32]> {
        /// 1.2.840.113549.1.1.1.
        const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
        let mut fields = Items(self.spki);
        let mut fields = Items(fields.contents(SEQUENCE)?);
        let mut algorithm = Items(fields.contents(SEQUENCE)?);
        let is_rsa = algorithm.contents(OID)? == RSA;
        let key = fields.contents(BITS)?.strip_prefix(b"\0")?;
        Some(Sha256::digest(if is_rsa { key } else { self.spki }).into())
    }

    fn ias(&self, report: &[u8], key: &[u8; 32]) -> Held {
        let malformed = Held::Malformed { expected: "an IAS report", got: report.len() };
        let read = || {
            let report: serde_json::Value = serde_json::from_slice(report).ok()?;
            let status = report["isvEnclaveQuoteStatus"].as_str()?;
            let body = Base64::decode_vec(report["isvEnclaveQuoteBody"].as_str()?).ok()?;
            // Header of an EPID quote, 48 bytes, then the report body.
            let body = ReportBody::parse(body.get(48..48 + ReportBody::SIZE)?).ok()?;
            Some((status.chars().take(64).collect(), Enclave::of(&body, key)))
        };
        let Some((status, enclave)) = read() else { return malformed };
        let parts =
            [("signature", arc::IAS_SIGNATURE), ("leaf", arc::IAS_LEAF), ("root", arc::IAS_ROOT)];
        let missing = parts.into_iter().filter(|(_, last)| self.enclave_tls(*last).is_none());
        Held::Ias { status, enclave, missing: missing.map(|(what, _)| what).collect() }
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// DER items one after another. One level at a time: nothing is descended into that is not asked for.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// Tag, all bytes and contents of the next item.
    fn item(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let [tag, first, ..] = *self.0 else { return None };
        let (header, length) = match first {
            0..=0x7f => (2, first.into()),
            // One to three bytes of length are more than MAX_BYTES needs.
            0x81..=0x83 => {
                let end = 2 + usize::from(first & 0x7f);
                let bytes = self.0.get(2..end)?;
                (end, bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
            }
            _ => return None,
        };
        let (item, rest) = self.0.split_at_checked(header + length)?;
        self.0 = rest;
        Some((tag, item, &item[header..]))
    }

    /// Contents of the next item, if it has this tag.
    fn contents(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.item().filter(|(got, ..)| *got == tag).map(|(.., contents)| contents)
    }
}
