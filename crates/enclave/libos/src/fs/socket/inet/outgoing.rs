//! Connections over sockets of the host as carriers.

use super::carrier::Carrier;
use crate::errno::Errno;
use crate::fs::file::{Sink, Source};
use crate::fs::outside::Connection;
use crate::host::Readiness;

impl Carrier for Connection {
    fn send(&self, from: &mut dyn Source) -> Result<usize, Errno> {
        Self::send(self, from)
    }

    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<usize, Errno> {
        Self::receive(self, into, peeks)
    }

    fn shutdown(&self, reads: bool, writes: bool) {
        // It fails where the connection is gone, which the next call tells.
        let _ = Self::shutdown(self, reads, writes);
    }

    fn close(&self, _resets: bool) {
        // The host's socket is closed when this is dropped. What it is told is an end: whether the peer hears
        // of a reset is for the host's kernel, by what was not read.
    }

    fn poll(&self) -> Readiness {
        Self::poll(self)
    }

    fn available(&self) -> usize {
        Self::available(self)
    }

    fn unread(&self) -> usize {
        Self::unread(self)
    }

    fn unsent(&self) -> usize {
        // What the host has taken is the host's: it might say anything.
        0
    }

    fn take_error(&self) -> Option<Errno> {
        Self::take_error(self)
    }

    fn is_over(&self) -> bool {
        Self::poll(self).0 & Readiness::HUP.0 != 0
    }

    fn set_buffers(&self, _receive: Option<usize>, _send: Option<usize>) {
        // The host's kernel sizes its own.
    }
}
