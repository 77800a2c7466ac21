//! The state machine: honest endpoints follow the protocol, the intruder does what it can.

use crate::intruder::Knowledge;
use crate::scenario::{Endpoint, Level, Scenario};
use crate::term::{Binder, Key, Nonce, Party, Quote, ReportData, SessionId, Side, Transcript};
use stateright::{Model, Property};

/// Whoever accepts evidence shares the session with the enclave that the evidence names. An accept in a
/// session whose secrets leaked does not count: that session is lost, and only that one.
pub const AGREEMENT: &str = "agreement";

/// Some endpoint of honest parties accepts at the last epoch.
pub const CAN_ACCEPT: &str = "can accept";

/// Who is at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Peer {
    /// The endpoint of this index.
    Endpoint(u8),
    /// The intruder.
    Intruder,
}

/// A session as one of its ends sees it, with the truth about its peer, which that end does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Connection {
    session: SessionId,
    peer: Peer,
    /// The key in the peer's certificate, if it has one.
    peer_key: Option<Key>,
    epoch: u8,
    /// From the peer's Hello or Reattest of this epoch.
    peer_nonce: Option<Nonce>,
    /// Whom it accepted in this epoch.
    accepted: Option<Party>,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By endpoint; `None` where it has no session yet.
    connections: Vec<Option<Connection>>,
    intruder: Knowledge,
}

/// A step. What an honest endpoint does without being able to choose is part of the step that lets it:
/// both Hellos between honest ends, and the evidence that follows them at once. It takes nothing from the
/// intruder, who only ever learns more and is never later for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The network carries a session of two honest endpoints.
    Connect {
        /// Client's index.
        client: u8,
        /// Server's index.
        server: u8,
    },
    /// The intruder ends a session with an honest endpoint, presenting a key whose private half it has.
    Intercept {
        /// The honest end.
        endpoint: u8,
        /// What the intruder's certificate says; `None`: no certificate (as a client).
        key: Option<Key>,
    },
    /// The intruder sends its Hello or Reattest; an attester answers with evidence.
    Send {
        /// The honest end.
        endpoint: u8,
        /// In the intruder's frame.
        nonce: Nonce,
    },
    /// An honest verifier gets evidence that its policy accepts, from whoever is at the other end.
    Accept {
        /// Who verifies.
        endpoint: u8,
        /// Whom the evidence names.
        attester: Party,
    },
    /// A session begins its next epoch.
    Reattest {
        /// An end that has accepted, or that does not verify.
        endpoint: u8,
    },
}

impl Scenario {
    fn endpoint(&self, index: u8) -> &Endpoint {
        &self.endpoints[usize::from(index)]
    }

    fn indices(&self) -> impl Iterator<Item = u8> + use<> {
        0..u8::try_from(self.endpoints.len()).expect("a handful of endpoints")
    }

    /// Keys that the intruder can end a session with.
    fn intruder_keys(&self) -> impl Iterator<Item = Key> + use<> {
        let leaked = self.leaks.tls_key.then_some(Party::EnclaveA);
        [Some(Party::Intruder), leaked].into_iter().flatten()
    }

    /// Clients have a certificate only where both ends attest.
    fn has_certificate(&self, index: u8) -> bool {
        let endpoint = self.endpoint(index);
        endpoint.side == Side::Server || endpoint.attests
    }

    fn key_of(&self, index: u8) -> Option<Key> {
        self.has_certificate(index).then(|| self.endpoint(index).owner)
    }

    /// What the attester at `side` of a session must have quoted, by one end's view of that session.
    fn expected(
        &self,
        connection: &Connection,
        side: Side,
        own: Key,
        peer: Option<Key>,
        transcript: Transcript,
    ) -> ReportData {
        let Connection { session, epoch, .. } = *connection;
        match self.level {
            Level::Certificate => ReportData::Key(own),
            Level::Exporter => {
                ReportData::Exporter(Binder { session, transcript, role: None, epoch })
            }
            Level::Bound => ReportData::Bound {
                role: side,
                epoch,
                own,
                peer,
                transcript,
                binder: Binder { session, transcript, role: Some(side), epoch },
            },
        }
    }

    /// The quote that an attesting endpoint makes.
    fn own_quote(&self, state: &State, index: u8) -> Option<Quote> {
        let endpoint = self.endpoint(index);
        let connection = state.connection(index)?;
        let data = self.expected(
            connection,
            endpoint.side,
            self.key_of(index)?,
            connection.peer_key,
            self.transcript(state, index)?,
        );
        Some(Quote { attester: endpoint.owner, data })
    }

    /// The quote that a verifying endpoint asks for, in the name of an enclave.
    fn wanted_quote(&self, state: &State, index: u8, attester: Party) -> Option<Quote> {
        let connection = state.connection(index)?;
        let data = self.expected(
            connection,
            self.endpoint(index).side.other(),
            connection.peer_key?,
            self.key_of(index),
            self.transcript(state, index)?,
        );
        Some(Quote { attester, data })
    }

    fn transcript(&self, state: &State, index: u8) -> Option<Transcript> {
        let connection = state.connection(index)?;
        let own = Nonce::Honest { endpoint: index, epoch: connection.epoch };
        let peer = connection.peer_nonce?;
        Some(match self.endpoint(index).side {
            Side::Client => [own, peer],
            Side::Server => [peer, own],
        })
    }

    /// Whom policies accept.
    fn accepts(&self, attester: Party) -> bool {
        match attester {
            Party::EnclaveA => true,
            Party::EnclaveB => !self.pins_platform,
            Party::Verifier | Party::Intruder => false,
        }
    }

    fn connect_actions(&self, state: &State, index: u8, actions: &mut Vec<Act>) {
        let endpoint = self.endpoint(index);
        if endpoint.side == Side::Client {
            actions.extend(
                self.indices()
                    .filter(|&server| self.can_talk(index, server))
                    .filter(|&server| state.connection(server).is_none())
                    .map(|server| Act::Connect { client: index, server }),
            );
        }
        let none = (endpoint.side == Side::Server && !endpoint.verifies).then_some(None);
        actions.extend(
            self.intruder_keys()
                .map(Some)
                .chain(none)
                .map(|key| Act::Intercept { endpoint: index, key }),
        );
    }

    /// Whether two endpoints would agree in their Hellos on who attests.
    fn can_talk(&self, client: u8, server: u8) -> bool {
        let (a, b) = (self.endpoint(client), self.endpoint(server));
        b.side == Side::Server && a.verifies == b.attests && b.verifies == a.attests
    }

    fn session_actions(&self, state: &State, index: u8, actions: &mut Vec<Act>) {
        let endpoint = self.endpoint(index);
        let Some(connection) = state.connection(index) else { return };
        if connection.peer_nonce.is_none() {
            // In its own place of a transcript an honest nonce of the other side is all that can match what
            // an honest end has; any other is no better than the intruder's own.
            let of_other_side = |nonce: &Nonce| match *nonce {
                Nonce::Honest { endpoint: from, .. } => self.endpoint(from).side != endpoint.side,
                Nonce::Intruder => true,
            };
            actions.extend(
                state
                    .intruder
                    .choices()
                    .filter(of_other_side)
                    .map(|nonce| Act::Send { endpoint: index, nonce }),
            );
            return;
        }
        if endpoint.verifies && connection.accepted.is_none() {
            for attester in [Party::EnclaveA, Party::EnclaveB] {
                if self.accepts(attester) && self.can_be_given(state, index, attester) {
                    actions.push(Act::Accept { endpoint: index, attester });
                }
            }
        }
        if connection.epoch < self.last_epoch && self.may_reattest(state, index) {
            actions.push(Act::Reattest { endpoint: index });
        }
    }

    /// A session goes on to the next epoch when its honest ends have accepted; the client's step moves both.
    fn may_reattest(&self, state: &State, index: u8) -> bool {
        let is_done = |end: u8| {
            !self.endpoint(end).verifies
                || state.connection(end).is_some_and(|connection| connection.accepted.is_some())
        };
        match state.connection(index).map(|connection| connection.peer) {
            Some(Peer::Endpoint(peer)) => {
                self.endpoint(index).side == Side::Client && is_done(index) && is_done(peer)
            }
            Some(Peer::Intruder) => is_done(index),
            None => false,
        }
    }

    /// Whether the other end can send the quote that this verifier wants.
    fn can_be_given(&self, state: &State, index: u8, attester: Party) -> bool {
        let Some(wanted) = self.wanted_quote(state, index, attester) else { return false };
        let Some(connection) = state.connection(index) else { return false };
        let from_peer = match connection.peer {
            Peer::Endpoint(peer) => {
                self.endpoint(peer).attests && self.own_quote(state, peer) == Some(wanted)
            }
            Peer::Intruder => false,
        };
        let intruder_writes = state.intruder.sessions.contains(&connection.session);
        from_peer || intruder_writes && state.intruder.can_send(self, &wanted)
    }

    /// Both Hellos or Reattests between honest ends, and what an intruder with the session's secrets reads.
    fn exchange(&self, state: &mut State, client: u8, server: u8) -> Option<()> {
        for (own, peer) in [(client, server), (server, client)] {
            let connection = state.connection_mut(own)?;
            let epoch = connection.epoch;
            connection.peer_nonce = Some(Nonce::Honest { endpoint: peer, epoch });
        }
        self.observe(state, client);
        self.observe(state, server);
        Some(())
    }

    /// What the intruder learns from an endpoint whose session it is an end of, or has the secrets of.
    fn observe(&self, state: &mut State, index: u8) {
        let Some(connection) = state.connection(index) else { return };
        if !state.intruder.sessions.contains(&connection.session) {
            return;
        }
        let own = Nonce::Honest { endpoint: index, epoch: connection.epoch };
        let quote = self.own_quote(state, index).filter(|_| self.endpoint(index).attests);
        state.intruder.nonces.insert(own);
        state.intruder.quotes.extend(quote);
    }

    /// Whether what an endpoint accepted is true.
    fn agrees(&self, state: &State, index: u8) -> bool {
        let Some(connection) = state.connection(index) else { return true };
        let Some(accepted) = connection.accepted else { return true };
        let is_lost = state.intruder.sessions.contains(&connection.session);
        match connection.peer {
            Peer::Intruder => false,
            Peer::Endpoint(peer) => is_lost || self.endpoint(peer).owner == accepted,
        }
    }
}

impl State {
    fn connection(&self, index: u8) -> Option<&Connection> {
        self.connections[usize::from(index)].as_ref()
    }

    fn connection_mut(&mut self, index: u8) -> Option<&mut Connection> {
        self.connections[usize::from(index)].as_mut()
    }

    fn open(&mut self, index: u8, session: SessionId, peer: Peer, peer_key: Option<Key>) {
        self.connections[usize::from(index)] = Some(Connection {
            session,
            peer,
            peer_key,
            epoch: 0,
            peer_nonce: None,
            accepted: None,
        });
    }

    fn next_epoch(&mut self, index: u8) -> Option<()> {
        let connection = self.connection_mut(index)?;
        connection.epoch += 1;
        connection.peer_nonce = None;
        connection.accepted = None;
        Some(())
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        let connections = vec![None; self.endpoints.len()];
        vec![State { connections, intruder: Knowledge::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Act>) {
        for index in self.indices() {
            match state.connection(index) {
                None => self.connect_actions(state, index, actions),
                Some(_) => self.session_actions(state, index, actions),
            }
        }
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut state = before.clone();
        match act {
            Act::Connect { client, server } => {
                let is_first = !state
                    .connections
                    .iter()
                    .flatten()
                    .any(|connection| matches!(connection.peer, Peer::Endpoint(_)));
                state.open(client, client, Peer::Endpoint(server), self.key_of(server));
                state.open(server, client, Peer::Endpoint(client), self.key_of(client));
                if self.leaks.first_session && is_first {
                    state.intruder.sessions.insert(client);
                }
                self.exchange(&mut state, client, server)?;
            }
            Act::Intercept { endpoint, key } => {
                state.open(endpoint, endpoint, Peer::Intruder, key);
                state.intruder.sessions.insert(endpoint);
                self.observe(&mut state, endpoint);
            }
            Act::Send { endpoint, nonce } => {
                state.connection_mut(endpoint)?.peer_nonce = Some(nonce);
                self.observe(&mut state, endpoint);
            }
            Act::Accept { endpoint, attester } => {
                state.connection_mut(endpoint)?.accepted = Some(attester);
            }
            Act::Reattest { endpoint } => {
                state.next_epoch(endpoint)?;
                match state.connection(endpoint)?.peer {
                    Peer::Endpoint(peer) => {
                        state.next_epoch(peer)?;
                        self.exchange(&mut state, endpoint, peer)?;
                    }
                    Peer::Intruder => self.observe(&mut state, endpoint),
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(AGREEMENT, |scenario, state| {
                scenario.indices().all(|index| scenario.agrees(state, index))
            }),
            Property::<Self>::sometimes(CAN_ACCEPT, |scenario, state| {
                scenario.indices().any(|index| {
                    state.connection(index).is_some_and(|connection| {
                        connection.accepted.is_some()
                            && connection.epoch == scenario.last_epoch
                            && matches!(connection.peer, Peer::Endpoint(_))
                    })
                })
            }),
        ]
    }
}
