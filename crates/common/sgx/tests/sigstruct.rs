//! SIGSTRUCT: made and verified, against sgxs-sign's golden file and sgx-isa; and every refusal.

mod support;

use core::mem::offset_of;

use sgx::hash::Portable;
use sgx::sign::{SignError, SigningKey};
use sgx::sigstruct::{Body, PublicKey, RSA_SIZE, assemble, fuzz};
use sgx::{ErrorCode, LayoutError, Sigstruct, SigstructError};
use support::{Random, signer, toy_body};

fn signed() -> Sigstruct {
    signer().sign::<Portable>(&Sigstruct::unsigned(&toy_body())).unwrap()
}

fn verify(sigstruct: &Sigstruct) -> Result<(), SigstructError> {
    sigstruct.verify::<Portable>()
}

/// An RSA-3072 key of exponent 65537 made by `openssl genrsa 3072`, public half.
const EXPONENT_65537: &str = include_str!("data/exponent-65537.pub.pem");

#[test]
fn a_signature_is_what_sgxs_sign_makes() {
    let golden: &[u8; 1808] = include_bytes!("data/toy.sig");
    assert!(signed().to_bytes() == *golden, "differs from tests/data/toy.sig");
    let read = Sigstruct::parse_verified::<Portable>(golden).unwrap();
    assert_eq!(read.body(), toy_body());
}

#[test]
fn layout_is_that_of_sgx_isa() {
    macro_rules! offsets {
        ($($field:ident),+) => {
            [$((stringify!($field), offset_of!(sgx_isa::Sigstruct, $field))),+]
        };
    }
    let theirs = offsets!(
        header,
        vendor,
        date,
        header2,
        swdefined,
        modulus,
        exponent,
        signature,
        miscselect,
        miscmask,
        cet_attributes,
        cet_attributes_mask,
        isvfamilyid,
        attributes,
        attributemask,
        enclavehash,
        isvextprodid,
        isvprodid,
        isvsvn,
        q1,
        q2
    );
    let ours: Vec<_> = Sigstruct::FIELDS.iter().map(|f| (f.name, f.offset)).collect();
    assert_eq!(ours, theirs);
    assert_eq!(Sigstruct::SIZE, sgx_isa::Sigstruct::UNPADDED_SIZE);
}

#[test]
fn signing_material_is_what_the_crate_sgxs_hashes() {
    let body = toy_body();
    let mut theirs =
        sgxs::sigstruct::Signer::new(sgxs::sigstruct::EnclaveHash::new(body.enclavehash));
    theirs
        .date(2026, 11, 20)
        .swdefined(body.swdefined)
        .isvextprodid(body.isvextprodid)
        .isvprodid(body.isvprodid)
        .isvsvn(body.isvsvn)
        .miscselect(sgx_isa::Miscselect::EXINFO, !0)
        .attributes_flags(sgx_isa::AttributesFlags::MODE64BIT | sgx_isa::AttributesFlags::KSS, !0)
        .attributes_xfrm(7, !0);
    let theirs = theirs.unsigned_sig();
    let (first, second) = theirs.signature_data();
    assert_eq!(Sigstruct::unsigned(&body).signed_bytes()[..], [first, second].concat());
}

#[test]
fn a_detached_signature_assembles_to_the_same() {
    let unsigned = Sigstruct::unsigned(&toy_body());
    let material = unsigned.signed_bytes();
    let signature = signer().sign_message::<Portable>(&material).unwrap();
    // What another party has: the material, the key's public half, the signature.
    let read = Sigstruct::from_signed_bytes(&material).unwrap();
    let key = PublicKey::from_pem(&signer().public().to_pem().unwrap()).unwrap();
    assert_eq!(assemble::<Portable>(&read, &key, &signature), Ok(signed()));
}

#[test]
fn assembling_refuses_a_signature_of_other_material() {
    let signature = signer().sign_message::<Portable>(&[0; 256]).unwrap();
    let unsigned = Sigstruct::unsigned(&toy_body());
    assert!(matches!(
        assemble::<Portable>(&unsigned, &signer().public(), &signature),
        Err(SigstructError::Digest { .. })
    ));
}

#[test]
fn assembling_refuses_a_signature_by_another_key() {
    let unsigned = Sigstruct::unsigned(&toy_body());
    let signature = signer().sign_message::<Portable>(&unsigned.signed_bytes()).unwrap();
    let mut other = *signer().public().modulus();
    other.reverse();
    other[0] = 0xff;
    let other = PublicKey::new(&other, 3).unwrap();
    assert!(matches!(
        assemble::<Portable>(&unsigned, &other, &signature),
        Err(SigstructError::Padding { offset: 0 | 1, .. })
    ));
    assert_eq!(
        assemble::<Portable>(&unsigned, &signer().public(), &[0xff; RSA_SIZE]),
        Err(SigstructError::SignatureRange)
    );
}

#[test]
fn sigstruct_with_a_wrong_key_is_refused() {
    let mut sigstruct = signed();
    let other = SigningKey::from_pem(include_str!("data/other.pem")).unwrap();
    sigstruct.modulus = *other.public().modulus();
    let refusal = verify(&sigstruct).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::InvalidSignature);
    // With quotients that fit the other key it is the padding that tells.
    assert!(matches!(
        refusal,
        SigstructError::Quotient { field: "Q1" } | SigstructError::SignatureRange
    ));
}

#[test]
fn sigstruct_with_any_signed_field_changed_is_refused() {
    let bytes = signed().to_bytes();
    for field in Sigstruct::FIELDS {
        if matches!(field.name, "modulus" | "exponent" | "signature" | "q1" | "q2") {
            continue;
        }
        let mut changed = bytes;
        changed[field.offset] ^= 1;
        let refusal = Sigstruct::parse_verified::<Portable>(&changed).unwrap_err();
        match field.name {
            "header" | "header2" | "vendor" => {
                assert_eq!(refusal.code(), ErrorCode::InvalidSigStruct, "{}", field.name);
            }
            name => {
                assert!(matches!(refusal, SigstructError::Digest { .. }), "{name}: {refusal:?}")
            }
        }
    }
}

#[test]
fn sigstruct_with_an_exponent_other_than_3_is_refused() {
    for exponent in [0, 1, 2, 65537] {
        let sigstruct = Sigstruct { exponent, ..signed() };
        let refusal =
            SigstructError::Number { field: "EXPONENT", expected: 3, got: exponent.into() };
        assert_eq!(verify(&sigstruct), Err(refusal));
        assert_eq!(refusal.code(), ErrorCode::InvalidSigStruct);
    }
}

#[test]
fn key_files_with_an_exponent_other_than_3_are_refused() {
    let refusal = PublicKey::from_pem(EXPONENT_65537).unwrap_err();
    assert!(
        matches!(
            refusal,
            SignError::Sigstruct(SigstructError::Number {
                field: "EXPONENT",
                expected: 3,
                got: 65537
            })
        ),
        "{refusal}"
    );
}

#[test]
fn sigstruct_with_wrong_quotients_or_signature_is_refused() {
    let good = signed();
    let off_by_one = |mut bytes: [u8; RSA_SIZE]| {
        bytes[0] ^= 1;
        bytes
    };
    let q1 = Sigstruct { q1: off_by_one(good.q1), ..good };
    assert_eq!(verify(&q1), Err(SigstructError::Quotient { field: "Q1" }));
    let q2 = Sigstruct { q2: off_by_one(good.q2), ..good };
    assert_eq!(verify(&q2), Err(SigstructError::Quotient { field: "Q2" }));
    let signature = Sigstruct { signature: off_by_one(good.signature), ..good };
    assert!(verify(&signature).is_err());
    let range = Sigstruct { signature: good.modulus, ..good };
    assert_eq!(verify(&range), Err(SigstructError::SignatureRange));
    let zero = Sigstruct { signature: [0; RSA_SIZE], q1: [0; RSA_SIZE], q2: [0; RSA_SIZE], ..good };
    let refusal = SigstructError::Padding { offset: 1, expected: 1, got: 0 };
    assert_eq!(verify(&zero), Err(refusal));
}

#[test]
fn sigstruct_with_reserved_bytes_set_is_refused() {
    for offset in [44, 127, 910, 911, 992, 1007, 1028, 1039] {
        let mut bytes = signed().to_bytes();
        bytes[offset] = 1;
        let refusal = LayoutError::Reserved { structure: "Sigstruct", offset, got: 1 };
        let got = Sigstruct::parse_verified::<Portable>(&bytes);
        assert_eq!(got, Err(SigstructError::Layout(refusal)));
    }
}

#[test]
fn sigstruct_of_another_length_is_refused() {
    let bytes = signed().to_bytes();
    for length in [0, 1, 1807] {
        assert_eq!(
            Sigstruct::parse_verified::<Portable>(&bytes[..length]),
            Err(LayoutError::Length { structure: "Sigstruct", expected: 1808, got: length }.into())
        );
    }
    assert!(Sigstruct::parse_verified::<Portable>(&[0; 1809]).is_err());
}

#[test]
fn intels_vendor_is_taken_and_no_other() {
    let mut unsigned = Sigstruct::unsigned(&Body::default());
    unsigned.vendor = 0x8086;
    assert!(signer().sign::<Portable>(&unsigned).is_ok());
    unsigned.vendor = 1;
    let refusal = SigstructError::Number { field: "VENDOR", expected: 0, got: 1 };
    assert!(matches!(
        signer().sign::<Portable>(&unsigned),
        Err(SignError::Sigstruct(got)) if got == refusal
    ));
}

#[test]
fn keys_survive_pem() {
    let key = signer();
    let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(key.public().mrsigner::<Portable>(), signed().mrsigner::<Portable>());
}

#[test]
fn other_files_than_keys_are_refused() {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, label) in [("", ""), ("no key\n", ""), (certificate, "CERTIFICATE")] {
        for refusal in [
            SigningKey::from_pem(text).err().expect("not a key"),
            PublicKey::from_pem(text).expect_err("not a key"),
        ] {
            assert!(matches!(&refusal, SignError::Pem { got, .. } if got == label), "{refusal}");
        }
    }
    let damaged = include_str!("data/signer.pem").replace("MII", "MIJ");
    assert!(matches!(SigningKey::from_pem(&damaged), Err(SignError::Content(_))));
}

/// Mutations neither panic nor verify.
#[test]
fn mutations_are_refused() {
    let bytes = signed().to_bytes();
    let mut random = Random(5);
    fuzz(&bytes);
    for _ in 0..2000 {
        let mut mutated = bytes;
        let at = random.below(1808) as usize;
        let bit = 1 << random.below(8);
        mutated[at] ^= bit;
        fuzz(&mutated);
        assert!(Sigstruct::parse_verified::<Portable>(&mutated).is_err(), "byte {at} bit {bit:#x}");
    }
}

#[test]
fn a_generated_key_signs() {
    let key = SigningKey::generate().unwrap();
    let signed = key.sign::<Portable>(&Sigstruct::unsigned(&toy_body())).unwrap();
    assert_eq!(verify(&signed), Ok(()));
    assert_eq!(signed.mrsigner::<Portable>(), key.public().mrsigner::<Portable>());
    assert_ne!(key.public(), signer().public());
}
