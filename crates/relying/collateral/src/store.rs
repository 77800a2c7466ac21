//! The store: a directory that keeps accepted collateral over restarts.
//!
//! | file | |
//! |---|---|
//! | `index` | [`Index`]: what is held and the floor of each object |
//! | `objects/SHA256` | one object each, named by its contents |
//! | `lock` | held while the index is read, changed and written |
//!
//! Files are replaced as a whole (written beside, synchronised, renamed), objects before the index that names
//! them: after a crash or on a full disk the old state is there. The index is never made anew in place of a
//! damaged one, since the floor would be gone with it. A damaged object loses nothing: its floor is in the index,
//! and it is fetched again.
//!
//! Objects were verified before they came here. Reading believes the file no more than the network: only its
//! digest is checked here, and the cache verifies it again. Who can write the directory can remove the floor;
//! keep it where only the verifier writes.

use crate::error::StoreError;
use crate::index::{self, Entry, Held, Index, Name};
use crate::object::Object;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use workload::digest::Digest;

/// Most bytes of one object's file: a CRL of 4 MiB in hexadecimal, and its chain.
const MOST_OBJECT: u64 = 10 << 20;

/// A directory of collateral.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    /// Most bytes of all objects together.
    room: u64,
}

/// An object that was accepted, on its way into the store.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What the index is to say. `held.sha256` and `held.size` are filled in by the store.
    pub entry: Entry,
    /// When it came.
    pub fetched: u64,
    /// The object.
    pub object: Object,
}

impl Store {
    /// Room for objects unless it is said otherwise.
    pub const ROOM: u64 = 256 << 20;

    /// Opens a directory, and makes it where there is none. `room` is the most bytes that objects may take;
    /// those that came first are dropped for newer ones.
    ///
    /// # Errors
    /// It cannot be made, or its index is damaged.
    pub fn open(directory: &Path, room: u64) -> Result<Self, StoreError> {
        let store = Self { directory: directory.into(), room };
        let objects = directory.join("objects");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&objects)
            .map_err(StoreError::io("make", &objects))?;
        store.index()?;
        Ok(store)
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is known now.
    ///
    /// # Errors
    /// The index cannot be read or is damaged.
    pub fn index(&self) -> Result<Index, StoreError> {
        let path = self.directory.join("index");
        match read_limited(&path, index::MOST)? {
            Some(bytes) => Index::parse(&path, &bytes),
            None => Ok(Index::default()),
        }
    }

    /// Reads an object. `None`: it is not held, or its file is damaged or gone, and was forgotten.
    ///
    /// # Errors
    /// The disk fails.
    pub fn get(&self, root: Digest, name: Name) -> Result<Option<Object>, StoreError> {
        let index = self.index()?;
        let Some(held) = index.get(root, name).and_then(|entry| entry.held) else {
            return Ok(None);
        };
        let path = self.object(held.sha256);
        let bytes = match read_limited(&path, MOST_OBJECT) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(StoreError::TooLarge { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        if Digest::of(&bytes) == held.sha256
            && let Ok(object) = serde_json::from_slice(&bytes)
        {
            return Ok(Some(object));
        }
        self.forget(root, name, held.sha256)?;
        Ok(None)
    }

    /// Keeps objects that were accepted together: all or none of them. Returns the index.
    ///
    /// # Errors
    /// One is older than the floor (another process may have raised it since), one is too large, or the disk
    /// fails. Then the store is as before.
    pub fn put(&self, accepted: &[Accepted]) -> Result<Index, StoreError> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let mut files = Vec::new();
        for Accepted { entry, fetched, object } in accepted {
            index.check(entry.root, entry.name, &entry.edition).map_err(StoreError::RollBack)?;
            let bytes = serde_json::to_vec(object).expect("an object has no failing part");
            let size = bytes.len() as u64;
            let sha256 = Digest::of(&bytes);
            let path = self.object(sha256);
            let most = MOST_OBJECT.min(self.room);
            if size > most {
                return Err(StoreError::TooLarge { path, most });
            }
            let held = Some(Held { sha256, size, fetched: *fetched });
            index.put(Entry { held, ..*entry });
            files.push((path, bytes));
        }
        self.make_room(&mut index);
        let new = self.index_bytes(&index)?;
        for (path, bytes) in files {
            write(&path, &bytes)?;
        }
        write(&self.directory.join("index"), &new)?;
        self.sweep(&index)?;
        Ok(index)
    }

    /// The index as it is written: one that can be read again.
    fn index_bytes(&self, index: &Index) -> Result<Vec<u8>, StoreError> {
        let bytes = index.to_bytes();
        if bytes.len() as u64 > index::MOST {
            let path = self.directory.join("index");
            return Err(StoreError::TooLarge { path, most: index::MOST });
        }
        Ok(bytes)
    }

    /// Forgets the file of an object that turned out to be damaged. Its floor stays.
    fn forget(&self, root: Digest, name: Name, sha256: Digest) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let held = index.get(root, name).and_then(|entry| entry.held);
        if held.is_some_and(|held| held.sha256 == sha256) {
            index.drop_held(root, name);
            write(&self.directory.join("index"), &self.index_bytes(&index)?)?;
            self.sweep(&index)?;
        }
        Ok(())
    }

    /// Drops the objects that came first until the rest has room.
    fn make_room(&self, index: &mut Index) {
        let mut held: Vec<_> = index
            .entries()
            .filter_map(|entry| entry.held.map(|held| (held.fetched, held.size, *entry)))
            .collect();
        held.sort_by_key(|(fetched, ..)| *fetched);
        let mut total: u64 = held.iter().map(|(_, size, _)| size).sum();
        for (_, size, entry) in held {
            if total <= self.room {
                break;
            }
            index.drop_held(entry.root, entry.name);
            total -= size;
        }
    }

    /// Removes files that no entry names.
    fn sweep(&self, index: &Index) -> Result<(), StoreError> {
        let objects = self.directory.join("objects");
        let named: Vec<String> = index
            .entries()
            .filter_map(|entry| entry.held.map(|held| held.sha256.to_string()))
            .collect();
        for file in fs::read_dir(&objects).map_err(StoreError::io("list", &objects))? {
            let file = file.map_err(StoreError::io("list", &objects))?;
            if !named.iter().any(|name| file.file_name() == name.as_str()) {
                let path = file.path();
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn object(&self, sha256: Digest) -> PathBuf {
        self.directory.join("objects").join(sha256.to_string())
    }

    /// Held until the file is dropped.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.directory.join("lock");
        let file = File::create(&path).map_err(StoreError::io("open", &path))?;
        file.lock().map_err(StoreError::io("lock", &path))?;
        Ok(file)
    }
}

/// The bytes of a file; `None` where there is none.
fn read_limited(path: &Path, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    if bytes.len() as u64 > most {
        return Err(StoreError::TooLarge { path: path.into(), most });
    }
    Ok(Some(bytes))
}

/// Replaces a file as a whole.
fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let failed = || StoreError::io("write", path);
    let directory = path.parent().expect("files lie in the store's directory");
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    let mode = fs::Permissions::from_mode(0o600);
    file.as_file().set_permissions(mode).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    let directory = File::open(directory).map_err(failed())?;
    directory.sync_all().map_err(failed())
}
