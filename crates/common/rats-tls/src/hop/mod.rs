//! Hop by hop: what `inclavared` tells a verifier of a container that it has verified itself.
//!
//! **The one who tells is trusted.** A verifier sees no evidence here: it asks inclavared in a TLS session of their
//! own, and inclavared answers what it found in a session of its own with the container. This is upstream's
//! protocol, kept for those who depend on it, and only for policies that say `level = "hop-by-hop"`. Upstream's
//! verifier took the word of whoever answered; here the policy names the key that inclavared must have, since
//! nothing else tells it from a stranger.

mod message;
mod tls;

pub use message::{
    Answer, EnclaveInfo, GREETING, MAX_MESSAGE, MessageFault, REQUEST, Reply, is_request,
};
#[doc(hidden)]
pub use message::{fuzz_json, fuzz_reply};
#[cfg(feature = "tokio")]
pub use tls::exchange;
pub use tls::{Stranger, client, pin, server};
