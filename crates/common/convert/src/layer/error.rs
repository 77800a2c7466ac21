//! What is wrong with a layer.

use crate::tar::TarError;
use crate::tree::Unresolved;
use std::fmt;
use workload::digest::Digest;

/// Why a layer cannot be applied.
#[derive(Debug)]
pub struct LayerError {
    /// The layer: its position and digest.
    pub layer: String,
    /// The entry's name as the archive has it, if it is one entry's fault.
    pub entry: Option<String>,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// What is wrong.
#[derive(Debug)]
pub enum Problem {
    /// The archive is damaged.
    Tar(TarError),
    /// A name is not a relative path without `..`.
    Name {
        /// The part that is wrong.
        part: String,
    },
    /// A link in the directories of a name climbs above the root, leads nowhere or to no directory.
    Parent {
        /// What happens on the way.
        why: Unresolved,
    },
    /// A hard link's target is not a file in the root.
    HardLink {
        /// The target.
        target: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A whiteout's name names nothing that can be removed.
    Whiteout,
    /// The name occurs again in the layer.
    Duplicate,
    /// The root is something else than a directory.
    Root,
    /// Something is larger than [`Limits`](super::Limits) allow.
    TooLarge {
        /// What.
        what: &'static str,
        /// Limit.
        expected_at_most: u64,
        /// How much there is, as far as it was counted.
        got: u64,
    },
    /// The blob is not the one that the image names.
    Digest {
        /// Of which form of the layer.
        what: &'static str,
        /// What the image says.
        expected: Digest,
        /// What the blob has.
        got: Digest,
    },
    /// The blob has another length than the image says.
    Size {
        /// What the image says.
        expected: u64,
        /// What the blob has, or more.
        got: u64,
    },
    /// The image names the layer and does not hold it.
    Missing,
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}: ", self.layer)?;
        if let Some(entry) = &self.entry {
            write!(f, "entry {entry}: ")?;
        }
        match &*self.problem {
            Problem::Tar(error) => error.fmt(f),
            Problem::Name { part } => write!(
                f,
                "name: expected a relative path without \"..\", of parts of at most 255 bytes, got {part}"
            ),
            Problem::Parent { why } => {
                write!(f, "directory: expected a directory below the root, got ")?;
                match why {
                    Unresolved::Missing => f.write_str("a link to nothing"),
                    Unresolved::NotADirectory(part) => {
                        write!(f, "{}, which is none", crate::tar::shown(part))
                    }
                    Unresolved::LeavesRoot => f.write_str("a link that leaves the root"),
                    Unresolved::TooManyLinks => f.write_str("more than 40 links"),
                }
            }
            Problem::HardLink { target, why } => {
                write!(f, "hard link: expected a file in the root, got {target}, {why}")
            }
            Problem::Whiteout => {
                f.write_str("whiteout: expected \".wh.\" and the name of a file, got no name")
            }
            Problem::Duplicate => f.write_str("name: expected once in a layer, got it again"),
            Problem::Root => f.write_str("the root: expected a directory, got something else"),
            Problem::TooLarge { what, expected_at_most, got } => {
                write!(f, "{what}: expected at most {expected_at_most}, got {got}")
            }
            Problem::Digest { what, expected, got } => {
                write!(f, "{what}: expected sha256:{expected}, got sha256:{got}")
            }
            Problem::Size { expected, got } => {
                write!(f, "size: expected {expected} bytes, got {got}")
            }
            Problem::Missing => f.write_str("expected a blob in the image, got none"),
        }
    }
}

impl std::error::Error for LayerError {}
