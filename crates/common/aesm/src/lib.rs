//! The protocol of Intel's architectural enclave service manager: messages, framing, client, server.
#![forbid(unsafe_code)]
