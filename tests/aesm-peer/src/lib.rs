//! Nothing but `tests/peer.rs`: somebody else's AESM client gets quotes from our service.
#![forbid(unsafe_code)]
