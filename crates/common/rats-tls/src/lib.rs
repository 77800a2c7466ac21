//! TLS whose peer proves what it runs.
//!
//! `docs/spec/bound-v1.md` is the specification. The core is `no_std` and does no input or output, makes no
//! evidence and verifies none: a front end moves bytes between TLS and a [`Session`] and does what the session
//! asks for.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod binding;
pub mod claims;
pub mod frame;
pub mod session;

pub use binding::{Binding, Exporter, Role};
pub use frame::{CloseReason, Format, Nonce, VerdictCode};
pub use session::{Config, Event, Fault, Keys, Offered, Received, Session};
