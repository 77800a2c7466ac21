//! EREPORT and EGETKEY inside, checked from outside.

#[macro_use]
mod toy;

use sgx::keys::report_mac;
use sgx::report::EMULATED_CPUSVN;
use sgx::{ErrorCode, KeyName, KeyPolicy, Keyrequest, Report, Targetinfo};
use sgx_emulator::{Mode, SecretOrigin};
use std::process::Command;
use toy::{DATA, Toy, action, command, gs};

in_both_modes!(report_verifies_with_the_targets_key, refused_keys, misaligned_operands_are_gp);

/// Places in the data page.
const TARGETINFO: u64 = DATA + 0x200;
const REPORTDATA: u64 = DATA + 0x400;
const REPORT: u64 = DATA + 0x600;
const KEYREQUEST: u64 = DATA + 0x800;
const KEY: u64 = DATA + 0xa00;

/// EGETKEY by the enclave: error code and key.
fn egetkey(toy: &Toy, request: &Keyrequest) -> (u64, [u8; 16]) {
    toy.write(0, KEYREQUEST, &request.to_bytes());
    toy.write(0, KEY, &[0; 16]);
    let code = toy.done(0, command::ENCLU, [1, KEYREQUEST, KEY, 0]).rsi;
    let mut key = [0; 16];
    toy.read(0, KEY, &mut key);
    (code, key)
}

fn report_verifies_with_the_targets_key(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let identity = *toy.enclave.identity().expect("initialised");
    // To itself.
    let target = Targetinfo {
        measurement: identity.mrenclave,
        attributes: identity.attributes,
        miscselect: identity.miscselect,
        ..Targetinfo::default()
    };
    toy.write(0, TARGETINFO, &target.to_bytes());
    toy.write(0, REPORTDATA, &[0x5a; 64]);
    assert_eq!(toy.done(0, command::ENCLU, [0, TARGETINFO, REPORTDATA, REPORT]).rsi, 0);
    let mut bytes = [0; Report::SIZE];
    toy.read(0, REPORT, &mut bytes);
    let report = Report::parse(&bytes).expect("a report");
    assert_eq!(report.body.mrenclave, toy::mrenclave(1));
    assert_eq!(report.body.reportdata, [0x5a; 64]);
    assert_eq!(report.body.cpusvn, EMULATED_CPUSVN);
    assert_eq!((report.body.isvprodid, report.body.isvsvn), (7, 3));

    let request = Keyrequest {
        keyname: KeyName::Report as u16,
        keyid: report.keyid,
        ..Keyrequest::default()
    };
    let (code, key) = egetkey(&toy, &request);
    assert_eq!(code, 0);
    assert_eq!(report_mac(&key, &report.body), report.mac);
    // Not with another's: a target with another measurement has another key.
    let other = Targetinfo { measurement: [1; 32], ..target };
    toy.write(0, TARGETINFO, &other.to_bytes());
    toy.done(0, command::ENCLU, [0, TARGETINFO, REPORTDATA, REPORT]);
    toy.read(0, REPORT, &mut bytes);
    let report = Report::parse(&bytes).expect("a report");
    assert_ne!(report_mac(&key, &report.body), report.mac);
}

fn refused_keys(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let code = |request: Keyrequest| egetkey(&toy, &request).0;
    let seal = Keyrequest { keyname: KeyName::Seal as u16, ..Keyrequest::default() };
    assert_eq!(code(seal), 0);
    assert_eq!(code(Keyrequest { keyname: 9, ..seal }), ErrorCode::InvalidKeyname as u64);
    assert_eq!(code(Keyrequest { isvsvn: 4, ..seal }), ErrorCode::InvalidIsvsvn as u64);
    let cpusvn = [0xff; 16];
    assert_eq!(code(Keyrequest { cpusvn, ..seal }), ErrorCode::InvalidCpusvn as u64);
    let provision = Keyrequest { keyname: KeyName::Provision as u16, ..seal };
    assert_eq!(code(provision), ErrorCode::InvalidAttribute as u64);
}

fn misaligned_operands_are_gp(mode: Mode) {
    let toy = Toy::new(mode, 1);
    for [leaf, rbx, rcx, rdx] in [
        [0, TARGETINFO + 8, REPORTDATA, REPORT],
        [0, TARGETINFO, REPORTDATA + 64, REPORT],
        [0, TARGETINFO, REPORTDATA, REPORT + 256],
        [1, KEYREQUEST + 128, KEY, 0],
        [1, KEYREQUEST, KEY + 8, 0],
        [1, KEYREQUEST, toy::SIZE + 4096, 0],
    ] {
        toy.poke(0, gs::ACTION, action::SKIP);
        toy.poke(0, gs::SKIP, 7);
        toy.done(0, command::ENCLU, [leaf, rbx, rcx, rdx]);
        assert_eq!(toy.peek(0, gs::EXITINFO), 0x8000_030d, "{leaf} {rbx:x} {rcx:x} {rdx:x}");
    }
}

/// Where a child process finds the secret and tells the key.
const SECRET: &str = "SGX_EMULATOR_TEST_SECRET";

fn seal_key(file: &std::path::Path) -> [u8; 16] {
    let toy = Toy::with_secret(Mode::Fast, 1, file);
    assert_eq!(*toy.enclave.secret_origin(), SecretOrigin::File(file.into()));
    let request = Keyrequest {
        keyname: KeyName::Seal as u16,
        keypolicy: KeyPolicy::MRENCLAVE,
        keyid: [7; 32],
        ..Keyrequest::default()
    };
    let (code, key) = egetkey(&toy, &request);
    assert_eq!(code, 0);
    key
}

#[test]
fn seal_key_is_the_same_in_another_process_with_the_same_secret() {
    if let Some(file) = std::env::var_os(SECRET) {
        println!("key {:x?}", seal_key(file.as_ref()));
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let in_child = |name: &str| {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture"])
            .arg("seal_key_is_the_same_in_another_process_with_the_same_secret")
            .env(SECRET, directory.path().join(name))
            .output()
            .expect("the child runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let key = text.lines().find_map(|line| Some(line.split_once("key ")?.1.to_owned()));
        key.unwrap_or_else(|| panic!("no key in {text}"))
    };
    let first = in_child("secret");
    assert_eq!(first, in_child("secret"));
    assert_eq!(first, format!("{:x?}", seal_key(&directory.path().join("secret"))));
    assert_ne!(first, in_child("another"));
}
