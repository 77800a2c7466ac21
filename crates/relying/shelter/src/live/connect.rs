//! `shelter connect`: bytes to and from an accepted container, for a person, a script, or any other program.

use super::open::Session;
use super::{Address, Container, Opened, run_to_end};
use crate::args::Connect;
use crate::failure::Failure;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, copy, copy_bidirectional, split, stdin, stdout};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// Most connections at once; more wait to be accepted.
const MOST: usize = 256;

pub(crate) fn run(arguments: &Connect) -> Result<(), Failure> {
    let Connect { target, peer, trust, listen, listen_publicly } = arguments;
    let container = Container::new(target.clone(), peer, trust)?.bound_only()?;
    match listen {
        Some(address) => {
            let place = Place::of(address, *listen_publicly)?;
            run_to_end(serve(container, place))
        }
        None => run_to_end(async {
            let session = container.session().await?;
            pipe(&container, session).await
        }),
    }
}

/// Standard input to the program, its words to standard output, until it has no more.
async fn pipe(container: &Container, session: Session) -> Result<(), Failure> {
    let failed = |error: std::io::Error| container.failed(&format_args!("session: {error}"));
    let (mut from, mut to) = split(session);
    let up = async {
        let sent = copy(&mut stdin(), &mut to).await;
        // The end of standard input is the end of what the program gets, and not of the session.
        let ended = sent.and(to.shutdown().await);
        match ended {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    let down = async {
        let mut out = stdout();
        copy(&mut from, &mut out).await?;
        out.flush().await
    };
    tokio::select! {
        error = up => Err(failed(error)),
        done = down => done.map_err(failed),
    }
}

/// A local place to listen at.
enum Place {
    Tcp(SocketAddr),
    Unix(std::path::PathBuf),
}

impl Place {
    fn of(text: &str, is_public: bool) -> Result<Self, Failure> {
        let bad =
            || Failure::Undecided(format!("--listen: expected IP:PORT or unix:PATH, got {text:?}"));
        if text.starts_with("unix:") {
            return match text.parse() {
                Ok(Address::Unix(path)) => Ok(Self::Unix(path)),
                _ => Err(bad()),
            };
        }
        let address: SocketAddr =
            text.strip_prefix("tcp:").unwrap_or(text).parse().map_err(|_| bad())?;
        if !address.ip().is_loopback() && !is_public {
            return Err(Failure::Undecided(format!(
                "--listen: expected an address of this machine alone, got {address}: what comes there is not \
                 encrypted, and whoever reaches it speaks as you; --listen-publicly allows it"
            )));
        }
        Ok(Self::Tcp(address))
    }
}

/// Takes connections until it is stopped. The container is verified before the first one, too, so that a refusal
/// shows at once.
async fn serve(container: Container, place: Place) -> Result<(), Failure> {
    container.close(container.session().await?).await;
    let failed = |error: std::io::Error| Failure::Undecided(format!("listen: {error}"));
    let listener = match place {
        Place::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await.map_err(failed)?),
        Place::Unix(path) => Listener::Unix(UnixListener::bind(path).map_err(failed)?),
    };
    eprintln!("listening on {}", listener.shown().map_err(failed)?);
    let (container, places) = (Arc::new(container), Arc::new(Semaphore::new(MOST)));
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let mut local = match listener.accept().await {
            Ok(local) => local,
            Err(error) => {
                // Out of descriptors, or a client that was gone already: the others go on.
                eprintln!("shelter: accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let container = container.clone();
        tokio::spawn(async move {
            let _place = place;
            match container.open().await {
                Ok(Opened::Accepted { mut session, .. }) => {
                    let done = copy_bidirectional(&mut local, &mut session).await;
                    match done {
                        Ok(_) => container.close(*session).await,
                        Err(error) => eprintln!("shelter: {}", container.failed(&error)),
                    }
                }
                Ok(Opened::Refused(seen)) => {
                    container.refusal(&seen);
                }
                Err(failure) => failure.report(),
            }
        });
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Box<dyn super::open::Io>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }

    fn shown(&self) -> std::io::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(|path| path.display().to_string());
                format!("unix:{}", path.unwrap_or_default())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_listened_to_unless_it_is_asked_for() {
        for local in ["127.0.0.1:0", "tcp:[::1]:80", "unix:/run/x"] {
            assert!(Place::of(local, false).is_ok(), "{local}");
        }
        for public in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(Place::of(public, false).is_err(), "{public}");
            assert!(Place::of(public, true).is_ok(), "{public}");
        }
        for bad in ["80", "localhost:80", "unix:", "127.0.0.1"] {
            assert!(Place::of(bad, true).is_err(), "{bad}");
        }
    }
}
