//! The workload manifest: what an enclave may be asked to run, measured into MRENCLAVE.
//!
//! Its bytes are canonical JSON: compact, members in the order of the structures below, maps sorted by key,
//! every member present. [`Manifest::parse`] refuses any other spelling, so one manifest has one
//! measurement, and whatever it does not know, so a rule this version cannot enforce never passes for
//! enforced. TOML for people lives in `convert`, which fills in what comes from the image.
//!
//! A manifest says nothing secret: it can be read out of the enclave file.

use crate::digest::Digest;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

pub use crate::attester::{Attester, AttesterLevel, AttesterVerify};
pub use crate::network::{AddressRule, BadRule, ConnectRule, Network, PortRule, Protocol};
pub use crate::rules::{
    ArgvRule, Availability, EnvRule, ExecRule, InputRule, MountRule, Reserved, Signal,
};
pub use crate::validate::{Invalid, ManifestError, interpreter};

/// Version of the format that this crate reads and writes.
pub const FORMAT: u32 = 1;

/// Longest manifest that is read, in bytes.
pub const MAX_LENGTH: usize = 4 << 20;

/// The measured description of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the runtime (enclave-rt and libos) the manifest was written for.
    pub runtime_version: String,
    /// The root file system.
    pub root: Root,
    /// The first process.
    pub process: Process,
    /// Commands that `exec` may start, each by its full argv.
    pub exec: Vec<ExecRule>,
    /// Mounts that are admitted, by destination. Any other is dropped.
    pub mounts: BTreeMap<String, MountRule>,
    /// Files that engines write for a container: none is trusted.
    pub inputs: Inputs,
    /// Signals that pass from the host to the first process (or an exec session's). SIGKILL is not one of
    /// them: the host can always stop the enclave.
    pub signals: Vec<Signal>,
    /// Size of the enclave.
    pub enclave: Enclave,
    /// Which sockets of the host programs may have.
    pub network: Network,
    /// The attester, if the workload has one.
    pub attester: Option<Attester>,
    /// Where keys come from; not in this version.
    pub key_broker: Reserved,
    /// Who may open `/dev/attestation/*`.
    pub attestation: AttestationFiles,
    /// Identity fields that SIGSTRUCT and the sealing keys use.
    pub identity: Identity,
    /// Whether the enclave is a debug enclave, whose memory the host can read.
    pub debug: bool,
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// fs-verity digest of the metadata blob (`workload::meta`).
    pub digest: Digest,
    /// Length of the metadata blob in bytes.
    pub size: u64,
    /// What the tree was computed from.
    pub source: Source,
}

/// What a root file system was computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The layers of an image: anyone who has the image can recompute the digest.
    Layers,
    /// A directory: not recomputable from a reference.
    Directory,
}

/// The first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its command line.
    pub argv: ArgvRule,
    /// Its environment, by name. Of any other variable a dangerous one ([`crate::env`]) is refused and the
    /// rest are dropped.
    pub env: BTreeMap<String, EnvRule>,
    /// Its working directory, absolute.
    pub cwd: String,
    /// Whose it is.
    pub user: User,
    /// Standard input. `denied`: programs read end of file, whatever the host connects.
    pub stdin: Availability,
    /// A terminal. `denied`: a request for one is refused.
    pub tty: Availability,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, ascending, without duplicates.
    pub additional_gids: Vec<u32>,
}

/// What engines write into a container at start. `drop` leaves the image's own file (or, for the host name,
/// `localhost`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)] // for rules; `parse` wants every member
pub struct Inputs {
    /// /etc/hosts.
    pub hosts: InputRule,
    /// /etc/hostname and the host name of the UTS namespace.
    pub hostname: InputRule,
    /// /etc/resolv.conf.
    pub resolv_conf: InputRule,
}

/// Size of the enclave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enclave {
    /// Size of ELRANGE in bytes: a power of two, at least [`Enclave::MIN_SIZE`].
    pub size: u64,
    /// Most threads (TCSs) at once, at least [`Enclave::MIN_THREADS`].
    pub threads: u32,
    /// Most bytes of the library OS's heap.
    pub heap_max: u64,
}

impl Enclave {
    /// Smallest ELRANGE: 64 MiB.
    pub const MIN_SIZE: u64 = 64 << 20;
    /// Default ELRANGE: 2^36, the largest that every SGX2 processor offers.
    pub const DEFAULT_SIZE: u64 = 1 << 36;
    /// Largest ELRANGE: the 47-bit user address space.
    pub const MAX_SIZE: u64 = 1 << 46;
    /// The library OS's event thread and one program thread.
    pub const MIN_THREADS: u32 = 2;
    /// More than any host gives.
    pub const MAX_THREADS: u32 = 1 << 16;

    /// First address of the library OS's region: below it is user space, above it are the heap, the thread
    /// slots, the manifest and the enclave image.
    #[must_use]
    pub const fn kernel_base(size: u64) -> u64 {
        let reserve = size / 4;
        let least = 32 << 20;
        size - if reserve > least { reserve } else { least }
    }
}

impl Default for Enclave {
    fn default() -> Self {
        Self { size: Self::DEFAULT_SIZE, threads: 64, heap_max: 1 << 30 }
    }
}

/// Who may open `/dev/attestation/*`. Empty: nobody, whoever it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)] // for rules; `parse` wants every member
pub struct AttestationFiles {
    /// User ids, ascending. User 0 is no exception.
    pub uids: Vec<u32>,
    /// Names below /dev/attestation out of [`NAMES`](Self::NAMES), ascending.
    pub files: Vec<String>,
}

impl AttestationFiles {
    /// What there is to open; `keys` is everything in that directory.
    pub const NAMES: &[&str] = &[
        "attestation_type",
        "bound",
        "claims",
        "keys",
        "my_target_info",
        "quote",
        "report",
        "target_info",
        "user_report_data",
    ];
}

/// Identity fields. The first four go into SIGSTRUCT, which signs them beside MRENCLAVE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)] // for rules; `parse` wants every member
pub struct Identity {
    /// ISVPRODID.
    pub isv_prod_id: u16,
    /// ISVSVN.
    pub isv_svn: u16,
    /// ISVEXTPRODID and ISVFAMILYID, which ask for KSS.
    pub kss: Option<Kss>,
    /// The only non-zero CONFIGID the enclave starts with; needs `kss`.
    pub config_id: Option<ConfigId>,
}

/// Key separation and sharing: the workload identity that a signing service allots per tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kss {
    /// ISVEXTPRODID, 32 hexadecimal digits.
    pub ext_prod_id: Hex<16>,
    /// ISVFAMILYID, 32 hexadecimal digits.
    pub family_id: Hex<16>,
}

/// CONFIGID, 128 hexadecimal digits.
pub type ConfigId = Hex<64>;

pub use crate::digest::Hex;

impl Manifest {
    /// Reads and validates the measured bytes.
    ///
    /// # Errors
    /// Too long, not JSON, an unknown or missing member, a value out of range, or not the canonical spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_LENGTH {
            return Err(ManifestError::TooLong { expected_at_most: MAX_LENGTH, got: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Syntax(error.to_string()))?;
        manifest.validate()?;
        let canonical = manifest.to_canonical();
        if canonical != bytes {
            let at = canonical.iter().zip(bytes).take_while(|(a, b)| a == b);
            return Err(ManifestError::NotCanonical { at: at.count() });
        }
        Ok(manifest)
    }

    /// The measured bytes.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no map key that is not a string, no failing Serialize")
    }

    /// Whether the enclave may ask the host for sockets at all.
    #[must_use]
    pub fn has_host_sockets(&self) -> bool {
        !self.network.is_empty() || self.attester.is_some()
    }

    /// Checks ranges and the relations between members.
    ///
    /// # Errors
    /// The first member that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        crate::validate::manifest(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;

    pub(crate) fn example() -> Manifest {
        Manifest {
            format: FORMAT,
            runtime_version: "0.1.0".into(),
            root: Root { digest: crate::digest::Hex([7; 32]), size: 8192, source: Source::Layers },
            process: Process {
                argv: ArgvRule::Exact(vec!["/bin/server".into(), "--port=1".into()]),
                env: [("PATH".into(), EnvRule::Exact("/bin".into())), ("TZ".into(), EnvRule::Any)]
                    .into(),
                cwd: "/".into(),
                user: User::default(),
                stdin: Availability::Denied,
                tty: Availability::Denied,
            },
            exec: vec![],
            mounts: BTreeMap::new(),
            inputs: Inputs::default(),
            signals: Signal::DEFAULT.to_vec(),
            enclave: Enclave::default(),
            network: Network::default(),
            attester: None,
            key_broker: Reserved,
            attestation: AttestationFiles::default(),
            identity: Identity::default(),
            debug: false,
        }
    }

    fn refused(change: impl FnOnce(&mut Manifest)) -> alloc::string::String {
        let mut manifest = example();
        change(&mut manifest);
        Manifest::parse(&manifest.to_canonical()).unwrap_err().to_string()
    }

    #[test]
    fn canonical_bytes_round_trip() {
        let manifest = example();
        let bytes = manifest.to_canonical();
        assert_eq!(Manifest::parse(&bytes), Ok(manifest));
        let text = core::str::from_utf8(&bytes).unwrap();
        assert!(
            text.starts_with(r#"{"format":1,"runtime_version":"0.1.0","root":{"digest":"0707"#)
        );
        assert!(text.contains(r#""env":{"PATH":{"exact":"/bin"},"TZ":"any"}"#), "{text}");
        assert!(text.contains(r#""signals":["TERM","INT","HUP","WINCH"]"#), "{text}");
        assert!(text.contains(r#""network":{"connect":[],"listen":[]}"#), "{text}");
    }

    #[test]
    fn another_spelling_is_refused() {
        let bytes = example().to_canonical();
        let text = alloc::string::String::from_utf8(bytes.clone()).unwrap();
        let spaced = text.replace(":1,", ": 1,");
        assert_eq!(Manifest::parse(spaced.as_bytes()), Err(ManifestError::NotCanonical { at: 10 }));
        let with_newline = text.clone() + "\n";
        assert!(matches!(
            Manifest::parse(with_newline.as_bytes()),
            Err(ManifestError::NotCanonical { .. })
        ));
    }

    #[test]
    fn refused_fields() {
        let text = alloc::string::String::from_utf8(example().to_canonical()).unwrap();
        for (from, to) in [
            (r#""debug":false"#, r#""debug":false,"extra":1"#),
            (r#""debug":false"#, r#""debug":0"#),
            (r#""listen":[]"#, r#""listen":[65536]"#),
            (r#""listen":[]"#, r#""listen":[],"bind":[]"#),
            (r#""connect":[]"#, r#""connect":[{"address":"any","port":0,"protocol":"tcp"}]"#),
            (r#""connect":[],"#, ""),
            (r#""attester":null"#, r#""attester":{}"#),
            (r#""stdin":"denied""#, r#""stdin":"maybe""#),
            (r#""TERM""#, r#""KILL""#),
            (r#""format":1,"#, ""),
        ] {
            assert!(text.contains(from));
            let changed = text.replacen(from, to, 1);
            assert!(
                matches!(Manifest::parse(changed.as_bytes()), Err(ManifestError::Syntax(_))),
                "{from} -> {to}"
            );
        }
        for end in 0..text.len() {
            assert!(Manifest::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn values_out_of_range_name_field_expected_and_got() {
        for (got, want) in [
            (refused(|m| m.format = 2), "format: expected 1, got 2"),
            (
                refused(|m| m.enclave.size = 3 << 30),
                "enclave.size: expected a power of two from 67108864 to 70368744177664, got 3221225472",
            ),
            (refused(|m| m.enclave.threads = 1), "enclave.threads: expected 2 to 65536, got 1"),
            (
                refused(|m| m.process.cwd = "a".into()),
                "process.cwd: expected an absolute path without NUL, \"..\" or empty parts, got \"a\"",
            ),
            (
                refused(|m| m.process.argv = ArgvRule::Exact(vec![])),
                "process.argv: expected at least one argument, got none",
            ),
            (
                refused(|m| {
                    m.process.argv = ArgvRule::Prefix {
                        argv: vec!["/usr/bin/python3.11".into(), "-m".into()],
                        force: false,
                    };
                }),
                "process.argv.force: expected true for a prefix rule on the interpreter \"python3.11\", got false",
            ),
            (
                refused(|m| m.signals = vec![m.signals[0], m.signals[0]]),
                "signals: expected each signal once, got \"TERM\" twice",
            ),
            (
                refused(|m| m.attestation.files = vec!["quotes".into()]),
                "attestation.files: expected any of attestation_type, bound, claims, keys, my_target_info, \
                 quote, report, target_info, user_report_data, got \"quotes\"",
            ),
            (
                refused(|m| m.attestation.files = vec!["quote".into(), "quote".into()]),
                "attestation.files: expected ascending names, got \"quote\" before \"quote\"",
            ),
        ] {
            assert_eq!(got, want);
        }
    }
}
