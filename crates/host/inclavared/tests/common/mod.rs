//! The program, run as an administrator runs it, with verifiers and containers that are plain sockets.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod hello;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running inclavared; killed when dropped.
pub struct Relay {
    child: Child,
    log: Arc<Log>,
    pub address: SocketAddr,
    metrics: SocketAddr,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Relay {
    /// Listens at a port of the kernel's choice.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    pub fn start_at(address: &str, arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(["--listen", address]).args(arguments);
        Self::run(command)
    }

    /// Runs a command that becomes inclavared.
    pub fn run(mut command: Command) -> Self {
        let mut child = command
            .args(["--metrics", "127.0.0.1:0", "--threads", "1", "--log-level", "debug"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let (stderr, written) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                written.lines.lock().unwrap().push(line);
                written.more.notify_all();
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut relay = Self { child, log, address: nowhere, metrics: nowhere };
        let at = |line: String| {
            let (_, rest) = line.split_once("at=\"tcp:").unwrap();
            rest.split_once('"').unwrap().0.parse().unwrap()
        };
        relay.address = at(relay.logged(" relaying at="));
        relay.metrics = at(relay.logged(" metrics at="));
        relay
    }

    /// The first line that holds this, once it is written.
    pub fn logged(&self, what: &str) -> String {
        let lines = self.log.lines.lock().unwrap();
        let found = |lines: &Vec<String>| lines.iter().find(|line| line.contains(what)).cloned();
        let (lines, timeout) = self
            .log
            .more
            .wait_timeout_while(lines, PATIENCE, |lines| found(lines).is_none())
            .unwrap();
        assert!(!timeout.timed_out(), "no line with {what:?} in {lines:#?}");
        found(&lines).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// A counter, as a scraper gets it.
    pub fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
        page.lines()
            .find_map(|line| line.strip_prefix(&format!("inclavared_{name} ")))
            .map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a counter is at least this.
    pub fn reaches(&self, name: &str, value: u64) {
        wait(&format!("{name} to reach {value}"), || self.metric(name) >= value);
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// A verifier that has sent its hello.
    pub fn connect(&self, name: &str) -> TcpStream {
        let mut stream = connect(self.address);
        stream.write_all(&hello::bound_hello(name)).unwrap();
        stream
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_inclavared"))
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A container that only listens.
pub fn container() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A container that answers each connection with its name, once it has read a hello, and then echoes.
pub fn echo(name: &'static str) -> String {
    let (listener, address) = container();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut hello = vec![0; hello::bound_hello(name).len()];
                if stream.read_exact(&mut hello).is_ok() {
                    let _ = stream.write_all(name.as_bytes());
                    let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
                }
            });
        }
    });
    address
}

/// Reads so many bytes as text.
pub fn read(stream: &mut TcpStream, count: usize) -> String {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// All that comes until the end, be it a proper one or a reset.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => bytes,
    }
}

pub fn wait(what: &str, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
