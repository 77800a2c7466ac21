//! What can go wrong in a conversion.

use crate::layer::LayerError;
use std::fmt;
use std::path::PathBuf;

/// Why a conversion, or reading what one made, fails. Every variant but [`Io`](Self::Io) is a fault of the
/// input.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file of this machine cannot be read or written.
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's answer.
        error: std::io::Error,
    },
    /// The image is not what its documents say.
    Image(Box<ImageError>),
    /// A layer cannot be applied.
    Layer(Box<LayerError>),
    /// A directory holds something that cannot be converted.
    Directory {
        /// Where.
        path: PathBuf,
        /// What is allowed.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// The root file system is beyond the metadata format.
    TooLarge(workload::meta::TooLarge),
    /// A file of rules is wrong.
    Policy {
        /// Member.
        field: String,
        /// What is allowed.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The manifest that image and rules give is not allowed.
    Manifest(workload::manifest::ManifestError),
    /// The enclave program cannot be laid out.
    Program(enclave_image::LoadError),
    /// The enclave file cannot be written, or is damaged.
    Sgxs(String),
    /// A pack is incomplete or its parts do not belong together.
    Pack {
        /// Which part.
        part: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
}

/// What is wrong with an image's documents.
#[derive(Debug)]
pub struct ImageError {
    /// Which document or member.
    pub field: String,
    /// What is allowed.
    pub expected: String,
    /// What it is.
    pub got: String,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image: {}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::Image(error) => error.fmt(f),
            Self::Layer(error) => error.fmt(f),
            Self::Directory { path, expected, got } => {
                write!(f, "{}: expected {expected}, got {got}", path.display())
            }
            Self::TooLarge(error) => error.fmt(f),
            Self::Policy { field, expected, got } => {
                write!(f, "{field}: expected {expected}, got {got}")
            }
            Self::Manifest(error) => error.fmt(f),
            Self::Program(error) => write!(f, "enclave program: {error}"),
            Self::Sgxs(error) => write!(f, "enclave file: {error}"),
            Self::Pack { part, expected, got } => {
                write!(f, "{part}: expected {expected}, got {got}")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<LayerError> for Error {
    fn from(error: LayerError) -> Self {
        Self::Layer(Box::new(error))
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<workload::manifest::ManifestError> for Error {
    fn from(error: workload::manifest::ManifestError) -> Self {
        Self::Manifest(error)
    }
}

impl From<workload::meta::TooLarge> for Error {
    fn from(error: workload::meta::TooLarge) -> Self {
        Self::TooLarge(error)
    }
}

impl From<enclave_image::LoadError> for Error {
    fn from(error: enclave_image::LoadError) -> Self {
        Self::Program(error)
    }
}

impl Error {
    /// Says what was being done when the system failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}
