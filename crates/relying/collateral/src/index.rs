//! What the store knows of each object, and the floor below which nothing is accepted again.
//!
//! An old object is signed as well as a new one: who can answer in a service's place can offer last month's CRL,
//! without the platform that was revoked since. So the newest edition that was ever accepted is remembered, and an
//! older one is refused, whatever its dates. An entry outlives its object: when the object is dropped for room or
//! damaged, the floor stays.

use crate::error::StoreError;
use crate::object::{Ca, Tee};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use workload::digest::{Digest, Hex};

/// Most bytes of an index; some ten thousand entries.
pub(crate) const MOST: u64 = 8 << 20;

/// Which object, below a trust anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Name {
    /// The root's CRL.
    RootCrl,
    /// The CRL of a PCK CA.
    PckCrl {
        /// Whose.
        ca: Ca,
    },
    /// TCB levels.
    TcbInfo {
        /// Of which TEE.
        tee: Tee,
        /// Kind of platform.
        fmspc: Hex<6>,
    },
    /// The identity of the quoting enclave.
    QeIdentity {
        /// Of which TEE.
        tee: Tee,
    },
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootCrl => write!(f, "root CRL"),
            Self::PckCrl { ca } => write!(f, "PCK CRL of the {} CA", ca.name()),
            Self::TcbInfo { tee, fmspc } => {
                let fmspc = fmspc.to_string().to_uppercase();
                write!(f, "{} TCB info of FMSPC {fmspc}", tee.name().to_uppercase())
            }
            Self::QeIdentity { tee } => write!(f, "{} QE identity", tee.name().to_uppercase()),
        }
    }
}

/// How new an object is, by what its signer signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edition {
    /// `issueDate` or `thisUpdate`, in seconds since 1970.
    pub issued: u64,
    /// `tcbEvaluationDataNumber` or CRL number.
    pub number: u64,
    /// `nextUpdate`, in seconds since 1970: not valid from then on.
    pub next_update: u64,
}

/// Why an edition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollBack {
    /// Of what.
    pub name: Name,
    /// `issued` or `number`.
    pub field: &'static str,
    /// The least that is accepted.
    pub floor: u64,
    /// What came.
    pub got: u64,
}

impl fmt::Display for RollBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, field, floor, got } = self;
        write!(f, "{name}: {field}: expected at least {floor}, which was seen before, got {got}")
    }
}

/// An object in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// SHA-256 of its file, which is named so.
    pub sha256: Digest,
    /// Bytes of its file.
    pub size: u64,
    /// When it came, in seconds since 1970 by this machine's clock.
    pub fetched: u64,
}

/// What is known of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// SHA-256 of the trust anchor's DER. Anchors share nothing.
    pub root: Digest,
    /// Which object below it.
    pub name: Name,
    /// The newest that was accepted.
    pub edition: Edition,
    /// Its file, unless that was dropped.
    pub held: Option<Held>,
}

/// The entries, one for each anchor and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index(BTreeMap<(Digest, Name), Entry>);

impl Index {
    /// What is known of an object.
    #[must_use]
    pub fn get(&self, root: Digest, name: Name) -> Option<&Entry> {
        self.0.get(&(root, name))
    }

    /// All entries, by anchor and name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// Whether an edition is at least as new as the newest that was accepted.
    ///
    /// # Errors
    /// It is older; the first field that shows it.
    pub fn check(&self, root: Digest, name: Name, edition: &Edition) -> Result<(), RollBack> {
        let Some(entry) = self.get(root, name) else { return Ok(()) };
        let fields = [
            ("number", entry.edition.number, edition.number),
            ("issued", entry.edition.issued, edition.issued),
        ];
        match fields.into_iter().find(|(_, floor, got)| got < floor) {
            Some((field, floor, got)) => Err(RollBack { name, field, floor, got }),
            None => Ok(()),
        }
    }

    /// Puts an entry in place of an older one. The floor of each field only rises.
    pub(crate) fn put(&mut self, mut entry: Entry) {
        if let Some(old) = self.get(entry.root, entry.name) {
            entry.edition.issued = entry.edition.issued.max(old.edition.issued);
            entry.edition.number = entry.edition.number.max(old.edition.number);
        }
        self.0.insert((entry.root, entry.name), entry);
    }

    /// Forgets the file of an entry, and keeps the entry.
    pub(crate) fn drop_held(&mut self, root: Digest, name: Name) {
        if let Some(entry) = self.0.get_mut(&(root, name)) {
            entry.held = None;
        }
    }

    /// The index as its file holds it: a line with the format and the SHA-256 of the rest, then JSON.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let entries: Vec<&Entry> = self.entries().collect();
        let body = serde_json::to_vec_pretty(&entries).expect("entries have no failing part");
        let mut bytes = format!("{FORMAT} {}\n", Digest::of(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made. A single changed bit could lower a floor, so all of it is
    /// under a checksum; that is against accidents, not against who can write the file.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged =
            |expected: String, got: String| StoreError::Index { path: path.into(), expected, got };
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (line, body) = bytes.split_at(end);
        let line = String::from_utf8_lossy(line);
        let Some(expected) =
            line.strip_prefix(FORMAT).and_then(|rest| Digest::from_hex(rest.trim()))
        else {
            let got = line.chars().take(80).collect::<String>();
            return Err(damaged(format!("a first line '{FORMAT} SHA-256'"), format!("{got:?}")));
        };
        let body = body.get(1..).unwrap_or_default();
        let got = Digest::of(body);
        if got != expected {
            return Err(damaged(format!("contents of SHA-256 {expected}"), got.to_string()));
        }
        let entries: Vec<Entry> = serde_json::from_slice(body)
            .map_err(|error| damaged("a list of entries".into(), error.to_string()))?;
        let mut index = Self::default();
        for entry in entries {
            index.put(entry);
        }
        Ok(index)
    }
}

/// First word of an index, with its version.
const FORMAT: &str = "inclavare-collateral-1";

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Digest = Hex([1; 32]);

    fn entry(name: Name, issued: u64, number: u64) -> Entry {
        let edition = Edition { issued, number, next_update: issued + 30 };
        let held = Some(Held { sha256: Hex([2; 32]), size: 3, fetched: 4 });
        Entry { root: ROOT, name, edition, held }
    }

    #[test]
    fn older_editions_are_refused_by_the_field_that_shows_it() {
        let name = Name::TcbInfo { tee: Tee::Sgx, fmspc: Hex([0xab; 6]) };
        let mut index = Index::default();
        index.put(entry(name, 100, 17));
        let check = |issued, number| {
            index.check(ROOT, name, &Edition { issued, number, next_update: 1000 })
        };
        assert_eq!(check(100, 17), Ok(()), "the same again");
        assert_eq!(check(101, 17), Ok(()));
        assert_eq!(check(101, 18), Ok(()));
        let refusal = check(101, 16).unwrap_err();
        assert_eq!((refusal.field, refusal.floor, refusal.got), ("number", 17, 16));
        let refusal = check(99, 18).unwrap_err();
        assert_eq!((refusal.field, refusal.floor, refusal.got), ("issued", 100, 99));
        assert_eq!(
            refusal.to_string(),
            "SGX TCB info of FMSPC ABABABABABAB: issued: expected at least 100, which was seen before, got 99"
        );

        // Another anchor and another name have floors of their own.
        let old = Edition { issued: 1, number: 1, next_update: 2 };
        assert_eq!(index.check(Hex([9; 32]), name, &old), Ok(()));
        assert_eq!(index.check(ROOT, Name::RootCrl, &old), Ok(()));
    }

    #[test]
    fn a_floor_never_falls_and_outlives_its_object() {
        let mut index = Index::default();
        index.put(entry(Name::RootCrl, 100, 17));
        index.put(entry(Name::RootCrl, 90, 18));
        index.drop_held(ROOT, Name::RootCrl);
        let left = index.get(ROOT, Name::RootCrl).unwrap();
        assert_eq!((left.edition.issued, left.edition.number, left.held), (100, 18, None));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let mut index = Index::default();
        index.put(entry(Name::RootCrl, 100, 17));
        index.put(entry(Name::PckCrl { ca: Ca::Platform }, 100, 17));
        let bytes = index.to_bytes();
        let path = Path::new("index");
        assert_eq!(Index::parse(path, &bytes).unwrap(), index);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Index::parse(path, &changed).is_err(), "byte {at}");
            assert!(Index::parse(path, &bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
