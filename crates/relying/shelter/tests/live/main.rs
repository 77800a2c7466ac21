//! `shelter` against containers: sessions of rats-tls in this process, with genuine quotes of the emulated platform.

#[path = "../support/container.rs"]
mod container;
mod report;
mod send;
#[path = "../support/mod.rs"]
mod support;
mod upstream;
mod verify;
mod watch;

use std::net::SocketAddr;
use std::path::Path;
use support::{Ended, shelter};

/// Runs `shelter` with these words.
fn run(place: &Path, words: &[&str]) -> Ended {
    Ended::of(shelter(place).args(words).output().unwrap())
}

fn target(address: SocketAddr) -> String {
    format!("tcp:{address}")
}
