//! Bytes both ways between two sockets, unread.
//!
//! A direction holds at most one pipe or [`CHUNK`] bytes that its receiver has no room for, and reads nothing
//! more until they are gone: who does not read stops who writes. The end of one direction is passed on and
//! leaves the other open, for a bounded time.

use crate::metrics::{Metrics, Way};
use crate::pipe::Pipe;
use crate::socket::{self, Socket};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::cell::RefCell;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// What is copied at once, in bytes: a TLS record and what goes with it.
const CHUNK: usize = 18 << 10;

/// Who moves fewer bytes than this at once does better by copying: a splice costs two calls as a copy does, and
/// the work on pages besides.
const SPLICED: usize = 8 << 10;

thread_local! {
    /// Of every connection of the thread in turn: nothing stays in it between two calls.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// How a relayed connection ended, other than by an error of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions ended.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// One direction had ended, and nothing moved in the other for too long.
    HalfOpen,
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// With both directions open.
    pub(crate) idle: Duration,
    /// With one.
    pub(crate) half_open: Duration,
}

/// A relayed connection; completes when it is over.
pub(crate) struct Relay<'a> {
    verifier: Socket,
    container: Socket,
    inward: Direction,
    outward: Direction,
    patience: Patience,
    /// When something moved last.
    moved: Instant,
    timer: Pin<Box<Sleep>>,
    metrics: &'a Metrics,
}

impl<'a> Relay<'a> {
    /// Between these, after bytes that the container is still to get.
    pub(crate) fn new(
        verifier: Socket,
        container: Socket,
        first: &[u8],
        patience: Patience,
        metrics: &'a Metrics,
    ) -> Self {
        Self {
            verifier,
            container,
            inward: Direction::after(first),
            outward: Direction::after(&[]),
            patience,
            moved: Instant::now(),
            timer: Box::pin(sleep(patience.idle)),
            metrics,
        }
    }

    /// The moment at which it ends if nothing moves.
    fn deadline(&self) -> Instant {
        let is_half = self.inward.has_ended() || self.outward.has_ended();
        self.moved + if is_half { self.patience.half_open } else { self.patience.idle }
    }
}

impl Future for Relay<'_> {
    type Output = io::Result<End>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<End>> {
        let this = self.get_mut();
        let was_half = this.inward.has_ended() || this.outward.has_ended();
        let is_second = this.outward.has_ended();
        let inward = this.inward.poll(context, &this.verifier, &this.container, is_second);
        let is_second = this.inward.has_ended();
        let outward = this.outward.poll(context, &this.container, &this.verifier, is_second);
        let (moved_in, moved_out) = (this.inward.take_moved(), this.outward.take_moved());
        if moved_in + moved_out > 0 {
            this.metrics.moved(Way::In, moved_in);
            this.metrics.moved(Way::Out, moved_out);
            this.moved = Instant::now();
        }
        match (inward, outward) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => {
                return Poll::Ready(Err(error));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(End::Closed)),
            _ => {}
        }
        let is_half = this.inward.has_ended() || this.outward.has_ended();
        if is_half && !was_half {
            this.moved = Instant::now();
            let deadline = this.deadline();
            this.timer.as_mut().reset(deadline);
        }
        // Set anew only when it fires: most connections move much more often than that.
        while this.timer.as_mut().poll(context).is_ready() {
            let deadline = this.deadline();
            if deadline <= Instant::now() {
                return Poll::Ready(Ok(if is_half { End::HalfOpen } else { End::Idle }));
            }
            this.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// What a direction holds back because its receiver has no room.
enum Held {
    Nothing,
    Bytes { bytes: Box<[u8]>, sent: usize },
    Pipe(Pipe),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Copy,
    Splice,
    /// One of the sockets cannot be spliced.
    OnlyCopy,
}

struct Direction {
    held: Held,
    by: By,
    /// The sender has ended; what is held still goes out.
    is_last: bool,
    has_ended: bool,
    /// Bytes sent since this was asked last.
    moved: usize,
}

impl Direction {
    fn after(first: &[u8]) -> Self {
        let held = match first {
            [] => Held::Nothing,
            bytes => Held::Bytes { bytes: bytes.into(), sent: 0 },
        };
        Self { held, by: By::Copy, is_last: false, has_ended: false, moved: 0 }
    }

    const fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn take_moved(&mut self) -> usize {
        core::mem::take(&mut self.moved)
    }

    /// Moves what can be moved; ready when the direction has ended. The second to end is told by closing, which
    /// follows.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &Socket,
        to: &Socket,
        is_second: bool,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_held(context, to))?;
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            if self.is_last {
                if !is_second {
                    to.end()?;
                }
                self.has_ended = true;
                continue;
            }
            match self.by {
                By::Splice => ready!(self.poll_splice(context, from))?,
                By::Copy | By::OnlyCopy => ready!(self.poll_copy(context, from, to))?,
            }
            if self.is_last {
                // Nobody waits for an end as one does for an answer: whatever else there is to do comes first.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Sends what is held.
    fn poll_held(&mut self, context: &mut Context<'_>, to: &Socket) -> Poll<io::Result<()>> {
        loop {
            match &mut self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::Bytes { bytes, sent } => {
                    let count =
                        ready!(to.poll_write(context, |fd| socket::send(fd, &bytes[*sent..])))?;
                    self.moved += count;
                    *sent += count;
                    if *sent == bytes.len() {
                        self.held = Held::Nothing;
                    }
                }
                Held::Pipe(pipe) => match ready!(to.poll_write(context, |fd| pipe.drain(fd))) {
                    Ok(count) => {
                        self.moved += count;
                        if pipe.filled() == 0 {
                            self.held = Held::Nothing;
                        }
                    }
                    Err(error) if is_unfit(&error) => {
                        self.by = By::OnlyCopy;
                        self.held = Held::Bytes { bytes: pipe.read()?.into(), sent: 0 };
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn poll_splice(&mut self, context: &mut Context<'_>, from: &Socket) -> Poll<io::Result<()>> {
        let Some(mut pipe) = Pipe::take() else {
            self.by = By::Copy;
            return Poll::Ready(Ok(()));
        };
        match ready!(from.poll_read(context, None, |fd| pipe.fill(fd))) {
            Ok(0) => self.is_last = true,
            Ok(count) => {
                if count < SPLICED {
                    self.by = By::Copy;
                }
                self.held = Held::Pipe(pipe);
            }
            Err(error) if is_unfit(&error) => self.by = By::OnlyCopy,
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_copy(
        &mut self,
        context: &mut Context<'_>,
        from: &Socket,
        to: &Socket,
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let count = ready!(from.poll_receive(context, scratch))?;
            if count == 0 {
                self.is_last = true;
                return Poll::Ready(Ok(()));
            }
            if count == scratch.len() && self.by == By::Copy {
                self.by = By::Splice;
            }
            let sent = to.try_send(&scratch[..count])?;
            self.moved += sent;
            if sent < count {
                self.held = Held::Bytes { bytes: scratch[sent..count].into(), sent: 0 };
            }
            Poll::Ready(Ok(()))
        })
    }
}

/// The kernel cannot splice this kind of socket. Nothing was moved.
fn is_unfit(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]
        .map(Errno::raw_os_error)
        .contains(&error.raw_os_error().unwrap_or_default())
}
