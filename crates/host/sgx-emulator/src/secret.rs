//! The secret that this host's emulated keys derive from.
//!
//! It is a file that only its owner may read, made on first use, so that sealed data survives and enclaves of
//! different processes can verify each other's reports. It protects nothing from the host: whoever can read
//! the file is every emulated enclave.

use sgx::driver::DriverError;
use sgx::keys::Platform;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the secret is unless the caller says otherwise.
pub const DEFAULT_SECRET_FILE: &str = "/var/lib/inclavare/emulator/secret";

const MAGIC: &[u8; 8] = b"INCLEMU1";
/// Magic, root, seal fuses, owner epoch.
const LENGTH: usize = 8 + 3 * 16;

/// Where the secret comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    /// Made for one process and forgotten with it.
    Memory,
    /// Read before.
    Read(Secret),
}

/// Where an enclave's keys come from, for people to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// The host's file: keys last.
    File(PathBuf),
    /// Memory, as asked for or because the file could not be made: sealed data cannot be opened by a later
    /// process, and no other process can verify reports.
    Memory {
        /// Why there is no file; `None` if none was asked for.
        reason: Option<String>,
    },
}

impl core::fmt::Display for SecretOrigin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::File(path) => write!(f, "emulated keys derive from {}", path.display()),
            Self::Memory { reason: None } => write!(f, "emulated keys end with this process"),
            Self::Memory { reason: Some(reason) } => {
                write!(f, "emulated keys end with this process: {reason}")
            }
        }
    }
}

#[derive(Clone)]
pub(crate) struct Secret {
    pub(crate) platform: Platform,
    pub(crate) origin: SecretOrigin,
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Never the keys.
        f.debug_struct("Secret").field("origin", &self.origin).finish_non_exhaustive()
    }
}

const fn refused(field: &'static str, expected: u64, got: u64) -> DriverError {
    DriverError::Refused { operation: "emulator secret", field, expected, got }
}

fn os(operation: &'static str, error: &io::Error) -> DriverError {
    DriverError::Os { operation, errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], DriverError> {
    let mut bytes = [0; N];
    // SAFETY: the buffer has N bytes. Requests of up to 256 bytes are never cut short.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if got == N as isize { Ok(bytes) } else { Err(os("getrandom", &io::Error::last_os_error())) }
}

impl Secret {
    /// Reads the secret, making it if there is none.
    ///
    /// A file that exists and is damaged, or that others may read, is refused rather than replaced.
    pub(crate) fn load(source: &Source) -> Result<Self, DriverError> {
        let in_memory = |reason| {
            Ok(Self { platform: platform(&generate()?), origin: SecretOrigin::Memory { reason } })
        };
        let path = match source {
            Source::File(path) => path,
            Source::Memory => return in_memory(None),
            Source::Read(secret) => return Ok(secret.clone()),
        };
        let origin = SecretOrigin::File(path.clone());
        if let Some(bytes) = read(path)? {
            return Ok(Self { platform: platform(&bytes), origin });
        }
        if let Err(error) = create(path, &generate()?) {
            return in_memory(Some(format!("{}: {error}", path.display())));
        }
        // Whoever came first made it.
        match read(path)? {
            Some(bytes) => Ok(Self { platform: platform(&bytes), origin }),
            None => Err(os("emulator secret", &io::Error::from(io::ErrorKind::NotFound))),
        }
    }
}

fn generate() -> Result<[u8; LENGTH], DriverError> {
    let mut bytes: [u8; LENGTH] = random()?;
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    Ok(bytes)
}

fn platform(bytes: &[u8; LENGTH]) -> Platform {
    let part = |i: usize| {
        let mut part = [0; 16];
        part.copy_from_slice(&bytes[MAGIC.len() + 16 * i..][..16]);
        part
    };
    Platform {
        root: part(0),
        seal_fuses: part(1),
        owner_epoch: part(2),
        cpusvn: sgx::report::EMULATED_CPUSVN,
    }
}

fn read(path: &Path) -> Result<Option<[u8; LENGTH]>, DriverError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(os("open of the emulator secret", &error)),
    };
    let metadata = file.metadata().map_err(|error| os("fstat of the emulator secret", &error))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(refused("mode", 0o600, u64::from(metadata.mode() & 0o777)));
    }
    if metadata.len() != LENGTH as u64 {
        return Err(refused("length", LENGTH as u64, metadata.len()));
    }
    let mut bytes = [0; LENGTH];
    file.read_exact(&mut bytes).map_err(|error| os("read of the emulator secret", &error))?;
    if bytes[..MAGIC.len()] != *MAGIC {
        let mut got = [0; 8];
        got.copy_from_slice(&bytes[..8]);
        return Err(refused("magic", u64::from_le_bytes(*MAGIC), u64::from_le_bytes(got)));
    }
    Ok(Some(bytes))
}

/// Makes the file, whole or not at all; one that exists stays.
fn create(path: &Path, bytes: &[u8; LENGTH]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = directory.join(format!(".secret.{}", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(directory)?.sync_all(),
        }
    };
    let written = write();
    let _ = fs::remove_file(&temporary);
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_use_makes_it_and_later_ones_read_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = Source::File(directory.path().join("a/b/secret"));
        let first = Secret::load(&source).expect("made");
        let second = Secret::load(&source).expect("read");
        assert_eq!(first.platform.root, second.platform.root);
        assert_ne!(first.platform.root, first.platform.seal_fuses);
        assert!(matches!(first.origin, SecretOrigin::File(_)));
        let other = Secret::load(&Source::Memory).expect("random");
        assert_ne!(first.platform.root, other.platform.root);
        let mode = fs::metadata(directory.path().join("a/b/secret")).expect("exists").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path().join("a/b")).expect("exists").count(), 1);
    }

    #[test]
    fn a_damaged_or_open_file_is_refused_and_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        let field = || match Secret::load(&Source::File(path.clone())) {
            Err(DriverError::Refused { field, .. }) => field,
            other => panic!("{:?}", other.map(|secret| secret.origin)),
        };
        let permit = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        fs::write(&path, [0; LENGTH]).expect("written");
        permit(0o644);
        assert_eq!(field(), "mode");
        permit(0o600);
        assert_eq!(field(), "magic");
        fs::write(&path, MAGIC).expect("written");
        assert_eq!(field(), "length");
        assert_eq!(fs::read(&path).expect("still there"), MAGIC);
    }

    #[test]
    fn without_a_place_it_stays_in_memory_and_says_so() {
        let source = Source::File("/proc/no/such/place".into());
        let secret = Secret::load(&source).expect("in memory");
        assert!(secret.origin.to_string().contains("/proc/no/such/place"), "{}", secret.origin);
    }
}
