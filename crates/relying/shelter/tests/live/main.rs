//! `shelter` against containers: sessions of rats-tls in this process, with genuine quotes of the emulated platform.

#[path = "../support/container.rs"]
mod container;
mod hop;
mod report;
mod send;
#[path = "../support/mod.rs"]
mod support;
mod upstream;
mod verify;
mod watch;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use support::{Ended, shelter};

/// Runs `shelter` with these words.
fn run(place: &Path, words: &[&str]) -> Ended {
    Ended::of(shelter(place).args(words).output().unwrap())
}

/// Runs it with standard input that can be read once: a second look finds nothing there.
fn run_with_input(place: &Path, words: &[&str], input: &[u8]) -> Ended {
    let (from, mut to) = std::io::pipe().unwrap();
    to.write_all(input).unwrap();
    drop(to);
    Ended::of(shelter(place).args(words).stdin(from).output().unwrap())
}

fn target(address: SocketAddr) -> String {
    format!("tcp:{address}")
}
