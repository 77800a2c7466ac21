//! The protocol's state machine, from the end of the TLS handshake on. It does no input or output.
//!
//! A front end gives it what TLS received ([`Session::receive`]), sends what it wants sent
//! ([`Session::take_output`]) and does what [`Session::next_event`] asks for. Application data does not pass
//! through it: it says how many of the coming bytes are data ([`Session::data_left`]).
//!
//! It guarantees that no data is admitted before every attested direction is accepted, and that a fault of the
//! peer ends the session with a Close that says so. It does not measure time: the front end does.

use crate::binding::{Binding, Digest, ExportFault, Exporter, Role, transcript};
use crate::frame::{
    CloseReason, Decoded, Decoder, Evidence, Flags, Format, Frame, FrameFault, Hello, MAX_BODY,
    MAX_DATA, MAX_FORMATS, Nonce, VerdictCode, data_header,
};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// What an end wants of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whether it proves itself, verifies, and does the latter first.
    pub flags: Flags,
    /// Evidence that it accepts, best first; empty if it does not verify.
    pub formats: Vec<Format>,
}

/// Both ends' TLS keys, as digests of their SubjectPublicKeyInfo; [`NO_KEY`](crate::binding::NO_KEY) for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// This end's.
    pub own: Digest,
    /// The peer's.
    pub peer: Digest,
}

/// Evidence that an attester made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// What it is.
    pub format: Format,
    /// Its bytes.
    pub evidence: Vec<u8>,
    /// The claims buffer in its report data.
    pub claims: Vec<u8>,
    /// Endorsements, empty if none.
    pub endorsements: Vec<u8>,
}

/// Evidence that came, and what it must contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What its report data must bind.
    pub binding: Binding,
    /// What came.
    pub offered: Offered,
}

impl Received {
    /// The 64 bytes of report data that the evidence must contain.
    #[must_use]
    pub fn expected_report_data(&self) -> [u8; 64] {
        self.binding.report_data(&self.offered.claims)
    }
}

/// What a front end has to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Make evidence and give it to [`Session::attest`].
    Attest {
        /// What it must bind.
        binding: Binding,
        /// Numbers of the formats that the peer accepts, best first.
        formats: Vec<u16>,
    },
    /// Verify evidence and tell [`Session::judge`].
    Verify(Received),
    /// Every attested direction is accepted: data may flow.
    Open,
    /// A later epoch is accepted.
    Reattested {
        /// Its number.
        epoch: u32,
    },
    /// The peer sends no more data.
    EndOfData,
    /// The peer closed.
    Closed(CloseReason),
}

/// Why a session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A configuration that can open no session. Ours.
    Config {
        /// Which member.
        field: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
    /// No TLS session under it. Ours.
    Export(ExportFault),
    /// Bytes that are no frame.
    Frame(FrameFault),
    /// A frame that may not come now.
    Unexpected {
        /// What came.
        got: &'static str,
        /// What the session waits for.
        expected: &'static str,
    },
    /// Neither end attests to one that verifies.
    Unattested,
    /// Both ends ask to verify first.
    VerifyFirst,
    /// We verify and the peer does not prove itself.
    NoEvidence,
    /// The peer's evidence is for another epoch.
    Epoch {
        /// Of this round.
        expected: u32,
        /// Of the evidence or the Reattest.
        got: u32,
    },
    /// The peer's evidence has a format that we did not offer to accept.
    Format(u16),
    /// Our verifier refused the peer's evidence.
    Refused,
    /// The peer refused ours.
    PeerRefused {
        /// Its verdict's code.
        code: u16,
        /// Its verdict's text; the peer's word.
        text: String,
    },
    /// Our evidence does not fit into a frame, in bytes.
    EvidenceTooLong(usize),
    /// The session has ended before.
    Ended,
}

impl Fault {
    /// What the peer is told.
    const fn reason(&self) -> CloseReason {
        match self {
            Self::NoEvidence | Self::Refused | Self::PeerRefused { .. } | Self::Format(_) => {
                CloseReason::Refused
            }
            _ => CloseReason::Protocol,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { field, expected } => {
                write!(f, "session configuration: {field}: expected {expected}")
            }
            Self::Export(fault) => fault.fmt(f),
            Self::Frame(fault) => fault.fmt(f),
            Self::Unexpected { got, expected } => {
                write!(f, "frame: expected {expected}, got {got}")
            }
            Self::Unattested => f.write_str(
                "attest-me, attest-you: expected one end that attests to one that verifies, got none",
            ),
            Self::VerifyFirst => f.write_str("verify-first: expected of one end, got of both"),
            Self::NoEvidence => {
                f.write_str("attest-me: expected a peer that proves itself, got one that does not")
            }
            Self::Epoch { expected, got } => write!(f, "epoch: expected {expected}, got {got}"),
            Self::Format(got) => write!(f, "evidence format: expected one we accept, got {got}"),
            Self::Refused => f.write_str("the peer's evidence is refused"),
            Self::PeerRefused { code, text } => {
                write!(f, "the peer refused our evidence (verdict {code}): {text:?}")
            }
            Self::EvidenceTooLong(got) => {
                write!(f, "evidence: expected at most {MAX_BODY} bytes in a frame, got {got}")
            }
            Self::Ended => f.write_str("the session has ended"),
        }
    }
}

impl core::error::Error for Fault {}

/// Makes nonces; whatever fills it must be unpredictable.
pub type Fresh = Box<dyn FnMut() -> Nonce + Send>;

/// One end of a session.
pub struct Session {
    role: Role,
    config: Config,
    keys: Keys,
    fresh: Fresh,
    decoder: Decoder,
    /// Of the Data frame that is passing.
    data_left: usize,
    output: Vec<u8>,
    events: VecDeque<Event>,
    /// What the peer accepts, from its hello.
    peer_formats: Vec<u16>,
    round: Round,
    is_open: bool,
    /// Whether this end, and the peer, said that it sends no more data.
    has_finished: bool,
    peer_has_finished: bool,
    has_ended: bool,
}

/// One epoch.
struct Round {
    epoch: u32,
    /// Our hello or Reattest, with its header.
    own_frame: Vec<u8>,
    /// Once the peer's frame came.
    transcript: Option<Digest>,
    attesting: Attesting,
    verifying: Verifying,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attesting {
    No,
    /// Until the peer's evidence is accepted.
    Withheld,
    /// The front end makes it.
    Making,
    Sent,
    Accepted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verifying {
    No,
    Waiting,
    /// The front end verifies it.
    Judging,
    Accepted,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("epoch", &self.round.epoch)
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Begins right after the TLS handshake: the hello is in the output.
    ///
    /// # Errors
    /// A configuration that can open no session.
    pub fn new(role: Role, config: Config, keys: Keys, mut fresh: Fresh) -> Result<Self, Fault> {
        config.check(&keys)?;
        let formats = config.formats.iter().map(|format| *format as u16).collect();
        let hello = Hello { flags: config.flags, formats, nonce: fresh() };
        let own_frame = match role {
            Role::Client => Frame::ClientHello(hello),
            Role::Server => Frame::ServerHello(hello),
        }
        .encode();
        Ok(Self {
            role,
            config,
            keys,
            fresh,
            decoder: Decoder::default(),
            data_left: 0,
            output: own_frame.clone(),
            events: VecDeque::new(),
            peer_formats: Vec::new(),
            round: Round {
                epoch: 0,
                own_frame,
                transcript: None,
                attesting: Attesting::No,
                verifying: Verifying::No,
            },
            is_open: false,
            has_finished: false,
            peer_has_finished: false,
            has_ended: false,
        })
    }

    /// How many bytes [`receive`](Self::receive) can take now, at least 1. While data passes: of data.
    #[must_use]
    pub fn wants(&self) -> usize {
        if self.data_left > 0 { self.data_left } else { self.decoder.wants() }
    }

    /// How many of the coming bytes are application data. They go to the program, not to
    /// [`receive`](Self::receive), and are counted by [`took_data`](Self::took_data).
    #[must_use]
    pub const fn data_left(&self) -> usize {
        self.data_left
    }

    /// So many bytes of data went to the program.
    ///
    /// # Panics
    /// If it is more than [`data_left`](Self::data_left).
    pub const fn took_data(&mut self, count: usize) {
        assert!(count <= self.data_left, "more data than the frame holds");
        self.data_left -= count;
    }

    /// Takes bytes that are not data from the front of `input`, at most up to the end of a frame, and says how
    /// many.
    ///
    /// # Errors
    /// The peer does not keep to the protocol, or refused. The session has ended; the output says so to the peer.
    pub fn receive(&mut self, input: &[u8], exporter: &dyn Exporter) -> Result<usize, Fault> {
        if self.has_ended {
            return Err(Fault::Ended);
        }
        let taken = self.decoder.take(input).map_err(Fault::Frame);
        let result = taken.and_then(|(count, decoded)| {
            match decoded {
                Decoded::Nothing => {}
                Decoded::Data(_) if !self.is_open => {
                    return Err(self.unexpected("data before both ends accepted"));
                }
                Decoded::Data(_) if self.peer_has_finished => {
                    return Err(self.unexpected("data after its end"));
                }
                Decoded::Data(length) => self.data_left = length,
                Decoded::Frame(frame, bytes) => self.handle(frame, &bytes, exporter)?,
            }
            Ok(count)
        });
        result.inspect_err(|fault| self.end(fault.reason()))
    }

    /// What to do next; `None`: receive.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be sent, all of it.
    pub fn take_output(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.output)
    }

    /// Gives the evidence that [`Event::Attest`] asked for.
    ///
    /// # Errors
    /// It does not fit into a frame. The session has ended.
    ///
    /// # Panics
    /// If none was asked for.
    pub fn attest(&mut self, offered: Offered) -> Result<(), Fault> {
        if self.has_ended {
            return Err(Fault::Ended);
        }
        assert!(self.round.attesting == Attesting::Making, "evidence that nobody asked for");
        let Offered { format, evidence, claims, endorsements } = offered;
        let format = format as u16;
        let evidence = Evidence { epoch: self.round.epoch, format, evidence, claims, endorsements };
        if evidence.size() > MAX_BODY {
            self.end(CloseReason::Refused);
            return Err(Fault::EvidenceTooLong(evidence.size()));
        }
        self.round.attesting = Attesting::Sent;
        self.send(&Frame::Evidence(evidence));
        Ok(())
    }

    /// Says whether the evidence of [`Event::Verify`] is accepted. The text goes to the peer: it names what failed
    /// and not what the policy wanted.
    ///
    /// # Errors
    /// It is not; the session has ended.
    ///
    /// # Panics
    /// If no evidence waits for it.
    pub fn judge(
        &mut self,
        verdict: Result<(), &str>,
        exporter: &dyn Exporter,
    ) -> Result<(), Fault> {
        if self.has_ended {
            return Err(Fault::Ended);
        }
        assert!(self.round.verifying == Verifying::Judging, "a verdict on no evidence");
        if let Err(text) = verdict {
            let text = text.char_indices().take_while(|(at, _)| *at < 1000).map(|(_, c)| c);
            self.refuse(VerdictCode::Refused, text.collect());
            return Err(Fault::Refused);
        }
        self.send(&Frame::Verdict { code: VerdictCode::Accepted as u16, text: String::new() });
        self.round.verifying = Verifying::Accepted;
        if self.round.attesting == Attesting::Withheld {
            self.ask_for_evidence(exporter).inspect_err(|fault| self.end(fault.reason()))?;
        }
        self.progress();
        Ok(())
    }

    /// Begins the next epoch, or does nothing if one is under way.
    ///
    /// # Errors
    /// The session is not open, or has used every epoch.
    pub fn reattest(&mut self) -> Result<(), Fault> {
        if self.has_ended {
            return Err(Fault::Ended);
        }
        if !self.is_open {
            return Err(self.unexpected("re-attestation before the session is open"));
        }
        if self.is_settled() {
            self.begin_round()?;
        }
        Ok(())
    }

    /// Says that this end sends no more data. The session goes on: the peer may send, and either may re-attest.
    ///
    /// # Errors
    /// The session is not open.
    pub fn finish(&mut self) -> Result<(), Fault> {
        if !self.is_open() {
            return Err(Fault::Ended);
        }
        if !self.has_finished {
            self.has_finished = true;
            self.send(&Frame::End);
        }
        Ok(())
    }

    /// Whether the session is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open && !self.has_ended
    }

    /// Epoch of the evidence that is asked for or accepted.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.round.epoch
    }

    /// Whether no evidence or verdict of the present epoch is outstanding.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.round.transcript.is_some()
            && matches!(self.round.attesting, Attesting::No | Attesting::Accepted)
            && matches!(self.round.verifying, Verifying::No | Verifying::Accepted)
    }

    /// Header for the next data, and how much of `length` bytes it covers.
    ///
    /// # Errors
    /// The session is not open, or this end said that it sends no more.
    pub fn data_frame(&self, length: usize) -> Result<([u8; 5], usize), Fault> {
        if !self.is_open() || self.has_finished {
            return Err(Fault::Ended);
        }
        let covered = length.min(MAX_DATA);
        Ok((data_header(covered), covered))
    }

    /// Ends the session, telling the peer why.
    pub fn close(&mut self, reason: CloseReason) {
        if !self.has_ended {
            self.end(reason);
        }
    }

    fn handle(&mut self, frame: Frame, bytes: &[u8], exporter: &dyn Exporter) -> Result<(), Fault> {
        match (self.role, frame) {
            (Role::Client, Frame::ServerHello(hello))
            | (Role::Server, Frame::ClientHello(hello)) => self.on_hello(hello, bytes, exporter),
            (_, Frame::Evidence(evidence)) => self.on_evidence(evidence, exporter),
            (_, Frame::Verdict { code, text }) => self.on_verdict(code, text),
            (_, Frame::Reattest { epoch, .. }) => self.on_reattest(epoch, bytes, exporter),
            (_, Frame::End) if self.is_open && !self.peer_has_finished => {
                self.peer_has_finished = true;
                self.events.push_back(Event::EndOfData);
                Ok(())
            }
            (_, Frame::End) => Err(self.unexpected("an end of data")),
            (_, Frame::Close(reason)) => {
                self.has_ended = true;
                self.events.push_back(Event::Closed(reason));
                Ok(())
            }
            (Role::Client, Frame::ClientHello(_)) => Err(self.unexpected("a client's hello")),
            (Role::Server, Frame::ServerHello(_)) => Err(self.unexpected("a server's hello")),
        }
    }

    fn on_hello(
        &mut self,
        hello: Hello,
        bytes: &[u8],
        exporter: &dyn Exporter,
    ) -> Result<(), Fault> {
        if self.round.transcript.is_some() {
            return Err(self.unexpected("a second hello"));
        }
        let (own, peer) = (self.config.flags, hello.flags);
        let (attests, verifies) =
            (own.attest_me && peer.attest_you, own.attest_you && peer.attest_me);
        if own.attest_you && !verifies {
            self.refuse(VerdictCode::Missing, "attest-me".to_string());
            return Err(Fault::NoEvidence);
        }
        if !attests && !verifies {
            return Err(Fault::Unattested);
        }
        if own.verify_first && peer.verify_first {
            return Err(Fault::VerifyFirst);
        }
        self.peer_formats = hello.formats;
        self.start_round(bytes, attests, verifies, exporter)
    }

    /// Both frames of the epoch are known.
    fn start_round(
        &mut self,
        peer_frame: &[u8],
        attests: bool,
        verifies: bool,
        exporter: &dyn Exporter,
    ) -> Result<(), Fault> {
        let own_frame = &self.round.own_frame;
        self.round.transcript = Some(match self.role {
            Role::Client => transcript(own_frame, peer_frame),
            Role::Server => transcript(peer_frame, own_frame),
        });
        self.round.verifying = if verifies { Verifying::Waiting } else { Verifying::No };
        self.round.attesting = if attests { Attesting::Withheld } else { Attesting::No };
        let is_withheld = self.config.flags.verify_first && verifies;
        if attests && !is_withheld {
            self.ask_for_evidence(exporter)?;
        }
        Ok(())
    }

    fn ask_for_evidence(&mut self, exporter: &dyn Exporter) -> Result<(), Fault> {
        self.round.attesting = Attesting::Making;
        let binding = self.binding(self.role, exporter)?;
        self.events.push_back(Event::Attest { binding, formats: self.peer_formats.clone() });
        Ok(())
    }

    /// What evidence of the attester at this end must contain in this epoch.
    fn binding(&self, role: Role, exporter: &dyn Exporter) -> Result<Binding, Fault> {
        let Keys { own, peer } = self.keys;
        let keys = if role == self.role { [own, peer] } else { [peer, own] };
        let transcript = self.round.transcript.ok_or(Fault::Export(ExportFault))?;
        Binding::new(exporter, role, self.round.epoch, keys, transcript).map_err(Fault::Export)
    }

    fn on_evidence(&mut self, evidence: Evidence, exporter: &dyn Exporter) -> Result<(), Fault> {
        if self.round.verifying != Verifying::Waiting {
            return Err(self.unexpected("evidence"));
        }
        let Evidence { epoch, format: number, evidence, claims, endorsements } = evidence;
        if epoch != self.round.epoch {
            return Err(Fault::Epoch { expected: self.round.epoch, got: epoch });
        }
        let accepted = Format::from_number(number).filter(|got| self.config.formats.contains(got));
        let Some(format) = accepted else {
            self.refuse(VerdictCode::Malformed, "format".to_string());
            return Err(Fault::Format(number));
        };
        let binding = self.binding(self.role.other(), exporter)?;
        self.round.verifying = Verifying::Judging;
        let offered = Offered { format, evidence, claims, endorsements };
        self.events.push_back(Event::Verify(Received { binding, offered }));
        Ok(())
    }

    fn on_verdict(&mut self, code: u16, text: String) -> Result<(), Fault> {
        // A peer that misses our evidence says so straight after the hellos.
        if code != VerdictCode::Accepted as u16 {
            return Err(Fault::PeerRefused { code, text });
        }
        if self.round.attesting != Attesting::Sent {
            return Err(self.unexpected("a verdict"));
        }
        self.round.attesting = Attesting::Accepted;
        self.progress();
        Ok(())
    }

    fn on_reattest(
        &mut self,
        epoch: u32,
        bytes: &[u8],
        exporter: &dyn Exporter,
    ) -> Result<(), Fault> {
        if !self.is_open {
            return Err(self.unexpected("re-attestation"));
        }
        // Ours may have crossed it: then the round has begun, and waits for the peer's frame.
        if self.round.transcript.is_some() {
            if !self.is_settled() {
                return Err(self.unexpected("re-attestation"));
            }
            self.begin_round()?;
        }
        if epoch != self.round.epoch {
            return Err(Fault::Epoch { expected: self.round.epoch, got: epoch });
        }
        let attests = self.round.attesting != Attesting::No;
        let verifies = self.round.verifying != Verifying::No;
        self.start_round(bytes, attests, verifies, exporter)
    }

    /// Sends our Reattest. The directions are those of the opening.
    fn begin_round(&mut self) -> Result<(), Fault> {
        let epoch = self.round.epoch.checked_add(1).ok_or(Fault::Ended)?;
        let frame = Frame::Reattest { nonce: (self.fresh)(), epoch };
        self.round.epoch = epoch;
        self.round.own_frame = frame.encode();
        self.round.transcript = None;
        self.output.extend_from_slice(&self.round.own_frame);
        Ok(())
    }

    fn progress(&mut self) {
        if !self.is_settled() {
            return;
        }
        let epoch = self.round.epoch;
        self.events.push_back(if self.is_open { Event::Reattested { epoch } } else { Event::Open });
        self.is_open = true;
    }

    fn send(&mut self, frame: &Frame) {
        self.output.extend(frame.encode());
    }

    fn refuse(&mut self, code: VerdictCode, text: String) {
        self.send(&Frame::Verdict { code: code as u16, text });
        let reason = if self.is_open { CloseReason::Reattestation } else { CloseReason::Refused };
        self.end(reason);
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.has_ended {
            self.has_ended = true;
            self.send(&Frame::Close(reason));
        }
    }

    const fn unexpected(&self, got: &'static str) -> Fault {
        let expected = match (&self.round.transcript, self.round.attesting, self.round.verifying) {
            (None, ..) if self.is_open => "re-attestation or data",
            (None, ..) => "a hello",
            (Some(_), _, Verifying::Waiting) => "evidence",
            (Some(_), Attesting::Sent, _) => "a verdict",
            (Some(_), Attesting::Withheld | Attesting::Making, _) => "nothing before our evidence",
            (Some(_), _, Verifying::Judging) => "nothing before our verdict",
            (Some(_), ..) if self.peer_has_finished => "re-attestation or close",
            (Some(_), ..) => "data, its end, re-attestation or close",
        };
        Fault::Unexpected { got, expected }
    }
}

impl Config {
    fn check(&self, keys: &Keys) -> Result<(), Fault> {
        let fault = |field, expected| Err(Fault::Config { field, expected });
        let Flags { attest_me, attest_you, verify_first } = self.flags;
        if !attest_me && !attest_you {
            return fault("flags", "attest-me or attest-you");
        }
        if verify_first && !(attest_me && attest_you) {
            return fault("verify_first", "an end that attests and verifies");
        }
        if attest_you == self.formats.is_empty() || self.formats.len() > MAX_FORMATS {
            return fault("formats", "1 to 16 for an end that verifies, none for another");
        }
        if attest_me && keys.own == crate::binding::NO_KEY {
            return fault("own key", "one for an end that attests");
        }
        if attest_you && keys.peer == crate::binding::NO_KEY {
            return fault("peer's key", "a peer with a certificate for an end that verifies");
        }
        Ok(())
    }
}
