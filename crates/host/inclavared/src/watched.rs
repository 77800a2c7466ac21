//! A descriptor that does not block, waited for by this thread's runtime.
//!
//! tokio has no safe type for a descriptor of any kind, and its `TcpStream` is one in all but name: whatever it
//! is made of, it waits for readiness, closes once, and lends the descriptor. Nothing of it that is particular
//! to TCP is called.

use core::task::{Context, Poll, ready};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A descriptor; one task at a time waits for it in each direction.
#[derive(Debug)]
pub(crate) struct Watched(TcpStream);

impl Watched {
    /// Of this thread's runtime from now on.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        TcpStream::from_std(fd.into()).map(Self)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads in some way, once there is something.
    pub(crate) async fn read<T>(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, || read(self.fd())).await
    }

    /// Waits until there is room.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        // What was known is forgotten: it was found to be out of date.
        let forgotten = self.0.try_io(Interest::WRITABLE, || Err::<(), _>(would_block()));
        debug_assert!(forgotten.is_err());
        self.0.writable().await
    }

    /// Reads in some way, once there is something. A way that gets all there is unless that is `enough` bytes, as
    /// recv(2) does, may say so; `None` for others, as splice(2), which a full pipe stops too.
    pub(crate) fn poll_read(
        &self,
        context: &mut Context<'_>,
        enough: Option<usize>,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            let mut few = None;
            let done = self.0.try_io(Interest::READABLE, || match read(self.fd()) {
                // There are no more, so readiness is forgotten now and not by a call that
                // says EAGAIN. It comes by edges: what arrives from now on is told again, and the end of the
                // stream stays told.
                Ok(count) if enough.is_some_and(|enough| (1..enough).contains(&count)) => {
                    few = Some(count);
                    Err(would_block())
                }
                other => other,
            });
            match done {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let Some(count) = few {
                        return Poll::Ready(Ok(count));
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes in some way, once there is room.
    pub(crate) fn poll_write(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_io(Interest::WRITABLE, || write(self.fd())) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

fn would_block() -> io::Error {
    ErrorKind::WouldBlock.into()
}
