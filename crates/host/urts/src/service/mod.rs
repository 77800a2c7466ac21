//! What the host does for an enclave, one file per service.

pub(crate) mod clock;
pub(crate) mod dispatch;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod net;
pub(crate) mod quotes;
pub(crate) mod reports;
pub(crate) mod sessions;
pub(crate) mod streams;
pub(crate) mod terminal;
pub(crate) mod watcher;

use rustix::io::Errno;

/// A successful reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// Nothing to say.
    Done,
    /// The first value.
    Value(u64),
    /// All values.
    Values([u64; 4]),
    /// Bytes to be copied to the data area.
    Data(&'a [u8]),
    /// So many bytes, already in the data area.
    InPlace(usize),
}

/// An answer, or the error number for the enclave.
pub(crate) type Served<'a> = Result<Answer<'a>, Errno>;
