//! `shelter verify tcp:…`: containers as they are, and as attackers would have them.

use crate::container::lab::{self, Enclave};
use crate::container::{TRUST, count, files, policy, serve, serve_on};
use crate::support::failed;
use crate::{run, run_with_input, target};
use attestation::hex::Hex;
use attestation::policy::NOTHING_FREE;
use emulated_platform::{CollateralSettings, Settings};
use rats_tls::binding::Binding;
use rats_tls::{AttestError, Attester, Offered};
use serde_json::Value;
use sgx::attributes::AttributeFlags;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

/// The verdict of `verify --json`, and that the exit code agrees with it.
fn verdict(place: &Path, address: SocketAddr, more: &[&str]) -> Value {
    let ended = run(place, &[&["verify", &target(address), "--json"], &TRUST[..], more].concat());
    let verdict = ended.verdict();
    assert_eq!(ended.code, i32::from(verdict["verdict"] == "refused"), "{verdict}");
    verdict
}

/// The checks that refused, and that the program behind the attester got nothing.
fn refused(place: &Path, attester: impl Attester + 'static, more: &[&str]) -> Vec<String> {
    let (address, got) = serve(attester, count);
    let verdict = verdict(place, address, more);
    assert_eq!(verdict["verdict"], "refused");
    assert!(got.lock().unwrap().is_empty());
    failed(&verdict)
}

#[test]
fn a_container_that_the_policy_names_is_accepted_with_its_claims() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let enclave = Enclave::new(1, 0x11);
    files(place, &enclave);
    let (address, _) = serve(enclave, count);
    let told = verdict(place, address, &["--container", "web"]);
    assert_eq!((&told["verdict"], &told["emulated"]), (&"accepted".into(), &true.into()));
    assert_eq!(told["measurement"]["mrenclave"], "11".repeat(32));
    assert_eq!(told["claims"]["instance_id"], "01".repeat(16));
    assert_eq!(told["claims"]["config_digest"], Hex(&NOTHING_FREE).to_string());
    assert_eq!(told["claims"]["custom"]["service"], Hex(b"billing").to_string());
    assert_eq!(told["session"]["container"], "web");
    assert_eq!(told["session"]["level"], "bound");

    let target = target(address);
    let text = run(place, &[&["verify", &target], &TRUST[..]].concat()).stdout;
    assert!(text.starts_with("ACCEPTED  emulated: "), "{text}");
    for part in ["sgx, emulated", &"01".repeat(16), "claim service\n              \"billing\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The same with the collateral that the container sends itself.
    let from_peer = ["--root", "root", "--policy", "policy", "--peer-collateral"];
    assert_eq!(run(place, &[&["verify", &target], &from_peer[..]].concat()).code, 0);
}

#[test]
fn each_refusal_names_its_own_check() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let enclave = || Enclave::new(1, 0x11);
    files(place, &enclave());
    let own = "11".repeat(32);
    policy(place, "hardware", &own, "tee = 'hardware'");
    policy(place, "other", &"12".repeat(32), "");
    policy(place, "platform", &own, &format!("platforms = ['{}']", "ab".repeat(16)));
    policy(place, "config", &own, &format!("config_digest = '{}'", "02".repeat(32)));
    let mut debug = enclave();
    debug.identity.attributes.flags |= AttributeFlags::DEBUG;
    let mut chosen = enclave();
    chosen.claims.config_digest = [2; 32];
    let revoked = CollateralSettings { revoked_pcks: vec![vec![]], ..Default::default() };
    let revoked = Enclave::on(1, 0x11, Settings::default(), &revoked);
    let old = Settings { cpusvn: [0; 16], ..Settings::default() };
    let old = Enclave::on(1, 0x11, old, &CollateralSettings::default());
    let wrong = "ff".repeat(16);
    for (attester, policy, more, check) in [
        (enclave(), "hardware", [].as_slice(), "policy.tee"),
        (enclave(), "other", &[], "policy.measurement"),
        (enclave(), "platform", &[], "policy.platform"),
        (enclave(), "config", &[], "policy.config_digest"),
        (chosen, "policy", &[], "policy.config_digest"),
        (debug, "policy", &[], "policy.debug"),
        (old, "policy", &[], "policy.tcb_status"),
        (enclave(), "policy", &["--instance-id", &wrong], "policy.instance_id"),
    ] {
        // The last of an option's values would be an error: the policy's place is taken.
        let words: Vec<&str> =
            TRUST.iter().map(|it| if *it == "policy" { policy } else { it }).collect();
        let (address, got) = serve(attester, count);
        let target = target(address);
        let ended = run(place, &[&["verify", &target, "--json"], &words[..], more].concat());
        assert_eq!((ended.code, failed(&ended.verdict())), (1, vec![check.to_string()]), "{check}");
        assert_eq!(ended.verdict()["emulated"], true);
        assert!(got.lock().unwrap().is_empty(), "{check}");
    }
    std::fs::write(place.join("collateral"), revoked.collateral().to_json()).unwrap();
    assert_eq!(refused(place, revoked, &[]), ["pck.revocation"]);
}

/// Somebody in between who ends TLS and passes genuine evidence of the right enclave on.
#[test]
fn a_relay_that_ends_tls_is_refused() {
    struct Relay(Enclave);
    impl Attester for Relay {
        fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
            let theirs = Binding { own_key: [5; 48], binder: [6; 48], ..binding.clone() };
            self.0.attest(&theirs, formats)
        }
    }
    let place = tempfile::tempdir().unwrap();
    files(place.path(), &Enclave::new(1, 0x11));
    assert_eq!(refused(place.path(), Relay(Enclave::new(1, 0x11)), &[]), ["binding.report_data"]);
}

/// Evidence and claims that nobody can read are a refusal with its check, and no crash.
#[test]
fn what_cannot_be_read_is_refused() {
    struct Broken(Enclave, fn(&mut Offered));
    impl Attester for Broken {
        fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
            let mut offered = self.0.attest(binding, formats)?;
            (self.1)(&mut offered);
            Ok(offered)
        }
    }
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let enclave = || Enclave::new(1, 0x11);
    files(place, &enclave());
    let broken = |change| refused(place, Broken(enclave(), change), &[]);
    let garbage = broken(|it| it.evidence = vec![0xff; 5000]);
    assert!(garbage.contains(&"quote.format".into()), "{garbage:?}");
    let empty = broken(|it| it.evidence.clear());
    assert!(empty.contains(&"quote.format".into()), "{empty:?}");
    let claims = broken(|it| it.claims.push(0));
    assert_eq!(claims, ["binding.report_data", "claims.format"]);
    let none = broken(|it| it.claims.clear());
    assert!(none.contains(&"claims.format".into()), "{none:?}");
}

#[test]
fn who_does_not_speak_the_protocol_gives_no_verdict() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    files(place, &Enclave::new(1, 0x11));
    let no_verdict = |address: SocketAddr, part: &str| {
        let target = target(address);
        let words = [&["verify", &target, "--timeout", "1"], &TRUST[..]].concat();
        let ended = run(place, &words);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    };
    // One that never says a word, one that hangs up, one that talks of something else, one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    no_verdict(silent.local_addr().unwrap(), "session: expected each step within 1 s, got none");
    let answering = |answer: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer);
        });
        address
    };
    no_verdict(answering(b""), "is an attester, or a relay that knows this container");
    no_verdict(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "session: tls: ");
    no_verdict(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "is an attester, or a relay that");
    // A relay's alert, unrecognized_name.
    let unknown = "--container: expected a name that the relay there was told, got none";
    no_verdict(answering(b"\x15\x03\x03\x00\x02\x02\x70"), unknown);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    no_verdict(gone, "does inclavared, or the container's attester, run, and listen there?");
    // A server that proves nothing: it speaks the protocol, and asks for proof instead.
    let asking = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = asking.local_addr().unwrap();
    thread::spawn(move || {
        let appraiser = lab::appraiser(lab::policy(0x11, ""));
        let party = rats_tls::Party::verifying_server(std::sync::Arc::new(appraiser)).unwrap();
        let (connection, _) = asking.accept().unwrap();
        let _ = rats_tls::Stream::accept(connection, &std::sync::Arc::new(party));
    });
    no_verdict(address, "session: ");
}

#[test]
fn wrong_use_is_told_before_anybody_is_asked() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    files(place, &Enclave::new(1, 0x11));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target(listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let data = "33".repeat(64);
    for (words, part) in [
        (vec!["--report-data", &data], "expected no --report-data"),
        (vec!["--authenticate-only"], "expected no --authenticate-only"),
        (vec!["--unbound"], "expected no --unbound"),
        (vec!["--container", "a b"], "--container: "),
        (vec!["--instance-id", "00"], "--instance-id"),
        (vec!["--timeout", "0"], "--timeout"),
        (vec!["--peer-collateral"], "--peer-collateral"),
        (vec!["--reference", "unknown", "--store", "none"], "saved as \"unknown\""),
    ] {
        let ended = run(place, &[&["verify", &address], &TRUST[..], &words].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{words:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{words:?}: {}", ended.stderr);
    }
    for bad in ["tcp:127.0.0.1", "unix:", "vsock:3:1"] {
        let ended = run(place, &[&["verify", bad], &TRUST[..]].concat());
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.contains("TARGET: expected "), "{}", ended.stderr);
    }
    let bare =
        run(place, &[&["verify", "127.0.0.1:8443", "--container", "web"], &TRUST[..]].concat());
    assert_eq!(bare.code, 2);
    assert!(bare.stderr.contains("is tcp:127.0.0.1:8443 meant?"), "{}", bare.stderr);
    assert!(listener.accept().is_err(), "nobody was asked");
}

/// The certificates' level: only where the policy names it, and never for more than a verdict.
#[test]
fn certificates_are_judged_where_the_policy_says_so() {
    use rats_tls::compat;
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let enclave = Enclave::new(1, 0x11);
    files(place, &enclave);
    let own = "11".repeat(32);
    policy(place, "compat", &own, "level = 'compat'");
    policy(place, "other", &"12".repeat(32), "level = 'compat'");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target(listener.local_addr().unwrap());
    let (key, certificate) = compat::self_signed::<rats_tls::tls::IdentityError>(
        Default::default(),
        lab::now(),
        |data| Ok(enclave.quote(data)),
    )
    .unwrap();
    let server = std::sync::Arc::new(compat::server(&key, &certificate).unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let tls = rustls::ServerConnection::new(server.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, connection.unwrap());
            let _ = stream.conn.complete_io(&mut stream.sock);
        }
    });
    let with = |policy: &str, verb: &[&str]| {
        let words: Vec<&str> =
            TRUST.iter().map(|it| if *it == "policy" { policy } else { it }).collect();
        run(place, &[&[verb[0], &address], &verb[1..], &words].concat())
    };
    let accepted = with("compat", &["verify", "--json"]);
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
    assert_eq!(accepted.verdict()["session"]["level"], "compat");
    assert_eq!(accepted.verdict()["claims"], Value::Null);
    let refused = with("other", &["verify", "--json"]);
    assert_eq!(failed(&refused.verdict()), ["policy.measurement"]);
    // The policy that names the level is the one that decides: it is read once.
    let policy = std::fs::read(place.join("compat")).unwrap();
    let words = TRUST.iter().map(|it| if *it == "policy" { "/dev/stdin" } else { it });
    let words: Vec<&str> = ["verify", &address, "--json"].into_iter().chain(words).collect();
    let once = run_with_input(place, &words, &policy);
    assert_eq!(once.verdict()["verdict"], "accepted", "{}", once.stderr);
    // Which instance it is, no certificate says: whoever asks for one gets no verdict on another.
    let instance = with("compat", &["verify", "--instance-id", &"01".repeat(16)]);
    assert_eq!((instance.code, instance.stdout.as_str()), (2, ""), "{}", instance.stderr);
    let part = "--instance-id: expected a policy of level bound, got compat";
    assert!(instance.stderr.contains(part), "{}", instance.stderr);
    // Without the level's name nothing is judged: that server speaks no bound session.
    assert_eq!(with("policy", &["verify", "--json"]).code, 2);
    std::fs::write(place.join("secret"), "x").unwrap();
    let send = with("compat", &["send", "--secret", "secret"]);
    assert_eq!(send.code, 2);
    assert!(send.stderr.contains("level: expected bound, got compat"), "{}", send.stderr);
}

#[test]
fn a_verdict_can_be_kept_and_looked_at_again() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let enclave = Enclave::new(1, 0x11);
    files(place, &enclave);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, _) = serve_on(listener, enclave, count);
    assert_eq!(verdict(place, address, &["--save", "kept"])["verdict"], "accepted");
    let explained = run(place, &["explain", "kept/verdict.json"]);
    assert!(explained.stdout.starts_with("ACCEPTED  emulated: "), "{}", explained.stdout);
    // From the files the same: evidence, collateral and the report data that were asked for.
    let data = std::fs::read_to_string(place.join("kept/report-data")).unwrap();
    let again = run(
        place,
        &[
            "verify",
            "kept/evidence",
            "--collateral",
            "kept/collateral.json",
            "--root",
            "root",
            "--policy",
            "policy",
            "--report-data",
            data.trim(),
            "--json",
        ],
    );
    assert_eq!(again.verdict()["verdict"], "accepted");
    // What is there is not written over.
    let ended = run(place, &[&["verify", &target(address), "--save", "kept"], &TRUST[..]].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
}
