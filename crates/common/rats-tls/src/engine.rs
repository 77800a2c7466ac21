//! TLS and the session's machine together, without a transport: what the front ends share.

use crate::binding::Role;
use crate::error::SessionError;
use crate::frame::CloseReason;
use crate::inbox::Inbox;
use crate::party::{Accepted, Party, Refusal};
use crate::session::{Event, Fresh, Received, Session};
use crate::tls::{self, Exported};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest data in one frame that we send: what is encrypted and not yet sent stays bounded.
const LONGEST_DATA: usize = 256 << 10;

/// Work that may take long: a front end does it where waiting hurts nobody.
pub(crate) enum Task {
    /// Make evidence.
    Attest(Box<crate::binding::Binding>, Vec<u16>),
    /// Verify evidence.
    Appraise(Box<Received>),
}

/// What a [`Task`] came to.
pub(crate) enum Outcome {
    Attested(Result<crate::session::Offered, crate::party::AttestError>),
    Appraised(Result<Accepted, Box<Refusal>>),
}

impl Task {
    /// Does it.
    pub(crate) fn run(&self, party: &Party) -> Outcome {
        match (self, &party.attester, &party.appraiser) {
            (Self::Attest(binding, formats), Some(attester), _) => {
                Outcome::Attested(attester.attest(binding, formats))
            }
            (Self::Appraise(received), _, Some(appraiser)) => {
                Outcome::Appraised(appraiser.appraise(received))
            }
            _ => unreachable!("a session asks for what its party offered"),
        }
    }
}

/// What an engine needs next.
pub(crate) enum Need {
    /// Bytes from the peer.
    Input,
    /// Work, and its [`Outcome`].
    Task(Task),
    /// A look at what changed: the session is open, or re-attested.
    Progress,
    /// Nothing: data is there, or the session has ended well.
    Nothing,
}

pub(crate) struct Engine {
    tls: Connection,
    inbox: Inbox,
    /// From the end of the TLS handshake on.
    session: Option<Session>,
    party: Arc<Party>,
    role: Role,
    peer: Option<Accepted>,
    /// Until when the peer's part of opening or of a re-attestation may take.
    deadline: Option<Instant>,
    /// When the peer's last evidence was accepted, and on what grounds.
    accepted_at: Instant,
    generation: u64,
    has_opened: bool,
    /// Whether the peer sends no more data.
    has_finished: bool,
    has_closed: bool,
    /// Bytes given to TLS since all that it had was sent.
    unsent: usize,
}

impl Engine {
    pub(crate) fn client(
        party: Arc<Party>,
        name: ServerName<'static>,
    ) -> Result<Self, SessionError> {
        let connection = ClientConnection::new(party.client()?, name)?;
        Ok(Self::new(connection.into(), party, Role::Client))
    }

    /// # Errors
    /// A party without a key.
    pub(crate) fn server(party: Arc<Party>) -> Result<Self, SessionError> {
        let connection = ServerConnection::new(party.server()?)?;
        Ok(Self::new(connection.into(), party, Role::Server))
    }

    fn new(mut tls: Connection, party: Arc<Party>, role: Role) -> Self {
        // Frames are bounded, and sent before the next is taken.
        tls.set_buffer_limit(None);
        let now = Instant::now();
        Self {
            tls,
            inbox: Inbox::default(),
            session: None,
            role,
            peer: None,
            deadline: Some(now + party.patience),
            accepted_at: now,
            generation: party.generation(),
            has_opened: false,
            has_finished: false,
            has_closed: false,
            unsent: 0,
            party,
        }
    }

    pub(crate) const fn party(&self) -> &Arc<Party> {
        &self.party
    }

    pub(crate) const fn peer(&self) -> Option<&Accepted> {
        self.peer.as_ref()
    }

    /// Whether every attested direction was accepted, once.
    pub(crate) const fn has_opened(&self) -> bool {
        self.has_opened
    }

    /// Whether data is coming, of a frame whose header has come.
    pub(crate) fn has_data(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.data_left() > 0)
    }

    /// Whether the peer has sent its last data.
    pub(crate) const fn has_finished(&self) -> bool {
        self.has_finished || self.has_closed
    }

    /// Whether the peer has closed, in good order.
    #[cfg(feature = "tokio")]
    pub(crate) const fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Whether so much waits to be sent that nothing more of the peer is taken in: it may ask for evidence
    /// without ever reading it.
    #[cfg(feature = "tokio")]
    pub(crate) const fn is_full(&self) -> bool {
        self.unsent > 2 * LONGEST_DATA
    }

    /// When to look at the session again though nothing came: the peer's time is over, or its evidence old.
    #[cfg(feature = "tokio")]
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.deadline.or_else(|| self.due())
    }

    /// When the peer's evidence is old; `None`: never, or nobody here would ask for more.
    fn due(&self) -> Option<Instant> {
        let interval = self.party.interval.filter(|_| self.party.appraiser.is_some())?;
        self.accepted_at.checked_add(interval)
    }

    /// How long the peer may still take; `None`: as long as it likes.
    ///
    /// # Errors
    /// It took longer.
    pub(crate) fn patience(&self) -> Result<Option<Duration>, SessionError> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(SessionError::Timeout) } else { Ok(Some(left)) }
    }

    /// Where to read what the peer sends, once [`decrypt`](Self::decrypt) has nothing left; `None`: it has.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        if self.inbox.is_empty() { Some(self.inbox.room()) } else { None }
    }

    /// So many bytes came.
    ///
    /// # Errors
    /// None: the peer has gone.
    pub(crate) fn came(&mut self, count: usize) -> Result<(), SessionError> {
        if count == 0 {
            return Err(SessionError::Truncated);
        }
        self.inbox.came(count);
        Ok(())
    }

    /// Decrypts what has come, up to the first data: TLS takes no more while some wait in it. Whether it took
    /// anything.
    pub(crate) fn decrypt(&mut self) -> Result<bool, SessionError> {
        let mut has_taken = false;
        while self.tls.wants_read() && !self.inbox.is_empty() {
            let count = self.tls.read_tls(&mut self.inbox.rest())?;
            self.inbox.took(count);
            self.tls.process_new_packets()?;
            has_taken = true;
        }
        Ok(has_taken)
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    pub(crate) fn write_tls(&mut self, into: &mut dyn io::Write) -> io::Result<usize> {
        let count = self.tls.write_tls(into)?;
        if !self.tls.wants_write() {
            self.unsent = 0;
        }
        Ok(count)
    }

    /// Goes as far as it can without input, work or a program that takes data.
    pub(crate) fn advance(&mut self) -> Result<Need, SessionError> {
        loop {
            if self.session.is_none() {
                if self.tls.is_handshaking() {
                    return Ok(Need::Input);
                }
                self.begin()?;
            }
            self.reattest_if_due()?;
            self.collect_output()?;
            let session = self.session.as_mut().expect("begun above");
            match session.next_event() {
                Some(Event::Attest { binding, formats }) => {
                    return Ok(Need::Task(Task::Attest(Box::new(binding), formats)));
                }
                Some(Event::Verify(received)) => {
                    return Ok(Need::Task(Task::Appraise(Box::new(received))));
                }
                Some(Event::Open | Event::Reattested { .. }) => {
                    self.deadline = None;
                    self.has_opened = true;
                    self.inbox.shrink();
                    return Ok(Need::Progress);
                }
                Some(Event::EndOfData) => {
                    self.has_finished = true;
                    return Ok(Need::Nothing);
                }
                Some(Event::Closed(CloseReason::Done)) if self.has_opened => {
                    self.has_closed = true;
                    return Ok(Need::Nothing);
                }
                Some(Event::Closed(reason)) => return Err(SessionError::Closed(reason)),
                None => {}
            }
            if self.has_closed || session.data_left() > 0 {
                return Ok(Need::Nothing);
            }
            if !self.receive()? {
                return Ok(Need::Input);
            }
        }
    }

    /// Takes what TLS has decrypted; whether there was anything.
    fn receive(&mut self) -> Result<bool, SessionError> {
        let session = self.session.as_mut().expect("begun before anything is received");
        let mut buffer = [0; 4096];
        let wanted = session.wants().min(buffer.len());
        let count = match self.tls.reader().read(&mut buffer[..wanted]) {
            // TLS ended in good order, the session did not.
            Ok(0) => return Err(SessionError::Truncated),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let was_settled = session.is_settled();
        let taken = session.receive(&buffer[..count], &Exported(&self.tls));
        // What it says to the peer is sent in any case.
        self.collect_output()?;
        let session = self.session.as_ref().expect("it received");
        assert_eq!(taken?, count, "a session takes what it wants");
        if was_settled && !session.is_settled() && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.party.patience);
        }
        Ok(true)
    }

    /// Gives the outcome of a task.
    pub(crate) fn finish(&mut self, outcome: Outcome) -> Result<(), SessionError> {
        let session = self.session.as_mut().expect("a session asked for it");
        match outcome {
            Outcome::Attested(Ok(offered)) => session.attest(offered)?,
            Outcome::Attested(Err(error)) => return Err(SessionError::Attest(error)),
            Outcome::Appraised(Ok(accepted)) => {
                self.peer = Some(accepted);
                self.accepted_at = Instant::now();
                session.judge(Ok(()), &Exported(&self.tls))?;
            }
            Outcome::Appraised(Err(refusal)) => {
                // The machine's own words on it say less than the refusal.
                let _ = session.judge(Err(&refusal.hint()), &Exported(&self.tls));
                return Err(SessionError::Refused(refusal));
            }
        }
        self.collect_output()
    }

    /// Copies received data; 0 if there is none yet.
    pub(crate) fn take_data(&mut self, into: &mut [u8]) -> Result<usize, SessionError> {
        let Some(session) = &mut self.session else { return Ok(0) };
        let wanted = session.data_left().min(into.len());
        if wanted == 0 {
            return Ok(0);
        }
        match self.tls.reader().read(&mut into[..wanted]) {
            Ok(0) => Err(SessionError::Truncated),
            Ok(count) => {
                session.took_data(count);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Encrypts the front of `data`; how much of it.
    pub(crate) fn put_data(&mut self, data: &[u8]) -> Result<usize, SessionError> {
        let session = self.session.as_mut().filter(|session| session.is_open());
        let session = session.ok_or(SessionError::Closed(CloseReason::Done))?;
        let (header, covered) = session.data_frame(data.len().min(LONGEST_DATA))?;
        self.unsent += covered;
        self.tls.writer().write_all(&session.take_output())?;
        // Together, so that the header does not cost a record of its own.
        let parts = [IoSlice::new(&header), IoSlice::new(&data[..covered])];
        let written = self.tls.writer().write_vectored(&parts)?;
        assert_eq!(written, header.len() + covered, "the connection's buffer has no limit");
        Ok(covered)
    }

    /// Says that no more data comes from this side.
    pub(crate) fn finish_data(&mut self) -> Result<(), SessionError> {
        let session = self.session.as_mut();
        session.ok_or(SessionError::Closed(CloseReason::Done))?.finish()?;
        self.collect_output()
    }

    /// Ends the session from this side. The peer hears why, once it is sent.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        if let Some(session) = &mut self.session {
            session.close(reason);
            let output = session.take_output();
            // The connection's buffer has no limit.
            let _ = self.tls.writer().write_all(&output);
        }
        self.tls.send_close_notify();
    }

    /// Asks for new evidence as soon as the present epoch is settled.
    pub(crate) fn reattest(&mut self) -> Result<(), SessionError> {
        let Some(session) = &mut self.session else {
            return Err(SessionError::Closed(CloseReason::Done));
        };
        if session.is_settled() {
            self.deadline = Some(Instant::now() + self.party.patience);
        }
        session.reattest()?;
        self.collect_output()
    }

    fn reattest_if_due(&mut self) -> Result<(), SessionError> {
        let can = self.party.appraiser.is_some()
            && self
                .session
                .as_ref()
                .is_some_and(|session| session.is_open() && session.is_settled());
        if !can {
            return Ok(());
        }
        let generation = self.party.generation();
        let is_old = self.due().is_some_and(|due| Instant::now() >= due);
        if is_old || generation != self.generation {
            self.generation = generation;
            self.reattest()?;
        }
        Ok(())
    }

    fn collect_output(&mut self) -> Result<(), SessionError> {
        if let Some(session) = &mut self.session {
            let output = session.take_output();
            self.unsent += output.len();
            self.tls.writer().write_all(&output)?;
        }
        Ok(())
    }

    /// The handshake is done: checks it, and starts the session.
    fn begin(&mut self) -> Result<(), SessionError> {
        tls::check(&self.tls)?;
        let keys = tls::keys(&self.tls, self.party.identity.as_deref())?;
        // A client that was not asked for its certificate has presented none.
        let session = Session::new(self.role, self.party.config(), keys, fresh());
        self.session = Some(session?);
        Ok(())
    }
}

fn fresh() -> Fresh {
    let random = SystemRandom::new();
    Box::new(move || {
        let mut nonce = [0; 32];
        random
            .fill(&mut nonce)
            .expect("the kernel's random generator does not fail once it is seeded");
        nonce
    })
}
