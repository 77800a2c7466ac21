//! A pack: the directory that a conversion writes and that the runtime reads.
//!
//! | file | |
//! |---|---|
//! | `enclave.sgxs` | the enclave file |
//! | `enclave.sig` | SIGSTRUCT, once it is signed |
//! | `manifest.json` | the measured manifest, for people |
//! | `meta.bin` | root metadata (`workload::meta`) |
//! | `trees.bin` | Merkle trees |
//! | `attester` | the attester's program, where the manifest has one; the metadata name it |
//!
//! Reading believes the enclave file alone: the manifest is taken out of it and measured again, and what lies
//! beside has to agree.

use crate::attester::PROGRAM;
use crate::conversion::Conversion;
use crate::enclave::{Contents, sigstruct};
use crate::error::Error;
use crate::hash::sha256;
use sgx::hash::Fast;
use sgx::sigstruct::Sigstruct;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use workload::digest::{Digest, Hex};
use workload::manifest::Manifest;
use workload::verity::Tree;

/// The files of a pack.
pub const SGXS: &str = "enclave.sgxs";
/// See [`SGXS`].
pub const SIGSTRUCT: &str = "enclave.sig";
/// See [`SGXS`].
pub const MANIFEST: &str = "manifest.json";
/// See [`SGXS`].
pub const METADATA: &str = "meta.bin";
/// See [`SGXS`].
pub const TREES: &str = "trees.bin";

/// Where a pack may lie below the directory that a person names.
const PLACES: [&str; 3] = ["", "rootfs/.inclavare", ".inclavare"];

/// Those of every pack, in the order in which an image holds them.
pub const FILES: [&str; 5] = [SGXS, SIGSTRUCT, MANIFEST, METADATA, TREES];

/// Writes a conversion as a pack, without a SIGSTRUCT, to a directory that does not exist, is empty, or is a
/// pack, which is replaced. The directory is complete or untouched.
///
/// # Errors
/// The directory is something else, or cannot be written.
pub fn write(conversion: &Conversion, directory: &Path) -> Result<(), Error> {
    let what = || format!("write {}", directory.display());
    if is_foreign(directory).map_err(Error::io(what()))? {
        return Err(Error::Directory {
            path: directory.into(),
            expected: "a new or empty directory, or a pack to replace",
            got: "a directory with other files".into(),
        });
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let staging =
        tempfile::Builder::new().prefix(".pack-").tempdir_in(parent).map_err(Error::io(what()))?;
    let put = |name: &str, bytes: &[u8]| {
        fs::write(staging.path().join(name), bytes).map_err(Error::io(what()))
    };
    put(SGXS, &conversion.enclave.sgxs)?;
    put(MANIFEST, &conversion.manifest.to_canonical())?;
    put(METADATA, &conversion.root.blob.bytes)?;
    let trees = File::create(staging.path().join(TREES)).map_err(Error::io(what()))?;
    let mut trees = BufWriter::new(trees);
    conversion.root.write_trees(&mut trees).map_err(Error::io(what()))?;
    trees.flush().map_err(Error::io(what()))?;
    if let Some(program) = conversion.root.attester() {
        put(PROGRAM, program)?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(staging.path(), mode).map_err(Error::io(what()))?;
    replace(staging, directory).map_err(Error::io(what()))
}

/// Whether a directory exists that is not ours to replace.
fn is_foreign(directory: &Path) -> std::io::Result<bool> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        if name != PROGRAM && !FILES.iter().any(|file| name == *file) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves a finished directory to its place.
fn replace(staging: tempfile::TempDir, directory: &Path) -> std::io::Result<()> {
    match fs::rename(staging.path(), directory) {
        Ok(()) => {
            let _ = staging.keep();
            return Ok(());
        }
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
        Err(error) => return Err(error),
    }
    // The old pack goes where its removal cannot hit the new one.
    let old = tempfile::Builder::new()
        .prefix(".pack-old-")
        .tempdir_in(staging.path().parent().unwrap_or(Path::new(".")))?;
    fs::rename(directory, old.path())?;
    fs::rename(staging.path(), directory)?;
    let _ = staging.keep();
    Ok(())
}

/// A pack on disk.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Where.
    pub directory: PathBuf,
    /// What is in the enclave file.
    pub contents: Contents,
    /// The manifest in it.
    pub manifest: Manifest,
    /// The SIGSTRUCT, where there is one; its signature is checked.
    pub sigstruct: Option<Box<Sigstruct>>,
}

impl Pack {
    /// The directory of the pack in one that a person names: a pack, a bundle or a root file system.
    #[must_use]
    pub fn place(path: &Path) -> Option<PathBuf> {
        let mut places = PLACES.iter().map(|place| path.join(place));
        places.find(|directory| directory.join(SGXS).is_file())
    }

    /// Opens the pack at its [`place`](Self::place).
    ///
    /// # Errors
    /// There is none, or as [`open`](Self::open).
    pub fn find(path: &Path) -> Result<Self, Error> {
        let directory = Self::place(path).ok_or_else(|| Error::Directory {
            path: path.into(),
            expected: "a pack or a bundle with an enclave (enclave.sgxs)",
            got: "neither".into(),
        })?;
        Self::open(&directory)
    }

    /// Reads and measures a pack, and checks that its parts belong together.
    ///
    /// # Errors
    /// A part is missing, damaged, or not the enclave file's.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let path = |name: &str| directory.join(name);
        let contents = read_enclave(&path(SGXS))?;
        let manifest = Manifest::parse(&contents.manifest)?;
        let beside = fs::read(path(MANIFEST))
            .map_err(Error::io(format!("read {}", path(MANIFEST).display())))?;
        if beside != contents.manifest {
            return Err(Error::Pack {
                part: MANIFEST,
                expected: format!("the measured one, sha256 {}", Hex(sha256(&contents.manifest))),
                got: format!("sha256 {}", Hex(sha256(&beside))),
            });
        }
        let sigstruct = read_sigstruct(&path(SIGSTRUCT), contents.mrenclave)?;
        Ok(Self { directory: directory.into(), contents, manifest, sigstruct })
    }

    /// What there is to sign. `date` is the day in binary-coded decimals.
    #[must_use]
    pub fn unsigned(&self, date: u32) -> Sigstruct {
        sigstruct(&self.manifest, self.contents.mrenclave, date)
    }

    /// Puts a SIGSTRUCT beside the enclave file, at once or not at all.
    ///
    /// # Errors
    /// It is not for this enclave, its signature is wrong, or it cannot be written.
    pub fn put_sigstruct(&self, signed: &Sigstruct) -> Result<(), Error> {
        let path = self.directory.join(SIGSTRUCT);
        check_sigstruct(signed, self.contents.mrenclave)?;
        let what = || format!("write {}", path.display());
        let mut file =
            tempfile::NamedTempFile::new_in(&self.directory).map_err(Error::io(what()))?;
        file.write_all(&signed.to_bytes()).map_err(Error::io(what()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(Error::io(what()))?;
        file.persist(&path).map_err(|error| Error::io(what())(error.error))?;
        Ok(())
    }

    /// Checks the side data against the manifest: metadata by its digest, and that every tree is there.
    ///
    /// # Errors
    /// They are not those of this enclave.
    pub fn check_side_data(&self) -> Result<(), Error> {
        let path = self.directory.join(METADATA);
        let bytes = fs::read(&path).map_err(Error::io(format!("read {}", path.display())))?;
        let got = Tree::of(&bytes).digest;
        let expected = self.manifest.root.digest;
        if got != expected {
            let (expected, got) = (expected.to_string(), got.to_string());
            return Err(Error::Pack { part: METADATA, expected, got });
        }
        Ok(())
    }
}

/// Reads and measures an enclave file.
///
/// # Errors
/// It cannot be read or is damaged.
pub fn read_enclave(path: &Path) -> Result<Contents, Error> {
    let file = File::open(path).map_err(Error::io(format!("open {}", path.display())))?;
    Contents::read(BufReader::with_capacity(1 << 18, file))
}

fn read_sigstruct(path: &Path, mrenclave: Digest) -> Result<Option<Box<Sigstruct>>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("read {}", path.display()))(error)),
    };
    let parsed = Sigstruct::parse(&bytes).map_err(|error| Error::Pack {
        part: SIGSTRUCT,
        expected: "a SIGSTRUCT".into(),
        got: error.to_string(),
    })?;
    check_sigstruct(&parsed, mrenclave)?;
    Ok(Some(Box::new(parsed)))
}

/// Checks that a SIGSTRUCT is for this enclave and its signature right.
fn check_sigstruct(signed: &Sigstruct, mrenclave: Digest) -> Result<(), Error> {
    let wrong = |expected: String, got: String| Error::Pack { part: SIGSTRUCT, expected, got };
    signed
        .verify::<Fast>()
        .map_err(|error| wrong("a valid signature".into(), error.to_string()))?;
    let got = Hex(signed.enclavehash);
    if got != mrenclave {
        return Err(wrong(format!("ENCLAVEHASH {mrenclave}"), got.to_string()));
    }
    Ok(())
}
