//! Containers to verify: sessions of rats-tls in this process, with genuine quotes of the emulated platform.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

#[path = "../../../../common/rats-tls/tests/common/lab.rs"]
pub(crate) mod lab;

use lab::Enclave;
use rats_tls::{Attester, Party, Stream};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// What a program got, one entry for each session that was opened.
pub(crate) type Got = Arc<Mutex<Vec<Vec<u8>>>>;

/// A container's program behind an attester: what it does with an open session.
pub(crate) type Program = fn(&mut Stream<TcpStream>, &Got);

/// Serves sessions until the process ends. Gives the address, and what came through sessions.
pub(crate) fn serve(attester: impl Attester + 'static, program: Program) -> (SocketAddr, Got) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve_on(listener, attester, program)
}

pub(crate) fn serve_on(
    listener: TcpListener,
    attester: impl Attester + 'static,
    program: Program,
) -> (SocketAddr, Got) {
    let address = listener.local_addr().unwrap();
    let got = Got::default();
    let (party, theirs) = (Arc::new(Party::attester(Arc::new(attester)).unwrap()), got.clone());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (party, got) = (party.clone(), theirs.clone());
            thread::spawn(move || {
                if let Ok(mut stream) = Stream::accept(connection.unwrap(), &party) {
                    program(&mut stream, &got);
                    let _ = stream.close();
                }
            });
        }
    });
    (address, got)
}

/// Reads to the end of what the client sends, keeps it, and says how much it was.
pub(crate) fn count(stream: &mut Stream<TcpStream>, got: &Got) {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let answer = format!("{} bytes\nbye\n", all.len());
    got.lock().unwrap().push(all);
    let _ = stream.write_all(answer.as_bytes());
}

/// Answers at once with what comes.
pub(crate) fn echo(stream: &mut Stream<TcpStream>, got: &Got) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        got.lock().unwrap().push(buffer[..count].to_vec());
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// Writes `root`, `policy` and `collateral` for an enclave with MRENCLAVE 11…, as its verifier has them.
pub(crate) fn files(place: &Path, enclave: &Enclave) {
    let root = lab::anchor();
    fs::write(place.join("root"), root.der()).unwrap();
    fs::write(place.join("collateral"), enclave.collateral().to_json()).unwrap();
    policy(place, "policy", &"11".repeat(32), "");
}

/// A policy under the lab's root.
pub(crate) fn policy(place: &Path, name: &str, mrenclave: &str, more: &str) {
    let root = attestation::hex::Hex(lab::anchor().sha256()).to_string();
    let tee = if more.contains("tee =") { "" } else { "tee = 'emulated'\n" };
    let text = format!("roots = ['{root}']\n{tee}mrenclave = ['{mrenclave}']\n{more}");
    fs::write(place.join(name), text).unwrap();
}

/// The options that name those files.
pub(crate) const TRUST: [&str; 6] =
    ["--root", "root", "--policy", "policy", "--collateral", "collateral"];
