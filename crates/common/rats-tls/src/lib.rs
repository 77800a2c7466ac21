//! TLS whose peer proves what it runs.
//!
//! `docs/spec/bound-v1.md` is the specification. The core is `no_std` and does no input or output, makes no
//! evidence and verifies none: a front end moves bytes between TLS and a [`Session`] and does what the session
//! asks for.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "std")]
mod appraiser;
#[cfg(feature = "tokio")]
mod asynchronous;
pub mod binding;
pub mod claims;
pub mod compat;
#[cfg(feature = "std")]
mod device;
#[cfg(feature = "std")]
mod engine;
#[cfg(feature = "std")]
mod error;
pub mod frame;
#[cfg(feature = "std")]
pub mod hop;
#[cfg(feature = "std")]
mod inbox;
#[cfg(feature = "std")]
mod judge;
#[cfg(feature = "std")]
pub mod names;
#[cfg(feature = "std")]
mod party;
pub mod session;
#[cfg(feature = "std")]
mod setup;
#[cfg(feature = "std")]
mod stream;
#[cfg(feature = "std")]
pub mod tls;

#[cfg(feature = "std")]
pub use appraiser::{Clock, CollateralSource, Fixed, FromPeer, Look, PolicyAppraiser};
#[cfg(feature = "tokio")]
pub use asynchronous::AsyncStream;
#[cfg(feature = "std")]
pub use device::Device;
#[cfg(feature = "std")]
pub use error::SessionError;
#[cfg(feature = "std")]
pub use party::{Accepted, Appraiser, AttestError, Attester, Limited, Party, Refusal};
#[cfg(feature = "std")]
pub use setup::{Setup, SetupError, endorsements, host_time};
#[cfg(feature = "std")]
pub use stream::{Stream, Transport};

pub use binding::{Binding, Exporter, Role};
pub use frame::{CloseReason, Format, Nonce, VerdictCode};
pub use session::{Config, Event, Fault, Keys, Offered, Received, Session};
