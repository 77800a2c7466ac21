//! Reports and seal keys: from what the library OS asks to the operands of EREPORT and EGETKEY.

use libos::attestation::ReportData;
use libos::platform::{
    BadTarget, NoKey, REPORT_SIZE, SealRequest, SealTo, TARGETINFO_SIZE, Versions,
};
use sgx::{
    AttributeFlags, Attributes, ErrorCode, KeyName, KeyPolicy, Keyrequest, Miscselect, ReportBody,
    Targetinfo, Xfrm,
};
use zeroize::Zeroizing;

use crate::{host, leaf};

/// What another enclave needs to make a report for this one.
pub(crate) fn own_target() -> [u8; TARGETINFO_SIZE] {
    target_of(&leaf::own_report().body).to_bytes()
}

fn target_of(own: &ReportBody) -> Targetinfo {
    Targetinfo {
        measurement: own.mrenclave,
        attributes: own.attributes,
        cet_attributes: own.cet_attributes,
        configsvn: own.configsvn,
        miscselect: own.miscselect,
        configid: own.configid,
    }
}

/// A report for the enclave that `target` names.
pub(crate) fn report(
    target: &[u8; TARGETINFO_SIZE],
    data: &ReportData,
) -> Result<[u8; REPORT_SIZE], BadTarget> {
    // A reserved byte may mean something to a later CPU, and #GP in the run time ends the enclave.
    let target = Targetinfo::parse(target).map_err(|_| {
        let known = Targetinfo::from_bytes(target).to_bytes();
        let reserved = target.iter().zip(known).find(|(got, known)| **got != *known);
        BadTarget { got: reserved.map_or(0, |(got, _)| *got) }
    })?;
    Ok(leaf::report(&target, data.bytes()).to_bytes())
}

/// A seal key.
pub(crate) fn seal_key(request: &SealRequest) -> Result<Zeroizing<[u8; 16]>, NoKey> {
    let request = key_request(&leaf::own_report().body, request)?;
    leaf::get_key(&request).map_err(|code| match ErrorCode::from_number(code) {
        Some(ErrorCode::InvalidCpusvn | ErrorCode::InvalidIsvsvn) => NoKey::Version,
        _ => host::refuse(format_args!("EGETKEY of a seal key: expected 0, got {code}")),
    })
}

/// The request for a seal key of the enclave whose report body is `own`.
fn key_request(own: &ReportBody, request: &SealRequest) -> Result<Keyrequest, NoKey> {
    let keypolicy = match request.to {
        SealTo::Enclave => KeyPolicy::MRENCLAVE,
        SealTo::Workload => {
            // Zeros are what every enclave without an identity has: the key would be the signer's alone.
            let has_identity = own.attributes.flags.contains(AttributeFlags::KSS)
                && (own.isvextprodid != [0; 16] || own.isvfamilyid != [0; 16]);
            if !has_identity {
                return Err(NoKey::NoIdentity);
            }
            KeyPolicy::MRSIGNER | KeyPolicy::ISVEXTPRODID | KeyPolicy::ISVFAMILYID
        }
    };
    let own_versions = Versions { isvsvn: own.isvsvn, cpusvn: own.cpusvn };
    let Versions { isvsvn, cpusvn } = request.versions.unwrap_or(own_versions);
    Ok(Keyrequest {
        keyname: KeyName::Seal as u16,
        keypolicy,
        isvsvn,
        cet_attributes_mask: 0,
        cpusvn,
        // A debug enclave, whose memory the host reads, never gets the key of one that is none. XFRM is left
        // out: it is the processor's and no right.
        attributemask: Attributes {
            flags: AttributeFlags::INIT | AttributeFlags::DEBUG,
            xfrm: Xfrm::empty(),
        },
        keyid: request.key_id,
        miscmask: Miscselect::empty(),
        configsvn: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sgx::einit::Identity;
    use sgx::keys::Platform;

    const PLATFORM: Platform =
        Platform { root: [1; 16], seal_fuses: [2; 16], owner_epoch: [3; 16], cpusvn: [4; 16] };

    fn identity() -> Identity {
        Identity {
            mrenclave: [0xe1; 32],
            mrsigner: [0x51; 32],
            attributes: Attributes {
                flags: AttributeFlags::INIT | AttributeFlags::MODE64BIT | AttributeFlags::KSS,
                xfrm: Xfrm::LEGACY,
            },
            miscselect: Miscselect::EXINFO,
            isvprodid: 1,
            isvsvn: 5,
            isvextprodid: [0xe0; 16],
            isvfamilyid: [0xfa; 16],
            configid: [0; 64],
            configsvn: 0,
        }
    }

    /// What the enclave with this identity gets.
    fn key(identity: &Identity, request: &SealRequest) -> Result<[u8; 16], NoKey> {
        let body = PLATFORM.ereport(identity, &Targetinfo::default(), &[0; 64], &[0; 32]).body;
        let request = key_request(&body, request)?.to_bytes();
        PLATFORM.egetkey(identity, &request).map_err(|_| NoKey::Version)
    }

    fn with(change: impl FnOnce(&mut Identity)) -> Identity {
        let mut changed = identity();
        change(&mut changed);
        changed
    }

    fn request(to: SealTo) -> SealRequest {
        SealRequest { to, key_id: [9; 32], versions: None }
    }

    #[test]
    fn the_default_key_is_the_enclaves_alone() {
        let of = |identity: &Identity| key(identity, &request(SealTo::Enclave)).unwrap();
        assert_eq!(of(&identity()), of(&identity()));
        assert_ne!(of(&with(|other| other.mrenclave[0] ^= 1)), of(&identity()));
        // Without KSS too.
        let plain = with(|plain| plain.attributes.flags.remove(AttributeFlags::KSS));
        assert_eq!(of(&plain), of(&plain));
    }

    #[test]
    fn an_upgrade_keeps_the_workloads_key_and_nobody_else_has_it() {
        let of = |identity: &Identity| key(identity, &request(SealTo::Workload)).unwrap();
        assert_eq!(of(&with(|upgraded| upgraded.mrenclave[0] ^= 1)), of(&identity()));
        assert_ne!(of(&with(|other| other.mrsigner[0] ^= 1)), of(&identity()));
        assert_ne!(of(&with(|other| other.isvextprodid[0] ^= 1)), of(&identity()));
        assert_ne!(of(&with(|other| other.isvfamilyid[0] ^= 1)), of(&identity()));
        assert_ne!(of(&with(|other| other.isvprodid += 1)), of(&identity()));
        assert_ne!(of(&identity()), key(&identity(), &request(SealTo::Enclave)).unwrap());
    }

    #[test]
    fn the_signer_alone_never_has_a_key() {
        let no_kss = with(|plain| plain.attributes.flags.remove(AttributeFlags::KSS));
        let no_identity = with(|plain| {
            plain.isvextprodid = [0; 16];
            plain.isvfamilyid = [0; 16];
        });
        for identity in [no_kss, no_identity] {
            assert_eq!(key(&identity, &request(SealTo::Workload)), Err(NoKey::NoIdentity));
        }
    }

    #[test]
    fn debug_and_the_volume_make_another_key() {
        for to in [SealTo::Enclave, SealTo::Workload] {
            let plain = key(&identity(), &request(to)).unwrap();
            let debug = with(|debug| debug.attributes.flags |= AttributeFlags::DEBUG);
            assert_ne!(key(&debug, &request(to)).unwrap(), plain);
            let other = SealRequest { key_id: [8; 32], ..request(to) };
            assert_ne!(key(&identity(), &other).unwrap(), plain);
        }
    }

    #[test]
    fn keys_of_earlier_versions_can_be_had_and_later_ones_cannot() {
        let at = |isvsvn, cpusvn| SealRequest {
            versions: Some(Versions { isvsvn, cpusvn }),
            ..request(SealTo::Workload)
        };
        let before = with(|before| before.isvsvn = 4);
        let old_key = key(&before, &request(SealTo::Workload)).unwrap();
        assert_ne!(old_key, key(&identity(), &request(SealTo::Workload)).unwrap());
        assert_eq!(key(&identity(), &at(4, [4; 16])), Ok(old_key));
        assert_eq!(key(&before, &at(5, [4; 16])), Err(NoKey::Version));
        assert_eq!(key(&identity(), &at(5, [5; 16])), Err(NoKey::Version));
    }

    #[test]
    fn a_report_for_the_own_target_verifies_with_the_own_report_key() {
        let body = PLATFORM.ereport(&identity(), &Targetinfo::default(), &[0; 64], &[0; 32]).body;
        let target = target_of(&body);
        let other = with(|other| other.mrenclave = [7; 32]);
        let report = PLATFORM.ereport(&other, &target, &[6; 64], &[5; 32]);
        let request = Keyrequest {
            keyname: KeyName::Report as u16,
            keyid: report.keyid,
            ..Keyrequest::default()
        };
        let key = PLATFORM.egetkey(&identity(), &request.to_bytes()).unwrap();
        assert_eq!(sgx::keys::report_mac(&key, &report.body), report.mac);
    }
}
