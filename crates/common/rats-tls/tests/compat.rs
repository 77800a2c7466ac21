//! Certificates of the compat level: the published one, and ours before another reader.

use attestation::crypto::{Default as Crypto, Ring};
use attestation::quote::Body;
use attestation::x509::Certificate;
use attestation::{Now, Policy, TrustAnchor, VerifiedCollateral, Verifier, hex};
use rats_tls::compat::{
    self, CompatAppraiser, CompatFault, CompatPeer, EncodingFault, HashAlgorithm, Kind,
};
use rats_tls::session::Offered;
use rats_tls::tls::IdentityError;
use rats_tls::{CollateralSource, Refusal};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

const INTEL: &[u8] =
    include_bytes!("../../attestation/tests/vectors/collateral/intel-sgx-root-ca.der");
/// 2023-06-01: between the published certificate's dates.
const WITHIN: u64 = 1_685_577_600;

fn published() -> Vec<u8> {
    let pem = include_bytes!("vectors/rats-tls-cert.pem");
    CertificateDer::from_pem_slice(pem).unwrap().to_vec()
}

/// There is none for the published certificate's platform.
struct Nowhere;

impl CollateralSource for Nowhere {
    fn collateral(
        &self,
        _verifier: &Verifier<Ring>,
        _offered: &Offered,
        _now: Now,
    ) -> Result<Arc<VerifiedCollateral>, String> {
        Err("none for this platform".into())
    }
}

fn appraiser(level: &str) -> CompatAppraiser<Nowhere> {
    let root = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";
    let policy = Policy::from_toml(&format!("level = '{level}'\nroots = ['{root}']")).unwrap();
    let anchor = TrustAnchor::from_der(INTEL, &Crypto::default()).unwrap();
    let verifier = Verifier::new(Crypto::default(), anchor);
    CompatAppraiser::new(verifier, policy, Nowhere, Box::new(|| Now::given(WITHIN)))
}

#[test]
fn the_published_certificate_is_read() {
    let peer = CompatPeer::read(&published(), WITHIN).unwrap();
    assert_eq!(peer.kind, Kind::Quote);
    assert_eq!(peer.claims.pubkey_hash.0, HashAlgorithm::Sha256);
    assert_eq!(peer.claims.custom.keys().collect::<Vec<_>>(), ["key_0", "key_1"]);
    // The evidence is a quote of a debug enclave over exactly these claims.
    let quote = attestation::quote::Quote::parse(&peer.evidence).unwrap();
    let Body::Sgx(report) = quote.body else { panic!("expected an sgx quote") };
    assert_eq!(report.reportdata, peer.expected_report_data);
    assert!(report.attributes.flags.contains(sgx::AttributeFlags::DEBUG));
}

#[test]
fn the_published_certificate_is_refused_by_default() {
    // No policy that names the bound level takes it.
    let refusal = appraiser("bound").appraise(&published()).unwrap_err();
    assert_eq!(refusal.to_string(), "evidence refused: level: expected bound, got compat");
    let refusal = appraiser("compat").appraise(&published()).unwrap_err();
    assert!(matches!(*refusal, Refusal::Collateral(_)), "{refusal}");
    // Outside its dates.
    let fault = CompatPeer::read(&published(), 1_795_182_000).unwrap_err();
    assert!(matches!(fault, CompatFault::Expired { got: 1_795_182_000, .. }), "{fault}");
}

#[test]
fn a_changed_byte_is_refused() {
    let good = published();
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        assert!(CompatPeer::read(&bytes, WITHIN).is_err(), "byte {at}");
    }
    for cut in (0..good.len()).step_by(97) {
        assert!(CompatPeer::read(&good[..cut], WITHIN).is_err(), "cut at {cut}");
    }
}

#[derive(Debug)]
struct NoQuote(#[allow(dead_code, reason = "printed where a test fails")] IdentityError);

impl From<IdentityError> for NoQuote {
    fn from(error: IdentityError) -> Self {
        Self(error)
    }
}

#[test]
fn ours_is_read_by_us_and_by_a_reader_of_the_format() {
    let custom: BTreeMap<_, _> = [("service".to_owned(), b"billing".to_vec())].into();
    let mut asked = [0; 64];
    let (_, certificate) = compat::self_signed::<NoQuote>(custom, WITHIN, |report_data| {
        asked = *report_data;
        Ok(vec![0xab; 4000])
    })
    .unwrap();
    let peer = CompatPeer::read(certificate.der(), WITHIN).unwrap();
    assert_eq!((peer.evidence.len(), peer.expected_report_data), (4000, asked));
    assert_eq!(peer.claims.custom["service"], b"billing");
    let parsed = Certificate::parse(certificate.der()).unwrap();
    assert_eq!(parsed.validity.not_before, WITHIN - 3600);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("certificate.der");
    std::fs::write(&file, certificate.der()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_compat.py");
    let Ok(output) = Command::new("python3").arg(script).arg(&file).output() else {
        eprintln!("skipped: no python3");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["tag"], 60000);
    assert_eq!(read["is_own_key"], true);
    assert_eq!(read["evidence"], "ab".repeat(4000));
    assert_eq!(read["report_data"], hex::Hex(&asked).to_string());
    assert_eq!(read["claims"]["service"], hex::Hex(b"billing").to_string());
}

#[test]
fn claims_of_another_key_are_refused() {
    // The extension of one certificate in another.
    let taken = published();
    let taken = Certificate::parse(&taken).unwrap();
    let evidence = taken
        .extensions()
        .find(|extension| extension.oid.to_string() == "2.23.133.5.4.9")
        .unwrap()
        .value
        .to_vec();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    let extension =
        rcgen::CustomExtension::from_oid_content(&[2, 23, 133, 5, 4, 9], evidence.clone());
    parameters.custom_extensions.push(extension);
    let certificate = parameters.self_signed(&key).unwrap();
    let fault = CompatPeer::read(certificate.der(), WITHIN).unwrap_err();
    assert!(matches!(fault, CompatFault::Key { .. }), "{fault}");

    // Signed by another key than its own.
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), ca_key);
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let fault = CompatPeer::read(certificate.der(), WITHIN).unwrap_err();
    assert_eq!(fault, CompatFault::Signature);
}

#[test]
fn older_forms_are_named_in_the_refusal() {
    let with = |arcs: &[u64], value: &[u8]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        let extension = rcgen::CustomExtension::from_oid_content(arcs, value.to_vec());
        parameters.custom_extensions.push(extension);
        let certificate = parameters.self_signed(&key).unwrap();
        CompatPeer::read(certificate.der(), WITHIN).unwrap_err()
    };
    let fault = with(&[1, 2, 840, 113_741, 1337, 6], b"quote");
    let named = "got an Enclave-TLS certificate with 5 bytes that are not a quote";
    assert!(fault.to_string().ends_with(named), "{fault}");
    let fault = with(&[1, 2, 3, 4], b"");
    assert_eq!(fault, CompatFault::NoEvidence { legacy: None });
    let fault = with(&[2, 23, 133, 5, 4, 9], b"\xd9\xea\x60\x80");
    assert!(matches!(fault, CompatFault::Encoding(EncodingFault::Item { .. })), "{fault}");
}

/// What a peer sends costs no more than reading it once: sizes are bounded before anything is followed.
#[test]
fn large_and_deep_certificates_are_refused() {
    let fault = CompatPeer::read(&vec![0x30; 1 << 20], WITHIN).unwrap_err();
    let text = "peer's certificate: expected at most 16384 bytes, got 1048576";
    assert_eq!(fault.to_string(), text);
    // Sequences in sequences, 3,000 of them, each with its length in full.
    let mut deep = Vec::new();
    for _ in 0..3000 {
        let length = (deep.len() as u16).to_be_bytes();
        deep = [&[0x30, 0x82], &length[..], &deep].concat();
    }
    let fault = CompatPeer::read(&deep, WITHIN).unwrap_err();
    assert!(matches!(fault, CompatFault::Certificate(_)), "{fault}");

    let with = |value: &[u8]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        let arcs = &[2, 23, 133, 5, 4, 9];
        let extension = rcgen::CustomExtension::from_oid_content(arcs, value.to_vec());
        parameters.custom_extensions.push(extension);
        let certificate = parameters.self_signed(&key).unwrap();
        CompatPeer::read(certificate.der(), WITHIN).unwrap_err().to_string()
    };
    // Arrays in arrays where the evidence should be.
    let said = with(&[&b"\xd9\xea\x60\x82"[..], &[0x81; 10_000]].concat());
    let expected = "peer's certificate: cbor: expected a byte string of definite length at byte 4, got something else";
    assert_eq!(said, expected);
    // A map that says that it has 100,000 entries.
    let said = with(b"\xd9\xea\x60\x82\x41\x00\x45\xba\x00\x01\x86\xa0");
    assert_eq!(said, "peer's certificate: claims: expected at most 64, got 100000");
}
