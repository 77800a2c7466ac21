//! A secret on its way from a file to a session: wiped when it is done with, never printed.
//!
//! TLS makes copies of its own, encrypted at once, in memory that it reuses; those are not wiped.

use crate::failure::Failure;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// Most bytes of a secret.
pub(crate) const MOST: usize = 1 << 20;

/// Where a secret comes from; opened, and not read before somebody may have it.
pub(crate) struct Source {
    shown: String,
    from: Box<dyn Read>,
}

impl Source {
    /// Opens a file, or takes standard input for `-`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { shown: "standard input".into(), from: Box::new(std::io::stdin()) });
        }
        let shown = path.display().to_string();
        let file = File::open(path)
            .map_err(|error| Failure::Undecided(format!("open {shown}: {error}")))?;
        Ok(Self { shown, from: Box::new(file) })
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is empty, too long, or cannot be read.
    pub(crate) fn read(mut self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // All at once, and one byte more: a vector that grows would leave pieces behind.
        let mut bytes = Zeroizing::new(vec![0; MOST + 1]);
        let mut filled = 0;
        while filled < bytes.len() {
            match self.from.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Failure::Undecided(format!("read {}: {error}", self.shown)));
                }
            }
        }
        if !(1..=MOST).contains(&filled) {
            let got = if filled == 0 { "none" } else { "more" };
            let shown = self.shown;
            return Err(Failure::Undecided(format!(
                "{shown}: expected a secret of 1 to {MOST} bytes, got {got}"
            )));
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_bounds() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("secret");
        for (length, is_good) in [(0, false), (1, true), (MOST, true), (MOST + 1, false)] {
            std::fs::write(&path, vec![7; length]).unwrap();
            let read = Source::open(&path).unwrap().read();
            assert_eq!(read.is_ok(), is_good, "{length}");
            if let Ok(secret) = read {
                assert_eq!(secret.len(), length);
            }
        }
        assert!(Source::open(&place.path().join("none")).is_err());
    }
}
