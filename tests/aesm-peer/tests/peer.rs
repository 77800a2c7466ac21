//! The crate aesm-client, which speaks with Intel's daemon, speaks with the emulator's quoting service.

use aesm::server::{Limits, Server};
use aesm_client::unix::AesmClientExt;
use aesm_client::{AesmClient, QuoteType};
use emulated_platform::Platform;
use sgx::einit::Identity;
use sgx::{KeyName, Keyrequest, Report, Targetinfo};
use sgx_emulator::{Emulator, Mode};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// A platform in a directory of its own, its service, the client, and the keys of the platform's CPU.
fn start(directory: &Path) -> (Platform, AesmClient, sgx::keys::Platform) {
    let platform = Platform::open(directory).expect("opened");
    let emulator = Emulator::new(Mode::Fast).with_secret_file(directory.join("secret"));
    let (cpu, _) = emulator.platform().expect("the platform made its secret");
    let socket = directory.join("aesm.socket");
    let server = Server::bind(&socket).expect("bound");
    let service = Arc::new(platform.clone());
    thread::spawn(move || server.serve(&service, Limits::default(), |_| {}));
    (platform, AesmClient::with_path(&socket), cpu)
}

fn enclave() -> Identity {
    Identity {
        mrenclave: [0x11; 32],
        mrsigner: [0x22; 32],
        attributes: sgx::Attributes {
            flags: sgx::AttributeFlags::INIT | sgx::AttributeFlags::MODE64BIT,
            xfrm: sgx::Xfrm::LEGACY,
        },
        miscselect: sgx::Miscselect::empty(),
        isvprodid: 1,
        isvsvn: 2,
        isvextprodid: [0; 16],
        isvfamilyid: [0; 16],
        configid: [0; 64],
        configsvn: 0,
    }
}

#[test]
fn aesm_client_gets_target_information_and_a_quote() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, client, cpu) = start(directory.path());
    client.try_connect().expect("somebody listens");

    let keys = client.get_supported_att_key_ids().expect("keys");
    let [key] = &keys[..] else { panic!("{} keys", keys.len()) };
    // The algorithm, where that crate's own tests look for it: ECDSA P-256.
    assert_eq!(key[154..158], 2_u32.to_le_bytes());

    let info = client.init_quote_ex(key.clone()).expect("target information");
    assert_eq!(info.target_info(), platform.target_info());
    assert_eq!(info.pub_key_id(), platform.attestation_key_id());
    sgx_isa::Targetinfo::try_copy_from(info.target_info()).expect("what that crate calls one");

    let target = Targetinfo::parse(info.target_info()).expect("a TARGETINFO");
    let report = cpu.ereport(&enclave(), &target, &[0x5a; 64], &[7; 32]).to_bytes();
    let nonce = [9; 16];
    let result = client
        .get_quote_ex(key.clone(), report.to_vec(), None, nonce.to_vec())
        .expect("a quote");
    assert_eq!(result.quote(), platform.quote(&report).expect("the same from inside"));

    // The client asked for the quoting enclave's report to the enclave: it can verify who answered.
    let qe_report = Report::parse(result.qe_report()).expect("a REPORT");
    let request = Keyrequest {
        keyname: KeyName::Report as u16,
        keyid: qe_report.keyid,
        ..Keyrequest::default()
    };
    let report_key = cpu.egetkey(&enclave(), &request.to_bytes()).expect("its report key");
    assert_eq!(qe_report.mac, sgx::keys::report_mac(&report_key, &qe_report.body));
    let expected = Sha256::new().chain_update(nonce).chain_update(result.quote()).finalize();
    assert_eq!(qe_report.body.reportdata[..32], expected[..]);
}

#[test]
fn aesm_client_is_told_what_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_platform, client, cpu) = start(directory.path());
    let key = client.get_supported_att_key_ids().expect("keys").remove(0);

    let elsewhere = Targetinfo { measurement: [3; 32], ..Targetinfo::default() };
    let report = cpu.ereport(&enclave(), &elsewhere, &[0x5a; 64], &[7; 32]).to_bytes();
    let refusal = client.get_quote_ex(key, report.to_vec(), None, vec![0; 16]).expect_err("target");
    assert!(refusal.to_string().contains("InvalidReport_47"), "{refusal}");

    let mut other = vec![0; 256];
    other[154] = 3;
    let refusal = client.init_quote_ex(other).expect_err("no such key");
    assert!(refusal.to_string().contains("UnsupportedAttKeyId_38"), "{refusal}");

    let refusal = client.init_quote().expect_err("EPID is retired");
    assert!(refusal.to_string().contains("ServiceUnavailable_30"), "{refusal}");
    let epid = client.get_quote(report.to_vec(), vec![0; 16], vec![], QuoteType::Linkable, vec![]);
    let refusal = epid.expect_err("EPID is retired");
    assert!(refusal.to_string().contains("ServiceUnavailable_30"), "{refusal}");
}
