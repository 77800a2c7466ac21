//! Attested sessions through the program, with genuine quotes of an emulated platform; and a relay in its place
//! that ends sessions.

mod common;
#[path = "../../../common/rats-tls/tests/common/lab.rs"]
mod lab;

use common::{Relay, container};
use hostile_relay::{end_tls, serve};
use lab::{Enclave, appraiser, policy};
use rats_tls::{Party, SessionError, Stream};
use rustls::pki_types::ServerName;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// An attester in a container, which answers what it is told.
fn attester(listener: TcpListener, party: Party) {
    let party = Arc::new(party);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let party = party.clone();
            thread::spawn(move || {
                let Ok(mut session) = Stream::accept(stream.unwrap(), &party) else { return };
                let mut secret = [0; 6];
                session.read_exact(&mut secret).unwrap();
                session.write_all(b"got ").unwrap();
                session.write_all(&secret).unwrap();
                let _ = session.close();
            });
        }
    });
}

fn verify(address: SocketAddr, name: &str) -> Result<Stream<TcpStream>, SessionError> {
    let verifier = Arc::new(Party::verifier(Arc::new(appraiser(policy(0x11, "")))));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    Stream::connect(TcpStream::connect(address).unwrap(), name, &verifier)
}

#[test]
fn a_session_goes_through_and_the_one_who_relays_has_no_part_in_it() {
    let (listener, address) = container();
    attester(listener, Enclave::new(1, 0x11).party());
    let relay = Relay::start(&[&format!("--container=web={address}")]);
    let mut session = verify(relay.address, "web").unwrap();
    assert!(session.peer().unwrap().verdict.is_accepted());
    session.write_all(b"secret").unwrap();
    let mut answer = String::new();
    session.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "got secret");
}

/// The name is a hint: where it leads to another enclave, the evidence says so.
#[test]
fn a_route_to_another_enclave_is_refused_by_the_verifier() {
    let (listener, address) = container();
    attester(listener, Enclave::new(1, 0x12).party());
    let relay = Relay::start(&[&format!("--container=web={address}")]);
    let error = verify(relay.address, "web").unwrap_err().to_string();
    assert!(error.starts_with("evidence refused: policy.measurement: failed: "), "{error}");
}

#[test]
fn a_name_that_leads_nowhere_is_an_alert() {
    let (_listener, address) = container();
    let relay = Relay::start(&[&format!("--container=web={address}")]);
    let error = verify(relay.address, "other").unwrap_err().to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
}

/// In the place of inclavared: it ends the verifier's TLS with a key of its own, has a session with the right
/// enclave, and passes on every frame, evidence included.
#[test]
fn a_relay_that_ends_tls_is_refused_by_the_verifier() {
    let (listener, address) = container();
    attester(listener, Enclave::new(1, 0x11).party());
    let (middle, place) = container();
    thread::spawn(move || serve(&middle, address.parse().unwrap(), end_tls));
    let error = verify(place.parse().unwrap(), "web").unwrap_err().to_string();
    assert!(error.contains("report_data"), "{error}");
}
