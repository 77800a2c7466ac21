//! The collateral over HTTP, with the paths of Intel's provisioning certification service (version 4) and of
//! the caching services in front of it.
//!
//! | `/sgx/certification/v4/` | |
//! |---|---|
//! | `pckcrl?ca=processor\|platform&encoding=der\|pem` | CRL of PCK certificates; default PEM |
//! | `rootcacrl` | CRL of the root, DER in hexadecimal, as caching services have it |
//! | `tcb?fmspc=...` | TCB information and its signature |
//! | `qe/identity` | identity of the quoting enclave and its signature |
//!
//! Certificates go in headers, URL-encoded PEM. Everything is signed, so this is plain HTTP; a verifier that
//! takes unsigned answers is broken with TLS too. A peer is any host on the network: what it sends is read
//! to the end of the headers, within limits of size and time, and nothing of it is kept.

mod answer;

use crate::collateral::CollateralSettings;
use crate::root::Root;
use answer::answer;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// How many peers are served at once; more wait in the socket's queue.
const CONNECTIONS: usize = 64;
/// How long headers may take.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// How long one connection may last.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// The most that is kept of a request, in bytes.
const BUFFER: usize = 16 * 1024;

/// What a provisioning service gives out.
#[derive(Clone, Debug)]
pub struct Pcs {
    root: Root,
    settings: CollateralSettings,
}

impl Pcs {
    /// The service of all platforms under this root.
    #[must_use]
    pub const fn new(root: Root, settings: CollateralSettings) -> Self {
        Self { root, settings }
    }

    /// Serves until the task is dropped.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        let service = Arc::new(self);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("never closed");
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors or memory: trying again at once would only spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                let _slot = slot;
                // A peer that breaks off or is too slow is its own affair.
                let _ = tokio::time::timeout(CONNECTION_TIME, service.serve_one(stream)).await;
            });
        }
    }

    async fn serve_one(&self, stream: TcpStream) -> hyper::Result<()> {
        let respond = |request: Request<Incoming>| async move {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            Ok::<Response<Full<Bytes>>, Infallible>(answer(
                &self.root,
                &self.settings,
                now,
                request.method(),
                request.uri(),
            ))
        };
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service_fn(respond))
            .await
    }
}
