//! `config.json` as the OCI runtime specification 1.3 gives it, as far as this runtime acts on it.
//!
//! Guarantees: unknown fields are tolerated (the specification demands it), `null` counts as absent (Go
//! programs write it for empty lists), a value of the wrong type is refused by the path of its field. It
//! does not judge values: [`validate`] does, before anything is made.

pub mod linux;
mod locate;
pub mod process;
pub mod resources;
pub mod validate;

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use linux::{
    IdMapping, Linux, LinuxDevice, MemoryPolicy, NamespaceType, Seccomp, SeccompArg, SeccompRule,
    TimeOffset,
};
pub use process::{Capabilities, Process, Rlimit, User};
pub use resources::Resources;

/// The specification version this crate implements, reported as `ociVersion`.
pub const OCI_VERSION: &str = "1.3.0";

/// The largest `config.json` that is read, in bytes. Real ones are under 100 KiB.
pub const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// `null` counts as absent.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)] // named as the specification names them
pub struct Spec {
    pub oci_version: String,
    pub process: Option<Process>,
    pub root: Option<Root>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub mounts: Vec<Mount>,
    #[serde(deserialize_with = "null_as_default")]
    pub hooks: Hooks,
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub linux: Linux,
}

/// `root`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Root {
    pub path: PathBuf,
    #[serde(deserialize_with = "null_as_default")]
    pub readonly: bool,
}

/// One entry of `mounts`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Mount {
    pub destination: PathBuf,
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub source: String,
    #[serde(deserialize_with = "null_as_default")]
    pub options: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_as_default")]
    pub gid_mappings: Vec<IdMapping>,
}

/// `hooks`: programs that run at points of the life cycle.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Hooks {
    #[serde(deserialize_with = "null_as_default")]
    pub prestart: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub create_runtime: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub create_container: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub start_container: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub poststart: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Hook {
    pub path: PathBuf,
    #[serde(deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

impl Spec {
    /// Reads and parses a file. It is read once: callers keep the bytes for the state directory.
    ///
    /// # Errors
    /// The file cannot be read, is absurdly large, or is not a configuration; the last names the field.
    pub fn load(file: &Path) -> Result<(Self, Vec<u8>)> {
        let bytes = read_limited(file)?;
        let spec = Self::parse(file, &bytes)?;
        Ok((spec, bytes))
    }

    /// Parses the bytes of a file. `file` is for messages.
    ///
    /// # Errors
    /// [`Error::Parse`] with the path of the field.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self> {
        parse_json(file, bytes)
    }
}

/// Parses any JSON file with the field named in the error.
///
/// # Errors
/// [`Error::Parse`].
pub fn parse_json<'a, T: Deserialize<'a>>(file: &Path, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::Parse {
        file: file.to_owned(),
        field: locate::field_at(bytes, error.line(), error.column()),
        line: error.line(),
        column: error.column(),
        message: locate::message(&error),
    })
}

/// Reads a file of at most [`MAX_CONFIG_BYTES`].
///
/// # Errors
/// As `open` and `read`; a larger file.
pub fn read_limited(file: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let io = |e: std::io::Error| Error::os_io("open", file, &e);
    let mut handle = std::fs::File::open(file).map_err(io)?;
    let length = handle.metadata().map_err(io)?.len();
    if length > MAX_CONFIG_BYTES {
        return Err(Error::TooLarge {
            file: file.to_owned(),
            limit: MAX_CONFIG_BYTES,
            got: length,
        });
    }
    // One byte more than the length lets `read_to_end` see the end without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    handle.by_ref().take(MAX_CONFIG_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(text: &str) -> String {
        match Spec::parse(Path::new("config.json"), text.as_bytes()) {
            Err(Error::Parse { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn null_and_unknown_fields_are_tolerated() {
        let text = r#"{"ociVersion":"9.9.9","mounts":null,"hooks":null,"linux":null,"zzz":{"a":[1]},
            "process":{"args":["a"],"env":null,"cwd":"/","rlimits":null,"user":{"uid":1,"new":2}}}"#;
        let spec = Spec::parse(Path::new("config.json"), text.as_bytes()).unwrap();
        assert!(spec.mounts.is_empty());
        assert_eq!(spec.process.unwrap().user.uid, 1);
    }

    #[test]
    fn a_wrong_type_is_named_by_its_field() {
        assert_eq!(field_of(r#"{"process":{"args":["a",7]}}"#), "process.args[1]");
        assert_eq!(field_of(r#"{"mounts":[{}, {"destination":{}}]}"#), "mounts[1].destination");
        assert_eq!(
            field_of("{\"linux\":{\n \"resources\":{\"memory\":{\"limit\":\"1g\"}}}}"),
            "linux.resources.memory.limit"
        );
        assert_eq!(field_of(r#"{"process":{"user":{"uid":-1}}}"#), "process.user.uid");
        assert_eq!(field_of(r#"{"process":{"terminal":1}}"#), "process.terminal");
    }

    #[test]
    fn a_cut_file_is_refused_at_every_length() {
        let text = r#"{"process":{"args":["a"],"cwd":"/"},"root":{"path":"r"}}"#;
        for length in 0..text.len() {
            assert!(Spec::parse(Path::new("c"), &text.as_bytes()[..length]).is_err(), "{length}");
        }
    }
}
