//! `remoteattestation` with a policy of level `hop-by-hop`: an inclavared as it should be, and hostile ones.

use crate::container::lab;
use crate::support::failed;
use crate::{run, target};
use attestation::TcbStatus;
use attestation::hex::Hex;
use attestation::relayed::Relayed;
use rats_tls::hop::{self, Answer, EnclaveInfo, REQUEST};
use rustls::{ServerConnection, StreamOwned};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

fn told() -> Relayed {
    Relayed {
        mrenclave: [0x11; 32],
        mrsigner: [0x22; 32],
        isvprodid: 7,
        isvsvn: 8,
        debug: false,
        tcb_status: TcbStatus::UpToDate,
        root: *lab::anchor().sha256(),
    }
}

fn answer(enclave: Relayed) -> Vec<u8> {
    Answer::Info(EnclaveInfo { enclave, message: "EMULATED: hello".into() }).to_json()
}

/// An inclavared that answers this; gives its address and its key's digest.
fn inclavared(answer: Vec<u8>) -> (String, [u8; 32]) {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let (config, pin) = hop::server(&key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target(listener.local_addr().unwrap()).replace("tcp:", "tcp://");
    thread::spawn(move || {
        for connection in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(tls, connection.unwrap());
            let mut request = [0; REQUEST.len()];
            if stream.read_exact(&mut request).is_err() {
                continue;
            }
            assert_eq!(request, REQUEST);
            let _ = stream.conn.writer().write_all(&answer);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, pin)
}

/// A policy that trusts an inclavared with this key.
fn trusting(place: &Path, pin: [u8; 32], more: &str) {
    fs::write(place.join("root"), lab::anchor().der()).unwrap();
    let root = Hex(lab::anchor().sha256()).to_string();
    let policy = format!(
        "level = 'hop-by-hop'\ninclavared = ['{}']\nroots = ['{root}']\ntee = 'emulated'\n{more}",
        Hex(&pin)
    );
    fs::write(place.join("policy"), policy).unwrap();
}

const TRUST: [&str; 4] = ["--root", "root", "--policy", "policy"];

fn own() -> String {
    format!("mrenclave = ['{}']", "11".repeat(32))
}

#[test]
fn the_verdict_says_that_inclavared_is_trusted() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (addr, pin) = inclavared(answer(told()));
    trusting(place, pin, &own());
    let words = [&["remoteattestation", "--addr", &addr], &TRUST[..]].concat();
    let ended = run(place, &[&words[..], &["--json"]].concat());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let verdict = ended.verdict();
    assert_eq!((&verdict["verdict"], &verdict["emulated"]), (&"accepted".into(), &true.into()));
    assert_eq!(verdict["session"]["level"], "hop-by-hop");
    assert_eq!(verdict["session"]["trust"], "hop-by-hop: inclavared is trusted");
    assert_eq!(verdict["measurement"]["mrsigner"], "22".repeat(32));
    let text = run(place, &words).stdout;
    assert!(text.starts_with("ACCEPTED  emulated: allowed by the policy, as inclavared"), "{text}");
    assert!(text.contains("hop-by-hop: inclavared is trusted"), "{text}");
    // The same when it is shown again.
    fs::write(place.join("verdict"), &ended.stdout).unwrap();
    assert_eq!(run(place, &["explain", "verdict"]).stdout, text);
    // By signer, with product and version.
    let signer = "22".repeat(32);
    let rule =
        |least| format!("[[mrsigner]]\nmrsigner = '{signer}'\nisvprodid = 7\nmin_isvsvn = {least}");
    trusting(place, pin, &rule(8));
    assert_eq!(run(place, &words).code, 0);
    trusting(place, pin, &rule(9));
    assert_eq!(run(place, &words).code, 1);
}

#[test]
fn each_refusal_of_its_word_names_its_own_check() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let refused = |told: Relayed, more: &str| {
        let (addr, pin) = inclavared(answer(told));
        trusting(place, pin, more);
        let words = [&["remoteattestation", "--json", "--addr", &addr], &TRUST[..]].concat();
        let ended = run(place, &words);
        let verdict = ended.verdict();
        assert_eq!((ended.code, &verdict["verdict"]), (1, &"refused".into()));
        assert_eq!(verdict["session"]["trust"], "hop-by-hop: inclavared is trusted");
        failed(&verdict)
    };
    let mrenclave = Relayed { mrenclave: [0x12; 32], ..told() };
    assert_eq!(refused(mrenclave, &own()), ["policy.measurement"]);
    // A policy that names nothing accepts nothing.
    assert_eq!(refused(told(), ""), ["policy.measurement"]);
    assert_eq!(refused(Relayed { debug: true, ..told() }, &own()), ["policy.debug"]);
    let old = Relayed { tcb_status: TcbStatus::OutOfDate, ..told() };
    assert_eq!(refused(old, &own()), ["policy.tcb_status"]);
    assert_eq!(refused(Relayed { root: [9; 32], ..told() }, &own()), ["root.identity"]);
    // Another inclavared, which would say the right thing.
    let (addr, _) = inclavared(answer(told()));
    trusting(place, [9; 32], &own());
    let words = [&["remoteattestation", "--json", "--addr", &addr], &TRUST[..]].concat();
    let verdict = run(place, &words).verdict();
    assert_eq!(failed(&verdict), ["hop.inclavared"]);
    assert_eq!(verdict["measurement"], serde_json::Value::Null);
}

#[test]
fn an_answer_that_is_none_gives_no_verdict() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let good = String::from_utf8(answer(told())).unwrap();
    for (bytes, part) in [
        (vec![b'x'; 100_000], "message: expected at most 512 bytes, got more"),
        (b"reply from inclavared!\n".to_vec(), "message: expected value"),
        (vec![], "message: EOF while parsing"),
        (good.replacen('{', "{\"more\":1,", 1).into_bytes(), "unknown field `more`"),
        (
            good.replacen("\"debug\":false", "\"debug\":\"no\"", 1).into_bytes(),
            "invalid type: string",
        ),
        (
            Answer::Refused("policy.debug \u{1b}[2J".into()).to_json(),
            "inclavared does not vouch for its container: policy.debug",
        ),
    ] {
        let (addr, pin) = inclavared(bytes);
        trusting(place, pin, &own());
        let words = [&["remoteattestation", "--json", "--addr", &addr], &TRUST[..]].concat();
        let ended = run(place, &words);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{part}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
    }
}

#[test]
fn nothing_but_a_verdict_is_given_at_this_level_and_no_other_level_takes_its_word() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (addr, pin) = inclavared(answer(told()));
    trusting(place, pin, &own());
    fs::write(place.join("secret"), "x").unwrap();
    for (words, part) in [
        (&["send", &addr, "--secret", "secret"][..], "level: expected bound, got hop-by-hop"),
        (&["connect", &addr], "level: expected bound, got hop-by-hop"),
        (&["watch", &addr], "level: expected bound, got hop-by-hop"),
        (&["report", &addr, "--output", "page"], "level: expected bound or compat"),
        (&["verify", &addr, "--container", "web"], "--container: expected none"),
        (&["verify", &addr, "--instance-id", &"01".repeat(16)], "--instance-id: expected a policy"),
        (&["verify", &addr, "--collateral", "x"], "--collateral, --cache, --url, --peer-coll"),
    ] {
        let ended = run(place, &[words, &TRUST[..]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{words:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{words:?}: {}", ended.stderr);
    }
    // Without the level's name, that inclavared is a peer that proves nothing.
    let text = fs::read_to_string(place.join("policy")).unwrap();
    let bound: Vec<_> = text.lines().filter(|line| !line.starts_with("inclavared")).collect();
    for level in ["bound", "compat"] {
        fs::write(place.join("policy"), bound.join("\n").replace("hop-by-hop", level)).unwrap();
        let collateral = lab::Enclave::new(1, 0x11).collateral().to_json();
        fs::write(place.join("collateral"), collateral).unwrap();
        let more = ["--collateral", "collateral", "--json"];
        let words = [&["remoteattestation", "--addr", &addr], &TRUST[..], &more].concat();
        let ended = run(place, &words);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{level}: {}", ended.stderr);
    }
    // Nor is a policy that names it and no key one.
    fs::write(place.join("policy"), bound.join("\n")).unwrap();
    let words = [&["remoteattestation", "--addr", &addr], &TRUST[..]].concat();
    let ended = run(place, &words);
    let part = "inclavared: expected one at level hop-by-hop, got none";
    assert!(ended.code == 2 && ended.stderr.contains(part), "{}", ended.stderr);
}
