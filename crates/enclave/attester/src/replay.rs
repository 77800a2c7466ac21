//! A transport from which the first bytes were already read.

use core::pin::Pin;
use core::task::{Context, Poll};
use rustls::server::Acceptor;
use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// Longest ClientHello that is looked at, in bytes. Browsers' have below 2 KiB.
const MOST_HELLO: usize = 32 << 10;

/// A transport whose peer's first bytes come from memory.
#[derive(Debug)]
pub struct Replay<T> {
    first: Vec<u8>,
    taken: usize,
    inner: T,
}

impl<T> Replay<T> {
    /// Without any.
    pub const fn none(inner: T) -> Self {
        Self { first: Vec::new(), taken: 0, inner }
    }
}

impl<T: AsyncRead + Unpin> Replay<T> {
    /// Reads the peer's ClientHello, says whether it offers a protocol by ALPN, and puts it back.
    ///
    /// # Errors
    /// The transport, or not TLS.
    pub async fn offers(mut inner: T, protocol: &[u8]) -> io::Result<(bool, Self)> {
        let mut acceptor = Acceptor::default();
        let mut first = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = inner.read(&mut piece).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            first.extend_from_slice(&piece[..count]);
            if first.len() > MOST_HELLO {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "client hello too long"));
            }
            let mut rest = &piece[..count];
            while !rest.is_empty() {
                acceptor.read_tls(&mut rest)?;
            }
            let accepted = acceptor.accept();
            let accepted =
                accepted.map_err(|(error, _)| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(accepted) = accepted {
                let mut offered = accepted.client_hello().alpn().into_iter().flatten();
                let is_offered = offered.any(|name| name == protocol);
                return Ok((is_offered, Self { first, taken: 0, inner }));
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Replay<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.first[self.taken..];
        if rest.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, into);
        }
        let count = rest.len().min(into.remaining());
        into.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.first.len() {
            (self.first, self.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Replay<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
