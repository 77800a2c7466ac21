//! Opening a session: reach the address, speak the protocol that the policy's level names, decide.

use super::judge::{Grounds, Judge, Seen};
use super::told::HOP_BY_HOP;
use super::{Address, Reached};
use super::{certificate, hop};
use crate::args::{Peer, Trust};
use crate::explain::{self, Told};
use crate::failure::Failure;
use crate::source::Source;
use crate::trusted::Trusted;
use attestation::policy::Level;
use rats_tls::{AsyncStream, Fault, Party, SessionError};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, Error as TlsError};
use std::future::Future;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// A connection of either kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + std::marker::Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + std::marker::Send> Io for T {}

/// An open session.
pub(crate) type Session = AsyncStream<Box<dyn Io>>;

/// What came of looking at a container.
pub(crate) enum Opened {
    /// The session, which may be used now, and why.
    Accepted { session: Box<Session>, seen: Seen, judge: Arc<Judge> },
    /// Why not.
    Refused(Seen),
}

/// A container that sessions are opened with.
pub(crate) struct Container {
    address: Address,
    name: Option<String>,
    server_name: ServerName<'static>,
    timeout: Duration,
    grounds: Arc<Grounds>,
}

impl Container {
    /// Reads everything that will be needed; nothing is sent yet.
    ///
    /// # Errors
    /// A file, a name or an option that does not serve.
    pub(crate) fn new(address: Address, peer: &Peer, trust: &Trust) -> Result<Self, Failure> {
        let trusted = Trusted::of(trust, true)?;
        let level = trusted.policy.level;
        if level != Level::Bound && peer.instance_id.is_some() {
            return Err(Failure::Undecided(format!(
                "--instance-id: expected a policy of level bound, got {level}: there, nothing names an instance"
            )));
        }
        // What is judged by inclavared has its collateral there; certificates bring none.
        let source = match level {
            Level::HopByHop => None,
            Level::Bound if trust.source.peer_collateral => None,
            _ => Some(Source::of(&trust.source, &trusted.anchor, trusted.time)?),
        };
        if level == Level::HopByHop {
            none_at_hop(
                "--collateral, --cache, --url, --peer-collateral",
                trust.source.is_given(),
            )?;
            none_at_hop("--container", peer.container.is_some())?;
        }
        let grounds = Arc::new(Grounds::new(trusted, source, peer.instance_id));
        let server_name = server_name(peer.container.as_deref())?;
        let name = peer.container.clone();
        Ok(Self { address, name, server_name, timeout: peer.timeout, grounds })
    }

    /// Refuses a policy that names another level: what is sent there may reach another.
    ///
    /// # Errors
    /// The policy names it.
    pub(crate) fn bound_only(self) -> Result<Self, Failure> {
        match self.level() {
            Level::Bound => Ok(self),
            Level::Compat => Err(Failure::Undecided(
                "policy: level: expected bound, got compat: its evidence can be relayed, so nothing but a \
                 verdict is given at it"
                    .into(),
            )),
            Level::HopByHop => Err(Failure::Undecided(
                "policy: level: expected bound, got hop-by-hop: the session is with inclavared, so nothing but a \
                 verdict is given at it"
                    .into(),
            )),
        }
    }

    /// What decides.
    pub(crate) fn trusted(&self) -> Arc<Trusted> {
        self.grounds.trusted.clone()
    }

    fn level(&self) -> Level {
        self.grounds.trusted.policy.level
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What verdicts are about.
    pub(crate) fn reached(&self) -> Reached {
        Reached {
            address: self.address.to_string(),
            container: self.name.clone(),
            level: self.level().to_string(),
            trust: (self.level() == Level::HopByHop).then_some(HOP_BY_HOP),
        }
    }

    /// Opens a session, or finds out why not.
    ///
    /// # Errors
    /// Nothing could be decided: nobody answers, or not in this protocol, or not in time.
    pub(crate) async fn open(&self) -> Result<Opened, Failure> {
        let transport = self.connect().await?;
        // One for each session: what was decided on another says nothing of this one.
        let judge = Arc::new(Judge::new(self.grounds.clone()));
        let party = Arc::new(Party::verifier(judge.clone()).patience(self.timeout));
        match AsyncStream::connect(transport, self.server_name.clone(), &party).await {
            Ok(session) => {
                let seen = judge.take().ok_or_else(|| self.failed(&"no verdict was given"))?;
                Ok(Opened::Accepted { session: Box::new(session), seen, judge })
            }
            Err(error) => match judge.take() {
                Some(seen) if !seen.verdict.is_accepted() => Ok(Opened::Refused(seen)),
                // An accepted verdict of a session that did not open all the same is none.
                _ => Err(self.failed(&why(&error, self.timeout, self.name.as_deref()))),
            },
        }
    }

    /// A verdict, at whatever level the policy names. The session that it was given in is closed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) async fn look(&self) -> Result<Seen, Failure> {
        if self.level() != Level::Bound {
            let transport = self.connect().await?;
            let name = self.server_name.clone();
            let looked = timeout(self.timeout, async {
                match self.level() {
                    Level::HopByHop => hop::look(transport, name, &self.grounds).await,
                    _ => certificate::look(transport, name, &self.grounds).await,
                }
            });
            return match looked.await {
                Ok(seen) => seen.map_err(|error| self.failed(&error)),
                Err(_) => Err(self.failed(&why(&SessionError::Timeout, self.timeout, None))),
            };
        }
        match self.open().await? {
            Opened::Accepted { session, seen, .. } => {
                self.close(*session).await;
                Ok(seen)
            }
            Opened::Refused(seen) => Ok(seen),
        }
    }

    /// An accepted session; standard error says whom it is with, or why there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open), and a refusal.
    pub(crate) async fn session(&self) -> Result<Session, Failure> {
        match self.open().await? {
            Opened::Accepted { session, seen, .. } => {
                let (told, _) = Told::of(&seen.told(&self.reached()))?;
                // Standard output is the program's.
                eprintln!("{}", explain::line(&told));
                Ok(*session)
            }
            Opened::Refused(seen) => Err(self.refusal(&seen)),
        }
    }

    /// Shows a refusal on standard error, as `verify` does on standard output.
    pub(crate) fn refusal(&self, seen: &Seen) -> Failure {
        match Told::of(&seen.told(&self.reached())) {
            Ok((told, _)) => {
                eprint!("{}", explain::plain(&told));
                Failure::Said
            }
            Err(failure) => failure,
        }
    }

    /// Closes a session that did what it was opened for: how it ends changes nothing.
    pub(crate) async fn close(&self, session: Session) {
        let _ = timeout(self.timeout, session.close()).await;
    }

    async fn connect(&self) -> Result<Box<dyn Io>, Failure> {
        let connected = timeout(self.timeout, async {
            Ok::<Box<dyn Io>, std::io::Error>(match &self.address {
                Address::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        });
        match connected.await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                // Nobody listens, or there is no such socket.
                let is_absent =
                    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
                let ask = if is_absent {
                    "; does inclavared, or the container's attester, run, and listen there?"
                } else {
                    ""
                };
                Err(self.failed(&format_args!("connect: {error}{ask}")))
            }
            Err(_) => Err(self.failed(&format_args!(
                "connect: expected an answer within {}, got none",
                Seconds(self.timeout)
            ))),
        }
    }

    pub(crate) fn failed(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Undecided(format!("{}: {error}", self.address))
    }
}

/// inclavared speaks for one container, by evidence that it has judged itself.
fn none_at_hop(option: &str, is_given: bool) -> Result<(), Failure> {
    if !is_given {
        return Ok(());
    }
    let message = format!("{option}: expected none with a policy of level hop-by-hop, got one");
    Err(Failure::Undecided(message))
}

/// What goes into SNI. Without a name none does: an address in numbers is no SNI.
fn server_name(container: Option<&str>) -> Result<ServerName<'static>, Failure> {
    let Some(name) = container else {
        return Ok(ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])));
    };
    match ServerName::try_from(name.to_owned()) {
        Ok(ServerName::DnsName(name)) => Ok(ServerName::DnsName(name)),
        _ => Err(Failure::Undecided(format!(
            "--container: expected letters, digits, '-', '_' and dots, at most 63 between two, got {name:?}"
        ))),
    }
}

/// Why there is no session, with what to do where that is likely to be known.
fn why(error: &SessionError, patience: Duration, name: Option<&str>) -> String {
    match error {
        SessionError::Timeout => {
            format!("session: expected each step within {}, got none", Seconds(patience))
        }
        SessionError::Tls(TlsError::AlertReceived(AlertDescription::UnrecognisedName)) => format!(
            "--container: expected a name that the relay there was told, got {}; inclavared is told by its --container \
             NAME=ADDR or --containers DIR",
            name.unwrap_or("none")
        ),
        SessionError::Alpn { got: None }
        | SessionError::Truncated
        | SessionError::Tls(TlsError::InvalidMessage(_)) => format!(
            "session: {error}; is an attester, or a relay that knows this container, at that address?"
        ),
        SessionError::Protocol(Fault::NoEvidence) => {
            "session: expected evidence, got a peer that proves nothing".into()
        }
        SessionError::Refused(refusal) => match &**refusal {
            // Said by the source itself, with what it is about.
            rats_tls::Refusal::Collateral(message) => message.clone(),
            other => other.to_string(),
        },
        other => format!("session: {other}"),
    }
}

/// A time limit for people.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// Runs a command's asynchronous part. Name look-ups that are still waiting do not hold up its end.
///
/// # Errors
/// The command's.
pub(crate) fn run_to_end<T>(
    command: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Undecided(format!("start: {error}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_as_hosts_are() {
        for good in ["web", "web-1", "my_app.prod", "0123abc"] {
            assert!(matches!(server_name(Some(good)), Ok(ServerName::DnsName(_))), "{good}");
        }
        for bad in ["", "a b", "127.0.0.1", "a/b", &"x".repeat(64)] {
            assert!(server_name(Some(bad)).is_err(), "{bad}");
        }
        assert!(matches!(server_name(None), Ok(ServerName::IpAddress(_))));
    }
}
