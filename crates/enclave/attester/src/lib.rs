//! The attester: ends attested sessions and forwards their plaintext to one program, over loopback or a Unix
//! socket. In a converted image it is a process of the enclave beside the program, which needs no change and
//! never sees TLS; the session's key is made here and stays in the enclave's memory.
//!
//! It guarantees that nothing passes in either direction before every attested direction of a session is
//! accepted, that a stranger cannot make it hold more than a fixed number of connections or make more than a
//! fixed number of quotes at once, and that bytes which were cut off never look like an orderly end. It does not
//! look into what it forwards.
//!
//! It runs anywhere where evidence can be had ([`evidence`]); as a client ([`Role::Opens`]) it is the other end
//! of such a session for programs that know nothing of attestation.
#![forbid(unsafe_code)]

pub mod args;
pub mod compat;
pub mod evidence;
pub mod forward;
pub mod log;
pub mod net;
pub mod party;
pub mod replay;
pub mod server;

pub use args::{Arguments, Level, Role, UsageError};
pub use net::{Address, Listener, Socket};
pub use server::{Limits, Server};
