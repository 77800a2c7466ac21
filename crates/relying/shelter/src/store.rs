//! Measurements kept under names: what this verifier's owner computed and decided to accept.
//!
//! One file ([`shelter::saved`]), read and replaced as a whole.

use crate::args;
use crate::failure::Failure;
use crate::files::{self, in_file};
use shelter::saved::{self, Entry, check_name};
use std::fmt;
use std::path::{Path, PathBuf};
use workload::digest::Digest;

/// Most bytes of the file: some ten thousand entries.
const MOST: u64 = 8 << 20;
/// Most names that an error lists.
const MOST_TOLD: usize = 8;

/// The store, in memory.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// A name that stands for something else already.
#[derive(Debug)]
struct Taken {
    name: String,
    expected: Digest,
    got: Digest,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, expected, got } = self;
        write!(
            f,
            "{name}: expected mrenclave {expected}, which is saved under this name, got {got}; --replace takes its \
             place"
        )
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
        let entries = saved::read(&bytes).map_err(in_file(&path))?;
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
            let names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
            let got = match names[..] {
                [] => "none (shelter measure IMAGE --save NAME saves one)".to_owned(),
                [..] if names.len() <= MOST_TOLD => format!("only {}", names.join(", ")),
                [..] => format!("{} others", names.len()),
            };
            in_file(&self.path)(format!("expected a measurement saved as {name:?}, got {got}"))
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
                let taken = Taken { name: entry.name, expected, got };
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
        files::write(&self.path, &saved::write(&self.entries))
    }
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
        let edited = std::fs::read_to_string(&path).unwrap().replace("app.tar", "other.tar");
        std::fs::write(&path, &edited).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.contains("store.json: sha256: expected"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), edited);
    }
}
