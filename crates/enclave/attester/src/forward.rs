//! Bytes both ways between a session and a program, until both have said all.
//!
//! Each way holds one buffer: who does not read holds up who writes, and nobody else. An end of one way is passed
//! on and leaves the other way open.

use core::fmt;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use rats_tls::{AsyncStream, CloseReason};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;

/// Bytes of a way's buffer.
const BUFFER: usize = 16 << 10;

/// How long a peer that does not read is given to hear the end.
const COURTESY: Duration = Duration::from_secs(1);

/// A session as forwarding sees it.
pub trait Session: AsyncRead + AsyncWrite + Unpin {
    /// Does what the session itself needs while nobody reads it.
    ///
    /// # Errors
    /// The session has ended.
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether the peer has closed in good order: it takes no more.
    fn is_closed(&self) -> bool;

    /// Ends the session and tells the peer why, if it still listens.
    fn end(self, reason: CloseReason) -> impl Future<Output = ()> + Send;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Session for AsyncStream<T> {
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_serve(self, cx).map_err(io::Error::from)
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    async fn end(self, reason: CloseReason) {
        let _ = timeout(COURTESY, self.close_with(reason)).await;
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Session for TlsStream<T> {
    fn poll_serve(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Evidence in the certificate is given once.
        Poll::Pending
    }

    fn is_closed(&self) -> bool {
        false
    }

    async fn end(mut self, reason: CloseReason) {
        // TLS has one word for an end, and it says that all was sent.
        if reason == CloseReason::Done {
            let _ = timeout(COURTESY, self.shutdown()).await;
        }
    }
}

/// What was forwarded, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the session's peer to the program.
    pub received: u64,
    /// From the program to the session's peer.
    pub sent: u64,
}

/// Why forwarding ended before both sides had said all.
#[derive(Debug)]
pub enum ForwardError {
    /// The session failed.
    Session(io::Error),
    /// The program's connection failed.
    Program(io::Error),
    /// Nothing passed for longer than is allowed.
    Idle(Duration),
    /// This side stops.
    Stopped,
}

impl ForwardError {
    /// What the peer is told, if it can be told anything.
    #[must_use]
    pub const fn reason(&self) -> Option<CloseReason> {
        match self {
            Self::Session(_) => None,
            Self::Program(_) => Some(CloseReason::Unavailable),
            Self::Idle(_) | Self::Stopped => Some(CloseReason::Timeout),
        }
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Program(error) => write!(f, "the program's connection: {error}"),
            Self::Idle(limit) => write!(f, "nothing passed for {} s", limit.as_secs_f32()),
            Self::Stopped => f.write_str("this side stops"),
        }
    }
}

impl core::error::Error for ForwardError {}

/// One way.
struct Way {
    buffer: Box<[u8]>,
    /// What of the buffer is still to be written.
    start: usize,
    end: usize,
    stage: Stage,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Copying,
    /// Passing the end on.
    Ending,
    Done,
}

/// Which side of a way failed.
enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

impl Way {
    fn new() -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { buffer, start: 0, end: 0, stage: Stage::Copying, bytes: 0 }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<Result<(), Failed>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.stage {
                Stage::Copying if self.start < self.end => {
                    let rest = &self.buffer[self.start..self.end];
                    let count = ready!(Pin::new(&mut *to).poll_write(cx, rest));
                    let count = count.map_err(Failed::Writing)?;
                    if count == 0 {
                        let error = io::ErrorKind::WriteZero.into();
                        return Poll::Ready(Err(Failed::Writing(error)));
                    }
                    self.start += count;
                    self.bytes += count as u64;
                }
                Stage::Copying => {
                    let mut into = ReadBuf::new(&mut self.buffer);
                    match Pin::new(&mut *from).poll_read(cx, &mut into) {
                        Poll::Ready(read) => read.map_err(Failed::Reading)?,
                        Poll::Pending => {
                            // What was written may wait for a transport that has room again.
                            let flushed = Pin::new(&mut *to).poll_flush(cx);
                            return match flushed.map_err(Failed::Writing) {
                                Poll::Ready(Err(failed)) => Poll::Ready(Err(failed)),
                                _ => Poll::Pending,
                            };
                        }
                    }
                    (self.start, self.end) = (0, into.filled().len());
                    if self.end == 0 {
                        self.stage = Stage::Ending;
                    }
                }
                Stage::Ending => {
                    let ended = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    ended.map_err(Failed::Writing)?;
                    self.stage = Stage::Done;
                }
                Stage::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Both ways.
struct Ways {
    /// From the session to the program.
    inward: Way,
    /// From the program to the session.
    outward: Way,
}

impl Ways {
    fn traffic(&self) -> Traffic {
        Traffic { received: self.inward.bytes, sent: self.outward.bytes }
    }

    fn poll<S: Session, P: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut S,
        program: &mut P,
    ) -> Poll<Result<(), ForwardError>> {
        match self.inward.poll(cx, session, program) {
            Poll::Ready(Err(Failed::Reading(error))) => {
                return Poll::Ready(Err(ForwardError::Session(error)));
            }
            // A program that takes no more may still have an answer, which says why.
            Poll::Ready(Err(Failed::Writing(_))) => self.inward.stage = Stage::Done,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        match self.outward.poll(cx, program, session) {
            Poll::Ready(Err(Failed::Reading(error))) => {
                return Poll::Ready(Err(ForwardError::Program(error)));
            }
            Poll::Ready(Err(Failed::Writing(_))) if session.is_closed() => {
                self.outward.stage = Stage::Done;
            }
            Poll::Ready(Err(Failed::Writing(error))) => {
                return Poll::Ready(Err(ForwardError::Session(error)));
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if self.inward.stage != Stage::Done {
            return Poll::Pending;
        }
        if self.outward.stage == Stage::Done || session.is_closed() {
            return Poll::Ready(Ok(()));
        }
        // Nobody reads the session any more, and its peer may still ask for evidence.
        match session.poll_serve(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(ForwardError::Session(error))),
            Poll::Ready(Ok(())) if session.is_closed() => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

/// Forwards until both sides have said all, one fails, nothing passes for `idle`, or `stop` is ready. What was
/// forwarded is told in any case.
pub async fn forward<S: Session, P: AsyncRead + AsyncWrite + Unpin>(
    session: &mut S,
    program: &mut P,
    idle: Duration,
    stop: impl Future<Output = ()>,
) -> (Traffic, Result<(), ForwardError>) {
    let mut stop = pin!(stop);
    let mut ways = Ways { inward: Way::new(), outward: Way::new() };
    let mut timer = Box::pin(sleep(idle));
    let mut last = Instant::now();
    let result = poll_fn(|cx| {
        let before = ways.traffic();
        if let Poll::Ready(result) = ways.poll(cx, session, program) {
            return Poll::Ready(result);
        }
        if ways.traffic() != before {
            last = Instant::now();
        }
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ForwardError::Stopped));
        }
        ready!(poll_idle(cx, &mut timer, last + idle));
        Poll::Ready(Err(ForwardError::Idle(idle)))
    })
    .await;
    (ways.traffic(), result)
}

/// Ready at `until`. The timer is set again only when it goes off: something passes far more often.
fn poll_idle(cx: &mut Context<'_>, timer: &mut Pin<Box<Sleep>>, until: Instant) -> Poll<()> {
    loop {
        ready!(timer.as_mut().poll(cx));
        if Instant::now() >= until {
            return Poll::Ready(());
        }
        timer.as_mut().reset(until);
    }
}
