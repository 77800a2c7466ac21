//! Two ends of a session, byte by byte, with a stand-in for TLS.

use rats_tls::binding::{Digest, ExportFault, Exporter, NO_KEY, Role};
use rats_tls::frame::{CloseReason, Flags, Format, Frame};
use rats_tls::session::{Config, Event, Fault, Keys, Offered, Received, Session};
use sha2::{Digest as _, Sha384};

/// A TLS session's exporter: whoever has the same secret gets the same values.
struct Secret(u8);

impl Exporter for Secret {
    fn export(&self, label: &[u8], context: &[u8], into: &mut Digest) -> Result<(), ExportFault> {
        let hash = Sha384::new().chain_update([self.0]).chain_update(label).chain_update(context);
        *into = hash.finalize().into();
        Ok(())
    }
}

const CLIENT_KEY: Digest = [1; 48];
const SERVER_KEY: Digest = [2; 48];

struct End {
    session: Session,
    tls: Secret,
    /// What arrived and was not looked at.
    inbox: Vec<u8>,
    data: Vec<u8>,
    events: Vec<&'static str>,
    /// Evidence that it verified.
    accepts: fn(&Received) -> bool,
}

fn flags(attest_me: bool, attest_you: bool) -> Flags {
    Flags { attest_me, attest_you, verify_first: false }
}

fn config(flags: Flags) -> Config {
    let formats = if flags.attest_you { vec![Format::Sgx] } else { vec![] };
    Config { flags, formats }
}

fn end(role: Role, config: Config, keys: Keys, secret: u8) -> End {
    let mut count = role as u8 * 100;
    let fresh = Box::new(move || {
        count += 1;
        [count; 32]
    });
    End {
        session: Session::new(role, config, keys, fresh).unwrap(),
        tls: Secret(secret),
        inbox: Vec::new(),
        data: Vec::new(),
        events: Vec::new(),
        accepts: |received| received.offered.evidence == received.expected_report_data(),
    }
}

fn pair(client: Flags, server: Flags) -> (End, End) {
    let client_key = if client.attest_me { CLIENT_KEY } else { NO_KEY };
    let keys = Keys { own: client_key, peer: SERVER_KEY };
    (
        end(Role::Client, config(client), keys, 7),
        end(Role::Server, config(server), Keys { own: SERVER_KEY, peer: client_key }, 7),
    )
}

impl End {
    /// Handles what arrived; evidence is the expected report data itself.
    fn step(&mut self) -> Result<(), Fault> {
        loop {
            while let Some(event) = self.session.next_event() {
                match event {
                    Event::Attest { binding, formats } => {
                        assert_eq!(formats, [1]);
                        self.events.push("attest");
                        let claims = b"claims".to_vec();
                        let evidence = binding.report_data(&claims).to_vec();
                        let (format, endorsements) = (Format::Sgx, vec![]);
                        self.session.attest(Offered { format, evidence, claims, endorsements })?;
                    }
                    Event::Verify(received) => {
                        self.events.push("verify");
                        let verdict = (self.accepts)(&received).then_some(()).ok_or("report data");
                        self.session.judge(verdict, &self.tls)?;
                    }
                    Event::Open => self.events.push("open"),
                    Event::Reattested { .. } => self.events.push("reattested"),
                    Event::EndOfData => self.events.push("end"),
                    Event::Closed(_) => self.events.push("closed"),
                }
            }
            if self.inbox.is_empty() {
                return Ok(());
            }
            let data = self.session.data_left().min(self.inbox.len());
            if data > 0 {
                self.data.extend(self.inbox.drain(..data));
                self.session.took_data(data);
                continue;
            }
            let taken = self.session.receive(&self.inbox, &self.tls)?;
            self.inbox.drain(..taken);
        }
    }

    fn send(&mut self, data: &[u8]) -> Vec<u8> {
        let (header, covered) = self.session.data_frame(data.len()).unwrap();
        assert_eq!(covered, data.len());
        [&self.session.take_output()[..], &header, data].concat()
    }
}

/// Carries bytes until both ends are quiet.
fn run(a: &mut End, b: &mut End) -> (Result<(), Fault>, Result<(), Fault>) {
    let mut results = (Ok(()), Ok(()));
    loop {
        let (to_b, to_a) = (a.session.take_output(), b.session.take_output());
        if to_a.is_empty() && to_b.is_empty() {
            return results;
        }
        a.inbox.extend(to_a);
        b.inbox.extend(to_b);
        results = (results.0.and(a.step()), results.1.and(b.step()));
    }
}

fn opens(client: Flags, server: Flags) -> (End, End) {
    let (mut a, mut b) = pair(client, server);
    let results = run(&mut a, &mut b);
    assert_eq!(results, (Ok(()), Ok(())));
    assert!(a.session.is_open() && b.session.is_open());
    (a, b)
}

#[test]
fn one_way_and_mutual_sessions_open() {
    let (a, b) = opens(flags(false, true), flags(true, false));
    assert_eq!((&a.events[..], &b.events[..]), (&["verify", "open"][..], &["attest", "open"][..]));
    let (a, b) = opens(flags(true, false), flags(false, true));
    assert_eq!((&a.events[..], &b.events[..]), (&["attest", "open"][..], &["verify", "open"][..]));
    let (a, b) = opens(flags(true, true), flags(true, true));
    assert_eq!(a.events, ["attest", "verify", "open"]);
    assert_eq!(b.events, ["attest", "verify", "open"]);
}

#[test]
fn whoever_verifies_first_attests_last() {
    let first = Flags { verify_first: true, ..flags(true, true) };
    let (a, b) = opens(first, flags(true, true));
    assert_eq!(a.events, ["verify", "attest", "open"]);
    assert_eq!(b.events, ["attest", "verify", "open"]);
    let (mut a, mut b) = pair(first, first);
    assert_eq!(run(&mut a, &mut b).0, Err(Fault::VerifyFirst));
}

#[test]
fn data_flows_when_both_accepted_and_not_before() {
    let (mut a, mut b) = opens(flags(true, true), flags(true, true));
    b.inbox = a.send(b"question");
    b.step().unwrap();
    a.inbox = b.send(b"answer");
    a.step().unwrap();
    assert_eq!((&a.data[..], &b.data[..]), (&b"answer"[..], &b"question"[..]));

    // The server knows its evidence is sent, and must still not take data before it was accepted.
    let (mut a, mut b) = pair(flags(false, true), flags(true, false));
    assert!(a.session.data_frame(1).is_err());
    b.inbox = a.session.take_output();
    b.inbox.extend(b"\x05\x00\x00\x00\x01x");
    let fault = b.step().unwrap_err();
    let got = "data before both ends accepted";
    assert!(matches!(fault, Fault::Unexpected { got: text, .. } if text == got), "{fault}");
    let output = b.session.take_output();
    assert!(output.ends_with(&Frame::Close(CloseReason::Protocol).encode()));
    assert!(b.data.is_empty());
}

#[test]
fn one_end_finishes_and_the_other_goes_on() {
    let (mut a, mut b) = opens(flags(false, true), flags(true, false));
    a.session.finish().unwrap();
    a.session.finish().unwrap();
    assert_eq!(a.session.data_frame(1), Err(Fault::Ended));
    b.inbox = a.session.take_output();
    assert_eq!(b.inbox, Frame::End.encode(), "it is said once");
    b.step().unwrap();
    a.inbox = b.send(b"answer");
    a.step().unwrap();
    assert_eq!(a.data, b"answer");
    // Evidence is still to be had in both directions.
    a.session.reattest().unwrap();
    assert_eq!(run(&mut a, &mut b), (Ok(()), Ok(())));
    assert_eq!(b.events, ["attest", "open", "end", "attest", "reattested"]);

    b.inbox = b"\x05\x00\x00\x00\x01x".to_vec();
    let fault = b.step().unwrap_err();
    assert_eq!(
        fault.to_string(),
        "frame: expected re-attestation or close, got data after its end"
    );
    assert!(b.data.is_empty());
}

#[test]
fn an_end_of_data_comes_once_and_not_before_the_session_is_open() {
    let (mut a, mut b) = opens(flags(false, true), flags(true, false));
    a.session.finish().unwrap();
    b.inbox = [a.session.take_output(), Frame::End.encode()].concat();
    assert!(matches!(b.step(), Err(Fault::Unexpected { got: "an end of data", .. })));

    let (mut a, mut b) = pair(flags(false, true), flags(true, false));
    assert_eq!(a.session.finish(), Err(Fault::Ended));
    b.inbox = [a.session.take_output(), Frame::End.encode()].concat();
    assert!(matches!(b.step(), Err(Fault::Unexpected { got: "an end of data", .. })));
}

#[test]
fn a_second_epoch_has_fresh_evidence_while_data_flows() {
    let (mut a, mut b) = opens(flags(true, true), flags(true, true));
    a.session.reattest().unwrap();
    b.inbox = a.send(b"meanwhile");
    b.step().unwrap();
    assert_eq!(b.data, b"meanwhile");
    assert_eq!(run(&mut a, &mut b), (Ok(()), Ok(())));
    assert_eq!(a.events, ["attest", "verify", "open", "attest", "verify", "reattested"]);
    assert_eq!(a.events, b.events);
    assert_eq!((a.session.epoch(), b.session.epoch()), (1, 1));

    // Both at once: the two Reattests answer each other.
    a.session.reattest().unwrap();
    b.session.reattest().unwrap();
    assert_eq!(run(&mut a, &mut b), (Ok(()), Ok(())));
    assert_eq!((a.session.epoch(), b.session.epoch()), (2, 2));
    assert!(a.session.is_settled() && b.session.is_settled());
}

#[test]
fn evidence_of_another_epoch_or_format_is_refused() {
    let (mut a, mut b) = pair(flags(false, true), flags(true, false));
    b.inbox = a.session.take_output();
    b.step().unwrap();
    let output = b.session.take_output();
    let hello = output.len() - evidence_length(&output);
    let refused = |at: usize, value: u8| {
        let (mut a, _) = pair(flags(false, true), flags(true, false));
        let mut bytes = output.clone();
        bytes[hello + 5 + at] = value;
        a.inbox = bytes;
        a.step().unwrap_err()
    };
    assert_eq!(refused(3, 1), Fault::Epoch { expected: 0, got: 1 });
    assert_eq!(refused(5, 2), Fault::Format(2));
    assert_eq!(refused(5, 99), Fault::Format(99));
}

fn evidence_length(output: &[u8]) -> usize {
    let hello = 5 + u32::from_be_bytes(output[1..5].try_into().unwrap()) as usize;
    output.len() - hello
}

#[test]
fn a_relay_between_two_tls_sessions_is_refused() {
    // The relay ends TLS on both sides: the client's session has another secret than the server's.
    let (mut a, mut b) = pair(flags(false, true), flags(true, false));
    b.tls = Secret(8);
    let (at_client, at_server) = run(&mut a, &mut b);
    assert_eq!(at_client, Err(Fault::Refused));
    assert!(matches!(at_server, Err(Fault::PeerRefused { code: 1, .. })), "{at_server:?}");
    assert!(!a.session.is_open() && !b.session.is_open());
}

#[test]
fn another_key_than_the_sessions_is_refused() {
    // A second genuine enclave in between presents its own key; the evidence binds the first one's.
    let (mut a, b) = pair(flags(false, true), flags(true, false));
    let keys = Keys { own: [9; 48], peer: NO_KEY };
    let mut b =
        End { session: end(Role::Server, config(flags(true, false)), keys, 7).session, ..b };
    assert_eq!(run(&mut a, &mut b).0, Err(Fault::Refused));
}

#[test]
fn own_evidence_sent_back_is_refused() {
    let (mut a, mut b) = pair(flags(true, true), flags(true, true));
    a.inbox = b.session.take_output();
    let hello = a.session.take_output();
    a.step().unwrap();
    let evidence = a.session.take_output();
    assert_eq!(evidence[0], 3);
    a.inbox = evidence;
    assert_eq!(a.step(), Err(Fault::Refused), "reflected");
    b.inbox = hello;
    b.step().unwrap();
}

#[test]
fn stale_evidence_beside_a_fresh_session_is_refused() {
    let (mut a, mut b) = pair(flags(false, true), flags(true, false));
    b.inbox = a.session.take_output();
    b.step().unwrap();
    let old = b.session.take_output();
    // The same keys and even the same TLS secrets, but the client's nonce is new.
    let (mut a, _) = pair(flags(false, true), flags(true, false));
    let fresh = Box::new(|| [77; 32]);
    let keys = Keys { own: NO_KEY, peer: SERVER_KEY };
    a.session = Session::new(Role::Client, config(flags(false, true)), keys, fresh).unwrap();
    a.inbox = old;
    assert_eq!(a.step(), Err(Fault::Refused));
}

#[test]
fn a_peer_without_evidence_is_told_so() {
    let (mut a, mut b) = pair(flags(false, true), flags(true, false));
    // A server that does not prove itself, whatever it was configured to.
    let hello = Frame::ServerHello(rats_tls::frame::Hello {
        flags: flags(false, false),
        formats: vec![],
        nonce: [0; 32],
    });
    a.inbox = hello.encode();
    assert_eq!(a.step(), Err(Fault::NoEvidence));
    b.inbox = a.session.take_output();
    let fault = b.step().unwrap_err();
    assert!(matches!(fault, Fault::PeerRefused { code: 2, .. }), "{fault}");

    let (mut a, mut b) = pair(flags(true, false), flags(true, false));
    assert_eq!(run(&mut a, &mut b), (Err(Fault::Unattested), Err(Fault::Unattested)));
}

#[test]
fn a_changed_hello_changes_the_evidence() {
    // What was offered is in the transcript: a format stripped on the way shows.
    let (mut a, mut b) = pair(flags(false, true), flags(true, false));
    let mut hello = a.session.take_output();
    let last = hello.len() - 1;
    hello[last] ^= 1;
    b.inbox = hello;
    b.step().unwrap();
    a.inbox = b.session.take_output();
    assert_eq!(a.step(), Err(Fault::Refused));
}

#[test]
fn an_ended_session_takes_nothing_more() {
    let (mut a, mut b) = opens(flags(false, true), flags(true, false));
    a.session.close(CloseReason::Done);
    assert_eq!(run(&mut a, &mut b), (Ok(()), Ok(())));
    assert_eq!(b.events.last(), Some(&"closed"));
    assert!(a.session.data_frame(1).is_err() && b.session.data_frame(1).is_err());
    assert_eq!(b.session.receive(&[0], &b.tls), Err(Fault::Ended));
    assert_eq!(a.session.reattest(), Err(Fault::Ended));
    assert!(a.session.take_output().is_empty(), "one close is enough");
}

#[test]
fn configurations_that_open_nothing_are_refused() {
    let keys = Keys { own: CLIENT_KEY, peer: SERVER_KEY };
    let refused = |config: Config, keys: Keys| {
        let made = Session::new(Role::Client, config, keys, Box::new(|| [0; 32]));
        match made {
            Err(Fault::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(Config::default(), keys), "flags");
    let formats = vec![];
    assert_eq!(refused(Config { flags: flags(false, true), formats }, keys), "formats");
    let formats = vec![Format::Sgx];
    assert_eq!(refused(Config { flags: flags(true, false), formats }, keys), "formats");
    let first = Flags { verify_first: true, ..flags(false, true) };
    assert_eq!(refused(config(first), keys), "verify_first");
    let keyless = Keys { own: NO_KEY, ..keys };
    assert_eq!(refused(config(flags(true, false)), keyless), "own key");
    let keyless = Keys { peer: NO_KEY, ..keys };
    assert_eq!(refused(config(flags(false, true)), keyless), "peer's key");
}

#[test]
fn own_hello_sent_back_is_refused() {
    let (mut a, mut b) = pair(flags(true, true), flags(true, true));
    a.inbox = a.session.take_output();
    let fault = a.step().unwrap_err();
    assert_eq!(fault.to_string(), "frame: expected a hello, got a client's hello");
    b.inbox = b.session.take_output();
    let fault = b.step().unwrap_err();
    assert_eq!(fault.to_string(), "frame: expected a hello, got a server's hello");
}

#[test]
fn evidence_of_the_first_epoch_is_refused_in_the_second() {
    let keep = |as_it_is: bool| {
        let (mut a, mut b) = pair(flags(false, true), flags(true, false));
        b.inbox = a.session.take_output();
        b.step().unwrap();
        let opening = b.session.take_output();
        let evidence = opening[opening.len() - evidence_length(&opening)..].to_vec();
        a.inbox = opening;
        assert_eq!(a.step(), Ok(()));
        assert_eq!(run(&mut a, &mut b), (Ok(()), Ok(())));
        a.session.reattest().unwrap();
        b.inbox = a.session.take_output();
        b.step().unwrap();
        // The answer to the Reattest, and the old evidence in place of the new.
        let mut answer = b.session.take_output();
        answer.truncate(5 + 36);
        let mut evidence = evidence;
        if !as_it_is {
            evidence[8] = 1;
        }
        a.inbox = [answer, evidence].concat();
        let fault = a.step().unwrap_err();
        assert!(!a.session.is_open());
        let output = a.session.take_output();
        (fault, output)
    };
    let (fault, output) = keep(true);
    assert_eq!(fault, Fault::Epoch { expected: 1, got: 0 });
    assert!(output.ends_with(&Frame::Close(CloseReason::Protocol).encode()));
    // Relabelled, it fails where it counts: in what the evidence itself says.
    let (fault, output) = keep(false);
    assert_eq!(fault, Fault::Refused);
    assert!(output.ends_with(&Frame::Close(CloseReason::Reattestation).encode()));
}

#[test]
fn one_evidence_for_two_sessions_is_refused_in_both_but_one() {
    // Both verifiers ask at once; the attester has one answer.
    let (mut first, mut server) = pair(flags(false, true), flags(true, false));
    let (mut second, mut other) = pair(flags(false, true), flags(true, false));
    second.tls = Secret(8);
    other.tls = Secret(8);
    server.inbox = first.session.take_output();
    server.step().unwrap();
    other.inbox = second.session.take_output();
    other.step().unwrap();
    let answer = server.session.take_output();
    first.inbox = answer.clone();
    second.inbox = answer;
    assert_eq!(first.step(), Ok(()));
    assert_eq!(second.step(), Err(Fault::Refused));
}

#[test]
fn frames_out_of_turn_are_refused() {
    let opened = || opens(flags(false, true), flags(true, false));
    let refused = |bytes: &[u8]| {
        let (mut a, _) = opened();
        a.inbox = bytes.to_vec();
        a.step().unwrap_err().to_string()
    };
    let verdict = Frame::Verdict { code: 0, text: String::new() }.encode();
    assert!(refused(&verdict).ends_with("got a verdict"));
    let hello =
        rats_tls::frame::Hello { flags: flags(true, false), formats: vec![], nonce: [0; 32] };
    assert!(refused(&Frame::ServerHello(hello).encode()).ends_with("got a second hello"));
    let evidence = rats_tls::frame::Evidence {
        epoch: 0,
        format: 1,
        evidence: vec![1],
        claims: vec![],
        endorsements: vec![],
    };
    assert!(refused(&Frame::Evidence(evidence).encode()).ends_with("got evidence"));
    // An epoch that is skipped, and one again.
    for epoch in [0, 2] {
        let reattest = Frame::Reattest { nonce: [1; 32], epoch }.encode();
        assert_eq!(refused(&reattest), format!("epoch: expected 1, got {epoch}"));
    }
    // A second Reattest while the first is under way: nothing piles up.
    let once = Frame::Reattest { nonce: [1; 32], epoch: 1 }.encode();
    let twice = [once, Frame::Reattest { nonce: [2; 32], epoch: 2 }.encode()].concat();
    assert!(refused(&twice).ends_with("got re-attestation"), "{}", refused(&twice));
}
