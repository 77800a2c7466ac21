//! The image configuration (OCI image specification, "Image JSON"; Docker's is the same where it matters).

use super::fault;
use crate::error::ImageError;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What conversion reads of an image's configuration. Unknown members are none of its business.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImageConfig {
    /// Processor.
    #[serde(default)]
    pub architecture: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// The process.
    #[serde(default)]
    pub config: Option<ProcessConfig>,
    /// The layers.
    #[serde(default)]
    pub rootfs: RootFs,
}

/// The process fields. JSON's null is taken for absence throughout, as Docker writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProcessConfig {
    /// User and group, by name or number.
    pub user: Option<String>,
    /// Environment, `NAME=value` each.
    pub env: Option<Vec<String>>,
    /// Fixed start of the command line.
    pub entrypoint: Option<Vec<String>>,
    /// Default rest of the command line.
    pub cmd: Option<Vec<String>>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Mount points that engines put volumes on.
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
}

/// The layers, as archives.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RootFs {
    /// Digests of the uncompressed archives, lowest layer first.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

impl ImageConfig {
    /// Checks that the image is for this system.
    ///
    /// # Errors
    /// It is for another one.
    pub fn check(&self) -> Result<(), ImageError> {
        if self.os != "linux" {
            return Err(fault("config os", "linux", crate::tar::shown(self.os.as_bytes())));
        }
        if self.architecture != "amd64" {
            let got = crate::tar::shown(self.architecture.as_bytes());
            return Err(fault("config architecture", "amd64", got));
        }
        Ok(())
    }
}
