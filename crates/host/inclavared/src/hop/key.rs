//! The file of inclavared's key. Whoever runs inclavared makes it, since verifiers must be told what it is.

use core::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest file, in bytes.
const MAX_FILE: usize = 16 << 10;

/// Bits of a mode that let others than the owner read or write.
const OTHERS: u32 = 0o077;

/// No key in a file.
#[derive(Debug)]
pub enum KeyFileError {
    /// It cannot be read.
    File(PathBuf, io::Error),
    /// Others can read or write it.
    Mode(PathBuf, u32),
    /// It is too long, or no text.
    Text(PathBuf),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Mode(path, got) => {
                write!(f, "{}: expected mode 600 or less, got {got:o}", path.display())
            }
            Self::Text(path) => {
                write!(f, "{}: expected a key in PEM, got something else", path.display())
            }
        }
    }
}

impl core::error::Error for KeyFileError {}

/// Reads the text of a key that nobody else can read.
///
/// # Errors
/// [`KeyFileError`].
pub fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |error| KeyFileError::File(path.into(), error);
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Mode(path.into(), mode));
    }
    // Of one size from the start, so that no copy is left behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * MAX_FILE));
    match file.by_ref().take(MAX_FILE as u64 + 1).read_to_string(&mut text) {
        Ok(0..=MAX_FILE) => Ok(text),
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(failed(error)),
        _ => Err(KeyFileError::Text(path.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let write = |bytes: &[u8], mode| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            read(&path)
        };
        assert_eq!(*write(b"a key", 0o600).unwrap(), "a key");
        for (bytes, mode, part) in [
            (&b"a key"[..], 0o640, "expected mode 600 or less, got 640"),
            (&[0xff; 9], 0o600, "expected a key in PEM"),
            (&[b'a'; MAX_FILE + 1], 0o600, "expected a key in PEM"),
        ] {
            let said = write(bytes, mode).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
        let said = read(&directory.path().join("none")).unwrap_err().to_string();
        assert!(said.contains("No such file"), "{said}");
    }
}
