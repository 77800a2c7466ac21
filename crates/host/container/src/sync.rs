//! The socket between the runtime and the container's first process while it is set up.
//!
//! Each message is a tag and a text. Either side's death is the end of the socket, so that neither waits
//! for a dead peer: a runtime killed at any moment takes the unfinished container with it.

use crate::error::{Error, Result};
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

/// The longest message, in bytes; longer texts are cut.
const MAX: usize = 8192;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// To the child: its id maps are written.
    Mapped = b'M',
    /// To the child: it is in its cgroups and has its limits.
    Placed = b'C',
    /// To the child: the hooks have run.
    HooksDone = b'D',
    /// To the child, in the foreground: run the program.
    Go = b'G',
    /// From the child's first half: the number of its second.
    Pid = b'P',
    /// From the child: run the hooks that come before `pivot_root`.
    Hooks = b'H',
    /// From the child: all is set up.
    Ready = b'R',
    /// From the child: it failed; the text says how.
    Failed = b'E',
}

impl Tag {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Mapped,
            Self::Placed,
            Self::HooksDone,
            Self::Go,
            Self::Pid,
            Self::Hooks,
            Self::Ready,
            Self::Failed,
        ]
        .into_iter()
        .find(|t| *t as u8 == byte)
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct Sync(OwnedFd);

impl Sync {
    /// Both ends.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(Error::os("make", "a socket pair"))?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a message. A dead peer shows at the next [`receive`](Self::receive).
    pub(crate) fn send(&self, tag: Tag, text: &str) {
        let mut message = Vec::with_capacity(1 + text.len().min(MAX));
        message.push(tag as u8);
        message.extend_from_slice(text.as_bytes().get(..MAX - 1).unwrap_or(text.as_bytes()));
        let _ = rustix::io::retry_on_intr(|| send(&self.0, &message, SendFlags::NOSIGNAL));
    }

    /// The next message; `None` when the peer is gone.
    pub(crate) fn receive(&self) -> Option<(Tag, String)> {
        // Most messages are one byte: no more of it is touched.
        let mut buffer = Vec::with_capacity(MAX);
        loop {
            match recv(&self.0, spare_capacity(&mut buffer), RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok((_, 0)) | Err(_) => return None,
                Ok(_) => break,
            }
        }
        let (tag, text) = buffer.split_first()?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some((Tag::from_byte(*tag)?, crate::launcher::reported(text)))
    }

    /// In the child: waits for one tag, and ends the process if the runtime is gone.
    pub(crate) fn expect(&self, wanted: Tag) {
        match self.receive() {
            Some((tag, _)) if tag == wanted => {}
            _ => super::init::end(1),
        }
    }
}

impl AsFd for Sync {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
