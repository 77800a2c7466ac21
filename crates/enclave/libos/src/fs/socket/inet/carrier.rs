//! What carries the bytes of a connection.
//!
//! A stream socket knows addresses, states and options; how bytes get to the other side is a [`Carrier`]:
//! [`super::link`] inside the enclave. Every call answers at once; the carrier wakes the socket's queue when
//! another answer is to be had.

use crate::errno::Errno;
use crate::fs::file::{Sink, Source};
use crate::host::Readiness;

/// An established connection as one of its ends has it.
pub(super) trait Carrier: Send + Sync {
    /// Takes as much of what the source offers as there is room for.
    ///
    /// # Errors
    /// EAGAIN without room; EPIPE where nothing can be sent any more; ECONNRESET, told once.
    fn send(&self, from: &mut dyn Source) -> Result<usize, Errno>;

    /// Gives what has arrived; 0 at the end.
    ///
    /// # Errors
    /// EAGAIN where nothing has; ECONNRESET, told once.
    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<usize, Errno>;

    /// shutdown(2).
    fn shutdown(&self, reads: bool, writes: bool);

    /// The socket is closed. With `resets` the other side hears of a reset, not of an end.
    fn close(&self, resets: bool);

    /// Present readiness.
    fn poll(&self) -> Readiness;

    /// Bytes that have arrived (SIOCINQ). Finding out may take them from the host.
    fn available(&self) -> usize;

    /// Bytes that are here and were not read yet.
    fn unread(&self) -> usize;

    /// Bytes that were written and have not arrived (SIOCOUTQ).
    fn unsent(&self) -> usize;

    /// SO_ERROR.
    fn take_error(&self) -> Option<Errno>;

    /// Whether the connection is gone: reset, or ended by both sides.
    fn is_over(&self) -> bool;

    /// SO_RCVBUF and SO_SNDBUF, as far as they were set.
    fn set_buffers(&self, receive: Option<usize>, send: Option<usize>);
}
