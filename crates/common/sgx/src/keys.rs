//! EGETKEY and EREPORT: keys that depend on who asks (SDM Vol. 3D, their operation sections).
//!
//! Which fields a key depends on, and what is refused, is the manual's. How a CPU packs them and what its
//! secrets are is not public: here they are the fields of [`KeyDependencies`] under AES-CMAC with a
//! [`Platform`] secret. So a key is as secret as that secret, which for the emulator means: not from
//! its host.
//!
//! Not constant-time where the crate aes is not; not for use inside an enclave.

use aes::Aes128;
use cmac::{Cmac, KeyInit, Mac};

use crate::attributes::{AttributeFlags, Attributes, Miscselect};
use crate::einit::Identity;
use crate::keyrequest::{KeyName, KeyPolicy, Keyrequest};
use crate::layout::{LayoutError, layout};
use crate::leaf::ErrorCode;
use crate::report::{Report, ReportBody, Targetinfo};
use crate::sigstruct::PADDING;

/// What is one CPU's alone.
#[derive(Clone)]
pub struct Platform {
    /// Root of all keys but the provisioning one's dependence on the fuses: uniformly random, kept secret.
    pub root: [u8; 16],
    /// SEAL_KEY_FUSES: uniformly random, kept secret.
    pub seal_fuses: [u8; 16],
    /// CR_SGXOWNEREPOCH: changed, it changes all keys but those for provisioning.
    pub owner_epoch: [u8; 16],
    /// CR_CPUSVN. Each byte is a component's version.
    pub cpusvn: [u8; 16],
}

layout! {
    /// What a key is derived from. The packing is our own: the manual leaves it to the CPU.
    pub struct KeyDependencies: 648 {
        /// KEYNAME.
        keyname: u16 = 0,
        /// KEYPOLICY.
        keypolicy: KeyPolicy = 2,
        /// ISVPRODID.
        isvprodid: u16 = 4,
        /// ISVSVN.
        isvsvn: u16 = 6,
        /// CONFIGSVN.
        configsvn: u16 = 8,
        /// MISCSELECT.
        miscselect: Miscselect = 12,
        /// MISCMASK, inverted where the manual inverts it.
        miscmask: Miscselect = 16,
        /// ISVEXTPRODID.
        isvextprodid: [u8; 16] = 24,
        /// ISVFAMILYID.
        isvfamilyid: [u8; 16] = 40,
        /// ATTRIBUTES.
        attributes: Attributes = 56,
        /// ATTRIBUTESMASK.
        attributemask: Attributes = 72,
        /// CPUSVN.
        cpusvn: [u8; 16] = 88,
        /// SGXOWNEREPOCH.
        owner_epoch: [u8; 16] = 104,
        /// SEAL_KEY_FUSES.
        seal_fuses: [u8; 16] = 120,
        /// MRENCLAVE.
        mrenclave: [u8; 32] = 136,
        /// MRSIGNER.
        mrsigner: [u8; 32] = 168,
        /// KEYID.
        keyid: [u8; 32] = 200,
        /// CONFIGID.
        configid: [u8; 64] = 232,
        /// PADDING: the constant of EINIT's signature check, most significant byte first.
        padding: [u8; 352] = 296,
    }
}

/// Why EGETKEY gives no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgetkeyError {
    /// #GP(0): a reserved byte of KEYREQUEST is not zero.
    Reserved(LayoutError),
    /// #GP(0): a field of KEYREQUEST has bits that are reserved, or that need ATTRIBUTES.KSS.
    Field {
        /// The field.
        field: &'static str,
        /// The bits.
        got: u64,
    },
    /// ZF = 1 and this in EAX.
    Code(ErrorCode),
}

impl core::fmt::Display for EgetkeyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Reserved(error) => write!(f, "#GP: {error}"),
            Self::Field { field, got } => {
                write!(f, "#GP: KEYREQUEST.{field}: expected none of these bits, got {got:#x}")
            }
            Self::Code(code) => code.fmt(f),
        }
    }
}

impl core::error::Error for EgetkeyError {}

impl Platform {
    /// EGETKEY. Checks of addresses are the caller's.
    ///
    /// # Errors
    /// A malformed request (#GP), or one that the enclave may not make (error code).
    pub fn egetkey(
        &self,
        enclave: &Identity,
        keyrequest: &[u8; Keyrequest::SIZE],
    ) -> Result<[u8; 16], EgetkeyError> {
        let request = Keyrequest::parse(keyrequest).map_err(EgetkeyError::Reserved)?;
        check_request(enclave, &request)?;
        let name =
            KeyName::from_number(request.keyname).ok_or(refused(ErrorCode::InvalidKeyname))?;
        let needed = match name {
            KeyName::Einittoken => AttributeFlags::EINITTOKENKEY,
            KeyName::Provision | KeyName::ProvisionSeal => AttributeFlags::PROVISIONKEY,
            KeyName::Report | KeyName::Seal => AttributeFlags::empty(),
        };
        if !enclave.attributes.flags.contains(needed) {
            return Err(refused(ErrorCode::InvalidAttribute));
        }
        if name != KeyName::Report {
            self.check_versions(name, enclave, &request)?;
        }
        Ok(self.derive(&self.dependencies(name, enclave, &request)))
    }

    /// EREPORT. `keyid` is CR_REPORT_KEYID, chosen anew at each reset.
    #[must_use]
    pub fn ereport(
        &self,
        enclave: &Identity,
        target: &Targetinfo,
        reportdata: &[u8; 64],
        keyid: &[u8; 32],
    ) -> Report {
        let body = ReportBody {
            cpusvn: self.cpusvn,
            miscselect: enclave.miscselect,
            cet_attributes: 0,
            isvextprodid: enclave.isvextprodid,
            attributes: enclave.attributes,
            mrenclave: enclave.mrenclave,
            mrsigner: enclave.mrsigner,
            configid: enclave.configid,
            isvprodid: enclave.isvprodid,
            isvsvn: enclave.isvsvn,
            configsvn: enclave.configsvn,
            isvfamilyid: enclave.isvfamilyid,
            reportdata: *reportdata,
        };
        let key = self.derive(&KeyDependencies {
            attributes: target.attributes,
            miscselect: target.miscselect,
            mrenclave: target.measurement,
            configid: target.configid,
            configsvn: target.configsvn,
            ..self.report_dependencies(keyid)
        });
        Report { body, keyid: *keyid, mac: report_mac(&key, &body) }
    }

    /// CPUSVN, ISVSVN and CONFIGSVN are not beyond what runs.
    fn check_versions(
        &self,
        name: KeyName,
        enclave: &Identity,
        request: &Keyrequest,
    ) -> Result<(), EgetkeyError> {
        if request.cpusvn.iter().zip(self.cpusvn).any(|(&asked, current)| asked > current) {
            return Err(refused(ErrorCode::InvalidCpusvn));
        }
        let depends_on_config = matches!(name, KeyName::Seal | KeyName::ProvisionSeal);
        if request.isvsvn > enclave.isvsvn
            || depends_on_config && request.configsvn > enclave.configsvn
        {
            return Err(refused(ErrorCode::InvalidIsvsvn));
        }
        Ok(())
    }

    fn dependencies(
        &self,
        name: KeyName,
        enclave: &Identity,
        request: &Keyrequest,
    ) -> KeyDependencies {
        if name == KeyName::Report {
            return KeyDependencies {
                attributes: enclave.attributes,
                miscselect: enclave.miscselect,
                mrenclave: enclave.mrenclave,
                configid: enclave.configid,
                configsvn: enclave.configsvn,
                ..self.report_dependencies(&request.keyid)
            };
        }
        // INIT and DEBUG always count.
        let mut mask = request.attributemask;
        mask.flags |= AttributeFlags::INIT | AttributeFlags::DEBUG;
        let common = KeyDependencies {
            keyname: name as u16,
            isvprodid: enclave.isvprodid,
            isvsvn: request.isvsvn,
            cpusvn: request.cpusvn,
            attributes: enclave.attributes.masked(mask),
            miscselect: enclave.miscselect.intersection(request.miscmask),
            mrsigner: enclave.mrsigner,
            padding: PADDING,
            ..KeyDependencies::default()
        };
        let masks = KeyDependencies {
            attributemask: request.attributemask,
            miscmask: Miscselect::from_bits_retain(!request.miscmask.bits()),
            ..common
        };
        match name {
            KeyName::Einittoken => KeyDependencies {
                keyid: request.keyid,
                owner_epoch: self.owner_epoch,
                seal_fuses: self.seal_fuses,
                ..common
            },
            KeyName::Provision => masks,
            KeyName::ProvisionSeal => KeyDependencies {
                seal_fuses: self.seal_fuses,
                ..by_policy(masks, enclave, request)
            },
            KeyName::Seal | KeyName::Report => {
                let policy = request.keypolicy;
                let only_if = |bit, value| if policy.contains(bit) { value } else { [0; 32] };
                KeyDependencies {
                    keyid: request.keyid,
                    owner_epoch: self.owner_epoch,
                    seal_fuses: self.seal_fuses,
                    mrenclave: only_if(KeyPolicy::MRENCLAVE, enclave.mrenclave),
                    mrsigner: only_if(KeyPolicy::MRSIGNER, enclave.mrsigner),
                    ..by_policy(masks, enclave, request)
                }
            }
        }
    }

    /// What every report key depends on.
    fn report_dependencies(&self, keyid: &[u8; 32]) -> KeyDependencies {
        KeyDependencies {
            keyname: KeyName::Report as u16,
            keyid: *keyid,
            cpusvn: self.cpusvn,
            owner_epoch: self.owner_epoch,
            seal_fuses: self.seal_fuses,
            padding: PADDING,
            ..KeyDependencies::default()
        }
    }

    fn derive(&self, dependencies: &KeyDependencies) -> [u8; 16] {
        aes_cmac(&self.root, &dependencies.to_bytes())
    }
}

/// The MAC of a report under the target's report key. Compare it in constant time.
#[must_use]
pub fn report_mac(key: &[u8; 16], body: &ReportBody) -> [u8; 16] {
    aes_cmac(key, &body.to_bytes())
}

/// AES-128-CMAC (NIST SP 800-38B).
#[must_use]
pub fn aes_cmac(key: &[u8; 16], message: &[u8]) -> [u8; 16] {
    let mut mac = <Cmac<Aes128> as KeyInit>::new(key.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Reserved bits, and those that need KSS.
fn check_request(enclave: &Identity, request: &Keyrequest) -> Result<(), EgetkeyError> {
    let refuse = |field, got: u64| match got {
        0 => Ok(()),
        got => Err(EgetkeyError::Field { field, got }),
    };
    refuse("KEYPOLICY", request.keypolicy.difference(KeyPolicy::all()).bits().into())?;
    refuse("CET_ATTRIBUTES_MASK", request.cet_attributes_mask.into())?;
    if !enclave.attributes.flags.contains(AttributeFlags::KSS) {
        refuse("KEYPOLICY", request.keypolicy.intersection(KeyPolicy::KSS).bits().into())?;
        refuse("CONFIGSVN", request.configsvn.into())?;
    }
    Ok(())
}

/// The fields that KEYPOLICY adds or, for ISVPRODID, takes away.
fn by_policy(base: KeyDependencies, enclave: &Identity, request: &Keyrequest) -> KeyDependencies {
    let policy = request.keypolicy;
    let mut dependencies = KeyDependencies { keypolicy: policy, ..base };
    if policy.contains(KeyPolicy::NOISVPRODID) {
        dependencies.isvprodid = 0;
    }
    if policy.contains(KeyPolicy::CONFIGID) {
        dependencies.configid = enclave.configid;
        dependencies.configsvn = request.configsvn;
    }
    if policy.contains(KeyPolicy::ISVFAMILYID) {
        dependencies.isvfamilyid = enclave.isvfamilyid;
    }
    if policy.contains(KeyPolicy::ISVEXTPRODID) {
        dependencies.isvextprodid = enclave.isvextprodid;
    }
    dependencies
}

const fn refused(code: ErrorCode) -> EgetkeyError {
    EgetkeyError::Code(code)
}
