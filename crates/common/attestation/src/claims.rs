//! What evidence says once it was read: the same words for every TEE.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Serialize, Serializer};

use crate::hex::Hex;
use crate::tcb::TcbStatus;

/// A trusted execution environment, as verdicts and policies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tee {
    /// An SGX enclave, by quote.
    Sgx,
    /// A TDX trust domain, by quote.
    Tdx,
    /// An AMD SEV-SNP guest, by attestation report.
    Snp,
    /// An SGX enclave on the same machine, by local report.
    #[serde(rename = "sgx_la")]
    SgxLocal,
}

impl Tee {
    /// As verdicts print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
            Self::Snp => "snp",
            Self::SgxLocal => "sgx_la",
        }
    }
}

/// What runs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(
    clippy::large_enum_variant,
    reason = "one lives per verification; a box would need the heap"
)]
pub enum Measurement {
    /// An enclave.
    Sgx {
        /// Digest of the enclave's contents.
        #[serde(serialize_with = "hex")]
        mrenclave: [u8; 32],
        /// Digest of its signer's key.
        #[serde(serialize_with = "hex")]
        mrsigner: [u8; 32],
        /// Product, by its signer.
        isvprodid: u16,
        /// Security version of the product.
        isvsvn: u16,
    },
    /// A trust domain.
    Tdx {
        /// Digest of the initial contents.
        #[serde(serialize_with = "hex")]
        mrtd: [u8; 48],
        /// Runtime measurement registers.
        #[serde(serialize_with = "hex_list")]
        rtmr: [[u8; 48]; 4],
        /// Configuration that the owner gave.
        #[serde(serialize_with = "hex")]
        mrconfigid: [u8; 48],
        /// The owner.
        #[serde(serialize_with = "hex")]
        mrowner: [u8; 48],
        /// Configuration of the owner.
        #[serde(serialize_with = "hex")]
        mrownerconfig: [u8; 48],
    },
    /// A guest.
    Snp {
        /// Digest of the initial contents.
        #[serde(serialize_with = "hex")]
        measurement: [u8; 48],
        /// What the host was given at launch.
        #[serde(serialize_with = "hex")]
        host_data: [u8; 32],
        /// Security version of the guest.
        guest_svn: u32,
        /// Privilege level that asked for the report.
        vmpl: u32,
    },
}

/// Which machine it is. A field is `None` where the TEE has no such number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// Intel's platform provisioning id: the processor.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_option")]
    pub ppid: Option<[u8; 16]>,
    /// Intel's platform instance id: the machine of several processors, as it was registered.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_option")]
    pub platform_instance_id: Option<[u8; 16]>,
    /// AMD's chip id.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_option")]
    pub chip_id: Option<[u8; 64]>,
    /// Intel's model number; many machines share it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_option")]
    pub fmspc: Option<[u8; 6]>,
}

impl Platform {
    /// Whether one of the ids that single out a machine is this.
    #[must_use]
    pub fn is(&self, id: &[u8]) -> bool {
        self.ppid.is_some_and(|own| own == id)
            || self.platform_instance_id.is_some_and(|own| own == id)
            || self.chip_id.is_some_and(|own| own == id)
    }

    /// The id that singles out the machine best: instance, processor or chip.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        let instance = self.platform_instance_id.as_ref().map(<[u8; 16]>::as_slice);
        instance
            .or(self.ppid.as_ref().map(<[u8; 16]>::as_slice))
            .or(self.chip_id.as_ref().map(<[u8; 64]>::as_slice))
    }
}

/// The patch level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcb {
    /// The status of all components together.
    pub status: TcbStatus,
    /// Advisories that apply.
    pub advisories: Vec<String>,
    /// When the level was current, in Unix seconds.
    pub date: u64,
    /// The lower of the TCB evaluation data numbers of TCB info and QE identity.
    pub evaluation_data_number: u32,
}

/// What evidence claims. Alone it proves nothing: see
/// [`VerifiedEvidence`](crate::verify::VerifiedEvidence).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The kind of TEE.
    pub tee: Tee,
    /// Whether no vendor's hardware stands behind it.
    pub emulated: bool,
    /// What runs there.
    pub measurement: Measurement,
    /// Whether the host may look inside.
    pub debug: bool,
    /// What the evidence is bound to.
    pub report_data: [u8; 64],
    /// The patch level; `None` if none could be determined.
    pub tcb: Option<Tcb>,
    /// Which machine it is.
    pub platform: Platform,
    /// What only SNP evidence says, for its part of a policy.
    pub snp: Option<alloc::boxed::Box<crate::snp::SnpClaims>>,
}

pub(crate) fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(bytes))
}

fn hex_option<S: Serializer, const N: usize>(
    bytes: &Option<[u8; N]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => hex(bytes, serializer),
        None => serializer.serialize_none(),
    }
}

fn hex_list<S: Serializer>(list: &[[u8; 48]; 4], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|bytes| alloc::format!("{}", Hex(bytes))))
}
