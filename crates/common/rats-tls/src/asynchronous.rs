//! An attested session over a tokio transport. Evidence is made and verified on tokio's threads for blocking
//! work, so that one slow quote holds up its own session only.

use crate::engine::{Engine, Need};
use crate::error::SessionError;
use crate::frame::CloseReason;
use crate::party::{Accepted, Party};
use core::fmt;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// An open session. It exists only after every attested direction was accepted.
///
/// As [`Stream`](crate::Stream), in `async` methods: reading serves re-attestation too, an error ends the session.
/// A call that is dropped before it is done ends the session as well: what was sent of it is not known.
pub struct AsyncStream<T> {
    engine: Engine,
    transport: T,
    /// Ciphertext on its way in.
    buffer: Box<[u8]>,
    has_failed: bool,
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
        let buffer = vec![0; 16 << 10].into_boxed_slice();
        let mut stream = Self { engine, transport, buffer, has_failed: false };
        while !stream.engine.has_opened() {
            stream.turn().await?;
        }
        Ok(stream)
    }

    /// The peer's accepted evidence; `None` where this end does not verify.
    pub const fn peer(&self) -> Option<&Accepted> {
        self.engine.peer()
    }

    /// Reads data, waiting for the first byte; 0 when the peer has closed in good order.
    ///
    /// # Errors
    /// The session has ended otherwise.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, SessionError> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.engine.take_data(into)?;
            if count > 0 {
                return Ok(count);
            }
            if self.engine.has_data() {
                let filled = self.fill().await;
                self.watch(filled).await?;
            } else if self.turn().await? && !self.engine.has_data() {
                return Ok(0);
            }
        }
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), SessionError> {
        while !data.is_empty() {
            let count = self.engine.put_data(data)?;
            data = &data[count..];
            self.send().await?;
        }
        Ok(())
    }

    /// Asks for new evidence now. Its verdict shows at the next reads.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn reattest(&mut self) -> Result<(), SessionError> {
        self.engine.reattest()?;
        self.send().await
    }

    /// Ends the session in good order.
    ///
    /// # Errors
    /// The transport.
    pub async fn close(mut self) -> Result<(), SessionError> {
        self.engine.close(CloseReason::Done);
        self.send().await?;
        Ok(self.transport.shutdown().await?)
    }

    /// One step; whether there may be data, or the peer has closed.
    async fn turn(&mut self) -> Result<bool, SessionError> {
        let result = self.try_turn().await;
        self.watch(result).await
    }

    /// Tells the peer why, where a step has failed.
    async fn watch<R>(&mut self, result: Result<R, SessionError>) -> Result<R, SessionError> {
        if let Err(error) = &result
            && !self.has_failed
        {
            self.has_failed = true;
            self.engine.close(error.reason());
            // It is over; what the peer hears of it is a courtesy.
            let _ = timeout(Duration::from_millis(200), self.flush()).await;
        }
        result
    }

    async fn try_turn(&mut self) -> Result<bool, SessionError> {
        match self.engine.advance()? {
            Need::Nothing => {
                self.send().await?;
                return Ok(true);
            }
            Need::Task(task) => {
                // What is due to the peer goes first: it may work meanwhile.
                self.send().await?;
                let party = self.engine.party().clone();
                let work = tokio::task::spawn_blocking(move || task.run(&party));
                let outcome = work.await.map_err(io::Error::other)?;
                self.engine.finish(outcome)?;
                self.send().await?;
            }
            Need::Progress => self.send().await?,
            Need::Input => self.fill().await?,
        }
        Ok(false)
    }

    /// Waits for the peer, as long as it may take.
    async fn fill(&mut self) -> Result<(), SessionError> {
        self.send().await?;
        let read = self.transport.read(&mut self.buffer);
        let count = match self.engine.patience()? {
            Some(patience) => {
                timeout(patience, read).await.map_err(|_| SessionError::Timeout)??
            }
            None => read.await?,
        };
        let mut received = &self.buffer[..count];
        if received.is_empty() {
            return Err(SessionError::Truncated);
        }
        // TLS takes a record at a time.
        while !received.is_empty() {
            self.engine.read_tls(&mut received)?;
        }
        Ok(())
    }

    /// Sends all that is to be sent, within the time that the peer has left.
    async fn send(&mut self) -> Result<(), SessionError> {
        match self.engine.patience()? {
            Some(patience) => {
                timeout(patience, self.flush()).await.map_err(|_| SessionError::Timeout)??;
            }
            None => self.flush().await?,
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut output = Vec::new();
        while self.engine.wants_write() {
            self.engine.write_tls(&mut output)?;
        }
        if !output.is_empty() {
            self.transport.write_all(&output).await?;
            self.transport.flush().await?;
        }
        Ok(())
    }
}
