//! Frames, claims and evidence as peers send them.

use attestation::TcbStatus;
use attestation::relayed::Relayed;
use rats_tls::claims::Claims;
use rats_tls::compat::{self, CompatClaims, HashAlgorithm, Kind};
use rats_tls::frame::{CloseReason, Evidence, Flags, Frame, Hello, data_header};
use rats_tls::hop::{Answer, EnclaveInfo, REQUEST, Reply};

/// What a server sends to open a session, then data, a re-attestation and the end; and what a client sends.
pub(crate) fn session_frames() -> Vec<Vec<u8>> {
    let hello = |attest_you: bool| Hello {
        flags: Flags { attest_me: true, attest_you, verify_first: false },
        formats: if attest_you { vec![1] } else { vec![] },
        nonce: [9; 32],
    };
    let evidence = |epoch: u32| {
        let (evidence, claims) = (vec![5; 100], vec![6; 20]);
        Frame::Evidence(Evidence { epoch, format: 1, evidence, claims, endorsements: vec![7; 9] })
    };
    let verdict = || Frame::Verdict { code: 0, text: String::new() };
    let data = [&data_header(4)[..], b"data"].concat();
    let again = Frame::Reattest { nonce: [8; 32], epoch: 1 };
    let close = Frame::Close(CloseReason::Done);
    let server = [
        Frame::ServerHello(hello(false)).encode(),
        evidence(0).encode(),
        data.clone(),
        again.encode(),
        evidence(1).encode(),
        Frame::End.encode(),
        close.encode(),
    ];
    let client = [
        Frame::ClientHello(hello(true)).encode(),
        evidence(0).encode(),
        verdict().encode(),
        data,
        close.encode(),
    ];
    vec![server.concat(), client.concat()]
}

pub(crate) fn session_claims() -> Vec<Vec<u8>> {
    let mut claims = Claims {
        instance_id: [2; 16],
        config_digest: [1; 32],
        runtime_version: "0.1.0".into(),
        custom: Default::default(),
    };
    let without = claims.encode();
    claims.custom = [("region".into(), b"eu".to_vec()), ("service".into(), vec![0; 40])].into();
    vec![without, claims.encode()]
}

pub(crate) fn compat_evidence() -> Vec<Vec<u8>> {
    let claims = CompatClaims {
        pubkey_hash: (HashAlgorithm::Sha256, vec![3; 32]),
        nonce: Some(vec![4; 32]),
        custom: [("key_0".into(), b"value".to_vec())].into(),
    };
    let claims = compat::encode_claims(&claims);
    let seed = |kind| compat::encode_evidence(kind, &[1; 64], &claims);
    vec![seed(Kind::Quote), seed(Kind::Snp)]
}

/// A hello with SNI, ALPN and versions, in one record and in many, cut in pieces of 1 and of 256.
pub(crate) fn client_hello() -> Vec<Vec<u8>> {
    let extensions: [(u16, &[u8]); 4] = [
        (0x4a4a, b""),
        (0, b"\0\x06\0\0\x03web"),
        (16, b"\0\x0c\x0beaa-bound/1"),
        (43, &[4, 3, 4, 3, 3]),
    ];
    let size = |bytes: &[u8]| u16::try_from(bytes.len()).expect("short").to_be_bytes();
    let extensions =
        extensions.map(|(kind, body)| [&kind.to_be_bytes(), &size(body), body].concat());
    let extensions = extensions.concat();
    let fields =
        [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &size(&extensions), &extensions];
    let body = fields.concat();
    let message = [&[1, 0][..], &size(&body), &body].concat();
    [(0, 7), (255, message.len())]
        .map(|(piece, record)| {
            let records = message
                .chunks(record)
                .flat_map(|part| [&[22, 3, 1], &size(part)[..], part].concat());
            [piece].into_iter().chain(records).collect()
        })
        .to_vec()
}

/// A request, and answers of both kinds.
pub(crate) fn hop_json() -> Vec<Vec<u8>> {
    let enclave = Relayed {
        mrenclave: [1; 32],
        mrsigner: [2; 32],
        isvprodid: 3,
        isvsvn: 4,
        debug: false,
        tcb_status: TcbStatus::SWHardeningNeeded,
        root: [5; 32],
    };
    let info = EnclaveInfo { enclave, message: "hello".into() };
    let answers = [Answer::Info(info), Answer::Refused("policy.debug".into())];
    let answers = answers.iter().map(Answer::to_json);
    core::iter::once(REQUEST.to_vec()).chain(answers).collect()
}

pub(crate) fn hop_reply() -> Vec<Vec<u8>> {
    ["", "Hello and welcome\n"]
        .map(|text| Reply { mrenclave: [1; 32], mrsigner: [2; 32], text: text.into() }.encode())
        .to_vec()
}

pub(crate) fn legacy_certificate() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../../../../crates/common/rats-tls/tests/vectors/enclave-tls-report.der")
            .to_vec(),
        include_bytes!("../../../../crates/common/rats-tls/tests/vectors/enclave-tls-ias.der")
            .to_vec(),
    ]
}
