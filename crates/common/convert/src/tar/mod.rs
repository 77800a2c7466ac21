//! Layer archives.
//!
//! Reads ustar, GNU and PAX archives as layers hold them: long names, extended attributes, large numbers,
//! and all four forms of sparse files. Total: any bytes give entries or an error, never a panic, and memory
//! stays within [`MAX_EXTENSION`] per entry whatever sizes the headers claim.
//!
//! Names are given as they are. What they mean for a tree is [`crate::layer`]'s business.

mod header;
mod pax;
mod reader;
mod sparse;

pub use reader::{Archive, Entry, Kind, Piece};

use std::fmt;

/// Bytes of a header and of the unit that data is padded to.
pub const BLOCK: usize = 512;

/// Most bytes of a PAX extension, a long name or a sparse map.
pub const MAX_EXTENSION: u64 = 8 << 20;

/// Why an archive cannot be read.
#[derive(Debug)]
pub enum TarError {
    /// The input failed, for instance because it is compressed wrongly.
    Read(std::io::Error),
    /// The archive ends inside a header or an entry's data.
    Truncated {
        /// Bytes still expected.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// A header's checksum is wrong.
    Checksum {
        /// The sum of the header's bytes.
        expected: u64,
        /// What the header says.
        got: u64,
    },
    /// A field of a header or of an extension has no valid value.
    Field {
        /// Which.
        field: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// A length is beyond what is read.
    TooLarge {
        /// Of what.
        field: &'static str,
        /// Limit in bytes.
        expected_at_most: u64,
        /// What it is.
        got: u64,
    },
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::Truncated { expected, got } => {
                write!(f, "archive ends early: expected {expected} more bytes, got {got}")
            }
            Self::Checksum { expected, got } => {
                write!(f, "header checksum: expected {expected}, got {got}")
            }
            Self::Field { field, expected, got } => {
                write!(f, "{field}: expected {expected}, got {got}")
            }
            Self::TooLarge { field, expected_at_most, got } => {
                write!(f, "{field}: expected at most {expected_at_most} bytes, got {got}")
            }
        }
    }
}

impl std::error::Error for TarError {}

impl TarError {
    pub(crate) fn field(field: &'static str, expected: &'static str, got: &[u8]) -> Self {
        Self::Field { field, expected, got: shown(got) }
    }
}

/// Bytes from an archive as text for a message, cut to a reasonable length.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 300;
    let head = &bytes[..bytes.len().min(LONGEST)];
    let dots = if bytes.len() > LONGEST { "..." } else { "" };
    let text: String = match std::str::from_utf8(head) {
        Ok(text) => text.chars().flat_map(char::escape_debug).collect(),
        Err(_) => head.escape_ascii().to_string(),
    };
    format!("\"{text}{dots}\"")
}

/// Reads a whole archive; a fuzz target calls it.
pub fn fuzz(bytes: &[u8]) {
    let mut archive = Archive::new(bytes);
    let mut buffer = [0; 4096];
    while let Ok(Some(_)) = archive.next() {
        for _ in 0..1000 {
            match archive.piece(&mut buffer) {
                Ok(Piece::End) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
