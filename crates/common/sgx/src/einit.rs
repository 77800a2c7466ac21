//! What EINIT checks before it makes an enclave runnable (SDM Vol. 3D, EINIT operation), as a pure function.
//!
//! Launch is by flexible launch control without an EINITTOKEN (VALID = 0), the only way that Linux offers.
//! The CPU has no CET for enclaves: CET fields must be 0. The CPU tells an error code; [`Refusal`] also tells
//! the field, what was expected and what came.

use crate::attributes::{AttributeFlags, Attributes, Miscselect};
use crate::hash::Sha256;
use crate::leaf::ErrorCode;
use crate::secs::Secs;
use crate::sigstruct::{Hex, Sigstruct, SigstructError};

/// Whose enclaves may start: what IA32_SGXLEPUBKEYHASH holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchControl<'a> {
    /// The driver writes each enclave's signer there, as Linux does: anyone's.
    Flexible,
    /// Those of these signers (MRSIGNER).
    Signers(&'a [[u8; 32]]),
}

/// An initialised enclave, as EINIT leaves its SECS: what reports say and keys depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Measurement.
    pub mrenclave: [u8; 32],
    /// Signer.
    pub mrsigner: [u8; 32],
    /// Attributes, INIT set.
    pub attributes: Attributes,
    /// MISCSELECT.
    pub miscselect: Miscselect,
    /// Product.
    pub isvprodid: u16,
    /// Security version.
    pub isvsvn: u16,
    /// Extended product id (KSS).
    pub isvextprodid: [u8; 16],
    /// Product family (KSS).
    pub isvfamilyid: [u8; 16],
    /// Configuration (KSS).
    pub configid: [u8; 64],
    /// Security version of the configuration (KSS).
    pub configsvn: u16,
}

/// Why EINIT refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// SIGSTRUCT itself: form or signature.
    Sigstruct(SigstructError),
    /// A field of SIGSTRUCT is used without the feature that it belongs to.
    Unsupported {
        /// The field.
        field: &'static str,
        /// The attribute that is missing.
        needs: &'static str,
    },
    /// The enclave is not the signed one: a page, its place, its permissions or their order was changed.
    Measurement {
        /// SIGSTRUCT.ENCLAVEHASH.
        expected: [u8; 32],
        /// MRENCLAVE of what was loaded.
        got: [u8; 32],
    },
    /// The SECS is not as SIGSTRUCT demands. Values are under the mask.
    Secs {
        /// Field of the SECS; a single flag of ATTRIBUTES by its name.
        field: &'static str,
        /// What SIGSTRUCT demands.
        expected: u64,
        /// What the SECS has.
        got: u64,
    },
    /// The signer may not sign launch enclaves (ATTRIBUTES.EINITTOKENKEY).
    LaunchKey {
        /// MRSIGNER.
        got: [u8; 32],
    },
    /// The signer's enclaves may not start here.
    Signer {
        /// MRSIGNER.
        got: [u8; 32],
    },
}

impl Refusal {
    /// What EINIT returns in EAX.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Sigstruct(error) => error.code(),
            Self::Unsupported { .. } => ErrorCode::InvalidSigStruct,
            Self::Measurement { .. } => ErrorCode::InvalidMeasurement,
            Self::Secs { .. } | Self::LaunchKey { .. } => ErrorCode::InvalidAttribute,
            Self::Signer { .. } => ErrorCode::InvalidEinittoken,
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Sigstruct(error) => error.fmt(f)?,
            Self::Unsupported { field, needs } => {
                write!(f, "SIGSTRUCT.{field}: expected 0 without {needs}, got another value")?;
            }
            Self::Measurement { expected, got } => {
                write!(f, "MRENCLAVE: expected {}, got {}", Hex(expected), Hex(got))?;
            }
            Self::Secs { field, expected, got } => {
                write!(f, "SECS.{field}: expected {expected:#x}, got {got:#x}")?;
            }
            Self::LaunchKey { got } => write!(
                f,
                "SECS.ATTRIBUTES.EINITTOKENKEY: expected a signer of launch enclaves, got {}",
                Hex(got)
            )?,
            Self::Signer { got } => {
                write!(f, "MRSIGNER: expected an allowed signer, got {}", Hex(got))?;
            }
        }
        write!(f, " ({})", self.code())
    }
}

impl core::error::Error for Refusal {}

impl From<SigstructError> for Refusal {
    fn from(error: SigstructError) -> Self {
        Self::Sigstruct(error)
    }
}

/// Whether an enclave may be initialised, and as whom. `secs` is as ECREATE took it; `mrenclave` is what was
/// measured since.
///
/// # Errors
/// The first check that fails, in the order of the manual.
pub fn check<H: Sha256>(
    secs: &Secs,
    mrenclave: [u8; 32],
    sigstruct: &[u8; Sigstruct::SIZE],
    launch: LaunchControl<'_>,
) -> Result<Identity, Refusal> {
    let sigstruct = Sigstruct::parse_verified::<H>(sigstruct)?;
    check_features(secs, &sigstruct)?;
    if sigstruct.enclavehash != mrenclave {
        return Err(Refusal::Measurement { expected: sigstruct.enclavehash, got: mrenclave });
    }
    let mrsigner = sigstruct.mrsigner::<H>();
    let is_allowed = match launch {
        LaunchControl::Flexible => true,
        LaunchControl::Signers(signers) => signers.contains(&mrsigner),
    };
    if secs.attributes.flags.contains(AttributeFlags::EINITTOKENKEY) && !is_allowed {
        return Err(Refusal::LaunchKey { got: mrsigner });
    }
    check_demands(secs, &sigstruct)?;
    if !is_allowed {
        return Err(Refusal::Signer { got: mrsigner });
    }
    let mut attributes = secs.attributes;
    attributes.flags.insert(AttributeFlags::INIT);
    Ok(Identity {
        mrenclave,
        mrsigner,
        attributes,
        miscselect: secs.miscselect,
        isvprodid: sigstruct.isvprodid,
        isvsvn: sigstruct.isvsvn,
        isvextprodid: sigstruct.isvextprodid,
        isvfamilyid: sigstruct.isvfamilyid,
        configid: secs.configid,
        configsvn: secs.configsvn,
    })
}

/// Fields of later features are 0 where the feature is off. The manual's operation section names only
/// ISVFAMILYID; ISVEXTPRODID is held to the same, since without KSS no key can depend on it.
fn check_features(secs: &Secs, sigstruct: &Sigstruct) -> Result<(), Refusal> {
    if sigstruct.cet_attributes != 0 {
        return Err(Refusal::Unsupported { field: "CET_ATTRIBUTES", needs: "CET" });
    }
    if sigstruct.cet_attributes_mask != 0 {
        return Err(Refusal::Unsupported { field: "CET_ATTRIBUTES_MASK", needs: "CET" });
    }
    if !secs.attributes.flags.contains(AttributeFlags::KSS) {
        for (field, value) in
            [("ISVFAMILYID", sigstruct.isvfamilyid), ("ISVEXTPRODID", sigstruct.isvextprodid)]
        {
            if value != [0; 16] {
                return Err(Refusal::Unsupported { field, needs: "ATTRIBUTES.KSS" });
            }
        }
    }
    Ok(())
}

/// ATTRIBUTES and MISCSELECT under their masks.
fn check_demands(secs: &Secs, sigstruct: &Sigstruct) -> Result<(), Refusal> {
    let mask = sigstruct.attributemask;
    let (expected, got) = (sigstruct.attributes.masked(mask), secs.attributes.masked(mask));
    let differing = expected.flags.symmetric_difference(got.flags);
    if !differing.is_empty() {
        // One flag alone is named: that is what people look for (DEBUG).
        let (field, flag) = match differing.iter_names().next() {
            Some((name, flag)) if flag == differing => (flag_field(name), flag),
            _ => ("ATTRIBUTES.FLAGS", AttributeFlags::from_bits_retain(u64::MAX)),
        };
        let value = |flags: AttributeFlags| {
            if flag.bits() == u64::MAX { flags.bits() } else { flags.contains(flag).into() }
        };
        return Err(Refusal::Secs {
            field,
            expected: value(expected.flags),
            got: value(got.flags),
        });
    }
    let numbers = [
        ("ATTRIBUTES.XFRM", expected.xfrm.bits(), got.xfrm.bits()),
        (
            "MISCSELECT",
            sigstruct.miscselect.intersection(sigstruct.miscmask).bits().into(),
            secs.miscselect.intersection(sigstruct.miscmask).bits().into(),
        ),
    ];
    match numbers.into_iter().find(|(_, expected, got)| expected != got) {
        None => Ok(()),
        Some((field, expected, got)) => Err(Refusal::Secs { field, expected, got }),
    }
}

/// `ATTRIBUTES.` and the flag's name.
fn flag_field(name: &str) -> &'static str {
    match name {
        "INIT" => "ATTRIBUTES.INIT",
        "DEBUG" => "ATTRIBUTES.DEBUG",
        "MODE64BIT" => "ATTRIBUTES.MODE64BIT",
        "PROVISIONKEY" => "ATTRIBUTES.PROVISIONKEY",
        "EINITTOKENKEY" => "ATTRIBUTES.EINITTOKENKEY",
        "CET" => "ATTRIBUTES.CET",
        "KSS" => "ATTRIBUTES.KSS",
        "AEXNOTIFY" => "ATTRIBUTES.AEXNOTIFY",
        _ => "ATTRIBUTES.FLAGS",
    }
}
