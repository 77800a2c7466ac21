//! Connections in, sessions, connections out.
//!
//! What strangers cost is bounded by counts. A connection is either admitted, to one of so many sessions being
//! opened and so many in all, or it is only told that there is too much to do; of the latter there are few at
//! once, and while there are, nobody else is let in.

use crate::args::{Arguments, Level, Role};
use crate::compat::{Certificates, CompatError};
use crate::evidence::ReportDevice;
use crate::forward::{ForwardError, Session, Traffic, forward};
use crate::log;
use crate::net::{Address, Listener, Socket};
use crate::party::{Parties, StartError, parties};
use crate::replay::Replay;
use attestation::Measurement;
use attestation::hex::Hex;
use core::fmt;
use rats_tls::{Accepted, AsyncStream, CloseReason, Party, SessionError, tls};
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections at once that are only told to come again.
const REFUSING: usize = 16;
/// How long no connection is taken after one could not be: the cause, such as too many files, lasts.
const PAUSE: Duration = Duration::from_millis(100);

/// What strangers may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open sessions.
    pub sessions: usize,
    /// Sessions that are being opened, of those.
    pub opening: usize,
    /// Quotes in the making, each on a thread.
    pub quotes: usize,
    /// For the peer's part of opening a session, and of re-attestation.
    pub patience: Duration,
    /// For a session in which nothing passes.
    pub idle: Duration,
    /// For sessions to end by themselves when this side stops.
    pub grace: Duration,
}

/// Serves one listening socket.
pub struct Server {
    role: Role,
    level: Level,
    parties: Parties,
    certificates: Arc<Certificates>,
    limits: Limits,
    sessions: Arc<Semaphore>,
    opening: Arc<Semaphore>,
}

/// How a connection was let in.
enum Admission {
    /// To a session, and first to its opening.
    Session { session: OwnedSemaphorePermit, opening: OwnedSemaphorePermit },
    /// To be told to come again.
    Refusal { _refusing: OwnedSemaphorePermit },
}

/// An open session.
enum Opened {
    Bound(Box<AsyncStream<Replay<Socket>>>),
    Compat(Box<TlsStream<Replay<Socket>>>),
}

/// Why there is no session.
enum NotOpened {
    Session(SessionError),
    Certificate(CompatError),
    /// The transport, and TLS at the compat level.
    Transport(io::Error),
    /// The transport of an outgoing session.
    Connect(Address, io::Error),
    Late,
    Busy,
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
            Self::Transport(error) => error.fmt(f),
            Self::Connect(address, error) => write!(f, "connect to {address}: {error}"),
            Self::Late => f.write_str("the peer took longer than it may"),
            Self::Busy => f.write_str("too many sessions"),
        }
    }
}

impl From<SessionError> for NotOpened {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl Server {
    /// As the command line says; files are read and the key is made here.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(arguments: &Arguments) -> Result<Self, StartError> {
        Ok(Self::with(arguments, parties(arguments)?))
    }

    /// With other parties than those of the command line's files.
    #[must_use]
    pub fn with(arguments: &Arguments, parties: Parties) -> Self {
        let Arguments { role, level, device, claims, limits, .. } = arguments.clone();
        let certificates = Arc::new(Certificates::new(ReportDevice::at(&device), claims));
        let sessions = Arc::new(Semaphore::new(limits.sessions));
        let opening = Arc::new(Semaphore::new(limits.opening));
        Self { role, level, parties, certificates, limits, sessions, opening }
    }

    /// Serves until `stop` is ready, and then until the sessions have ended or their time is over.
    pub async fn serve(self, listener: Listener, stop: impl Future<Output = ()>) {
        let server = Arc::new(self);
        let refusing = Arc::new(Semaphore::new(REFUSING));
        let (over, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut number = 0_u64;
        let mut stop = core::pin::pin!(stop);
        loop {
            let connection = async {
                let permit = refusing.clone().acquire_owned().await;
                (permit.expect("it is never closed"), listener.accept().await)
            };
            let (refusal, accepted) = tokio::select! {
                connection = connection => connection,
                () = &mut stop => break,
            };
            match accepted {
                Ok((socket, peer)) => {
                    number += 1;
                    let admission = server.admit(refusal);
                    let (server, stopping) = (server.clone(), stopping.clone());
                    tasks.spawn(async move {
                        let name = format!("{number} {peer}");
                        server.connection(&name, socket, admission, stopping).await;
                    });
                }
                Err(error) => {
                    log::line(format_args!("accept: {error}"));
                    sleep(PAUSE).await;
                }
            }
            while tasks.try_join_next().is_some() {}
        }
        drop(listener);
        while tasks.try_join_next().is_some() {}
        let grace = server.limits.grace;
        log::line(format_args!("stopping: {} sessions have {grace:?}", tasks.len()));
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(grace, all).await.is_err() {
            // Each has a moment to tell its peer.
            over.send_replace(true);
            let all = async { while tasks.join_next().await.is_some() {} };
            let _ = timeout(Duration::from_secs(2), all).await;
        }
    }

    fn admit(&self, refusing: OwnedSemaphorePermit) -> Admission {
        let session = self.sessions.clone().try_acquire_owned();
        match (session, self.opening.clone().try_acquire_owned()) {
            (Ok(session), Ok(opening)) => Admission::Session { session, opening },
            _ => Admission::Refusal { _refusing: refusing },
        }
    }

    /// One connection, from the first byte to the last line of the log.
    async fn connection(
        &self,
        name: &str,
        socket: Socket,
        admission: Admission,
        mut stopping: watch::Receiver<bool>,
    ) {
        let stop = async {
            // The sender lives as long as the sessions.
            let _ = stopping.wait_for(|is_over| *is_over).await;
        };
        let (party, permits) = match admission {
            Admission::Session { session, opening } => {
                (Some(&self.parties.usual), (Some(session), Some(opening)))
            }
            Admission::Refusal { .. } => (self.parties.busy.as_ref(), (None, None)),
        };
        let (_session, opening) = permits;
        match &self.role {
            Role::Ends { forward } => {
                let opened = match party {
                    Some(party) => self.accept(socket, party, opening.is_some()).await,
                    None => Err(NotOpened::Busy),
                };
                drop(opening);
                match opened {
                    Ok(Opened::Bound(session)) => {
                        announce(name, "bound", session.peer());
                        self.pass_on(name, *session, forward, stop).await;
                    }
                    Ok(Opened::Compat(session)) => {
                        announce(name, "compat", None);
                        self.pass_on(name, *session, forward, stop).await;
                    }
                    Err(error) => log::line(format_args!("{name}: no session: {error}")),
                }
            }
            Role::Opens { connect, name: sni } => {
                let opened = match (party, opening.is_some()) {
                    (Some(party), true) => self.connect(connect, sni, party).await,
                    _ => Err(NotOpened::Busy),
                };
                drop(opening);
                match opened {
                    Ok(session) => {
                        announce(name, "bound", session.peer());
                        self.run(name, session, socket, stop).await;
                    }
                    Err(error) => {
                        log::line(format_args!("{name}: no session with {connect}: {error}"));
                        socket.abort();
                    }
                }
            }
        }
    }

    async fn accept(
        &self,
        socket: Socket,
        party: &Arc<Party>,
        is_admitted: bool,
    ) -> Result<Opened, NotOpened> {
        let patience = self.limits.patience;
        let (is_bound, socket) = match self.level {
            Level::Bound => (true, Replay::none(socket)),
            Level::Compat => (false, Replay::none(socket)),
            Level::Both => timeout(patience, Replay::offers(socket, tls::ALPN))
                .await
                .map_err(|_| NotOpened::Late)?
                .map_err(NotOpened::Transport)?,
        };
        if is_bound {
            return Ok(Opened::Bound(Box::new(AsyncStream::accept(socket, party).await?)));
        }
        // At this level there is no word for it.
        if !is_admitted {
            return Err(NotOpened::Busy);
        }
        let certificates = self.certificates.clone();
        let config = tokio::task::spawn_blocking(move || certificates.current()).await;
        let config = config.map_err(|error| NotOpened::Transport(io::Error::other(error)))?;
        let acceptor = TlsAcceptor::from(config.map_err(NotOpened::Certificate)?);
        let session = timeout(patience, acceptor.accept(socket)).await;
        let session = session.map_err(|_| NotOpened::Late)?.map_err(NotOpened::Transport)?;
        Ok(Opened::Compat(Box::new(session)))
    }

    async fn connect(
        &self,
        address: &Address,
        name: &str,
        party: &Arc<Party>,
    ) -> Result<AsyncStream<Socket>, NotOpened> {
        let failed = |error| NotOpened::Connect(address.clone(), error);
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|error| failed(io::Error::other(error)))?;
        let socket = timeout(self.limits.patience, address.connect()).await;
        let socket = socket.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        Ok(AsyncStream::connect(socket, name, party).await?)
    }

    /// Finds the program behind an open session.
    async fn pass_on<S: Session>(
        &self,
        name: &str,
        session: S,
        program: &Address,
        stop: impl Future<Output = ()>,
    ) {
        let connected = timeout(self.limits.patience, program.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match connected {
            Ok(socket) => self.run(name, session, socket, stop).await,
            Err(error) => {
                log::line(format_args!("{name}: closed: connect to {program}: {error}"));
                session.end(CloseReason::Unavailable).await;
            }
        }
    }

    /// Forwards, and ends both sides as they are to be ended.
    async fn run<S: Session>(
        &self,
        name: &str,
        mut session: S,
        mut plain: Socket,
        stop: impl Future<Output = ()>,
    ) {
        let (traffic, result) = forward(&mut session, &mut plain, self.limits.idle, stop).await;
        let Traffic { received, sent } = traffic;
        match result {
            Ok(()) => {
                log::line(format_args!("{name}: done: {received} bytes in, {sent} out"));
                session.end(CloseReason::Done).await;
            }
            Err(error) => {
                log::line(format_args!(
                    "{name}: cut off: {error}: {received} bytes in, {sent} out"
                ));
                let reason = error.reason();
                // What was cut off must not look complete to the other side.
                if !matches!(error, ForwardError::Program(_)) {
                    plain.abort();
                }
                if let Some(reason) = reason {
                    session.end(reason).await;
                }
            }
        }
    }
}

/// Says that a session is open, and with whom.
fn announce(name: &str, level: &str, peer: Option<&Accepted>) {
    let Some(peer) = peer else {
        return log::line(format_args!("{name}: open: {level}"));
    };
    let emulated = if peer.verdict.emulated { "EMULATED " } else { "" };
    match &peer.verdict.measurement {
        Some(Measurement::Sgx { mrenclave, .. }) => log::line(format_args!(
            "{name}: open: {level}, with {emulated}mrenclave {}",
            Hex(mrenclave)
        )),
        _ => log::line(format_args!("{name}: open: {level}, with an {emulated}attested peer")),
    }
}
