//! Sessions whose evidence is genuine quotes of emulated platforms, under policies as people write them.

#[path = "common/lab.rs"]
mod lab;

use attestation::crypto::Default as Crypto;
use attestation::{Now, Policy, Verifier};
use emulated_platform::{CollateralSettings, Settings};
use lab::{Enclave, appraiser, policy};
use rats_tls::binding::Binding;
use rats_tls::compat::{self, CompatAppraiser};
use rats_tls::tls::IdentityError;
use rats_tls::{AttestError, Attester, Fixed, Offered, Party, Refusal, SessionError, Stream};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use sgx::attributes::AttributeFlags;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

fn open(
    client: Party,
    server: Party,
) -> (Result<Stream<UnixStream>, SessionError>, thread::JoinHandle<Option<SessionError>>) {
    let (near, far) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || match Stream::accept(far, &Arc::new(server)) {
        Ok(mut stream) => {
            let mut word = [0; 4];
            // A client that only looks at the verdict goes without a word.
            if stream.read_exact(&mut word).is_ok() {
                stream.write_all(&word).unwrap();
                return stream.close().err();
            }
            None
        }
        Err(error) => Some(error),
    });
    let name = ServerName::try_from("container").unwrap();
    (Stream::connect(near, name, &Arc::new(client)), server)
}

fn verifier(policy: Policy) -> Party {
    Party::verifier(Arc::new(appraiser(policy)))
}

/// The refusal's text, and that the server was told no more than the check.
fn refused(policy: Policy, enclave: Enclave) -> String {
    let (client, server) = open(verifier(policy), enclave.party());
    let client = client.map(|_| ()).unwrap_err();
    assert!(matches!(client, SessionError::Refused(_)), "{client}");
    let told = server.join().unwrap().unwrap().to_string();
    assert!(told.starts_with("the peer refused our evidence (verdict 1): "), "{told}");
    client.to_string()
}

#[test]
fn a_session_with_an_enclave_that_the_policy_names() {
    let (client, server) = open(verifier(policy(0x11, "")), Enclave::new(1, 0x11).party());
    let mut client = client.unwrap();
    let peer = client.peer().unwrap();
    assert!(peer.verdict.is_accepted() && peer.verdict.emulated);
    assert_eq!(peer.claims.custom["service"], b"billing");
    client.write_all(b"ping").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"ping");
    assert!(server.join().unwrap().is_none());
}

#[test]
fn enclaves_prove_themselves_to_each_other() {
    let end = |own: u8, peer: u8| {
        let enclave = Arc::new(Enclave::new(own, own));
        Party::mutual(enclave, Arc::new(appraiser(policy(peer, "")))).unwrap()
    };
    let (client, server) = open(end(1, 2), end(2, 1));
    let mut client = client.unwrap();
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    assert!(server.join().unwrap().is_none());
    // The second one expects another.
    let (client, server) = open(end(1, 2), end(2, 3));
    let server = server.join();
    assert!(client.is_err() || server.unwrap().is_some());
}

#[test]
fn each_refusal_has_its_own_message() {
    let enclave = || Enclave::new(1, 0x11);
    let hardware = {
        let root = attestation::hex::Hex(lab::anchor().sha256()).to_string();
        let ours = attestation::hex::Hex(&[0x11; 32]).to_string();
        Policy::from_toml(&format!("roots = ['{root}']\nmrenclave = ['{ours}']")).unwrap()
    };
    let mut debug = enclave();
    debug.identity.attributes.flags |= AttributeFlags::DEBUG;
    let revoked = CollateralSettings { revoked_pcks: vec![vec![]], ..Default::default() };
    let (current, usual) = (Settings::default(), CollateralSettings::default());
    let old = Settings { cpusvn: [0; 16], ..Settings::default() };
    let platforms = format!("platforms = ['{}']", "ab".repeat(16));
    let config = format!("config_digest = '{}'", "02".repeat(32));
    let mut chosen = enclave();
    chosen.claims.config_digest = [2; 32];
    let lines = [
        (refused(hardware, enclave()), "policy.tee"),
        (refused(policy(0x12, ""), enclave()), "policy.measurement"),
        (refused(policy(0x11, ""), debug), "policy.debug"),
        (refused(policy(0x11, &platforms), enclave()), "policy.platform"),
        (refused(policy(0x11, &config), enclave()), "policy.config_digest"),
        (refused(policy(0x11, ""), chosen), "policy.config_digest"),
        (refused(policy(0x11, "min_tcb_eval = 99"), enclave()), "policy.min_tcb_eval"),
        (refused(policy(0x11, ""), Enclave::on(1, 0x11, current, &revoked)), "pck.revocation"),
        (refused(policy(0x11, ""), Enclave::on(1, 0x11, old, &usual)), "policy.tcb_status"),
    ];
    for (line, check) in &lines {
        // That check and no other: each message is about one thing.
        assert!(line.starts_with(&format!("evidence refused: {check}: failed: ")), "{line}");
        assert_eq!(line.matches("failed").count(), 1, "{line}");
    }
}

#[test]
fn the_platform_that_is_pinned_is_accepted() {
    let enclave = Enclave::new(1, 0x11);
    let ppid = attestation::hex::Hex(&enclave.ppid()).to_string();
    let pinned = policy(0x11, &format!("platforms = ['{ppid}']"));
    assert!(open(verifier(pinned.clone()), enclave.party()).0.is_ok());
    // Another genuine platform under the same root, with the same enclave.
    let line = refused(pinned, Enclave::new(2, 0x11));
    assert!(line.contains(&ppid), "{line}");
}

#[test]
fn another_instance_is_refused() {
    let pinned = |id: u8| Party::verifier(Arc::new(appraiser(policy(0x11, "")).instance([id; 16])));
    assert!(open(pinned(1), Enclave::new(1, 0x11).party()).0.is_ok());
    let (client, _) = open(pinned(9), Enclave::new(1, 0x11).party());
    let client = client.map(|_| ()).unwrap_err();
    let expected = format!(
        "evidence refused: instance-id: expected {}, got {}",
        "09".repeat(16),
        "01".repeat(16)
    );
    assert_eq!(client.to_string(), expected);
}

#[test]
fn the_callers_own_look_decides_last() {
    let look = |expected: &'static [u8]| {
        appraiser(policy(0x11, "")).look(Box::new(move |accepted| {
            let got = &accepted.claims.custom["service"];
            if got == expected {
                return Ok(());
            }
            Err(Refusal::Denied {
                field: "service".into(),
                expected: String::from_utf8_lossy(expected).into(),
                got: String::from_utf8_lossy(got).into(),
            })
        }))
    };
    let party = |expected| Party::verifier(Arc::new(look(expected)));
    assert!(open(party(b"billing"), Enclave::new(1, 0x11).party()).0.is_ok());
    let client = open(party(b"ledger"), Enclave::new(1, 0x11).party()).0.map(|_| ()).unwrap_err();
    assert_eq!(client.to_string(), "evidence refused: service: expected ledger, got billing");
}

/// A genuine enclave in the middle, which answers with evidence that it got from the right one.
#[test]
fn evidence_of_a_second_genuine_enclave_is_refused() {
    struct Diverted(Enclave);
    impl Attester for Diverted {
        fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
            // The right enclave attests to its own session with the enclave in the middle.
            let other = Binding { own_key: [5; 48], binder: [6; 48], ..binding.clone() };
            self.0.attest(&other, formats)
        }
    }
    let middle = Party::attester(Arc::new(Diverted(Enclave::new(1, 0x11)))).unwrap();
    let (client, _) = open(verifier(policy(0x11, "")), middle);
    let client = client.map(|_| ()).unwrap_err().to_string();
    assert!(client.contains("report"), "{client}");
}

/// Genuine quotes of the right enclave that are not over this session's report data.
#[test]
fn evidence_that_says_something_else_is_refused() {
    struct Says(Enclave, fn([u8; 64]) -> [u8; 64]);
    impl Attester for Says {
        fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
            let offered = self.0.attest(binding, formats)?;
            let right = binding.report_data(&offered.claims);
            Ok(Offered { evidence: self.0.quote(&(self.1)(right)), ..offered })
        }
    }
    let says = |change| {
        let server = Says(Enclave::new(1, 0x11), change);
        let (client, _) =
            open(verifier(policy(0x11, "")), Party::attester(Arc::new(server)).unwrap());
        let line = client.map(|_| ()).unwrap_err().to_string();
        let got = line.split("got ").nth(1).unwrap_or_default().to_owned();
        assert!(line.starts_with("evidence refused: binding.report_data: failed: "), "{line}");
        assert_eq!(line.matches("failed").count(), 1, "{line}");
        got
    };
    // Nothing at all: a verifier that expects nothing would be content.
    assert!(says(|_| [0; 64]).starts_with(&"00".repeat(64)));
    // A quote oracle: a program quotes whatever it is told, but for the tag, which its device refuses.
    let untagged = says(|mut right| {
        right[48..].fill(0);
        right
    });
    assert!(untagged.contains(&"00".repeat(16)), "{untagged}");
    // The tag alone, and the digest with another end.
    says(|mut right| {
        right[..48].fill(0);
        right
    });
    says(|mut right| {
        right[63] = 1;
        right
    });
}

/// The attester makes one quote and sends it to everyone, as peers with a cache do.
#[test]
fn a_quote_that_was_made_for_another_session_is_refused() {
    struct Cached(Enclave, Mutex<Option<Offered>>);
    impl Attester for Cached {
        fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
            let mut cached = self.1.lock().unwrap();
            if cached.is_none() {
                *cached = Some(self.0.attest(binding, formats)?);
            }
            Ok(cached.clone().unwrap())
        }
    }
    let server = Cached(Enclave::new(1, 0x11), Mutex::default());
    let server = Party::attester(Arc::new(server)).unwrap();
    let client = verifier(policy(0x11, ""));
    assert!(open(client.clone(), server.clone()).0.is_ok());
    let (second, _) = open(client, server);
    let line = second.map(|_| ()).unwrap_err().to_string();
    assert!(line.starts_with("evidence refused: binding.report_data: failed: "), "{line}");
}

#[test]
fn claims_that_shadow_the_platforms_are_refused() {
    let mut enclave = Enclave::new(1, 0x11);
    enclave.claims.custom = [("config-digest".to_owned(), vec![2; 32])].into();
    assert_eq!(
        refused(policy(0x11, ""), enclave),
        "evidence refused: claims: expected no claim of the program's named config-digest, got one"
    );
    let mut enclave = Enclave::new(1, 0x11);
    enclave.claims.custom = (0..62).map(|index| (index.to_string(), vec![])).collect();
    let line = refused(policy(0x11, ""), enclave);
    assert_eq!(line, "evidence refused: claims: expected at most 64, got 65");
}

#[test]
fn a_policy_for_certificates_takes_no_bound_evidence_and_the_reverse() {
    let line = refused(policy(0x11, "level = 'compat'"), Enclave::new(1, 0x11));
    assert_eq!(line, "evidence refused: level: expected compat, got bound");
}

/// MRSIGNER alone, without product and version, is no policy.
#[test]
fn a_signer_without_product_and_version_is_no_policy() {
    let root = attestation::hex::Hex(lab::anchor().sha256()).to_string();
    let signer = "22".repeat(32);
    let text = format!("roots = ['{root}']\n[[mrsigner]]\nmrsigner = '{signer}'\n");
    assert!(Policy::from_toml(&text).unwrap_err().to_string().contains("isvprodid"));
    let text = format!("{text}isvprodid = 7\n");
    assert!(Policy::from_toml(&text).unwrap_err().to_string().contains("min_isvsvn"));
    // With both: the product and its version count.
    let with = |prodid: u16, svn: u16| {
        let text = format!(
            "roots = ['{root}']\ntee = 'emulated'\n[[mrsigner]]\nmrsigner = '{signer}'\nisvprodid = {prodid}\nmin_isvsvn = {svn}\n"
        );
        Policy::from_toml(&text).unwrap()
    };
    assert!(open(verifier(with(7, 8)), Enclave::new(1, 0x11).party()).0.is_ok());
    for policy in [with(6, 8), with(7, 9)] {
        let line = refused(policy, Enclave::new(1, 0x11));
        assert!(line.starts_with("evidence refused: policy.measurement: failed: "), "{line}");
    }
}

/// The compat level's own handshake: the certificate is the evidence, and the policy decides on it.
#[test]
fn a_certificate_is_accepted_or_the_handshake_fails() {
    let enclave = Enclave::new(1, 0x11);
    let (key, certificate) =
        compat::self_signed::<IdentityError>(BTreeMap::new(), lab::now(), |data| {
            Ok(enclave.quote(data))
        })
        .unwrap();
    let handshake = |policy: Policy| {
        let verifier = Verifier::new(Crypto::default(), lab::anchor());
        let now = Now::host(lab::now());
        let collateral = verifier.collateral(&enclave.collateral(), now).unwrap();
        let source = Fixed(Arc::new(collateral));
        let appraiser = CompatAppraiser::new(verifier, policy, source, Box::new(move || now));
        let client = Arc::new(compat::client(Arc::new(appraiser)).unwrap());
        let server = Arc::new(compat::server(&key, &certificate).unwrap());
        let (near, far) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let connection = ServerConnection::new(server).unwrap();
            let mut server = StreamOwned::new(connection, far);
            let _ = server.conn.complete_io(&mut server.sock);
        });
        let name = ServerName::try_from("container").unwrap();
        let mut client = StreamOwned::new(ClientConnection::new(client, name).unwrap(), near);
        let result = client.conn.complete_io(&mut client.sock).map(drop);
        drop(client);
        server.join().unwrap();
        result.map_err(|error| error.to_string())
    };
    assert_eq!(handshake(policy(0x11, "level = 'compat'")), Ok(()));
    assert!(handshake(policy(0x12, "level = 'compat'")).is_err(), "another enclave");
    assert!(handshake(policy(0x11, "")).is_err(), "a policy that does not name the level");
}
