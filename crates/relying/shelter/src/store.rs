//! Measurements kept under names: what this verifier's owner computed and decided to accept.
//!
//! One file, read and replaced as a whole. Its digest shows damage, cut files and hands that edited it without this
//! program; it is no signature: **whoever can write the file decides what is accepted**, as with a policy.

use crate::args;
use crate::failure::Failure;
use crate::files::{self, in_file};
use attestation::policy::Reference;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use workload::digest::Digest;

/// Version of the file's format.
const FORMAT: u32 = 1;
/// Most bytes of the file: some ten thousand entries.
const MOST: u64 = 8 << 20;
/// Longest name, in bytes.
const MOST_NAME: usize = 128;

/// A measurement and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// What it is called.
    pub(crate) name: String,
    /// What an enclave must have.
    pub(crate) mrenclave: Digest,
    /// `image`, `directory`, `pack` or `enclave file`.
    pub(crate) kind: String,
    /// Which file, as it was given then, and which image in it.
    pub(crate) source: String,
    /// Digest of the image's configuration, which names its layers by digest; of an image only.
    pub(crate) image: Option<Digest>,
    /// Digest of the root file system.
    pub(crate) root: Option<Digest>,
    /// SHA-256 of the measured manifest.
    pub(crate) manifest: Option<Digest>,
    /// Version of the enclave runtime that is measured too.
    pub(crate) runtime_version: Option<String>,
    /// Whether it is a debug enclave; `None` where there is no manifest.
    pub(crate) debug: Option<bool>,
    /// When it was saved, RFC 3339.
    pub(crate) saved: String,
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

/// The store, in memory.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// A file that is no store, or a change that would lose something.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// Not the JSON of one: the error shows the place.
    Json(serde_json::Error),
    /// Of another version.
    Format { got: u32 },
    /// Damaged, or edited.
    Digest { expected: Digest, got: Digest },
    /// A name that is none.
    Name { got: String },
    /// A name that comes twice.
    Twice { name: String },
    /// A name that stands for something else already.
    Taken { name: String, expected: Digest, got: Digest },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "expected saved measurements, got: {error}"),
            Self::Format { got } => write!(f, "format: expected {FORMAT}, got {got}"),
            Self::Digest { expected, got } => write!(
                f,
                "sha256: expected {expected}, as the file says, got {got}: it is damaged, or was edited by hand"
            ),
            Self::Name { got } => write!(
                f,
                "name: expected 1 to {MOST_NAME} letters, digits and . _ - : / @, got {got:?}"
            ),
            Self::Twice { name } => write!(f, "name: expected each once, got {name} twice"),
            Self::Taken { name, expected, got } => write!(
                f,
                "{name}: expected mrenclave {expected}, which is saved under this name, got {got}; --replace \
                 takes its place"
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// Whether this may be a name: what a shell, a TOML file and a terminal take without quoting.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
    if (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(is_good) && !name.starts_with('-')
    {
        return Ok(());
    }
    Err(StoreError::Name { got: name.into() })
}

impl Entry {
    /// As policies use it. It counts until it is removed.
    pub(crate) fn value(&self) -> Reference {
        Reference {
            name: self.name.clone(),
            version: self.runtime_version.clone().unwrap_or_default(),
            measurement: self.mrenclave.0.to_vec(),
            expires: u64::MAX,
        }
    }
}

impl Store {
    /// Reads the store. One that is not there is empty.
    ///
    /// # Errors
    /// It cannot be read, or is not a whole store.
    pub(crate) fn open(place: &args::Store) -> Result<Self, Failure> {
        let path = match &place.store {
            Some(path) => path.clone(),
            None => default_path()?,
        };
        if matches!(path.try_exists(), Ok(false)) {
            return Ok(Self { path, entries: vec![] });
        }
        let bytes = files::read(&path, MOST)?;
        let entries = parse(&bytes).map_err(in_file(&path))?;
        Ok(Self { path, entries })
    }

    /// All of them, by name.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn need(&self, name: &str) -> Result<&Entry, Failure> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            let message = format!("expected a measurement saved as {name:?}, got none");
            in_file(&self.path)(message)
        })
    }

    /// Puts one in and writes the file. The same measurement again is no change of what is accepted.
    ///
    /// # Errors
    /// Another measurement has the name and is not to be replaced; or the file cannot be written: then it is as
    /// it was.
    pub(crate) fn put(&mut self, entry: Entry, is_replaced: bool) -> Result<(), Failure> {
        check_name(&entry.name).map_err(Failure::undecided)?;
        let at = self.entries.binary_search_by(|other| other.name.cmp(&entry.name));
        match at {
            Ok(at) if self.entries[at].mrenclave != entry.mrenclave && !is_replaced => {
                let (expected, got) = (self.entries[at].mrenclave, entry.mrenclave);
                let taken = StoreError::Taken { name: entry.name, expected, got };
                return Err(in_file(&self.path)(taken));
            }
            Ok(at) => self.entries[at] = entry,
            Err(at) => self.entries.insert(at, entry),
        }
        self.write()
    }

    /// Forgets one and writes the file.
    ///
    /// # Errors
    /// There is none of this name; or the file cannot be written: then it is as it was.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.need(name)?;
        self.entries.retain(|entry| entry.name != name);
        self.write()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self) -> Result<(), Failure> {
        if let Some(parent) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|error| {
                Failure::Undecided(format!("create {}: {error}", parent.display()))
            })?;
        }
        let sha256 = digest(&self.entries);
        let document = Document { format: FORMAT, sha256, references: self.entries.clone() };
        let mut json = serde_json::to_vec_pretty(&document).expect("strings and digests serialise");
        json.push(b'\n');
        files::write(&self.path, &json)
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let document: Document = serde_json::from_slice(bytes).map_err(StoreError::Json)?;
    let Document { format, sha256, references: mut entries } = document;
    if format != FORMAT {
        return Err(StoreError::Format { got: format });
    }
    let got = digest(&entries);
    if got != sha256 {
        return Err(StoreError::Digest { expected: sha256, got });
    }
    entries.iter().try_for_each(|entry| check_name(&entry.name))?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(StoreError::Twice { name: pair[0].name.clone() });
    }
    Ok(entries)
}

fn digest(entries: &[Entry]) -> Digest {
    Digest::of(&serde_json::to_vec(entries).expect("strings and digests serialise"))
}

/// Where a user's data are, by the XDG base directory specification.
fn default_path() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let data = match (set("XDG_DATA_HOME"), set("HOME")) {
        (Some(data), _) => PathBuf::from(data),
        (None, Some(home)) => PathBuf::from(home).join(".local/share"),
        (None, None) => {
            let message = "expected --store FILE, $XDG_DATA_HOME or $HOME, got none";
            return Err(Failure::Undecided(message.into()));
        }
    };
    Ok(data.join("shelter/references.json"))
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

    fn open(path: &Path) -> Result<Store, String> {
        let store = Some(path.to_owned());
        Store::open(&args::Store { store }).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_put_in_is_there_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("below/store.json");
        let mut store = open(&path).unwrap();
        assert!(store.entries().is_empty());
        for (name, byte) in [("b", 2), ("a", 1)] {
            store.put(entry(name, byte), false).map_err(|it| it.to_string()).unwrap();
        }
        let mut store = open(&path).unwrap();
        assert_eq!(store.entries(), [entry("a", 1), entry("b", 2)]);
        let before = std::fs::read(&path).unwrap();
        let taken = store.put(entry("a", 9), false).map_err(|it| it.to_string()).unwrap_err();
        assert!(taken.contains("which is saved under this name"), "{taken}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(store.put(entry("a", 9), true).is_ok());
        assert!(store.remove("b").is_ok() && store.remove("b").is_err());
        assert_eq!(open(&path).unwrap().entries(), [entry("a", 9)]);
    }

    #[test]
    fn a_damaged_file_is_refused_and_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store.json");
        open(&path).unwrap().put(entry("a", 1), false).map_err(|it| it.to_string()).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = open(&path).unwrap_err();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            error
        };
        for cut in [0, 1, good.len() / 2, good.len() - 3] {
            assert!(refused(&good[..cut]).contains("expected saved measurements"), "{cut}");
        }
        let edited = good.replacen(&"01".repeat(32), &"05".repeat(32), 1);
        assert!(refused(&edited).contains("sha256: expected"));
        assert!(refused(&good.replace("\"format\": 1", "\"format\": 2")).contains("format: "));
        assert!(refused(&good.replace("\"kind\"", "\"kinds\"")).contains("unknown field"));
        let twice = [entry("a", 1), entry("a", 2)];
        let document = Document { format: 1, sha256: digest(&twice), references: twice.into() };
        assert!(refused(&serde_json::to_string(&document).unwrap()).contains("a twice"));
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
