//! What a handle stands for: a configuration at first, then a session.

use crate::error::Error;
use crate::evidence::{Callback, Watched};
use crate::socket::Socket;
use rats_tls::binding::Role;
use rats_tls::names::Chosen;
use rats_tls::{Accepted, Setup, Stream};
use rustls::pki_types::ServerName;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

/// What init was told, checked.
pub(crate) struct Wanted {
    pub(crate) role: Role,
    pub(crate) is_mutual: bool,
    pub(crate) sends_endorsements: bool,
    pub(crate) chosen: Chosen,
}

impl Wanted {
    fn attests(&self) -> bool {
        self.chosen.attests_as(self.role, self.is_mutual)
    }

    fn verifies(&self) -> bool {
        self.chosen.verifies_as(self.role, self.is_mutual)
    }
}

pub(crate) struct Context {
    wanted: Wanted,
    pub(crate) setup: Setup,
    pub(crate) callback: Option<Callback>,
    pub(crate) server_name: Option<ServerName<'static>>,
    state: State,
}

#[allow(clippy::large_enum_variant, reason = "one lives per handle, behind a lock")]
enum State {
    New,
    Open(Stream<Socket>),
    Failed,
}

impl Context {
    /// # Errors
    /// An end that would do nothing.
    pub(crate) fn new(wanted: Wanted, setup: Setup) -> Result<Self, Error> {
        if !wanted.attests() && !wanted.verifies() {
            return Err(Error::Setup(rats_tls::SetupError::Idle));
        }
        Ok(Self { wanted, setup, callback: None, server_name: None, state: State::New })
    }

    /// The configuration, as long as it counts.
    pub(crate) fn configure(&mut self) -> Result<&mut Self, Error> {
        match self.state {
            State::New => Ok(self),
            _ => Err(Error::State { expected: "it before negotiate", got: "it afterwards" }),
        }
    }

    /// Opens the session. One that failed stays failed: a new try is a new handle.
    pub(crate) fn negotiate(&mut self, socket: Socket) -> Result<(), Error> {
        self.configure()?;
        let Wanted { role, ref chosen, sends_endorsements, .. } = self.wanted;
        let attester = self.wanted.attests().then(|| self.setup.attester(sends_endorsements));
        let appraiser = self.wanted.verifies().then(|| self.setup.appraiser(&chosen.formats));
        let appraiser = appraiser.transpose()?.map(|inner| match self.callback {
            Some(callback) => Arc::new(Watched { inner, callback }),
            None => inner,
        });
        let party = Arc::new(self.setup.party(role, attester.transpose()?, appraiser)?);
        let name = self.server_name.clone();
        let name = name.unwrap_or_else(|| ServerName::try_from("container").expect("a name"));
        self.state = State::Failed;
        self.state = State::Open(match role {
            Role::Client => Stream::connect(socket, name, &party)?,
            Role::Server => Stream::accept(socket, &party)?,
        });
        Ok(())
    }

    fn stream(&mut self) -> Result<&mut Stream<Socket>, Error> {
        match &mut self.state {
            State::Open(stream) => Ok(stream),
            State::New => Err(Error::State { expected: "it after negotiate", got: "it before" }),
            State::Failed => {
                Err(Error::State { expected: "an open session", got: "one that has ended" })
            }
        }
    }

    /// Ends the session where it failed.
    fn watch<R>(
        &mut self,
        work: impl FnOnce(&mut Stream<Socket>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let result = work(self.stream()?);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Bytes that came, at least one; 0 where the peer has closed in good order.
    pub(crate) fn receive(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.watch(|stream| Ok(stream.read(into)?))
    }

    pub(crate) fn transmit(&mut self, data: &[u8]) -> Result<(), Error> {
        self.watch(|stream| {
            stream.write_all(data)?;
            Ok(stream.flush()?)
        })
    }

    pub(crate) fn reattest(&mut self) -> Result<(), Error> {
        self.watch(|stream| Ok(stream.reattest()?))
    }

    /// The peer's accepted evidence.
    pub(crate) fn peer(&mut self) -> Result<&Accepted, Error> {
        let peer = self.stream()?.peer();
        peer.ok_or(Error::State { expected: "an end that verifies", got: "one that does not" })
    }

    /// Tells the peer, if there is one, that nothing more comes.
    pub(crate) fn close(&mut self) {
        if let State::Open(stream) = std::mem::replace(&mut self.state, State::Failed) {
            // It may have gone already.
            let _ = stream.close();
        }
    }
}
