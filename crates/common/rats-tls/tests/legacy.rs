//! Certificates older than the interoperable format, written here from their description: what a refusal says.

#[path = "common/lab.rs"]
mod lab;

use base64ct::{Base64, Encoding as _};
use lab::Enclave;
use rats_tls::compat::{CompatFault, CompatPeer, Held, Legacy, Maker};
use sgx::report::Targetinfo;
use sha2::{Digest as _, Sha256};

/// DER of one item.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let mut out = vec![tag];
    match contents.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long @ 0x80..=0xff => out.extend([0x81, long as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    [out, contents].concat()
}

fn oid(arcs: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for arc in [&[arcs[0] * 40 + arcs[1]], &arcs[2..]].concat() {
        let digits = (0..5).rev().map(|digit| (arc >> (7 * digit) & 0x7f) as u8);
        let digits: Vec<_> = digits.skip_while(|digit| *digit == 0).collect();
        let (last, more) = digits.split_last().unwrap_or((&0, &[]));
        bytes.extend(more.iter().map(|digit| digit | 0x80));
        bytes.push(*last);
    }
    tlv(6, &[&bytes])
}

/// 1.2.840.113741.1337 and a last arc.
fn enclave_tls(last: u32) -> Vec<u8> {
    oid(&[1, 2, 840, 113_741, 1337, last])
}

/// RSAPublicKey: 3072 bits and e = 3.
fn rsa_key() -> Vec<u8> {
    let modulus = [&[0][..], &[0xc3; 384]].concat();
    tlv(0x30, &[&tlv(2, &[&modulus]), &tlv(2, &[&[3]])])
}

fn rsa_spki() -> Vec<u8> {
    let algorithm = tlv(0x30, &[&oid(&[1, 2, 840, 113_549, 1, 1, 1]), &tlv(5, &[])]);
    tlv(0x30, &[&algorithm, &tlv(3, &[&[0], &rsa_key()])])
}

fn p256_spki() -> Vec<u8> {
    let curve = oid(&[1, 2, 840, 10_045, 3, 1, 7]);
    let algorithm = tlv(0x30, &[&oid(&[1, 2, 840, 10_045, 2, 1]), &curve]);
    tlv(0x30, &[&algorithm, &tlv(3, &[&[0, 4], &[0x77; 64]])])
}

/// As Enclave-TLS writes it: version 4, serial number 9527, ten years, raw extensions.
fn certificate(spki: &[u8], extensions: &[(Vec<u8>, &[u8])]) -> Vec<u8> {
    let name = |arc: u32, text: &str| {
        let value = tlv(0x0c, &[text.as_bytes()]);
        tlv(0x31, &[&tlv(0x30, &[&oid(&[2, 5, 4, arc]), &value])])
    };
    let subject = tlv(
        0x30,
        &[
            &name(10, "Inclavare Containers"),
            &name(11, "Enclave Attestation Architecture"),
            &name(3, "Enclave TLS"),
        ],
    );
    let algorithm = tlv(0x30, &[&oid(&[1, 2, 840, 113_549, 1, 1, 11]), &tlv(5, &[])]);
    let dates = tlv(0x30, &[&tlv(0x17, &[b"210601000000Z"]), &tlv(0x17, &[b"310530000000Z"])]);
    let list = extensions.iter().map(|(oid, value)| tlv(0x30, &[oid, &tlv(4, &[value])]));
    let list = tlv(0xa3, &[&tlv(0x30, &[&list.collect::<Vec<_>>().concat()])]);
    let version = tlv(0xa0, &[&tlv(2, &[&[3]])]);
    let serial = tlv(2, &[&[0x25, 0x37]]);
    let signed =
        tlv(0x30, &[&version, &serial, &algorithm, &subject, &dates, &subject, spki, &list]);
    tlv(0x30, &[&signed, &algorithm, &tlv(3, &[&[0], &[0x5a; 384]])])
}

/// The refusal's words.
fn refusal(der: &[u8]) -> String {
    let fault = CompatPeer::read(der, 1_650_000_000).unwrap_err();
    assert!(matches!(fault, CompatFault::NoEvidence { legacy: Some(_) }), "{fault}");
    let text = fault.to_string();
    let start = "peer's certificate: expected evidence (extension 2.23.133.5.4.9), got ";
    text.strip_prefix(start).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// What was written is what the vectors' folder has, byte for byte: readers elsewhere start from those.
fn golden(name: &str, der: &[u8]) {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(&path, der).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == der, "{name} differs");
}

/// SHA-256 of a key and zeros.
fn names(key: &[u8]) -> [u8; 64] {
    let mut data = [0; 64];
    data[..32].copy_from_slice(&Sha256::digest(key));
    data
}

fn of_enclave(number: &str) -> String {
    format!("of enclave {}", number.repeat(32))
}

#[test]
fn a_quote_of_an_rsa_key() {
    let quote = Enclave::new(1, 0x11).quote(&names(&rsa_key()));
    let der = certificate(&rsa_spki(), &[(enclave_tls(6), &quote)]);
    let expected = "an Enclave-TLS certificate with a quote of version 3 and no claims, ";
    assert_eq!(refusal(&der), format!("{expected}{}", of_enclave("11")));
    // The same evidence in a certificate of another key.
    let der = certificate(&p256_spki(), &[(enclave_tls(6), &quote)]);
    assert_eq!(refusal(&der), format!("{expected}{} over another key", of_enclave("11")));
    let quote = Enclave::new(1, 0x11).quote(&names(&p256_spki()));
    let der = certificate(&p256_spki(), &[(enclave_tls(6), &quote)]);
    assert_eq!(refusal(&der), format!("{expected}{}", of_enclave("11")));
}

#[test]
fn a_local_report() {
    let enclave = Enclave::new(1, 0x11);
    let report = enclave.report(&Targetinfo::default(), &names(&rsa_key()));
    let der = certificate(&rsa_spki(), &[(enclave_tls(14), &report.to_bytes())]);
    golden("enclave-tls-report.der", &der);
    let expected = "an Enclave-TLS certificate with a local report and no claims, ";
    assert_eq!(refusal(&der), format!("{expected}{}", of_enclave("11")));
}

#[test]
fn an_epid_report_of_intels_service() {
    // An EPID quote: 48 bytes of header, then the report body.
    let report = Enclave::new(1, 0x11).report(&Targetinfo::default(), &names(&rsa_key()));
    let body = [&[2; 48][..], &report.to_bytes()[..384]].concat();
    let json = format!(
        r#"{{"id":"1","version":4,"isvEnclaveQuoteStatus":"GROUP_OUT_OF_DATE","isvEnclaveQuoteBody":"{}"}}"#,
        Base64::encode_string(&body)
    );
    let json = json.as_bytes();
    let parts = [(enclave_tls(2), json), (enclave_tls(3), b"root"), (enclave_tls(5), b"sign")];
    let expected = format!(
        "an Enclave-TLS certificate with an IAS report over an EPID quote, status \"GROUP_OUT_OF_DATE\", {}, \
         without the report's leaf",
        of_enclave("11")
    );
    let der = certificate(&rsa_spki(), &parts);
    golden("enclave-tls-ias.der", &der);
    assert_eq!(refusal(&der), expected);
}

#[test]
fn what_is_not_what_its_extension_says_is_named_too() {
    for (last, expected) in [(2, "an IAS report"), (6, "a quote"), (14, "a local report")] {
        let der = certificate(&rsa_spki(), &[(enclave_tls(last), b"nothing")]);
        let words = format!("an Enclave-TLS certificate with 7 bytes that are not {expected}");
        assert_eq!(refusal(&der), words);
    }
}

#[test]
fn other_peers_of_that_time() {
    let quote = Enclave::new(1, 0x11).quote(&names(&p256_spki()));
    let gramine = oid(&[0, 6, 9, 42, 840, 113_741, 1337, 6]);
    let legacy = Legacy::find(&certificate(&p256_spki(), &[(gramine, &quote)])).unwrap();
    assert_eq!(legacy.maker, Maker::Gramine);
    assert!(matches!(legacy.held, Held::Quote { version: 3, .. }));
    let sdk = oid(&[1, 2, 840, 113_741, 1, 13, 1]);
    let legacy = Legacy::find(&certificate(&p256_spki(), &[(sdk, &quote)])).unwrap();
    assert_eq!(legacy.maker, Maker::SgxSdk);
}

#[test]
fn other_bytes_hold_nothing_and_cost_nothing() {
    let quote = Enclave::new(1, 0x11).quote(&[1; 64]);
    let good = certificate(&rsa_spki(), &[(enclave_tls(6), &quote)]);
    for cut in 0..good.len() {
        assert_eq!(Legacy::find(&good[..cut]), None, "cut at {cut}");
    }
    assert_eq!(Legacy::find(&certificate(&rsa_spki(), &[])), None);
    // A megabyte, and nesting without end.
    assert_eq!(Legacy::find(&vec![0x30; 1 << 20]), None);
    assert_eq!(Legacy::find(&[0x30, 0x80].repeat(10_000)), None);
}
