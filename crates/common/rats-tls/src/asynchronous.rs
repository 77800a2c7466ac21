//! An attested session over a tokio transport. Evidence is made and verified on tokio's threads for blocking
//! work, so that one slow quote holds up its own session only.

use crate::engine::{Engine, Need, Outcome};
use crate::error::SessionError;
use crate::frame::CloseReason;
use crate::party::{Accepted, Party};
use crate::session::Fault;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use rustls::pki_types::ServerName;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep_until};

/// How long a peer that does not read is given to hear why the session ends.
const COURTESY: Duration = Duration::from_millis(200);

/// An open session. It exists only after every attested direction was accepted.
///
/// It is an [`AsyncRead`] and [`AsyncWrite`], for one task or split for two; shutting it down says that this end
/// sends no more, and the peer may still send. Reading serves re-attestation too: who only writes, or has read to
/// the end, calls [`serve`](Self::serve) meanwhile. An error ends the session. Calls may be dropped before they
/// are done, but for [`write_all`](Self::write_all), of which an unknown part was sent then.
pub struct AsyncStream<T> {
    engine: Engine,
    transport: T,
    /// Evidence in the making, or under examination.
    work: Option<JoinHandle<Outcome>>,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: Arc<Waiting>,
    failure: Option<Failure>,
}

/// A session that failed.
enum Failure {
    /// The peer is being told.
    Telling(SessionError),
    /// The caller was told.
    Told,
}

/// Who waits for the transport to take more. It remembers only the last that asked, who may have no more to ask: a
/// reader that is at the end. So it is asked in the name of both.
#[derive(Default)]
struct Waiting(Mutex<[Option<Waker>; 2]>);

impl Waiting {
    fn wakers(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, side: Side, waker: &Waker) {
        self.wakers()[side as usize] = Some(waker.clone());
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let wakers = core::mem::take(&mut *self.wakers());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Who asks for the transport to take more.
#[derive(Clone, Copy)]
enum Side {
    Reader,
    Writer,
}

impl<T> fmt::Debug for AsyncStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStream").field("peer", &self.engine.peer()).finish_non_exhaustive()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncStream<T> {
    /// Opens a session as the TLS client. `name` goes into SNI: routing, not identity.
    ///
    /// # Errors
    /// No session. The peer was told why, if it could be.
    pub async fn connect(
        transport: T,
        name: ServerName<'static>,
        party: &Arc<Party>,
    ) -> Result<Self, SessionError> {
        Self::open(Engine::client(party.clone(), name)?, transport).await
    }

    /// Opens a session as the TLS server.
    ///
    /// # Errors
    /// No session. The peer was told why, if it could be.
    pub async fn accept(transport: T, party: &Arc<Party>) -> Result<Self, SessionError> {
        Self::open(Engine::server(party.clone())?, transport).await
    }

    async fn open(engine: Engine, transport: T) -> Result<Self, SessionError> {
        let waiting = Arc::default();
        let mut stream =
            Self { engine, transport, work: None, timer: None, waiting, failure: None };
        poll_fn(|cx| {
            stream.poll_watched(cx, |stream, cx| {
                while !stream.engine.has_opened() {
                    ready!(stream.poll_turn(cx))?;
                }
                // The last word on it, such as our verdict.
                stream.poll_send(cx, Side::Reader)
            })
        })
        .await?;
        Ok(stream)
    }

    /// The peer's accepted evidence; `None` where this end does not verify.
    pub const fn peer(&self) -> Option<&Accepted> {
        self.engine.peer()
    }

    /// Whether the peer has closed, in good order: it takes no more.
    pub const fn is_closed(&self) -> bool {
        self.engine.has_closed()
    }

    /// Reads data, waiting for the first byte; 0 when the peer sends no more.
    ///
    /// # Errors
    /// The session has ended otherwise.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, SessionError> {
        poll_fn(|cx| self.poll_take(cx, into)).await
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), SessionError> {
        while !data.is_empty() {
            let count = poll_fn(|cx| self.poll_put(cx, data)).await?;
            data = &data[count..];
        }
        self.flush().await
    }

    /// Says that this end sends no more data; the peer reads to the end, and may still send.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn finish(&mut self) -> Result<(), SessionError> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// Asks for new evidence now. Its verdict shows at the next reads.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn reattest(&mut self) -> Result<(), SessionError> {
        self.engine.reattest()?;
        self.flush().await
    }

    /// Answers the peer's requests for evidence until there is data to read, or its end; after the end, until the
    /// peer closes.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn serve(&mut self) -> Result<(), SessionError> {
        poll_fn(|cx| self.poll_serve(cx)).await
    }

    /// As [`serve`](Self::serve), for whoever polls both directions.
    ///
    /// # Errors
    /// The session has ended.
    pub fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let had_finished = self.engine.has_finished();
        self.poll_watched(cx, |stream, cx| {
            loop {
                let is_over = if had_finished {
                    stream.engine.has_closed()
                } else {
                    stream.engine.has_data() || stream.engine.has_finished()
                };
                if is_over {
                    return Poll::Ready(Ok(()));
                }
                ready!(stream.poll_turn(cx))?;
            }
        })
    }

    /// Ends the session in good order.
    ///
    /// # Errors
    /// The transport.
    pub async fn close(self) -> Result<(), SessionError> {
        self.close_with(CloseReason::Done).await
    }

    /// Ends the session and tells the peer why.
    ///
    /// # Errors
    /// The transport.
    pub async fn close_with(mut self, reason: CloseReason) -> Result<(), SessionError> {
        self.engine.close(reason);
        self.flush().await?;
        poll_fn(|cx| Pin::new(&mut self.transport).poll_shutdown(cx)).await?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        poll_fn(|cx| {
            self.poll_watched(cx, |stream, cx| {
                stream.engine.patience()?;
                stream.poll_send(cx, Side::Writer)
            })
        })
        .await
    }

    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, SessionError>> {
        self.poll_watched(cx, |stream, cx| {
            if into.is_empty() {
                return Poll::Ready(Ok(0));
            }
            loop {
                let count = stream.engine.take_data(into)?;
                if count > 0 || (stream.engine.has_finished() && !stream.engine.has_data()) {
                    return Poll::Ready(Ok(count));
                }
                if stream.engine.has_data() {
                    // The rest of a frame has not arrived.
                    ready!(stream.poll_fill(cx))?;
                } else {
                    ready!(stream.poll_turn(cx))?;
                }
            }
        })
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, SessionError>> {
        self.poll_watched(cx, |stream, cx| {
            stream.engine.patience()?;
            // One frame of data at a time waits for the transport.
            ready!(stream.poll_send(cx, Side::Writer))?;
            let count = stream.engine.put_data(data)?;
            match stream.poll_send(cx, Side::Writer) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(count)),
            }
        })
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.poll_watched(cx, |stream, cx| {
            // A peer that has closed asks for no end.
            if !stream.engine.has_closed() {
                stream.engine.finish_data()?;
            }
            stream.poll_send(cx, Side::Writer)
        })
    }

    /// Tells the peer why, where a step has failed, and then the caller.
    fn poll_watched<R>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<Result<R, SessionError>>,
    ) -> Poll<Result<R, SessionError>> {
        if self.failure.is_none() {
            match step(self, cx) {
                Poll::Ready(Err(error)) => {
                    self.engine.close(error.reason());
                    self.set_timer(Instant::now() + COURTESY);
                    self.failure = Some(Failure::Telling(error));
                }
                other => return other,
            }
        }
        if matches!(self.failure, Some(Failure::Telling(_))) {
            // It is over; what the peer hears of it is a courtesy.
            let is_told = self.poll_send(cx, Side::Reader).is_ready();
            if !is_told && !self.poll_timer(cx) {
                return Poll::Pending;
            }
        }
        Poll::Ready(Err(match self.failure.replace(Failure::Told) {
            Some(Failure::Telling(error)) => error,
            _ => SessionError::Protocol(Fault::Ended),
        }))
    }

    /// One step towards data or its end.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        if self.work.is_some() {
            // What is due to the peer goes out meanwhile: it may work too. Reading finds what is wrong.
            let _ = self.poll_send(cx, Side::Reader);
        }
        if let Some(work) = &mut self.work {
            let outcome = ready!(Pin::new(work).poll(cx)).map_err(io::Error::other);
            self.work = None;
            self.engine.finish(outcome?)?;
            self.engine.patience()?;
        }
        match self.engine.advance()? {
            Need::Nothing | Need::Progress => Poll::Ready(Ok(())),
            Need::Task(task) => {
                let party = self.engine.party().clone();
                self.work = Some(tokio::task::spawn_blocking(move || task.run(&party)));
                Poll::Ready(Ok(()))
            }
            Need::Input => self.poll_fill(cx),
        }
    }

    /// Waits for the peer, as long as it may take.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        // Both ends may have more to send than fits: each reads on while its own words wait, within bounds. A peer
        // that takes no more may have said why.
        let sent = self.poll_send(cx, Side::Reader);
        if sent.is_pending() && self.engine.is_full() {
            return self.poll_patience(cx);
        }
        let read = match self.engine.room() {
            Some(room) => {
                let mut buffer = ReadBuf::new(room);
                let poll = Pin::new(&mut self.transport).poll_read(cx, &mut buffer);
                let count = buffer.filled().len();
                poll.map(|result| {
                    result.map_err(SessionError::from)?;
                    self.engine.came(count)?;
                    self.engine.decrypt().map(|_| ())
                })
            }
            // What has come is not taken before our part of the handshake is gone.
            None => match self.engine.decrypt()? {
                false if sent.is_pending() => Poll::Pending,
                _ => Poll::Ready(Ok(())),
            },
        };
        match (read, sent) {
            (Poll::Ready(Err(_)), Poll::Ready(Err(error)))
            | (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(read), _) => Poll::Ready(read),
            (Poll::Pending, _) => self.poll_patience(cx),
        }
    }

    /// Pending until the session is to be looked at though nothing came.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let Some(at) = self.engine.wakes_at() else {
            self.timer = None;
            return Poll::Pending;
        };
        self.set_timer(at);
        if !self.poll_timer(cx) {
            return Poll::Pending;
        }
        self.timer = None;
        Poll::Ready(self.engine.patience().map(|_| ()))
    }

    fn set_timer(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) if timer.deadline() == at.into() => {}
            Some(timer) => timer.as_mut().reset(at.into()),
            None => self.timer = Some(Box::pin(sleep_until(at.into()))),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_none_or(|timer| timer.as_mut().poll(cx).is_ready())
    }

    /// Sends all that is to be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<Result<(), SessionError>> {
        let both = Waker::from(self.waiting.clone());
        let mut both = Context::from_waker(&both);
        while self.engine.wants_write() {
            // Before the transport is asked: it may answer at once, to another thread.
            self.waiting.add(side, cx.waker());
            let inner = &mut self.transport;
            let mut to = Transport { inner, cx: &mut both, is_pending: false };
            let written = self.engine.write_tls(&mut to);
            if to.is_pending {
                return Poll::Pending;
            }
            if written? == 0 {
                return Poll::Ready(Err(SessionError::Io(io::ErrorKind::WriteZero.into())));
            }
        }
        for waiting in core::mem::take(&mut *self.waiting.wakers()).into_iter().flatten() {
            if !waiting.will_wake(cx.waker()) {
                waiting.wake();
            }
        }
        Pin::new(&mut self.transport).poll_flush(cx).map_err(SessionError::from)
    }
}

/// The transport as TLS writes to it, within one poll.
struct Transport<'a, 'b, T> {
    inner: &'a mut T,
    cx: &'a mut Context<'b>,
    /// Whether it took nothing.
    is_pending: bool,
}

impl<T> Transport<'_, '_, T> {
    fn outcome<R>(&mut self, poll: Poll<io::Result<R>>) -> io::Result<R> {
        match poll {
            Poll::Ready(result) => result,
            Poll::Pending => {
                self.is_pending = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> io::Write for Transport<'_, '_, T> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let poll = Pin::new(&mut *self.inner).poll_write(self.cx, data);
        self.outcome(poll)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let poll = Pin::new(&mut *self.inner).poll_write_vectored(self.cx, parts);
        self.outcome(poll)
    }

    fn flush(&mut self) -> io::Result<()> {
        let poll = Pin::new(&mut *self.inner).poll_flush(self.cx);
        self.outcome(poll)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for AsyncStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let count = ready!(self.poll_take(cx, into.initialize_unfilled()))?;
        into.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for AsyncStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Poll::Ready(Ok(ready!(self.poll_put(cx, data))?))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_watched(cx, |stream, cx| stream.poll_send(cx, Side::Writer));
        Poll::Ready(Ok(ready!(sent)?))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.poll_finish(cx))?))
    }
}
