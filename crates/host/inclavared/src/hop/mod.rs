//! The former protocol, hop by hop: inclavared verifies a container, and tells verifiers what it found.
//!
//! **Whoever asks here trusts inclavared**, and with it the host that it runs on: what is told is its word, and no
//! evidence goes through. So it is another program in all but its file: nothing of it runs unless `--hop-by-hop`
//! says so, and then nothing is relayed. What relays is trusted with nothing, and stays so.
//!
//! Guaranteed to those who trust it: what it tells was in evidence that its own policy accepted, in a session that
//! was opened for the question, and the container said the same of itself. Not: that the evidence was made for that
//! session (it is of the level `compat`), or anything about what happens after.

mod ask;
mod key;
mod serve;

pub use ask::{AskFault, Container};
pub use key::{KeyFileError, read as read_key};
pub use serve::{Server, serve};
