//! What `shelter` reads.

use shelter::saved::{self, Entry};
use workload::digest::Hex;

/// Empty, two entries with all they can have and little, and the list of these.
pub(crate) fn saved_measurements() -> Vec<Vec<u8>> {
    let entry = |name: &str| Entry {
        name: name.into(),
        mrenclave: Hex([7; 32]),
        kind: "enclave file".into(),
        source: "enclave.sgxs".into(),
        image: None,
        root: None,
        manifest: None,
        runtime_version: None,
        debug: None,
        saved: "2026-01-01T00:00:00Z".into(),
    };
    let image = Entry {
        kind: "image".into(),
        source: "app.tar payroll:1".into(),
        image: Some(Hex([1; 32])),
        root: Some(Hex([2; 32])),
        manifest: Some(Hex([3; 32])),
        runtime_version: Some("0.1.0".into()),
        debug: Some(false),
        ..entry("registry.example/app@sha256:00")
    };
    let entries = [entry("a"), image];
    let list = serde_json::to_vec(&entries).expect("strings and digests");
    vec![saved::write(&[]), saved::write(&entries), list]
}

pub(crate) fn shelter_address() -> Vec<Vec<u8>> {
    ["tcp:host.example:8443", "tcp://[2001:db8::1]:443", "unix:/run/a.sock", "unix:///run/a.sock"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}
