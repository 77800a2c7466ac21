//! EGETKEY and EREPORT: what each key depends on, and what is refused.

use sgx::einit::Identity;
use sgx::keys::{EgetkeyError, Platform, aes_cmac, report_mac};
use sgx::{
    AttributeFlags, Attributes, ErrorCode, KeyName, KeyPolicy, Keyrequest, LayoutError, Miscselect,
    Targetinfo, Xfrm,
};

const ALL_KEYS: [KeyName; 5] = [
    KeyName::Einittoken,
    KeyName::Provision,
    KeyName::ProvisionSeal,
    KeyName::Report,
    KeyName::Seal,
];

fn platform() -> Platform {
    Platform { root: [1; 16], seal_fuses: [2; 16], owner_epoch: [3; 16], cpusvn: [4; 16] }
}

/// An enclave that may ask for every key.
fn enclave() -> Identity {
    Identity {
        mrenclave: [5; 32],
        mrsigner: [6; 32],
        attributes: Attributes {
            flags: AttributeFlags::INIT
                | AttributeFlags::MODE64BIT
                | AttributeFlags::KSS
                | AttributeFlags::PROVISIONKEY
                | AttributeFlags::EINITTOKENKEY,
            xfrm: Xfrm::from_bits_retain(7),
        },
        miscselect: Miscselect::EXINFO,
        isvprodid: 8,
        isvsvn: 9,
        isvextprodid: [10; 16],
        isvfamilyid: [11; 16],
        configid: [12; 64],
        configsvn: 13,
    }
}

fn request(name: KeyName) -> Keyrequest {
    Keyrequest {
        keyname: name as u16,
        isvsvn: 9,
        cpusvn: [4; 16],
        attributemask: Attributes::from_bytes(&[0xff; 16]),
        miscmask: Miscselect::from_bits_retain(!0),
        keyid: [14; 32],
        ..Keyrequest::default()
    }
}

fn key(platform: &Platform, enclave: &Identity, request: &Keyrequest) -> [u8; 16] {
    platform.egetkey(enclave, &request.to_bytes()).unwrap()
}

/// The keys of `ALL_KEYS` that differ when platform, enclave and request are changed.
fn changed_by(
    change: impl Fn(&mut Platform, &mut Identity, &mut Keyrequest),
    policy: KeyPolicy,
) -> Vec<KeyName> {
    let differs = |&name: &KeyName| {
        let request = Keyrequest { keypolicy: policy, ..request(name) };
        let mut changed = (platform(), enclave(), request);
        change(&mut changed.0, &mut changed.1, &mut changed.2);
        key(&platform(), &enclave(), &request) != key(&changed.0, &changed.1, &changed.2)
    };
    ALL_KEYS.into_iter().filter(differs).collect()
}

/// NIST SP 800-38B, appendix D.1, examples 1, 2 and 3.
#[test]
fn cmac_is_nists() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    };
    let key: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c").try_into().unwrap();
    for (message, mac) in [
        ("", "bb1d6929e95937287fa37d129b756746"),
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca32611497c827",
        ),
    ] {
        assert_eq!(aes_cmac(&key, &hex(message))[..], hex(mac));
    }
}

#[test]
fn every_key_is_another() {
    let mut keys: Vec<_> =
        ALL_KEYS.iter().map(|&name| key(&platform(), &enclave(), &request(name))).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), ALL_KEYS.len());
}

/// The table "Key Derivation" of the manual, column by column.
#[test]
fn keys_depend_on_what_the_manual_says() {
    use KeyName::{Einittoken, Provision, ProvisionSeal, Report, Seal};
    let none = KeyPolicy::empty();
    assert_eq!(changed_by(|p, _, _| p.root[0] ^= 1, none), ALL_KEYS);
    assert_eq!(
        changed_by(|p, _, _| p.seal_fuses[0] ^= 1, none),
        [Einittoken, ProvisionSeal, Report, Seal]
    );
    assert_eq!(changed_by(|p, _, _| p.owner_epoch[0] ^= 1, none), [Einittoken, Report, Seal]);
    // The CPU's own version is in the report key; the others take the request's.
    assert_eq!(changed_by(|p, _, _| p.cpusvn[0] += 1, none), [Report]);
    let not_report = [Einittoken, Provision, ProvisionSeal, Seal];
    assert_eq!(changed_by(|_, _, r| r.cpusvn[15] -= 1, none), not_report);
    assert_eq!(changed_by(|_, _, r| r.isvsvn -= 1, none), not_report);
    assert_eq!(changed_by(|_, e, _| e.isvprodid ^= 1, none), not_report);
    assert_eq!(changed_by(|_, e, _| e.isvsvn += 1, none), []);
    assert_eq!(changed_by(|_, e, _| e.mrenclave[0] ^= 1, none), [Report]);
    assert_eq!(
        changed_by(|_, e, _| e.mrsigner[0] ^= 1, none),
        [Einittoken, Provision, ProvisionSeal]
    );
    assert_eq!(changed_by(|_, _, r| r.keyid[0] ^= 1, none), [Einittoken, Report, Seal]);
    assert_eq!(changed_by(|_, e, _| e.attributes.xfrm = Xfrm::LEGACY, none), ALL_KEYS);
    assert_eq!(changed_by(|_, e, _| e.miscselect = Miscselect::empty(), none), ALL_KEYS);
    assert_eq!(changed_by(|_, e, _| e.configid[63] ^= 1, none), [Report]);
    assert_eq!(changed_by(|_, e, _| e.configsvn += 1, none), [Report]);
    assert_eq!(changed_by(|_, e, _| e.isvfamilyid[0] ^= 1, none), []);
    assert_eq!(changed_by(|_, e, _| e.isvextprodid[0] ^= 1, none), []);
}

#[test]
fn the_policy_adds_dependencies_to_seal_keys() {
    use KeyName::{Einittoken, Provision, ProvisionSeal, Report, Seal};
    let both = [ProvisionSeal, Seal];
    assert_eq!(changed_by(|_, e, _| e.mrenclave[0] ^= 1, KeyPolicy::MRENCLAVE), [Report, Seal]);
    assert_eq!(
        changed_by(|_, e, _| e.mrsigner[0] ^= 1, KeyPolicy::MRSIGNER),
        [Einittoken, Provision, ProvisionSeal, Seal]
    );
    assert_eq!(changed_by(|_, e, _| e.isvfamilyid[0] ^= 1, KeyPolicy::ISVFAMILYID), both);
    assert_eq!(changed_by(|_, e, _| e.isvextprodid[0] ^= 1, KeyPolicy::ISVEXTPRODID), both);
    assert_eq!(
        changed_by(|_, e, _| e.configid[0] ^= 1, KeyPolicy::CONFIGID),
        [ProvisionSeal, Report, Seal]
    );
    assert_eq!(changed_by(|_, _, r| r.configsvn += 1, KeyPolicy::CONFIGID), both);
    assert_eq!(
        changed_by(|_, e, _| e.isvprodid ^= 1, KeyPolicy::NOISVPRODID),
        [Einittoken, Provision]
    );
    // The policy itself is a dependency: no two policies share a key.
    assert_eq!(changed_by(|_, _, r| r.keypolicy = KeyPolicy::MRSIGNER, KeyPolicy::empty()), both);
}

#[test]
fn masks_leave_out_what_they_may() {
    let seal = |mask, flags| {
        let mut enclave = enclave();
        enclave.attributes.flags ^= flags;
        let attributemask = Attributes::from_bytes(&[mask; 16]);
        key(&platform(), &enclave, &Keyrequest { attributemask, ..request(KeyName::Seal) })
    };
    let none = AttributeFlags::empty();
    assert_eq!(seal(0, none), seal(0, AttributeFlags::PROVISIONKEY));
    assert_ne!(seal(0xff, none), seal(0xff, AttributeFlags::PROVISIONKEY));
    // A debug enclave never gets a production enclave's key, whatever the mask.
    assert_ne!(seal(0, none), seal(0, AttributeFlags::DEBUG));
    assert_ne!(seal(0, none), seal(0xff, none), "the mask itself is a dependency");
}

#[test]
fn versions_beyond_the_current_are_refused() {
    let code = |name, change: fn(&mut Keyrequest)| {
        let mut request = request(name);
        change(&mut request);
        platform().egetkey(&enclave(), &request.to_bytes()).err()
    };
    let cpusvn = Some(EgetkeyError::Code(ErrorCode::InvalidCpusvn));
    let isvsvn = Some(EgetkeyError::Code(ErrorCode::InvalidIsvsvn));
    for name in [KeyName::Seal, KeyName::Provision, KeyName::ProvisionSeal, KeyName::Einittoken] {
        // One component newer is beyond, even if the others are older.
        assert_eq!(
            code(name, |r| r.cpusvn = [0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            cpusvn
        );
        assert_eq!(code(name, |r| r.isvsvn = 10), isvsvn);
        assert_eq!(code(name, |r| r.isvsvn = 0), None);
    }
    assert_eq!(code(KeyName::Seal, |r| r.configsvn = 14), isvsvn);
    assert_eq!(code(KeyName::Seal, |r| r.configsvn = 13), None);
    assert_eq!(code(KeyName::Report, |r| (r.cpusvn, r.isvsvn) = ([0xff; 16], 99)), None);
}

#[test]
fn keys_without_their_attribute_are_refused() {
    let mut plain = enclave();
    plain.attributes.flags -= AttributeFlags::PROVISIONKEY | AttributeFlags::EINITTOKENKEY;
    for name in ALL_KEYS {
        let outcome = platform().egetkey(&plain, &request(name).to_bytes());
        if matches!(name, KeyName::Report | KeyName::Seal) {
            assert!(outcome.is_ok());
        } else {
            assert_eq!(outcome, Err(EgetkeyError::Code(ErrorCode::InvalidAttribute)));
        }
    }
    let unknown = Keyrequest { keyname: 5, ..request(KeyName::Seal) };
    assert_eq!(
        platform().egetkey(&enclave(), &unknown.to_bytes()),
        Err(EgetkeyError::Code(ErrorCode::InvalidKeyname))
    );
}

#[test]
fn malformed_requests_are_general_protection_faults() {
    let outcome = |enclave: &Identity, change: fn(&mut Keyrequest)| {
        let mut request = request(KeyName::Seal);
        change(&mut request);
        platform().egetkey(enclave, &request.to_bytes())
    };
    let field = |field, got| Err(EgetkeyError::Field { field, got });
    let mut bytes = request(KeyName::Seal).to_bytes();
    bytes[78] = 1;
    assert_eq!(
        platform().egetkey(&enclave(), &bytes),
        Err(EgetkeyError::Reserved(LayoutError::Reserved {
            structure: "Keyrequest",
            offset: 78,
            got: 1
        }))
    );
    assert_eq!(
        outcome(&enclave(), |r| r.keypolicy = KeyPolicy::from_bits_retain(0x41)),
        field("KEYPOLICY", 0x40)
    );
    let mut without_kss = enclave();
    without_kss.attributes.flags -= AttributeFlags::KSS;
    assert_eq!(outcome(&without_kss, |r| r.configsvn = 1), field("CONFIGSVN", 1));
    assert_eq!(
        outcome(&without_kss, |r| r.keypolicy = KeyPolicy::CONFIGID | KeyPolicy::MRENCLAVE),
        field("KEYPOLICY", 8)
    );
    assert!(outcome(&without_kss, |r| r.keypolicy = KeyPolicy::MRENCLAVE).is_ok());
}

/// Local attestation: the target gets the key by EGETKEY, and nobody else does.
#[test]
fn a_report_is_verified_by_its_target_alone() {
    let target = Identity { mrenclave: [21; 32], configsvn: 22, ..enclave() };
    let targetinfo = Targetinfo {
        measurement: target.mrenclave,
        attributes: target.attributes,
        miscselect: target.miscselect,
        configid: target.configid,
        configsvn: target.configsvn,
        ..Targetinfo::default()
    };
    let report = platform().ereport(&enclave(), &targetinfo, &[23; 64], &[24; 32]);
    assert_eq!(report.body.mrenclave, [5; 32]);
    assert_eq!(report.body.reportdata, [23; 64]);
    assert_eq!(report.body.cpusvn, [4; 16]);
    assert_eq!((report.body.isvprodid, report.body.isvsvn, report.body.configsvn), (8, 9, 13));
    let ask = Keyrequest {
        keyname: KeyName::Report as u16,
        keyid: report.keyid,
        ..Keyrequest::default()
    };
    let mac = |identity: &Identity| report_mac(&key(&platform(), identity, &ask), &report.body);
    assert_eq!(mac(&target), report.mac);
    assert_ne!(mac(&enclave()), report.mac, "the reporter is not the target");
    let mut debug = target;
    debug.attributes.flags |= AttributeFlags::DEBUG;
    assert_ne!(mac(&debug), report.mac);
    let mut forged = report.body;
    forged.isvsvn += 1;
    assert_ne!(report_mac(&key(&platform(), &target, &ask), &forged), report.mac);
}
