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
    is_begun: Mutex<bool>,
    /// What was taken from the host before the program asked for it (MSG_PEEK, FIONREAD), or could not be put
    /// where the program wanted it.
    ahead: Mutex<VecDeque<u8>>,
}

impl Connection {
    /// One that was accepted.
    pub(super) fn made(endpoint: Arc<Endpoint>, peer: SocketAddr) -> Self {
        let is_begun = Mutex::new(false);
        Self { endpoint, peer, is_begun, ahead: Mutex::default() }
    }

    /// One that is being made.
    pub(super) fn begun(endpoint: Arc<Endpoint>, peer: SocketAddr) -> Self {
        let is_begun = Mutex::new(true);
        Self { endpoint, peer, is_begun, ahead: Mutex::default() }
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

    /// Whether the attempt to connect is over. An error is told once.
    ///
    /// # Errors
    /// EAGAIN while it is not, after which the queue is woken when it is; why it failed.
    pub fn finish(&self) -> Result<(), Errno> {
        let mut is_begun = self.is_begun.lock();
        if !*is_begun {
            return Ok(());
        }
        if self.endpoint.poll().0 & DECIDED == 0 {
            return Err(Errno::EAGAIN);
        }
        *is_begun = false;
        drop(is_begun);
        self.take_error().map_or(Ok(()), Err)
    }

    /// Whether the attempt to connect goes on.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        *self.is_begun.lock() && self.endpoint.poll().0 & DECIDED == 0
    }

    /// SO_ERROR.
    #[must_use]
    pub fn take_error(&self) -> Option<Errno> {
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
        if ahead.is_empty() || (peeks && ahead.len() < wanted) {
            let mut buffer = vec![0; wanted - ahead.len()];
            match self.endpoint.read(&mut buffer) {
                Ok(count) if ahead.is_empty() && !peeks => {
                    let put = into.put(&buffer[..count]);
                    if put.is_err() {
                        ahead.extend(&buffer[..count]);
                    }
                    return put.map(|()| count);
                }
                Ok(count) => ahead.extend(&buffer[..count]),
                Err(error) if ahead.is_empty() => return Err(answers::receiving(error)),
                // What was taken before comes first.
                Err(_) => {}
            }
        }
        let bytes = ahead.make_contiguous();
        let count = bytes.len().min(wanted);
        into.put(&bytes[..count])?;
        if !peeks {
            ahead.drain(..count);
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

    /// Bytes that a read could take now (FIONREAD).
    #[must_use]
    pub fn available(&self) -> usize {
        let mut ahead = self.ahead.lock();
        if ahead.len() < STEP {
            let mut buffer = vec![0; STEP - ahead.len()];
            if let Ok(count) = self.endpoint.read(&mut buffer) {
                ahead.extend(&buffer[..count]);
            }
        }
        ahead.len()
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
        if !self.ahead.lock().is_empty() {
            ready |= Readiness::IN.0;
        }
        Readiness(ready)
    }
}
