//! A connection over a socket of the host, or a UDP socket of it that has one peer.

use super::answers;
use crate::errno::Errno;
use crate::fs::endpoint::{Endpoint, STEP};
use crate::fs::file::{Sink, Source};
use crate::host::Readiness;
use crate::sync::Mutex;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use core::net::SocketAddr;

/// Readiness that ends an attempt to connect.
const DECIDED: u16 = Readiness::OUT.0 | Readiness::ERR.0 | Readiness::HUP.0;

/// A connection, closed when dropped.
pub struct Connection {
    endpoint: Arc<Endpoint>,
    peer: SocketAddr,
    ahead: Mutex<Ahead>,
}

/// What was taken from the host before the program asked for it (MSG_PEEK, FIONREAD), or could not be put
/// where the program wanted it.
#[derive(Default)]
struct Ahead {
    bytes: VecDeque<u8>,
    /// The host told it once, and what follows it there is an end: the program hears of it after `bytes`.
    error: Option<Errno>,
}

impl Connection {
    /// One that was accepted, or that is being made.
    pub(super) fn new(endpoint: Arc<Endpoint>, peer: SocketAddr) -> Self {
        Self { endpoint, peer, ahead: Mutex::default() }
    }

    /// Where it leads, as the host says for a connection that was accepted.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Its own address, as the host says.
    #[must_use]
    pub fn name(&self) -> Option<SocketAddr> {
        let host = self.endpoint.platform().host();
        let name = answers::shown(host.net_name(self.endpoint.stream()).ok()?);
        name.filter(|name| name.is_ipv4() == self.peer.is_ipv4())
    }

    /// Whether the attempt to connect is over, asked until it is. An error is told once.
    ///
    /// # Errors
    /// EAGAIN while it is not, after which the queue is woken when it is; why it failed.
    pub fn finish(&self) -> Result<(), Errno> {
        if self.endpoint.poll().0 & DECIDED == 0 {
            return Err(Errno::EAGAIN);
        }
        self.take_error().map_or(Ok(()), Err)
    }

    /// SO_ERROR.
    #[must_use]
    pub fn take_error(&self) -> Option<Errno> {
        if let Some(error) = self.ahead.lock().error.take() {
            return Some(error);
        }
        let error = self.endpoint.platform().host().net_error(self.endpoint.stream());
        if error.is_some() {
            self.endpoint.forget();
        }
        error.map(answers::connecting)
    }

    /// Receives what is there, 0 at the end; what is there stays if `peeks`.
    ///
    /// # Errors
    /// EAGAIN; ENOTCONN before the connection is there; ECONNRESET and its like.
    pub fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<usize, Errno> {
        let wanted = into.remaining().min(STEP);
        if wanted == 0 {
            return Ok(0);
        }
        let mut ahead = self.ahead.lock();
        if !peeks && ahead.is_empty() {
            let mut buffer = vec![0; wanted];
            let count = self.endpoint.read(&mut buffer).map_err(answers::receiving)?;
            let put = into.put(&buffer[..count]);
            if put.is_err() {
                ahead.bytes.extend(&buffer[..count]);
            }
            return put.map(|()| count);
        }
        let is_waiting = peeks && !ahead.fill(&self.endpoint, wanted);
        if ahead.bytes.is_empty() {
            return match ahead.error.take() {
                Some(error) => Err(error),
                None if is_waiting => Err(Errno::EAGAIN),
                None => Ok(0),
            };
        }
        let bytes = ahead.bytes.make_contiguous();
        let count = bytes.len().min(wanted);
        into.put(&bytes[..count])?;
        if !peeks {
            ahead.bytes.drain(..count);
        }
        Ok(count)
    }

    /// Sends what fits.
    ///
    /// # Errors
    /// EAGAIN; EPIPE, ECONNRESET and their like.
    pub fn send(&self, from: &mut dyn Source) -> Result<usize, Errno> {
        let wanted = from.remaining().min(STEP);
        if wanted == 0 {
            return Ok(0);
        }
        let mut buffer = vec![0; wanted];
        from.peek(&mut buffer)?;
        let count = self.endpoint.write(&buffer).map_err(answers::sending)?;
        from.skip(count);
        Ok(count)
    }

    /// Bytes that a read could take now (FIONREAD), as the host says.
    #[must_use]
    pub fn available(&self) -> usize {
        let mut ahead = self.ahead.lock();
        ahead.fill(&self.endpoint, STEP);
        ahead.bytes.len()
    }

    /// Bytes that were taken from the host and not read yet. The host is not asked.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.ahead.lock().bytes.len()
    }

    /// Ends the reading or writing half, or both.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn shutdown(&self, reads: bool, writes: bool) -> Result<(), Errno> {
        let host = self.endpoint.platform().host();
        let result = host.net_shutdown(self.endpoint.stream(), reads, writes);
        self.endpoint.forget();
        self.endpoint.queue().wake_all();
        result.map_err(|_| Errno::ENOTCONN)
    }

    /// Present readiness.
    #[must_use]
    pub fn poll(&self) -> Readiness {
        let mut ready = self.endpoint.poll().0;
        let ahead = self.ahead.lock();
        if !ahead.is_empty() {
            ready |= Readiness::IN.0;
        }
        if ahead.error.is_some() {
            ready |= Readiness::ERR.0;
        }
        Readiness(ready)
    }
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.error.is_none()
    }

    /// Takes what there is until it holds `wanted` bytes; false where the host has nothing now.
    fn fill(&mut self, endpoint: &Endpoint, wanted: usize) -> bool {
        if self.bytes.len() >= wanted || self.error.is_some() {
            return true;
        }
        let mut buffer = vec![0; wanted - self.bytes.len()];
        match endpoint.read(&mut buffer) {
            Ok(count) => self.bytes.extend(&buffer[..count]),
            Err(Errno::EAGAIN) => return false,
            Err(error) => self.error = Some(answers::receiving(error)),
        }
        true
    }
}
