//! Evidence: what it says, whether it is genuine, and whether a policy accepts it.
#![forbid(unsafe_code)]
