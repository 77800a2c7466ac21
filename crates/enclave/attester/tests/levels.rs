//! Other evidence than the bound device's: the compat level, and runtimes without such a device.

mod common;

use attestation::crypto::Default as Crypto;
use attestation::policy::Level;
use attestation::{Collateral, Verifier};
use common::{Device, MRENCLAVE, Running, echo};
use emulated_device::Enclave;
use rats_tls::compat::{self, CompatAppraiser};
use rats_tls::{Fixed, SessionError, host_time};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

/// What a client of the compat level gets for a question.
fn ask(device: &Device, attester: &Running, level: Level) -> Result<Vec<u8>, String> {
    let verifier = Verifier::new(Crypto::default(), device.anchor());
    let json = std::fs::read(device.path().join("collateral.json")).unwrap();
    let collateral = Collateral::from_json(&json).unwrap();
    let source = Fixed(Arc::new(verifier.collateral(&collateral, host_time()).unwrap()));
    let mut policy = device.policy();
    policy.level = level;
    let appraiser = CompatAppraiser::new(verifier, policy, source, Box::new(host_time));
    let config = Arc::new(compat::client(Arc::new(appraiser)).unwrap());
    let name = ServerName::try_from("container").unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let mut client = StreamOwned::new(connection, attester.connect());
    client.write_all(b"question").map_err(|error| error.to_string())?;
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).map_err(|error| error.to_string())?;
    Ok(got)
}

#[test]
fn one_level_is_not_taken_for_another() {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let program = echo();
    let start = |level| Running::start(&device, &["--forward", &program, "--level", level]);
    let bound = |attester: &Running| attester.open(device.verifier(device.policy())).map(drop);

    let compat = start("compat");
    assert_eq!(ask(&device, &compat, Level::Compat), Ok(b"question".to_vec()));
    // A verifier whose policy says bound gets no session there, and does not take the certificate's word.
    let error = bound(&compat).unwrap_err();
    assert!(matches!(error, SessionError::Alpn { got: None }), "{error}");
    let error = ask(&device, &compat, Level::Bound).unwrap_err();
    assert!(error.contains("Level { expected: Bound, got: Compat }"), "{error}");

    let both = start("both");
    assert_eq!(ask(&device, &both, Level::Compat), Ok(b"question".to_vec()));
    bound(&both).unwrap();

    let only = start("bound");
    bound(&only).unwrap();
    let error = ask(&device, &only, Level::Compat).unwrap_err();
    assert!(!error.is_empty());
}

#[test]
fn a_runtime_without_the_bound_device_serves_too() {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let program = echo();
    let words = ["--forward", &program, "--evidence", "user-report-data", "--claim", "a=b"];
    let attester = Running::start(&device, &words);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    let claims = &client.peer().unwrap().claims;
    assert_eq!(
        (&claims.runtime_version[..], &claims.custom["a"][..]),
        ("user-report-data", &b"b"[..])
    );
    client.write_all(b"question").unwrap();
    client.finish().unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"question");
}

#[test]
fn without_a_device_there_is_no_evidence_and_a_line_that_says_so() {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let empty = tempfile::tempdir().unwrap();
    let program = echo();
    let directory = empty.path().to_str().unwrap();
    let mut attester =
        Running::bare(&["--listen", "127.0.0.1:0", "--forward", &program, "--device", directory]);
    let error = attester.open(device.verifier(device.policy())).map(drop).unwrap_err();
    assert!(matches!(error, SessionError::Closed(_)), "{error}");
    let line = attester.line();
    assert!(line.contains("no session: make evidence: No such file"), "{line}");
}
