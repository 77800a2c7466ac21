//! The specification's vectors, by this crate and by a script that knows only the specification.

use rats_tls::binding::{Binding, Digest, ExportFault, Exporter, Role, key_digest, transcript};
use rats_tls::claims::{Claims, encode_custom};
use rats_tls::frame::{Evidence, Flags, Frame, Hello};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/spec/bound-v1")
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal text");
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hello(case: &Value) -> Hello {
    let bits = case["flags"].as_u64().unwrap();
    let formats = case["formats"].as_array().unwrap().iter();
    Hello {
        flags: Flags {
            attest_me: bits & 1 != 0,
            attest_you: bits & 2 != 0,
            verify_first: bits & 4 != 0,
        },
        formats: formats.map(|number| number.as_u64().unwrap() as u16).collect(),
        nonce: bytes(&case["nonce"]).try_into().unwrap(),
    }
}

/// Stands for TLS: gives the vector's binder for the label and context that the specification wants.
struct Recorded {
    context: Vec<u8>,
    binder: Digest,
}

impl Exporter for Recorded {
    fn export(&self, label: &[u8], context: &[u8], into: &mut Digest) -> Result<(), ExportFault> {
        assert_eq!(label, b"EXPERIMENTAL-inclavare-bound-v1");
        assert_eq!(context, self.context);
        *into = self.binder;
        Ok(())
    }
}

#[test]
fn vectors_agree() {
    let text = std::fs::read_to_string(folder().join("vectors.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 4);
    for case in &cases {
        let name = &case["name"];
        let expected = |field: &str| case["expected"][field].as_str().unwrap().to_owned();
        let epoch = case["epoch"].as_u64().unwrap() as u32;
        let role = if case["role"] == "client" { Role::Client } else { Role::Server };
        let [client, server] = if epoch == 0 {
            [Frame::ClientHello(hello(&case["client"])), Frame::ServerHello(hello(&case["server"]))]
        } else {
            ["client", "server"].map(|end| {
                let nonce = bytes(&case[end]["nonce"]).try_into().unwrap();
                Frame::Reattest { nonce, epoch }
            })
        }
        .map(|frame| frame.encode());
        assert_eq!(hex(&client), expected("client_frame"), "{name}");
        assert_eq!(hex(&server), expected("server_frame"), "{name}");

        let transcript = transcript(&client, &server);
        assert_eq!(hex(&transcript), expected("transcript"), "{name}");

        let custom = case["custom_claims"].as_object().unwrap();
        let custom = custom.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
        let platform = &case["platform_claims"];
        let claims = Claims {
            instance_id: bytes(&platform["instance-id"]).try_into().unwrap(),
            config_digest: bytes(&platform["config-digest"]).try_into().unwrap(),
            runtime_version: String::from_utf8(bytes(&platform["runtime-version"])).unwrap(),
            custom,
        };
        let buffer = claims.encode();
        assert_eq!(hex(&buffer), expected("claims"), "{name}");
        assert!(buffer.ends_with(&encode_custom(&claims.custom)));
        assert_eq!(Claims::decode(&buffer).as_ref(), Ok(&claims), "{name}");

        let context = [&transcript[..], &[role as u8], &epoch.to_be_bytes()].concat();
        let binder = bytes(&case["expected"]["binder"]).try_into().unwrap();
        let exporter = Recorded { context, binder };
        let own = key_digest(&bytes(&case["own_spki"]));
        let peer = bytes(&case["peer_spki"]);
        let peer = if peer.is_empty() { [0; 48] } else { key_digest(&peer) };
        let binding = Binding::new(&exporter, role, epoch, [own, peer], transcript).unwrap();
        assert_eq!(hex(&binding.report_data(&buffer)), expected("report_data"), "{name}");

        let evidence = bytes(&case["evidence"]);
        let evidence =
            Evidence { epoch, format: 1, evidence, claims: buffer, endorsements: vec![] };
        assert_eq!(hex(&Frame::Evidence(evidence).encode()), expected("evidence_frame"), "{name}");
    }
}

/// Python is no requirement of a build; where there is none the other test stands alone, and this one says so.
#[test]
fn an_independent_script_recomputes_them() {
    let run = |arguments: &[&str]| {
        Command::new("python3").arg(folder().join("recompute.py")).args(arguments).output()
    };
    let Ok(output) = run(&[]) else {
        eprintln!("skipped: no python3");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    // It can fail: one digit of one value changed.
    let text = std::fs::read_to_string(folder().join("vectors.json")).unwrap();
    let at = text.rfind("\"binder\": \"").unwrap() + "\"binder\": \"".len();
    let mut changed = text.into_bytes();
    changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
    let directory = std::env::temp_dir().join(format!("bound-v1-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("vectors.json");
    std::fs::write(&file, changed).unwrap();
    let output = run(&[file.to_str().unwrap()]).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("binder: expected"));
}
