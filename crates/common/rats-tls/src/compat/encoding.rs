//! The CBOR of evidence and claims, definite lengths throughout.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Longest claims buffer that is read, in bytes.
const MAX_CLAIMS_SIZE: usize = 16 << 10;
/// Most claims.
const MAX_CLAIMS: usize = 64;

const PUBKEY_HASH: &str = "pubkey-hash";
const NONCE: &str = "nonce";

/// What the evidence is, by its CBOR tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// SGX or TDX quote, ECDSA.
    Quote = 60000,
    /// TDX report, or SGX report of type 2.
    Report2 = 60001,
    /// SGX local report.
    LocalReport = 60002,
    /// SEV-SNP report, librats' own number.
    Snp = 0x1a_7504,
    /// SEV, librats' own number.
    Sev = 0x1a_7505,
    /// CSV, librats' own number.
    Csv = 0x1a_7506,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Quote, Self::Report2, Self::LocalReport, Self::Snp, Self::Sev, Self::Csv];
}

/// Hash of the public key, by its number in IANA's registry of named information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256 = 1,
    /// SHA-384.
    Sha384 = 7,
    /// SHA-512.
    Sha512 = 8,
}

impl HashAlgorithm {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|known| *known as u8 == number)
    }

    /// Hash of these bytes.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// What a claims buffer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompatClaims {
    /// Digest of the certificate's SubjectPublicKeyInfo, and by which hash.
    pub pubkey_hash: (HashAlgorithm, Vec<u8>),
    /// The verifier's nonce, where there was one.
    pub nonce: Option<Vec<u8>>,
    /// Everything else: the peer's word, vouched for by nobody.
    pub custom: BTreeMap<String, Vec<u8>>,
}

/// CBOR that is not what the level carries. The peer is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodingFault {
    /// Another item than expected, or none, at a byte.
    Item {
        /// Offset.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A tag that this level does not know.
    Tag(u64),
    /// A hash that is weak or unknown, by number.
    Hash(u64),
    /// A digest of another length than its hash makes, in bytes.
    HashLength(usize),
    /// A key that stands twice.
    Duplicate(String),
    /// A claim that must be there.
    Missing(&'static str),
    /// Longer than is read, in bytes.
    TooLong(usize),
    /// More claims than are read.
    TooMany(u64),
}

impl fmt::Display for EncodingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item { at, expected } => {
                write!(f, "cbor: expected {expected} at byte {at}, got something else")
            }
            Self::Tag(got) => write!(f, "evidence tag: expected 60000, got {got}"),
            Self::Hash(got) => {
                write!(f, "pubkey-hash algorithm: expected 1 (sha-256), 7 or 8, got {got}")
            }
            Self::HashLength(got) => {
                write!(f, "pubkey-hash: expected the length of its algorithm, got {got} bytes")
            }
            Self::Duplicate(name) => {
                write!(f, "claims: expected each key once, got {name:?} twice")
            }
            Self::Missing(name) => write!(f, "claims: expected {name}, got none"),
            Self::TooLong(got) => {
                write!(f, "claims: expected at most {MAX_CLAIMS_SIZE} bytes, got {got}")
            }
            Self::TooMany(got) => write!(f, "claims: expected at most {MAX_CLAIMS}, got {got}"),
        }
    }
}

impl core::error::Error for EncodingFault {}

/// The evidence extension's value.
#[must_use]
pub fn encode_evidence(kind: Kind, evidence: &[u8], claims: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let written = (|| {
        encoder.tag(Tag::new(kind as u64))?.array(2)?.bytes(evidence)?.bytes(claims)?;
        Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
    })();
    written.expect("a vector takes every byte");
    encoder.into_writer()
}

/// Kind, evidence and claims buffer in the evidence extension.
///
/// # Errors
/// Anything else, trailing bytes included.
pub fn decode_evidence(value: &[u8]) -> Result<(Kind, &[u8], &[u8]), EncodingFault> {
    let mut decoder = Decoder::new(value);
    let tag = decoder.tag().map_err(|_| item(0, "a tag"))?.as_u64();
    let kind = Kind::ALL.into_iter().find(|kind| *kind as u64 == tag);
    let kind = kind.ok_or(EncodingFault::Tag(tag))?;
    let at = decoder.position();
    if !matches!(decoder.array(), Ok(Some(2))) {
        return Err(item(at, "an array of two"));
    }
    let evidence = bytes(&mut decoder)?;
    let claims = bytes(&mut decoder)?;
    end(&decoder, value)?;
    Ok((kind, evidence, claims))
}

/// The claims buffer.
#[must_use]
pub fn encode_claims(claims: &CompatClaims) -> Vec<u8> {
    let (algorithm, hash) = &claims.pubkey_hash;
    let mut pubkey_hash = Encoder::new(Vec::new());
    let mut encoder = Encoder::new(Vec::new());
    let written = (|| {
        pubkey_hash.array(2)?.u8(*algorithm as u8)?.bytes(hash)?;
        let count = 1 + u64::from(claims.nonce.is_some()) + claims.custom.len() as u64;
        encoder.map(count)?.str(PUBKEY_HASH)?.bytes(pubkey_hash.writer())?;
        if let Some(nonce) = &claims.nonce {
            encoder.str(NONCE)?.bytes(nonce)?;
        }
        for (name, value) in &claims.custom {
            encoder.str(name)?.bytes(value)?;
        }
        Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
    })();
    written.expect("a vector takes every byte");
    encoder.into_writer()
}

/// Reads a claims buffer. Its bytes were compared with the report data before: peers order keys as they like.
///
/// # Errors
/// Not a map of byte strings, a key twice, no pubkey-hash, or one by a weak hash.
pub fn decode_claims(buffer: &[u8]) -> Result<CompatClaims, EncodingFault> {
    if buffer.len() > MAX_CLAIMS_SIZE {
        return Err(EncodingFault::TooLong(buffer.len()));
    }
    let mut decoder = Decoder::new(buffer);
    let count = decoder.map().ok().flatten().ok_or(item(0, "a map of definite length"))?;
    if count > MAX_CLAIMS as u64 {
        return Err(EncodingFault::TooMany(count));
    }
    let mut custom = BTreeMap::new();
    for _ in 0..count {
        let at = decoder.position();
        let name = decoder.str().map_err(|_| item(at, "text of definite length"))?;
        let value = bytes(&mut decoder)?.to_vec();
        if custom.insert(name.to_owned(), value).is_some() {
            return Err(EncodingFault::Duplicate(name.to_owned()));
        }
    }
    end(&decoder, buffer)?;
    let pubkey_hash = custom.remove(PUBKEY_HASH).ok_or(EncodingFault::Missing(PUBKEY_HASH))?;
    let pubkey_hash = decode_pubkey_hash(&pubkey_hash)?;
    let nonce = custom.remove(NONCE);
    Ok(CompatClaims { pubkey_hash, nonce, custom })
}

fn decode_pubkey_hash(value: &[u8]) -> Result<(HashAlgorithm, Vec<u8>), EncodingFault> {
    let mut decoder = Decoder::new(value);
    if !matches!(decoder.array(), Ok(Some(2))) {
        return Err(item(0, "an array of two in pubkey-hash"));
    }
    let at = decoder.position();
    let number = decoder.u64().map_err(|_| item(at, "the number of a hash"))?;
    let known = u8::try_from(number).ok().and_then(HashAlgorithm::from_number);
    let algorithm = known.ok_or(EncodingFault::Hash(number))?;
    let hash = bytes(&mut decoder)?.to_vec();
    end(&decoder, value)?;
    if hash.len() != algorithm.digest(b"").len() {
        return Err(EncodingFault::HashLength(hash.len()));
    }
    Ok((algorithm, hash))
}

/// The 64 bytes of report data that evidence of this level carries.
#[must_use]
pub fn report_data(claims: &[u8]) -> [u8; 64] {
    let mut data = [0; 64];
    data[..32].copy_from_slice(&Sha256::digest(claims));
    data
}

fn bytes<'a>(decoder: &mut Decoder<'a>) -> Result<&'a [u8], EncodingFault> {
    let at = decoder.position();
    let fault = item(at, "a byte string of definite length");
    match decoder.datatype() {
        Ok(Type::Bytes) => decoder.bytes().map_err(|_| fault),
        _ => Err(fault),
    }
}

fn end(decoder: &Decoder<'_>, all: &[u8]) -> Result<(), EncodingFault> {
    let at = decoder.position();
    if at == all.len() { Ok(()) } else { Err(item(at, "the end")) }
}

const fn item(at: usize, expected: &'static str) -> EncodingFault {
    EncodingFault::Item { at, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        attestation::hex::Hex(bytes).to_string()
    }

    fn claims(hash: &[u8], custom: &[(&str, &[u8])]) -> CompatClaims {
        CompatClaims {
            pubkey_hash: (HashAlgorithm::Sha256, hash.to_vec()),
            nonce: None,
            custom: custom.iter().map(|(name, value)| ((*name).into(), value.to_vec())).collect(),
        }
    }

    /// The encodings that the interoperable format's peers are tested with.
    #[test]
    fn golden_encodings() {
        let evidence = encode_evidence(Kind::Quote, &[1, 2, 3, 4], &[5, 6, 7, 8]);
        assert_eq!(hex(&evidence), "d9ea608244010203044405060708");
        let expected = (Kind::Quote, &[1, 2, 3, 4][..], &[5, 6, 7, 8][..]);
        assert_eq!(decode_evidence(&evidence), Ok(expected));

        let buffer = encode_claims(&claims(&[0xcc; 32], &[]));
        let expected = format!("a16b7075626b65792d6861736858248201 5820{}", "cc".repeat(32));
        assert_eq!(hex(&buffer), expected.replace(' ', ""));

        let custom = [("key1", &b"value1"[..]), ("key2", b"value2")];
        let buffer = hex(&encode_claims(&claims(&[0; 32], &custom)));
        assert!(buffer.ends_with("646b6579314676616c756531646b6579324676616c756532"), "{buffer}");
        assert!(hex(&encode_claims(&claims(&[0, 1, 2, 3], &[]))).ends_with("82014400010203"));
    }

    #[test]
    fn claims_round_trip() {
        let mut claims = claims(&[7; 32], &[("a", b"1"), ("zz", b"")]);
        assert_eq!(decode_claims(&encode_claims(&claims)), Ok(claims.clone()));
        claims.nonce = Some(vec![1; 32]);
        claims.pubkey_hash = (HashAlgorithm::Sha384, vec![2; 48]);
        assert_eq!(decode_claims(&encode_claims(&claims)), Ok(claims));
    }

    #[test]
    fn other_cbor_is_refused() {
        let good = encode_evidence(Kind::Quote, &[1], &[2]);
        for cut in 0..good.len() {
            assert!(decode_evidence(&good[..cut]).is_err(), "cut at {cut}");
        }
        let refused = |bytes: &[u8]| decode_evidence(bytes).unwrap_err();
        assert_eq!(refused(&[&good[..], &[0]].concat()), item(8, "the end"));
        assert_eq!(refused(b"\xd9\xea\x63\x82\x41\x01\x41\x02"), EncodingFault::Tag(60003));
        assert_eq!(refused(b"\xd9\xea\x60\x9f\x41\x01\x41\x02\xff"), item(3, "an array of two"));
        let indefinite = refused(b"\xd9\xea\x60\x82\x5f\x41\x01\xff\x41\x02");
        assert_eq!(indefinite, item(4, "a byte string of definite length"));

        let refused = |bytes: &[u8]| decode_claims(bytes).unwrap_err();
        assert_eq!(refused(b"\xa0"), EncodingFault::Missing("pubkey-hash"));
        assert_eq!(refused(b"\xa2\x61a\x40\x61a\x40"), EncodingFault::Duplicate("a".into()));
        assert_eq!(refused(b"\xba\x00\x01\x86\xa0"), EncodingFault::TooMany(100_000));
        assert_eq!(refused(&[0xa0; (16 << 10) + 1]), EncodingFault::TooLong((16 << 10) + 1));
        // Nesting is not followed, so its depth costs nothing.
        let deep = [&b"\xa1\x61a"[..], &[0x81; 10_000]].concat();
        assert_eq!(refused(&deep), item(3, "a byte string of definite length"));
        let weak = b"\xa1\x6bpubkey-hash\x47\x82\x03\x44\x00\x01\x02\x03";
        assert_eq!(refused(weak), EncodingFault::Hash(3));
        let short = b"\xa1\x6bpubkey-hash\x47\x82\x01\x44\x00\x01\x02\x03";
        assert_eq!(refused(short), EncodingFault::HashLength(4));
    }
}
