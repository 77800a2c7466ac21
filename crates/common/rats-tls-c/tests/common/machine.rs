//! An emulated platform as programs meet one: a device, a root, collateral and policies, as files.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use emulated_device::Enclave;
use std::path::Path;

pub struct Machine(tempfile::TempDir);

impl Machine {
    /// With an enclave of this number, and policies for those of 1 to 3.
    pub fn new(number: u8) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        Enclave::new(number, [number; 32]).serve(machine.path()).unwrap();
        let write = |name: &str, number: u8, text: &str| {
            let path = machine.path().join(format!("{name}-{number}.toml"));
            std::fs::write(path, text).unwrap();
        };
        for number in 1..=3 {
            let policy = Enclave::new(number, [number; 32]).policy();
            write("policy", number, &policy);
            write("hardware", number, &policy.replace("tee = 'emulated'\n", ""));
            write("compat", number, &format!("level = 'compat'\n{policy}"));
        }
        machine
    }

    /// `key=FILE`
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
            format!("device={}", self.path().display()),
            self.option("collateral", "collateral.json"),
            "endorse".into(),
        ]
    }

    /// Options of an end that verifies by this policy.
    pub fn verifies(&self, policy: &str) -> Vec<String> {
        vec![self.option("root", "root.der"), self.option("policy", &format!("{policy}.toml"))]
    }
}
