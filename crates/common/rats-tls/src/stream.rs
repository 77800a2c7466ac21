//! An attested session over a blocking transport.

use crate::engine::{Engine, Need};
use crate::error::SessionError;
use crate::frame::CloseReason;
use crate::party::{Accepted, Party};
use core::fmt;
use rustls::pki_types::ServerName;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A connection that can give up waiting.
pub trait Transport: Read + Write {
    /// Reads and writes fail after this time; `None`: they wait.
    ///
    /// # Errors
    /// Those of the socket.
    fn set_patience(&mut self, patience: Option<Duration>) -> io::Result<()>;
}

impl Transport for TcpStream {
    fn set_patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

impl Transport for UnixStream {
    fn set_patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

/// An open session. It exists only after every attested direction was accepted.
///
/// Reading serves re-attestation too: a program that only writes reads now and then. An error ends the session;
/// [`SessionError::Truncated`] says that the peer's last words may be missing.
pub struct Stream<T: Transport> {
    engine: Engine,
    transport: T,
    /// What the transport was told.
    patience: Option<Duration>,
    has_failed: bool,
}

impl<T: Transport> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("peer", &self.engine.peer()).finish_non_exhaustive()
    }
}

impl<T: Transport> Stream<T> {
    /// Opens a session as the TLS client. `name` goes into SNI: routing, not identity.
    ///
    /// # Errors
    /// No session. The peer was told why, if it could be.
    pub fn connect(
        transport: T,
        name: ServerName<'static>,
        party: &Arc<Party>,
    ) -> Result<Self, SessionError> {
        Self::open(Engine::client(party.clone(), name)?, transport)
    }

    /// Opens a session as the TLS server.
    ///
    /// # Errors
    /// No session. The peer was told why, if it could be.
    pub fn accept(transport: T, party: &Arc<Party>) -> Result<Self, SessionError> {
        Self::open(Engine::server(party.clone())?, transport)
    }

    fn open(engine: Engine, transport: T) -> Result<Self, SessionError> {
        let mut stream = Self { engine, transport, patience: None, has_failed: false };
        while !stream.engine.has_opened() {
            stream.turn()?;
        }
        Ok(stream)
    }

    /// The peer's accepted evidence; `None` where this end does not verify.
    pub const fn peer(&self) -> Option<&Accepted> {
        self.engine.peer()
    }

    /// Asks for new evidence now. Its verdict shows at the next reads.
    ///
    /// # Errors
    /// The session has ended.
    pub fn reattest(&mut self) -> Result<(), SessionError> {
        self.engine.reattest()?;
        self.send()
    }

    /// Says that this end sends no more data; the peer reads to the end, and may still send.
    ///
    /// # Errors
    /// The session has ended.
    pub fn finish(&mut self) -> Result<(), SessionError> {
        self.engine.finish_data()?;
        self.send()
    }

    /// Ends the session in good order.
    ///
    /// # Errors
    /// The transport.
    pub fn close(mut self) -> Result<(), SessionError> {
        self.engine.close(CloseReason::Done);
        self.send()
    }

    /// The transport, for its address.
    pub const fn transport(&self) -> &T {
        &self.transport
    }

    /// One step; whether there may be data, or the peer has closed.
    fn turn(&mut self) -> Result<bool, SessionError> {
        self.watch(Self::try_turn)
    }

    /// Tells the peer why, where a step fails.
    fn watch<R>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        let result = step(self);
        if let Err(error) = &result
            && !self.has_failed
        {
            self.has_failed = true;
            self.engine.close(error.reason());
            // It is over; what the peer hears of it is a courtesy.
            let _ = self.transport.set_patience(Some(Duration::from_millis(200)));
            let _ = self.flush_tls();
        }
        result
    }

    fn try_turn(&mut self) -> Result<bool, SessionError> {
        match self.engine.advance()? {
            Need::Nothing => {
                self.send()?;
                return Ok(true);
            }
            Need::Task(task) => {
                // What is due to the peer goes first: it may work meanwhile.
                self.send()?;
                let outcome = task.run(self.engine.party());
                self.engine.finish(outcome)?;
                self.send()?;
            }
            Need::Progress => self.send()?,
            Need::Input => self.fill()?,
        }
        Ok(false)
    }

    /// Waits for the peer.
    fn fill(&mut self) -> Result<(), SessionError> {
        self.send()?;
        if let Some(room) = self.engine.room() {
            match self.transport.read(room) {
                Ok(count) => self.engine.came(count)?,
                // Callers come again, with the time that is left.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.engine.decrypt().map(|_| ())
    }

    /// Sends all that is to be sent, within the time that the peer has left.
    fn send(&mut self) -> Result<(), SessionError> {
        let patience = self.engine.patience()?;
        if patience.is_some() || self.patience.is_some() {
            self.transport.set_patience(patience)?;
            self.patience = patience;
        }
        self.flush_tls()?;
        Ok(())
    }

    fn flush_tls(&mut self) -> io::Result<()> {
        while self.engine.wants_write() {
            match self.engine.write_tls(&mut self.transport) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.transport.flush()
    }
}

impl<T: Transport> Read for Stream<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.engine.take_data(into)?;
            if count > 0 {
                return Ok(count);
            }
            if self.engine.has_data() {
                // The rest of a frame has not arrived.
                self.watch(|stream| stream.fill())?;
            } else if self.engine.has_finished() || (self.turn()? && !self.engine.has_data()) {
                return Ok(0);
            }
        }
    }
}

impl<T: Transport> Write for Stream<T> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let count = self.engine.put_data(data)?;
        self.send()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.send()?)
    }
}
