//! An issuer of quotes and collateral with a root of its own: every part can be made wrong, and signed.
//!
//! Real vectors show that good evidence passes; only made evidence can show that each single fault is
//! caught by the check that is there for it. What a lab makes unchanged, the crate dcap-qvl accepts too
//! (`tests/differential.rs`), so its form is not our invention.

use attestation::crypto::Ring;
use attestation::{Collateral, Now, Policy, TrustAnchor, Verifier};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

use super::der::*;

/// The moment at which everything that a lab makes is valid.
pub(crate) const NOW: u64 = 1_790_000_000;
const DAY: u64 = 86_400;

pub(crate) const SGX_EXTENSION: &str = "1.2.840.113741.1.13.1";
pub(crate) const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub(crate) const KEY_USAGE: &str = "2.5.29.15";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";

/// A key that is the same in every run.
#[derive(Clone)]
pub(crate) struct Key(SigningKey);

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_slice(&[seed; 32]).expect("a scalar below the order"))
    }

    /// x, y.
    pub(crate) fn point(&self) -> [u8; 64] {
        let point = self.0.verifying_key().to_sec1_point(false);
        point.as_bytes()[1..].try_into().expect("64 bytes")
    }

    /// r, s.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }

    fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    fn spki(&self) -> Vec<u8> {
        let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
        seq(&[&algorithm, &bits(&[&[4][..], &self.point()].concat())])
    }
}

/// Puts a signature under a signed part.
fn seal(tbs: &[u8], key: &Key) -> Vec<u8> {
    seq(&[tbs, &seq(&[&oid(ECDSA_SHA256)]), &bits(&key.sign_der(tbs))])
}

/// A certificate before it is signed.
#[derive(Clone)]
pub(crate) struct Cert {
    pub(crate) serial: u64,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) key: Key,
    pub(crate) signer: Key,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Cert {
    fn new(serial: u64, (issuer, signer): (&str, &Key), (subject, key): (&str, &Key)) -> Self {
        Self {
            serial,
            issuer: issuer.into(),
            subject: subject.into(),
            not_before: NOW - 300 * DAY,
            not_after: NOW + 300 * DAY,
            key: key.clone(),
            signer: signer.clone(),
            extensions: Vec::new(),
        }
    }

    pub(crate) fn ca(mut self) -> Self {
        self.extensions.push(extension(BASIC_CONSTRAINTS, true, &seq(&[&[1, 1, 0xff]])));
        self.extensions.push(extension(KEY_USAGE, true, &[3, 2, 1, 0x06]));
        self
    }

    pub(crate) fn leaf(mut self) -> Self {
        self.extensions.push(extension(BASIC_CONSTRAINTS, true, &seq(&[])));
        self.extensions.push(extension(KEY_USAGE, true, &[3, 2, 6, 0xc0]));
        self
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let tbs = seq(&[
            &tlv(0xa0, &integer(2)),
            &integer(self.serial),
            &seq(&[&oid(ECDSA_SHA256)]),
            &name(&self.issuer),
            &seq(&[&time(self.not_before), &time(self.not_after)]),
            &name(&self.subject),
            &self.key.spki(),
            &tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
        ]);
        seal(&tbs, &self.signer)
    }
}

/// A CRL before it is signed.
#[derive(Clone)]
pub(crate) struct CrlSpec {
    pub(crate) issuer: String,
    pub(crate) signer: Key,
    pub(crate) this_update: u64,
    pub(crate) next_update: Option<u64>,
    pub(crate) revoked: Vec<u64>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl CrlSpec {
    fn new(issuer: &str, signer: &Key) -> Self {
        Self {
            issuer: issuer.into(),
            signer: signer.clone(),
            this_update: NOW - DAY,
            next_update: Some(NOW + 29 * DAY),
            revoked: Vec::new(),
            extensions: vec![extension("2.5.29.20", false, &integer(1))],
        }
    }

    fn der(&self) -> Vec<u8> {
        let revoked: Vec<_> = self
            .revoked
            .iter()
            .map(|&serial| seq(&[&integer(serial), &time(self.this_update)]))
            .collect();
        let revoked = if revoked.is_empty() { Vec::new() } else { tlv(0x30, &revoked.concat()) };
        let tbs = seq(&[
            &integer(1),
            &seq(&[&oid(ECDSA_SHA256)]),
            &name(&self.issuer),
            &time(self.this_update),
            &self.next_update.map(time).unwrap_or_default(),
            &revoked,
            &tlv(0xa0, &tlv(0x30, &self.extensions.concat())),
        ]);
        seal(&tbs, &self.signer)
    }
}

/// Everything that goes into a quote and its collateral; change a field, then ask for them.
#[derive(Clone)]
pub(crate) struct Lab {
    pub(crate) root: Cert,
    pub(crate) ca: Cert,
    pub(crate) pck: Cert,
    pub(crate) tcb_signer: Cert,
    pub(crate) root_crl: CrlSpec,
    pub(crate) pck_crl: CrlSpec,
    /// The items of Intel's extension in the PCK certificate.
    pub(crate) pck_items: Vec<Vec<u8>>,
    pub(crate) tcb_info: Value,
    pub(crate) qe_identity: Value,
    pub(crate) version: u16,
    pub(crate) tee_type: u32,
    pub(crate) key_type: u16,
    pub(crate) vendor: [u8; 16],
    /// Version 5 says which body follows.
    pub(crate) body_type: Option<u16>,
    pub(crate) body: Vec<u8>,
    pub(crate) attestation_key: Key,
    pub(crate) qe_report: [u8; 384],
    /// Whether the report data of the quoting enclave is set to what binds the attestation key.
    pub(crate) qe_bound: bool,
    pub(crate) qe_auth_data: Vec<u8>,
    pub(crate) certification_type: u16,
    /// The chain in the quote; `None` for PCK, CA, root.
    pub(crate) chain: Option<String>,
}

pub(crate) const REPORT_DATA: [u8; 64] = [0x5a; 64];
pub(crate) const MRENCLAVE: [u8; 32] = [0x11; 32];
pub(crate) const MRSIGNER: [u8; 32] = [0x22; 32];
pub(crate) const MRTD: [u8; 48] = [0x33; 48];
pub(crate) const FMSPC: [u8; 6] = [0x4c, 0x41, 0x42, 0, 0, 1];
pub(crate) const PPID: [u8; 16] = [0x77; 16];

impl Lab {
    /// An SGX quote of version 3.
    pub(crate) fn sgx() -> Self {
        Self::with_root("Lab SGX Root CA", 1)
    }

    /// The same platform under another root: names and keys differ, nothing else.
    pub(crate) fn with_root(root_name: &str, seed: u8) -> Self {
        let [root, ca, pck, tcb] = [0, 1, 2, 3].map(|number| Key::new(seed * 16 + number));
        let ca_name = format!("{root_name} PCK Processor CA");
        let root_party = (root_name, &root);
        Self {
            root: Cert::new(1, root_party, root_party).ca(),
            ca: Cert::new(2, root_party, (&ca_name, &ca)).ca(),
            pck: Cert::new(3, (&ca_name, &ca), ("Lab PCK Certificate", &pck)).leaf(),
            tcb_signer: Cert::new(4, root_party, ("Lab TCB Signing", &tcb)).leaf(),
            root_crl: CrlSpec::new(root_name, &root),
            pck_crl: CrlSpec::new(&ca_name, &ca),
            pck_items: pck_items(5, 13, &FMSPC, &[0, 0]),
            tcb_info: tcb_info("SGX"),
            qe_identity: qe_identity("QE"),
            version: 3,
            tee_type: 0,
            key_type: 2,
            vendor: attestation::quote::INTEL_QE_VENDOR,
            body_type: None,
            body: report(&MRENCLAVE, &MRSIGNER, 7, 3, &REPORT_DATA).to_vec(),
            attestation_key: Key::new(seed * 16 + 4),
            qe_report: report(&[0x99; 32], &QE_MRSIGNER, 1, 8, &[0; 64]),
            qe_bound: true,
            qe_auth_data: (0..32).collect(),
            certification_type: 5,
            chain: None,
        }
    }

    /// The same as a quote of version 4.
    pub(crate) fn sgx_v4() -> Self {
        Self { version: 4, ..Self::sgx() }
    }

    /// A TDX quote: version 4 with a TDX 1.0 report, or version 5 with a body type.
    pub(crate) fn tdx(body_type: Option<u16>) -> Self {
        Self {
            version: if body_type.is_some() { 5 } else { 4 },
            tee_type: 0x81,
            tcb_info: tcb_info("TDX"),
            qe_identity: qe_identity("TD_QE"),
            body: td_report(body_type.unwrap_or(2)),
            body_type,
            ..Self::sgx()
        }
    }

    pub(crate) fn root_der(&self) -> Vec<u8> {
        self.root.der()
    }

    pub(crate) fn verifier(&self) -> Verifier<Ring> {
        let anchor = TrustAnchor::from_der(&self.root_der(), &Ring).expect("a root");
        Verifier::new(Ring, anchor)
    }

    /// A policy that accepts what a lab makes unchanged.
    pub(crate) fn policy(&self) -> Policy {
        let mut policy = Policy::strict(*self.verifier().anchor().sha256());
        policy.tee = vec![attestation::policy::TeeRule::Emulated];
        policy.mrenclave = vec![MRENCLAVE];
        policy.tdx = vec![attestation::policy::TdxRule { mrtd: MRTD, rtmr: [None; 4] }];
        policy
    }

    /// The PCK certificate with its extension.
    pub(crate) fn pck_der(&self) -> Vec<u8> {
        let mut pck = self.pck.clone();
        if !self.pck_items.is_empty() {
            let items = tlv(0x30, &self.pck_items.concat());
            pck.extensions.push(extension(SGX_EXTENSION, false, &items));
        }
        pck.der()
    }

    pub(crate) fn quote(&self) -> Vec<u8> {
        let mut quote = Vec::new();
        quote.extend(self.version.to_le_bytes());
        quote.extend(self.key_type.to_le_bytes());
        quote.extend(self.tee_type.to_le_bytes());
        quote.extend([0; 4]);
        quote.extend(self.vendor);
        quote.extend([0; 20]);
        if let Some(body_type) = self.body_type {
            quote.extend(body_type.to_le_bytes());
            quote.extend((self.body.len() as u32).to_le_bytes());
        }
        quote.extend(&self.body);
        let signature = self.attestation_key.sign(&quote);
        let certified = self.certified();
        let mut data = [&signature[..], &self.attestation_key.point()].concat();
        if self.version == 3 {
            data.extend(certified);
        } else {
            data.extend(6u16.to_le_bytes());
            data.extend((certified.len() as u32).to_le_bytes());
            data.extend(certified);
        }
        quote.extend((data.len() as u32).to_le_bytes());
        quote.extend(data);
        quote
    }

    /// The quoting enclave's report, its signature, authentication data and the chain.
    fn certified(&self) -> Vec<u8> {
        let mut report = self.qe_report;
        if self.qe_bound {
            let bound = [&self.attestation_key.point()[..], &self.qe_auth_data].concat();
            let digest = attestation::crypto::Crypto::sha256(&Ring, &bound);
            report[320..352].copy_from_slice(&digest);
        }
        let mut out = report.to_vec();
        out.extend(self.pck.key.sign(&report));
        out.extend((self.qe_auth_data.len() as u16).to_le_bytes());
        out.extend(&self.qe_auth_data);
        let chain = self
            .chain
            .clone()
            .unwrap_or_else(|| pem(&[&self.pck_der(), &self.ca.der(), &self.root_der()]));
        out.extend(self.certification_type.to_le_bytes());
        out.extend((chain.len() as u32).to_le_bytes());
        out.extend(chain.as_bytes());
        out
    }

    pub(crate) fn collateral(&self) -> Collateral {
        self.collateral_of(&self.tcb_info.to_string(), &self.qe_identity.to_string())
    }

    /// Collateral with these documents, signed as they are.
    pub(crate) fn collateral_of(&self, tcb_info: &str, qe_identity: &str) -> Collateral {
        let signer_chain = pem(&[&self.tcb_signer.der(), &self.root_der()]);
        let sign = |document: &str| self.tcb_signer.key.sign(document.as_bytes()).to_vec();
        Collateral {
            pck_crl_issuer_chain: pem(&[&self.ca.der(), &self.root_der()]),
            root_ca_crl: self.root_crl.der(),
            pck_crl: self.pck_crl.der(),
            tcb_info_issuer_chain: signer_chain.clone(),
            tcb_info_signature: sign(tcb_info),
            tcb_info: tcb_info.into(),
            qe_identity_issuer_chain: signer_chain,
            qe_identity_signature: sign(qe_identity),
            qe_identity: qe_identity.into(),
            pck_certificate_chain: None,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now::given(NOW)
    }
}

const QE_MRSIGNER: [u8; 32] = [0x88; 32];

/// A report body of an enclave.
pub(crate) fn report(
    mrenclave: &[u8; 32],
    mrsigner: &[u8; 32],
    isvprodid: u16,
    isvsvn: u16,
    report_data: &[u8; 64],
) -> [u8; 384] {
    let mut bytes = [0; 384];
    bytes[..16].fill(5);
    // ATTRIBUTES: INIT, MODE64BIT; XFRM legacy.
    bytes[48] = 5;
    bytes[56] = 3;
    bytes[64..96].copy_from_slice(mrenclave);
    bytes[128..160].copy_from_slice(mrsigner);
    bytes[256..258].copy_from_slice(&isvprodid.to_le_bytes());
    bytes[258..260].copy_from_slice(&isvsvn.to_le_bytes());
    bytes[320..].copy_from_slice(report_data);
    bytes
}

/// A report of a trust domain: TDX module version 1 of SVN 5, SEPT_VE_DISABLE.
pub(crate) fn td_report(body_type: u16) -> Vec<u8> {
    let mut bytes = vec![0; 584];
    bytes[0] = 5;
    bytes[1] = 1;
    bytes[2] = 4;
    bytes[123] = 0x10;
    bytes[136..184].copy_from_slice(&MRTD);
    bytes[520..584].copy_from_slice(&REPORT_DATA);
    if body_type >= 3 {
        bytes.extend([5, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([0; 48]);
    }
    if body_type == 4 {
        bytes.extend([0; 237]);
    }
    bytes
}

/// The items of Intel's extension, with every component at one SVN.
pub(crate) fn pck_items(svn: u8, pcesvn: u16, fmspc: &[u8; 6], pceid: &[u8; 2]) -> Vec<Vec<u8>> {
    let id = |number: &str| oid(&format!("{SGX_EXTENSION}.{number}"));
    let mut tcb = Vec::new();
    for component in 1..=16 {
        tcb.push(seq(&[&id(&format!("2.{component}")), &integer(svn.into())]));
    }
    tcb.push(seq(&[&id("2.17"), &integer(pcesvn.into())]));
    tcb.push(seq(&[&id("2.18"), &octets(&[svn; 16])]));
    vec![
        seq(&[&id("1"), &octets(&PPID)]),
        seq(&[&id("2"), &tlv(0x30, &tcb.concat())]),
        seq(&[&id("3"), &octets(pceid)]),
        seq(&[&id("4"), &octets(fmspc)]),
        seq(&[&id("5"), &tlv(10, &[0])]),
    ]
}

fn date(seconds: u64) -> String {
    attestation::time::Rfc3339(seconds).to_string()
}

fn components(svn: u8) -> Value {
    Value::Array((0..16).map(|_| json!({ "svn": svn })).collect())
}

/// Levels at component SVN 5 (UpToDate), 3 (OutOfDate) and 1 (Revoked).
pub(crate) fn tcb_info(id: &str) -> Value {
    let level = |svn: u8, status: &str, advisories: &[&str]| {
        let mut level = json!({
            "tcb": { "sgxtcbcomponents": components(svn), "pcesvn": 10 },
            "tcbDate": date(NOW - 200 * DAY),
            "tcbStatus": status,
            "advisoryIDs": advisories,
        });
        if id == "TDX" {
            let mut tdx = components(0);
            tdx[2]["svn"] = 4.into();
            level["tcb"]["tdxtcbcomponents"] = tdx;
        }
        level
    };
    let mut info = json!({
        "id": id,
        "version": 3,
        "issueDate": date(NOW - DAY),
        "nextUpdate": date(NOW + 29 * DAY),
        "fmspc": attestation::hex::Hex(&FMSPC).to_string().to_uppercase(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 20,
        "tcbLevels": [
            level(5, "UpToDate", &[]),
            level(3, "OutOfDate", &["LAB-SA-00003"]),
            level(1, "Revoked", &["LAB-SA-00001"]),
        ],
    });
    if id == "TDX" {
        let (zeros, ones) = ("00".repeat(48), "FF".repeat(8));
        let module = |extra: Value| {
            let mut module = json!({
                "mrsigner": zeros, "attributes": "00".repeat(8), "attributesMask": ones,
            });
            module
                .as_object_mut()
                .expect("an object")
                .extend(extra.as_object().expect("an object").clone());
            module
        };
        info["tdxModule"] = module(json!({}));
        info["tdxModuleIdentities"] = json!([module(json!({
            "id": "TDX_01",
            "tcbLevels": [
                { "tcb": { "isvsvn": 5 }, "tcbDate": date(NOW - 200 * DAY),
                  "tcbStatus": "UpToDate" },
                { "tcb": { "isvsvn": 2 }, "tcbDate": date(NOW - 400 * DAY),
                  "tcbStatus": "OutOfDate", "advisoryIDs": ["LAB-SA-00002"] },
            ],
        }))]);
    }
    info
}

pub(crate) fn qe_identity(id: &str) -> Value {
    json!({
        "id": id,
        "version": 2,
        "issueDate": date(NOW - DAY),
        "nextUpdate": date(NOW + 29 * DAY),
        "tcbEvaluationDataNumber": 20,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "05000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": "88".repeat(32),
        "isvprodid": 1,
        "tcbLevels": [
            { "tcb": { "isvsvn": 8 }, "tcbDate": date(NOW - 200 * DAY), "tcbStatus": "UpToDate" },
            { "tcb": { "isvsvn": 5 }, "tcbDate": date(NOW - 400 * DAY), "tcbStatus": "OutOfDate",
              "advisoryIDs": ["LAB-SA-00008"] },
        ],
    })
}
