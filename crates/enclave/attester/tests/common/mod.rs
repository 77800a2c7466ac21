//! The program as it is, before an echoing program, with evidence of emulated platforms.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use attestation::crypto::Default as Crypto;
use attestation::{Policy, TrustAnchor, Verifier};
use emulated_device::Enclave;
use rats_tls::{FromPeer, Party, PolicyAppraiser, SessionError, Stream, host_time};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

pub const MRENCLAVE: [u8; 32] = [0x11; 32];

/// A device's directory.
pub struct Device(TempDir);

impl Device {
    pub fn new(enclave: &Enclave) -> Self {
        let directory = tempfile::tempdir().unwrap();
        enclave.serve(directory.path()).unwrap();
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().into()
    }

    pub fn anchor(&self) -> TrustAnchor {
        let der = fs::read(self.path().join("root.der")).unwrap();
        TrustAnchor::from_der(&der, &Crypto::default()).unwrap()
    }

    pub fn policy(&self) -> Policy {
        Policy::from_toml(&fs::read_to_string(self.path().join("policy.toml")).unwrap()).unwrap()
    }

    /// A verifier by this policy, which takes the peer's collateral.
    pub fn verifier(&self, policy: Policy) -> Party {
        let verifier = Verifier::new(Crypto::default(), self.anchor());
        let (source, clock) = (FromPeer::default(), Box::new(host_time));
        Party::verifier(Arc::new(PolicyAppraiser::new(verifier, policy, source, clock)))
    }
}

/// A running attester. It is killed with this value.
pub struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    pub address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// With evidence and collateral from a device.
    pub fn start(device: &Device, words: &[&str]) -> Self {
        let (directory, collateral) = (device.file(""), device.file("collateral.json"));
        let mut all = vec!["--device", &directory, "--endorsements", &collateral];
        all.extend(words);
        if !words.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        Self::bare(&all)
    }

    pub fn bare(words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attester"));
        let mut child = command.args(words).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self { child, log, address: String::new() };
        let line = running.line();
        let rest = line.strip_prefix("attester: listening on ").unwrap_or_else(|| panic!("{line}"));
        running.address = rest.split(',').next().unwrap().into();
        running
    }

    /// The next line of the log.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code, once it has ended.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    pub fn open(&self, client: Party) -> Result<Stream<TcpStream>, SessionError> {
        let name = ServerName::try_from("container").unwrap();
        Stream::connect(self.connect(), name, &Arc::new(client))
    }
}

/// A program that answers what it read, once it has read to the end.
pub fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut got = Vec::new();
                if stream.read_to_end(&mut got).is_ok() {
                    let _ = stream.write_all(&got);
                }
            });
        }
    });
    address
}

/// The usual: an enclave that a policy accepts, and its attester before a program.
pub fn usual(words: &[&str]) -> (Device, Running) {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let program = echo();
    let words = [&["--forward", &program], words].concat();
    let running = Running::start(&device, &words);
    (device, running)
}
