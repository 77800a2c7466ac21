//! Verdicts over time.

use crate::container::lab::Enclave;
use crate::container::{TRUST, echo, files, serve, serve_on};
use crate::support::{Ended, failed, shelter};
use crate::{run, target};
use rats_tls::binding::Binding;
use rats_tls::{AttestError, Attester, Offered};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Mutex;

/// Attests as one enclave after the other; as the last for ever.
struct Turns(Mutex<Vec<Enclave>>);

impl Turns {
    fn new(mut enclaves: Vec<Enclave>) -> Self {
        enclaves.reverse();
        Self(Mutex::new(enclaves))
    }
}

impl Attester for Turns {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        let mut enclaves = self.0.lock().unwrap();
        let enclave = if enclaves.len() > 1 { enclaves.pop() } else { enclaves.last().cloned() };
        enclave.expect("there is one").attest(binding, formats)
    }
}

/// The verdicts of a watch that ended.
fn verdicts(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn words(verdicts: &[Value]) -> Vec<&str> {
    verdicts.iter().map(|verdict| verdict["verdict"].as_str().unwrap()).collect()
}

const FAST: [&str; 4] = ["--every", "0.05", "--grace", "0.2"];

#[test]
fn a_change_of_the_program_ends_the_watch() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let good = Enclave::new(1, 0x11);
    files(place, &good);
    let turns = vec![good.clone(), good.clone(), good.clone(), Enclave::new(1, 0x12)];
    let (address, _) = serve(Turns::new(turns), echo);
    let ended = run(place, &[&["watch", &target(address)], &FAST[..], &TRUST[..]].concat());
    let told = verdicts(&ended);
    assert_eq!(words(&told), ["accepted", "accepted", "accepted", "refused"], "{}", ended.stderr);
    assert_eq!(ended.code, 1);
    // In one session: the verdicts are of one instance.
    assert_eq!(failed(told.last().unwrap()), ["policy.measurement"]);
    assert_eq!(told[0]["session"]["level"], "bound");
}

#[test]
fn another_instance_is_a_change_and_no_refusal() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let first = Enclave::new(1, 0x11);
    files(place, &first);
    let mut second = first.clone();
    second.claims.instance_id = [9; 16];
    let (address, _) = serve(Turns::new(vec![first.clone(), first, second]), echo);
    let ended = run(place, &[&["watch", &target(address)], &FAST[..], &TRUST[..]].concat());
    assert_eq!(words(&verdicts(&ended)), ["accepted"; 3], "{}", ended.stderr);
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("another instance"), "{}", ended.stderr);
}

#[test]
fn a_container_that_goes_away_is_unreachable_after_the_grace() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    files(place, &Enclave::new(1, 0x11));
    // One session, and then nobody there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let party = rats_tls::Party::attester(std::sync::Arc::new(Enclave::new(1, 0x11))).unwrap();
        let (connection, _) = listener.accept().unwrap();
        drop(listener);
        // Dropped at once after it opened.
        let _ = rats_tls::Stream::accept(connection, &std::sync::Arc::new(party));
    });
    let ended = run(place, &[&["watch", &target(address)], &FAST[..], &TRUST[..]].concat());
    let told = verdicts(&ended);
    assert_eq!(words(&told), ["accepted", "unreachable"], "{}", ended.stderr);
    assert_eq!(ended.code, 2);
    assert!(told[1]["error"].as_str().unwrap().contains("connect: "), "{}", told[1]);
}

#[test]
fn a_session_that_is_lost_is_opened_again() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let good = Enclave::new(1, 0x11);
    files(place, &good);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Each session ends at once; the third is of another program.
    let turns = Turns::new(vec![good.clone(), good, Enclave::new(1, 0x12)]);
    let (address, _) = serve_on(listener, turns, |_, _| {});
    let ended = run(place, &[&["watch", &target(address)], &FAST[..], &TRUST[..]].concat());
    assert_eq!(words(&verdicts(&ended)), ["accepted", "accepted", "refused"], "{}", ended.stderr);
    assert_eq!(ended.code, 1);
}

#[test]
fn a_command_is_run_at_each_change_with_the_verdict() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let good = Enclave::new(1, 0x11);
    files(place, &good);
    let turns = Turns::new(vec![good.clone(), Enclave::new(1, 0x12), good]);
    let (address, _) = serve(turns, echo);
    let script = "read line; echo \"$SHELTER_BEFORE $SHELTER_VERDICT ${line%%,*}\" >> changes";
    let mut child = shelter(place)
        .args([&["watch", &target(address)], &FAST[..], &TRUST[..]].concat())
        .args(["--", "sh", "-c", script])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let expected =
        "accepted refused {\"verdict\":\"refused\"\nrefused accepted {\"verdict\":\"accepted\"\n";
    // A watch with a command goes on; so the test looks until what it waits for is there.
    let came = (0..400).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::read_to_string(place.join("changes")).is_ok_and(|it| it == expected)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(came, "{:?}", std::fs::read_to_string(place.join("changes")));
}

#[test]
fn a_first_refusal_and_a_first_silence_end_it_too() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    files(place, &Enclave::new(1, 0x11));
    let (address, _) = serve(Enclave::new(1, 0x12), echo);
    let ended = run(place, &[&["watch", &target(address)], &FAST[..], &TRUST[..]].concat());
    assert_eq!((ended.code, words(&verdicts(&ended))), (1, vec!["refused"]));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = run(place, &[&["watch", &target(gone)], &FAST[..], &TRUST[..]].concat());
    assert_eq!((ended.code, words(&verdicts(&ended))), (2, vec!["unreachable"]));
}
