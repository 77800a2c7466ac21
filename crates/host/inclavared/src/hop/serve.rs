//! The hop to verifiers: one request and one answer each, in TLS under inclavared's key.

use super::ask::Container;
use crate::limits::Limits;
use crate::listener::{Acceptor, Incoming, Listener};
use crate::metrics::Metrics;
use crate::refusal::{Log, Refusal};
use attestation::hex::Hex;
use core::future::Future;
use core::time::Duration;
use rats_tls::hop::{Answer, MAX_MESSAGE, MessageFault, is_request};
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long accepting pauses after it failed: no descriptors, or no memory, now.
const PAUSE: Duration = Duration::from_millis(100);

/// What answers.
pub struct Server {
    acceptor: TlsAcceptor,
    container: Container,
    limits: Arc<Limits>,
    /// For a verifier to shake hands and ask, and again to take the answer.
    patience: Duration,
    metrics: Metrics,
    log: Log,
}

impl Server {
    /// Answers about this container, in this end's TLS.
    #[must_use]
    pub fn new(
        config: ServerConfig,
        container: Container,
        limits: Arc<Limits>,
        patience: Duration,
    ) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (metrics, log) = Default::default();
        Self { acceptor, container, limits, patience, metrics, log }
    }

    async fn answer(&self, incoming: Incoming) {
        let Incoming { fd, peer, source, .. } = incoming;
        let refuse = |refusal: &Refusal| self.log.refused(&self.metrics, &peer, refusal);
        let _place = match self.limits.enter(source) {
            Ok(place) => place,
            Err(refusal) => return refuse(&refusal),
        };
        let asked = timeout(self.patience, self.ask(fd.into())).await;
        let (mut verifier, fault) = match asked {
            Ok(Ok(asked)) => asked,
            Ok(Err(error)) => return refuse(&no_request(&error.to_string())),
            Err(_) => return refuse(&no_request(&format!("none in {:?}", self.patience))),
        };
        let answer = match fault {
            None => match self.container.ask().await {
                Ok(info) => {
                    let mrenclave = Hex(&info.enclave.mrenclave);
                    tracing::info!(%peer, %mrenclave, "told");
                    Answer::Info(info)
                }
                Err(fault) => {
                    refuse(&Refusal::container("--xfer", self.container.address(), &fault));
                    Answer::Refused(fault.to_string())
                }
            },
            Some(fault) => {
                refuse(&no_request(&fault.to_string()));
                Answer::Refused(fault.to_string())
            }
        };
        let answer = answer.to_json();
        // Who does not take it does not get it.
        let _ = timeout(self.patience, async {
            verifier.write_all(&answer).await?;
            verifier.shutdown().await
        })
        .await;
    }

    /// Shakes hands and reads a request, or what is wrong with it.
    async fn ask(
        &self,
        verifier: std::net::TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<MessageFault>)> {
        // Of any family: see `watched`.
        let verifier = TcpStream::from_std(verifier)?;
        let mut verifier = self.acceptor.accept(verifier).await?;
        let mut bytes = Vec::with_capacity(MAX_MESSAGE + 1);
        loop {
            let room = (MAX_MESSAGE + 1 - bytes.len()) as u64;
            if (&mut verifier).take(room).read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match is_request(&bytes) {
                Ok(false) => {}
                Ok(true) => return Ok((verifier, None)),
                Err(fault) => return Ok((verifier, Some(fault))),
            }
        }
    }
}

fn no_request(got: &str) -> Refusal {
    Refusal {
        field: "request",
        expected: "GETENCLAVEINFO in TLS 1.3".into(),
        got: got.chars().take(80).filter(|it| !it.is_control()).collect(),
        alert: None,
    }
}

/// Answers at all listeners until `stop`, and then those that have come.
///
/// # Errors
/// A listener cannot be opened in this runtime.
pub async fn serve(
    listeners: Vec<Listener>,
    server: &Arc<Server>,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<()> {
    let (held, mut released) = mpsc::channel(1);
    let acceptors: io::Result<Vec<_>> = listeners.iter().map(Listener::open).collect();
    let tasks: Vec<_> = acceptors?
        .into_iter()
        .map(|acceptor| tokio::spawn(accept(acceptor, server.clone(), held.clone())))
        .collect();
    drop((listeners, held));
    stop.await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = timeout(drain, released.recv()).await;
    Ok(())
}

async fn accept(acceptor: Acceptor, server: Arc<Server>, held: mpsc::Sender<()>) {
    loop {
        match acceptor.accept().await {
            Ok(incoming) => {
                let (server, held) = (server.clone(), held.clone());
                tokio::spawn(async move {
                    let _held = held;
                    server.answer(incoming).await;
                });
            }
            Err(error) => {
                tracing::error!(%error, "accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
