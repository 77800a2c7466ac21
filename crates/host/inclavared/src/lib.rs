//! `inclavared` relays attested sessions between verifiers outside and attesters in containers.
//!
//! It reads one thing of a connection, the TLS ClientHello, and decides by it: ALPN must offer the bound
//! session, SNI names the container. What it has read goes on to the container as it came, and from then on
//! bytes are moved both ways unread. It has no key and ends no session, so it can delay and refuse, and
//! nothing else: the verifier decides on evidence made for its own session, whatever route it took.
//!
//! The former protocol, in which inclavared is trusted, is in [`hop`] and nowhere else.
#![forbid(unsafe_code)]

pub mod hello;
pub mod name;

#[cfg(feature = "relay")]
pub mod address;
#[cfg(feature = "relay")]
pub mod connection;
#[cfg(feature = "relay")]
pub mod hop;
#[cfg(feature = "relay")]
pub mod limits;
#[cfg(feature = "relay")]
pub mod listener;
#[cfg(feature = "relay")]
pub mod metrics;
#[cfg(feature = "relay")]
mod pipe;
#[cfg(feature = "relay")]
pub mod refusal;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "relay")]
pub mod routes;
#[cfg(feature = "relay")]
pub mod scrape;
#[cfg(feature = "relay")]
mod socket;
#[cfg(feature = "relay")]
pub mod watch;
#[cfg(feature = "relay")]
mod watched;
#[cfg(feature = "relay")]
pub mod worker;

#[cfg(feature = "relay")]
pub use pipe::MOST as MOST_PIPES;
