//! An emulated platform as programs meet one: files, and a device that answers.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use crate::lab::{Enclave, anchor};
use rats_tls::binding::{Binding, Role};
use rats_tls::claims::Claims;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

/// An emulated platform as programs meet one: a device, a root, collateral and policies, as files.
pub struct Machine(tempfile::TempDir);

impl Machine {
    /// With an enclave of this number, and policies for those of any number.
    pub fn new(number: u8) -> Self {
        let enclave = Enclave::new(number, number);
        let machine = Self(tempfile::tempdir().unwrap());
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(machine.0.path().join(name), bytes).unwrap();
        };
        write("root.der", anchor().der());
        write("collateral.json", enclave.collateral_json());
        let digest = attestation::hex::Hex(anchor().sha256()).to_string();
        for number in 1..=3 {
            let mrenclave = attestation::hex::Hex(&[number; 32]).to_string();
            let text =
                format!("roots = ['{digest}']\ntee = 'emulated'\nmrenclave = ['{mrenclave}']\n");
            write(&format!("policy-{number}.toml"), text.as_bytes());
            let hardware = text.replace("tee = 'emulated'\n", "");
            write(&format!("hardware-{number}.toml"), hardware.as_bytes());
            write(&format!("compat-{number}.toml"), format!("level = 'compat'\n{text}").as_bytes());
        }
        let platform = Claims { custom: Default::default(), ..enclave.claims.clone() }.encode();
        write("claims", &platform);
        let listener = UnixListener::bind(machine.0.path().join("bound")).unwrap();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut record = Vec::new();
                connection.read_to_end(&mut record).unwrap();
                let data = report_data(&record, &platform);
                connection.write_all(&enclave.quote(&data)).unwrap();
            }
        });
        machine
    }

    pub fn option(&self, key: &str, file: &str) -> String {
        format!("{key}={}", self.path().join(file).display())
    }

    /// Where its files lie.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Options of an end that proves itself.
    pub fn attests(&self) -> Vec<String> {
        vec![
            format!("device={}", self.0.path().display()),
            self.option("collateral", "collateral.json"),
            "endorse".into(),
        ]
    }

    /// Options of an end that verifies by this policy.
    pub fn verifies(&self, policy: &str) -> Vec<String> {
        vec![self.option("root", "root.der"), self.option("policy", &format!("{policy}.toml"))]
    }
}

/// What the bound device does with a record.
fn report_data(record: &[u8], platform: &[u8]) -> [u8; 64] {
    assert_eq!(&record[..8], b"EAABND01");
    let field = |at: usize| record[at..at + 48].try_into().unwrap();
    let binding = Binding {
        role: if record[8] == 1 { Role::Client } else { Role::Server },
        epoch: u32::from_be_bytes(record[12..16].try_into().unwrap()),
        own_key: field(16),
        peer_key: field(64),
        transcript: field(112),
        binder: field(160),
    };
    binding.report_data(&[platform, &record[208..]].concat())
}
