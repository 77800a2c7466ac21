//! EINIT: what it makes of a good enclave, and each refusal.

mod support;

use sgx::einit::{Identity, LaunchControl, Refusal, check};
use sgx::hash::Portable;
use sgx::sigstruct::Body;
use sgx::{AttributeFlags, ErrorCode, Miscselect, Secs, Sigstruct, Xfrm};
use support::{signer, toy_body, toy_secs};

fn sign(body: &Body) -> [u8; Sigstruct::SIZE] {
    signer().sign::<Portable>(&Sigstruct::unsigned(body)).unwrap().to_bytes()
}

fn einit(secs: &Secs, body: &Body) -> Result<Identity, Refusal> {
    check::<Portable>(secs, toy_body().enclavehash, &sign(body), LaunchControl::Flexible)
}

fn mrsigner() -> [u8; 32] {
    signer().public().mrsigner::<Portable>()
}

#[test]
fn a_good_enclave_gets_its_identity() {
    let mut secs = toy_secs();
    (secs.configid, secs.configsvn) = ([3; 64], 4);
    let mut attributes = secs.attributes;
    attributes.flags |= AttributeFlags::INIT;
    let body = toy_body();
    let expected = Identity {
        mrenclave: body.enclavehash,
        mrsigner: mrsigner(),
        attributes,
        miscselect: Miscselect::EXINFO,
        isvprodid: 0x1234,
        isvsvn: 7,
        isvextprodid: body.isvextprodid,
        isvfamilyid: [0; 16],
        configid: [3; 64],
        configsvn: 4,
    };
    assert_eq!(einit(&secs, &body), Ok(expected));
}

#[test]
fn a_changed_page_is_refused() {
    let mut pages = support::toy_pages();
    pages[0].data[4095] ^= 1;
    let ecreate = sgx::sgxs::Ecreate { ssaframesize_pages: 1, size: 0x10000 };
    let stream = support::write(ecreate, &pages);
    let got = sgx::sgxs::mrenclave::<Portable, _>(&stream[..]).unwrap();
    let refusal = Refusal::Measurement { expected: toy_body().enclavehash, got };
    assert_eq!(
        check::<Portable>(&toy_secs(), got, &sign(&toy_body()), LaunchControl::Flexible),
        Err(refusal)
    );
    assert_eq!(refusal.code(), ErrorCode::InvalidMeasurement);
}

#[test]
fn a_debug_mismatch_is_refused_both_ways() {
    let mut debug = toy_secs();
    debug.attributes.flags |= AttributeFlags::DEBUG;
    let refusal = |expected, got| Refusal::Secs { field: "ATTRIBUTES.DEBUG", expected, got };
    assert_eq!(einit(&debug, &toy_body()), Err(refusal(0, 1)));
    let mut body = toy_body();
    body.attributes.flags |= AttributeFlags::DEBUG;
    assert_eq!(einit(&toy_secs(), &body), Err(refusal(1, 0)));
    assert_eq!(refusal(1, 0).code(), ErrorCode::InvalidAttribute);
    assert!(einit(&debug, &body).is_ok());
    // Not in the mask: the host chooses.
    body.attributemask.flags -= AttributeFlags::DEBUG;
    assert!(einit(&debug, &body).is_ok() && einit(&toy_secs(), &body).is_ok());
}

#[test]
fn wrong_attributes_are_refused() {
    let mut secs = toy_secs();
    secs.attributes.flags |= AttributeFlags::PROVISIONKEY | AttributeFlags::AEXNOTIFY;
    let refusal = Refusal::Secs { field: "ATTRIBUTES.FLAGS", expected: 0x84, got: 0x494 };
    assert_eq!(einit(&secs, &toy_body()), Err(refusal));
    // A bit without a name.
    let mut secs = toy_secs();
    secs.attributes.flags |= AttributeFlags::from_bits_retain(1 << 40);
    assert!(matches!(
        einit(&secs, &toy_body()),
        Err(Refusal::Secs { field: "ATTRIBUTES.FLAGS", expected: 0x84, got: 0x100_0000_0084 })
    ));
    let mut secs = toy_secs();
    secs.attributes.xfrm = Xfrm::LEGACY;
    let refusal = Refusal::Secs { field: "ATTRIBUTES.XFRM", expected: 7, got: 3 };
    assert_eq!(einit(&secs, &toy_body()), Err(refusal));
}

#[test]
fn a_wrong_miscselect_is_refused() {
    let secs = Secs { miscselect: Miscselect::empty(), ..toy_secs() };
    let refusal = Refusal::Secs { field: "MISCSELECT", expected: 1, got: 0 };
    assert_eq!(einit(&secs, &toy_body()), Err(refusal));
    let body = Body { miscmask: Miscselect::empty(), ..toy_body() };
    assert!(einit(&secs, &body).is_ok());
}

#[test]
fn kss_fields_without_kss_are_refused() {
    let mut secs = toy_secs();
    secs.attributes.flags -= AttributeFlags::KSS;
    let mut body = toy_body();
    body.attributes.flags -= AttributeFlags::KSS;
    let refusal = |field| Refusal::Unsupported { field, needs: "ATTRIBUTES.KSS" };
    assert_eq!(einit(&secs, &body), Err(refusal("ISVEXTPRODID")));
    body.isvfamilyid = [1; 16];
    assert_eq!(einit(&secs, &body), Err(refusal("ISVFAMILYID")));
    assert_eq!(refusal("ISVFAMILYID").code(), ErrorCode::InvalidSigStruct);
    (body.isvfamilyid, body.isvextprodid) = ([0; 16], [0; 16]);
    assert!(einit(&secs, &body).is_ok());
}

#[test]
fn cet_fields_are_refused() {
    let mut unsigned = Sigstruct::unsigned(&toy_body());
    unsigned.cet_attributes_mask = 1;
    let bytes = signer().sign::<Portable>(&unsigned).unwrap().to_bytes();
    let mrenclave = toy_body().enclavehash;
    assert_eq!(
        check::<Portable>(&toy_secs(), mrenclave, &bytes, LaunchControl::Flexible),
        Err(Refusal::Unsupported { field: "CET_ATTRIBUTES_MASK", needs: "CET" })
    );
}

#[test]
fn a_signer_that_launch_control_does_not_list_is_refused() {
    let sigstruct = sign(&toy_body());
    let mrenclave = toy_body().enclavehash;
    let with = |signers: &[[u8; 32]]| {
        check::<Portable>(&toy_secs(), mrenclave, &sigstruct, LaunchControl::Signers(signers))
    };
    let refusal = Refusal::Signer { got: mrsigner() };
    assert_eq!(with(&[]), Err(refusal));
    assert_eq!(with(&[[0; 32]]), Err(refusal));
    assert_eq!(refusal.code(), ErrorCode::InvalidEinittoken);
    assert!(with(&[[0; 32], mrsigner()]).is_ok());
}

#[test]
fn the_launch_key_is_for_listed_signers() {
    let mut secs = toy_secs();
    secs.attributes.flags |= AttributeFlags::EINITTOKENKEY;
    let mut body = toy_body();
    body.attributes.flags |= AttributeFlags::EINITTOKENKEY;
    let refusal = Refusal::LaunchKey { got: mrsigner() };
    assert_eq!(
        check::<Portable>(&secs, body.enclavehash, &sign(&body), LaunchControl::Signers(&[])),
        Err(refusal)
    );
    assert_eq!(refusal.code(), ErrorCode::InvalidAttribute);
}

#[test]
fn a_broken_signature_is_refused_before_anything_else() {
    let mut sigstruct = sign(&toy_body());
    sigstruct[Sigstruct::offset("isvsvn")] ^= 1;
    let refusal =
        check::<Portable>(&Secs::default(), [0; 32], &sigstruct, LaunchControl::Signers(&[]))
            .unwrap_err();
    assert!(matches!(refusal, Refusal::Sigstruct(_)));
    assert_eq!(refusal.code(), ErrorCode::InvalidSignature);
}

#[test]
fn messages_name_field_expected_and_got() {
    let mut secs = toy_secs();
    secs.attributes.flags |= AttributeFlags::DEBUG;
    let message = einit(&secs, &toy_body()).unwrap_err().to_string();
    assert_eq!(message, "SECS.ATTRIBUTES.DEBUG: expected 0x0, got 0x1 (SGX_INVALID_ATTRIBUTE)");
}
