//! Bound evidence: report data over the fields of an attested session, hashed here and by nobody else.
//!
//! A program that can have arbitrary bytes quoted can be made to quote an attacker's binder. So it hands over
//! the fields, and the library OS adds its own claims, hashes and tags them (bound-v1).

use super::report_data::{HASH_SIZE, ReportData};
use core::fmt;
use sha2::{Digest as _, Sha384};

/// First bytes of a record.
pub const MAGIC: [u8; 8] = *b"EAABND01";
/// Bytes of a record without custom claims.
pub const FIXED_SIZE: usize = 208;
/// Most bytes of a record.
pub const MAX_SIZE: usize = 4096;

/// Starts what is hashed, so that it is no other digest.
const DOMAIN: &[u8] = b"inclavare-bound-v1\0";

type Field = [u8; HASH_SIZE];

/// Whose evidence it is in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// The TLS client attests.
    Client = 1,
    /// The TLS server attests.
    Server = 2,
}

/// What a program says about its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Role of the attester.
    pub role: Role,
    /// 0 at first, one more for each re-attestation.
    pub epoch: u32,
    /// SHA-384 of the attester's own SubjectPublicKeyInfo (DER).
    pub own_key: &'a Field,
    /// SHA-384 of the peer's, or zeros where it has no certificate.
    pub peer_key: &'a Field,
    /// SHA-384 over the two hello frames.
    pub transcript: &'a Field,
    /// The TLS exporter's value.
    pub binder: &'a Field,
    /// The program's own claims, which follow the library OS's in the claims buffer.
    pub custom_claims: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a record.
    ///
    /// # Errors
    /// The first field that is outside its domain.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadRecord> {
        let bad = |field, expected, got| Err(BadRecord { field, expected, got });
        let Some((fixed, custom_claims)) = bytes.split_first_chunk::<FIXED_SIZE>() else {
            return bad("length", "at least 208", bytes.len() as u64);
        };
        if bytes.len() > MAX_SIZE {
            return bad("length", "at most 4096", bytes.len() as u64);
        }
        let [magic, head, ..] = fixed.as_chunks::<8>().0 else { return bad("length", "208", 0) };
        if *magic != MAGIC {
            return bad("magic", "\"EAABND01\"", u64::from_be_bytes(*magic));
        }
        let [role, a, b, c, epoch @ ..] = *head;
        let role = match role {
            1 => Role::Client,
            2 => Role::Server,
            got => return bad("role", "1 or 2", got.into()),
        };
        if let Some(got) = [a, b, c].into_iter().find(|byte| *byte != 0) {
            return bad("reserved bytes", "0", got.into());
        }
        let [own_key, peer_key, transcript, binder] = fixed[16..].as_chunks::<HASH_SIZE>().0 else {
            return bad("length", "208", 0);
        };
        // A field that was never filled in binds nothing.
        for (field, value) in [("own key", own_key), ("transcript", transcript), ("binder", binder)]
        {
            if *value == [0; HASH_SIZE] {
                return bad(field, "a digest", 0);
            }
        }
        let epoch = u32::from_be_bytes(epoch);
        Ok(Self { role, epoch, own_key, peer_key, transcript, binder, custom_claims })
    }

    /// The report data; `claims` is the library OS's own part of the claims buffer.
    #[must_use]
    pub fn report_data(&self, claims: &[u8]) -> ReportData {
        let claims = Sha384::new().chain_update(claims).chain_update(self.custom_claims).finalize();
        let hash = Sha384::new()
            .chain_update(DOMAIN)
            .chain_update([self.role as u8])
            .chain_update(self.epoch.to_be_bytes())
            .chain_update(self.own_key)
            .chain_update(self.peer_key)
            .chain_update(self.transcript)
            .chain_update(self.binder)
            .chain_update(claims)
            .finalize();
        ReportData::bound(&hash.into())
    }
}

/// Bytes that are no record. The program is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Field.
    pub field: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub got: u64,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, expected, got } = self;
        write!(f, "{field} of the record for bound: expected {expected}, got {got:#x}")
    }
}

impl core::error::Error for BadRecord {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(custom: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([2, 0, 0, 0, 0, 0, 1, 2]);
        for fill in [0x11, 0x22, 0x33, 0x44] {
            bytes.extend([fill; 48]);
        }
        bytes.extend(custom);
        bytes
    }

    #[test]
    fn fields_are_where_the_specification_says() {
        let bytes = record(b"more");
        let record = Record::parse(&bytes).unwrap();
        assert_eq!((record.role, record.epoch), (Role::Server, 0x102));
        assert_eq!((record.own_key, record.peer_key), (&[0x11; 48], &[0x22; 48]));
        assert_eq!((record.transcript, record.binder), (&[0x33; 48], &[0x44; 48]));
        assert_eq!(record.custom_claims, b"more");
    }

    /// Made with Python's hashlib from the formula of the specification.
    #[test]
    fn the_hash_is_the_specified_one() {
        let bytes = record(b"more");
        let data = Record::parse(&bytes).unwrap().report_data(b"claims");
        let expected = "e27ce29d2fbb1ffe74ba641ad939ef33bfffafe825b7e8a73ad3dba0672404db8130bd30dbbed5463c02681cb419ad994541412d424f554e442d563100000000";
        assert_eq!(workload::digest::Hex(*data.bytes()).to_string(), expected);
    }

    /// The vectors of docs/spec/bound-v1.md, made by other code than ours.
    #[test]
    fn the_vectors_of_the_specification() {
        let text = include_str!("../../../../../docs/spec/bound-v1/vectors.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert!(vectors.len() > 1);
        for vector in &vectors {
            let hex = |value: &serde_json::Value| -> Vec<u8> {
                let digits = value.as_str().unwrap().as_bytes().as_chunks::<2>().0;
                let text = digits.iter().map(|pair| core::str::from_utf8(pair).unwrap());
                text.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
            };
            let key = |value: &serde_json::Value| match hex(value) {
                spki if spki.is_empty() => vec![0; 48],
                spki => Sha384::digest(&spki).to_vec(),
            };
            let expected = &vector["expected"];
            let mut bytes = MAGIC.to_vec();
            bytes.push(if vector["role"] == "client" { 1 } else { 2 });
            bytes.extend([0; 3]);
            bytes.extend((vector["epoch"].as_u64().unwrap() as u32).to_be_bytes());
            bytes.extend(key(&vector["own_spki"]));
            bytes.extend(key(&vector["peer_spki"]));
            bytes.extend(hex(&expected["transcript"]));
            bytes.extend(hex(&expected["binder"]));
            let claims = &vector["platform_claims"];
            let ours = super::super::claims::tests::encode_of(
                &hex(&claims["config-digest"]),
                &hex(&claims["instance-id"]),
                &hex(&claims["runtime-version"]),
            );
            let buffer = hex(&expected["claims"]);
            bytes.extend(buffer.strip_prefix(&ours[..]).expect("our claims come first"));
            let data = Record::parse(&bytes).unwrap().report_data(&ours);
            assert_eq!(data.bytes()[..], hex(&expected["report_data"]), "{}", vector["name"]);
        }
    }

    #[test]
    fn every_field_changes_the_report_data() {
        let good = record(b"more");
        let data = |bytes: &[u8]| Record::parse(bytes).unwrap().report_data(b"claims");
        for at in [8, 15, 16, 64, 112, 160, 208] {
            let mut changed = good.clone();
            changed[at] ^= 3;
            assert_ne!(data(&changed), data(&good), "byte {at}");
        }
        let record = Record::parse(&good).unwrap();
        assert_ne!(record.report_data(b"other"), record.report_data(b"claims"));
    }

    #[test]
    fn bytes_outside_the_format_are_refused_by_field() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = record(b"");
            change(&mut bytes);
            Record::parse(&bytes).unwrap_err().field
        };
        assert_eq!(refused(&|bytes| bytes.truncate(207)), "length");
        assert_eq!(refused(&|bytes| bytes.clear()), "length");
        assert_eq!(refused(&|bytes| bytes.resize(4097, 1)), "length");
        assert_eq!(refused(&|bytes| bytes[7] = b'2'), "magic");
        for role in [0, 3, 255] {
            assert_eq!(refused(&|bytes| bytes[8] = role), "role");
        }
        assert_eq!(refused(&|bytes| bytes[10] = 1), "reserved bytes");
        assert_eq!(refused(&|bytes| bytes[16..64].fill(0)), "own key");
        assert_eq!(refused(&|bytes| bytes[112..160].fill(0)), "transcript");
        assert_eq!(refused(&|bytes| bytes[160..208].fill(0)), "binder");
        let mut without_peer = record(b"");
        without_peer[64..112].fill(0);
        assert!(Record::parse(&without_peer).is_ok(), "a peer without a certificate");
    }
}
