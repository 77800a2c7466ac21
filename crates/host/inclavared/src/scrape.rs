//! Counters over HTTP, at an address of their own.

use crate::address::Address;
use crate::connection::Shared;
use crate::listener::{Incoming, Listener};
use crate::metrics;
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

/// Who scrapes has one connection and asks at once.
const CONNECTIONS: usize = 8;
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Most of a request that is kept.
const BUFFER: usize = 8 << 10;

/// Listens, and then serves for ever.
///
/// # Errors
/// The address cannot be listened at.
pub async fn serve(address: &Address, shared: Arc<Shared>) -> io::Result<Infallible> {
    let listener = Listener::bind(address)?;
    tracing::info!(at = listener.name(), "metrics");
    let acceptor = listener.open()?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let Ok(Incoming { fd, is_tcp, .. }) = acceptor.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let _place = place;
            let answer = async {
                if is_tcp {
                    answer(TcpStream::from_std(fd.into())?, &shared).await
                } else {
                    answer(UnixStream::from_std(fd.into())?, &shared).await
                }
            };
            // A peer that breaks off or is too slow is its own affair.
            let _ = tokio::time::timeout(CONNECTION_TIME, answer).await;
        });
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let respond = |request| async move { Ok::<_, Infallible>(response(&request, shared)) };
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service_fn(respond))
        .await
        .map_err(io::Error::other)
}

fn response(request: &Request<impl Body>, shared: &Shared) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    } else {
        let kind = "text/plain; version=0.0.4; charset=utf-8".parse().expect("printable");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        *response.body_mut() = Full::from(metrics::page(&shared.metrics));
    }
    response
}
