//! The file of saved measurements: its format, and what is none.
//!
//! Its digest shows damage, cut files and hands that edited it without this program; it is no signature: **whoever
//! can write the file decides what is accepted**, as with a policy.

use attestation::policy::Reference;
use serde::{Deserialize, Serialize};
use std::fmt;
use workload::digest::Digest;

/// Version of the file's format.
const FORMAT: u32 = 1;
/// Longest name, in bytes.
const MOST_NAME: usize = 128;

/// A measurement and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called.
    pub name: String,
    /// What an enclave must have.
    pub mrenclave: Digest,
    /// `image`, `directory`, `pack` or `enclave file`.
    pub kind: String,
    /// Which file, as it was given then, and which image in it.
    pub source: String,
    /// Digest of the image's configuration, which names its layers by digest; of an image only.
    pub image: Option<Digest>,
    /// Digest of the root file system.
    pub root: Option<Digest>,
    /// SHA-256 of the measured manifest.
    pub manifest: Option<Digest>,
    /// Version of the enclave runtime that is measured too.
    pub runtime_version: Option<String>,
    /// Whether it is a debug enclave; `None` where there is no manifest.
    pub debug: Option<bool>,
    /// When it was saved, RFC 3339.
    pub saved: String,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    /// SHA-256 of the JSON of `references`, compact.
    sha256: Digest,
    references: Vec<Entry>,
}

/// What is no such file.
#[derive(Debug)]
pub enum SavedError {
    /// Not the JSON of one: the error shows the place.
    Json(serde_json::Error),
    /// Of another version.
    Format {
        /// The version it says.
        got: u32,
    },
    /// Damaged, or edited.
    Digest {
        /// The digest it says.
        expected: Digest,
        /// That of what is in it.
        got: Digest,
    },
    /// A name that is none.
    Name(NameError),
    /// A name that comes twice.
    Twice {
        /// That name.
        name: String,
    },
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "expected saved measurements, got: {error}"),
            Self::Format { got } => write!(f, "format: expected {FORMAT}, got {got}"),
            Self::Digest { expected, got } => write!(
                f,
                "sha256: expected {expected}, as the file says, got {got}: it is damaged, or was edited by hand"
            ),
            Self::Name(error) => error.fmt(f),
            Self::Twice { name } => write!(f, "name: expected each once, got {name} twice"),
        }
    }
}

impl std::error::Error for SavedError {}

/// Text that cannot be a name.
#[derive(Debug)]
pub struct NameError {
    got: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = &self.got;
        write!(f, "name: expected 1 to {MOST_NAME} letters, digits and . _ - : / @, got {got:?}")
    }
}

impl std::error::Error for NameError {}

/// Whether this may be a name: what a shell, a TOML file and a terminal take without quoting.
///
/// # Errors
/// It may not.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
    if (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(is_good) && !name.starts_with('-')
    {
        return Ok(());
    }
    Err(NameError { got: name.into() })
}

impl Entry {
    /// As policies use it. It counts until it is removed.
    #[must_use]
    pub fn value(&self) -> Reference {
        Reference {
            name: self.name.clone(),
            version: self.runtime_version.clone().unwrap_or_default(),
            measurement: self.mrenclave.0.to_vec(),
            expires: u64::MAX,
        }
    }
}

/// What is in a file, by name; each name once.
///
/// # Errors
/// It is not whole, not of this format, or names a measurement as none may be.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>, SavedError> {
    let document: Document = serde_json::from_slice(bytes).map_err(SavedError::Json)?;
    let Document { format, sha256, references: mut entries } = document;
    if format != FORMAT {
        return Err(SavedError::Format { got: format });
    }
    let got = digest(&entries);
    if got != sha256 {
        return Err(SavedError::Digest { expected: sha256, got });
    }
    entries.iter().try_for_each(|entry| check_name(&entry.name)).map_err(SavedError::Name)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(SavedError::Twice { name: pair[0].name.clone() });
    }
    Ok(entries)
}

/// The file that these make.
#[must_use]
pub fn write(entries: &[Entry]) -> Vec<u8> {
    let document =
        Document { format: FORMAT, sha256: digest(entries), references: entries.to_vec() };
    let mut json = serde_json::to_vec_pretty(&document).expect("strings and digests serialise");
    json.push(b'\n');
    json
}

fn digest(entries: &[Entry]) -> Digest {
    Digest::of(&serde_json::to_vec(entries).expect("strings and digests serialise"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use workload::digest::Hex;

    fn entry(name: &str, byte: u8) -> Entry {
        Entry {
            name: name.into(),
            mrenclave: Hex([byte; 32]),
            kind: "image".into(),
            source: "app.tar".into(),
            image: Some(Hex([1; 32])),
            root: Some(Hex([2; 32])),
            manifest: Some(Hex([3; 32])),
            runtime_version: Some("0.1.0".into()),
            debug: Some(false),
            saved: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again_by_name() {
        assert_eq!(read(&write(&[])).unwrap(), []);
        let file = write(&[entry("b", 2), entry("a", 1)]);
        assert_eq!(read(&file).unwrap(), [entry("a", 1), entry("b", 2)]);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let good = String::from_utf8(write(&[entry("a", 4)])).unwrap();
        let refused = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        for cut in [0, 1, good.len() / 2, good.len() - 3] {
            assert!(refused(&good[..cut]).contains("expected saved measurements"), "{cut}");
        }
        let edited = good.replacen(&"04".repeat(32), &"05".repeat(32), 1);
        assert!(refused(&edited).contains("sha256: expected"));
        assert!(refused(&good.replace("\"format\": 1", "\"format\": 2")).contains("format: "));
        assert!(refused(&good.replace("\"kind\"", "\"kinds\"")).contains("unknown field"));
        let of = |entries: &[Entry]| String::from_utf8(write(entries)).unwrap();
        assert!(refused(&of(&[entry("a", 1), entry("a", 2)])).contains("a twice"));
        assert!(refused(&of(&[entry("a b", 1)])).contains("name: expected 1 to 128"));
    }

    #[test]
    fn names_need_no_quoting() {
        for good in ["a", "app:1.2", "registry.example/app@sha256:00", "A_b-c"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a\"", "é", "a\n", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
