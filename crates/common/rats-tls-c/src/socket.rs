//! A stream socket of the program's. Its file status flags and time limits are left as they are: waiting is by
//! poll, so that a non-blocking socket serves as well. A peer that has gone raises no SIGPIPE.

use rats_tls::Transport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, SocketType, recv, send, sendmsg, sockopt,
};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    patience: Option<Duration>,
}

impl Socket {
    /// # Errors
    /// Not a stream socket.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        match sockopt::socket_type(&fd)? {
            SocketType::STREAM => Ok(Self { fd, patience: None }),
            _ => Err(Errno::PROTOTYPE.into()),
        }
    }

    /// Waits until it can be read or written, or is gone.
    fn wait(&self, for_what: PollFlags) -> io::Result<()> {
        let limit = self.patience.map(|patience| Timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        });
        let mut fds = [PollFd::new(&self.fd, for_what)];
        match poll(&mut fds, limit.as_ref())? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Does what would block once it does not.
    fn patiently<R>(
        &self,
        for_what: PollFlags,
        mut work: impl FnMut() -> rustix::io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match work() {
                Err(Errno::AGAIN) => self.wait(for_what)?,
                result => return Ok(result?),
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.patiently(PollFlags::IN, || {
            recv(&self.fd, &mut *into, RecvFlags::DONTWAIT).map(|(count, _)| count)
        })
    }
}

impl Write for Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        self.patiently(PollFlags::OUT, || send(&self.fd, data, flags))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        self.patiently(PollFlags::OUT, || {
            sendmsg(&self.fd, parts, &mut SendAncillaryBuffer::default(), flags)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Socket {
    fn set_patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.patience = patience;
        Ok(())
    }
}
