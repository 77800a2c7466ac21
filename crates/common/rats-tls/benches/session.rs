//! What attestation adds to a session: handshakes and bulk data against plain TLS 1.3 of the same stack, over
//! Unix socket pairs on one machine, alternately in one run.
//!
//! Prints `name ours peer`, a line each: medians; microseconds, or MB/s for `bulk`, or sessions a second.
//! `cargo xtask bench session` reads them.

#[path = "../tests/common/lab.rs"]
mod lab;

use lab::{Enclave, appraiser, policy};
use rats_tls::binding::Binding;
use rats_tls::{AttestError, Attester, Offered, Party, Stream, tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;
const BULK: usize = 64 << 20;
const IDLE: usize = 200;

/// Arguments of the processes that measure memory.
const ATTESTED: &str = "idle-attested";
const PLAIN: &str = "idle-plain";

fn main() {
    let quoting = Arc::new(Timed { inner: Enclave::new(1, 0x11), spent: AtomicU64::new(0) });
    let server = Arc::new(Party::attester(quoting.clone()).expect("a key"));
    let client = Arc::new(Party::verifier(Arc::new(appraiser(policy(0x11, "")))));
    let plain = Plain::new();
    match std::env::args().nth(1).as_deref() {
        Some(ATTESTED) => return keep_idle(|| attested(&client, &server)),
        Some(PLAIN) => return keep_idle(|| plain.open()),
        _ => {}
    }
    // Collateral and the platform's certificate are known from here on.
    drop(attested(&client, &server));

    let (mut with, mut without, mut peer) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        quoting.spent.store(0, Ordering::Relaxed);
        let (took, ()) = timed(|| drop(attested(&client, &server)));
        let quote = Duration::from_nanos(quoting.spent.load(Ordering::Relaxed));
        with.push(took);
        without.push(took.saturating_sub(quote));
        peer.push(timed(|| drop(plain.open())).0);
    }
    let peer = median(&mut peer);
    println!("handshake-without-quote {} {}", micros(median(&mut without)), micros(peer));
    let with = median(&mut with);
    println!("handshake {} {}", micros(with), micros(peer));
    println!("sessions {} {}", 1.0 / with.as_secs_f64(), 1.0 / peer.as_secs_f64());

    let (mut ours, mut peer) = (vec![], vec![]);
    for _ in 0..9 {
        let (near, far) = attested(&client, &server);
        ours.push(bulk(near, far));
        let (near, far) = plain.open();
        peer.push(bulk(near, far));
    }
    let rate = |times: &mut Vec<Duration>| BULK as f64 / 1e6 / median(times).as_secs_f64();
    println!("bulk {} {}", rate(&mut ours), rate(&mut peer));

    println!("idle-kib {} {}", idle_kib(ATTESTED), idle_kib(PLAIN));
}

/// Memory of an idle end, in KiB, by a process of its own: what another measurement freed would be used again.
fn idle_kib(kind: &str) -> f64 {
    let program = std::env::current_exe().expect("a program has a path");
    let output = Command::new(program).arg(kind).output().expect("runs itself");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// What that process does: keeps sessions, and prints how much each end took.
fn keep_idle<S>(open: impl Fn() -> S) {
    // The first loads and fills what every later one shares.
    let _first = open();
    let before = resident();
    let sessions: Vec<_> = (0..IDLE).map(|_| open()).collect();
    println!("{}", (resident() - before) as f64 / (2 * sessions.len()) as f64);
}

/// Knows how long evidence took.
struct Timed {
    inner: Enclave,
    spent: AtomicU64,
}

impl Attester for Timed {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        let (took, offered) = timed(|| self.inner.attest(binding, formats));
        self.spent.store(took.as_nanos() as u64, Ordering::Relaxed);
        offered
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("container").expect("a name")
}

fn attested(client: &Arc<Party>, server: &Arc<Party>) -> (Stream<UnixStream>, Stream<UnixStream>) {
    let (near, far) = UnixStream::pair().expect("sockets");
    let server = server.clone();
    let server = thread::spawn(move || Stream::accept(far, &server).expect("accepts"));
    let client = Stream::connect(near, name(), client).expect("connects");
    (client, server.join().expect("no panic"))
}

/// The same stack, certificates and socket pairs, without the session on top.
struct Plain {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

type Client = StreamOwned<ClientConnection, UnixStream>;
type Server = StreamOwned<ServerConnection, UnixStream>;

impl Plain {
    fn new() -> Self {
        let identity = tls::Identity::generate().expect("a key");
        Self {
            client: Arc::new(tls::client(None).expect("tls 1.3")),
            server: Arc::new(tls::server(&identity, false).expect("tls 1.3")),
        }
    }

    fn open(&self) -> (Client, Server) {
        let (near, far) = UnixStream::pair().expect("sockets");
        let config = self.server.clone();
        let server = thread::spawn(move || {
            let connection = ServerConnection::new(config).expect("a connection");
            let mut server = StreamOwned::new(connection, far);
            server.conn.complete_io(&mut server.sock).expect("a handshake");
            server
        });
        let connection = ClientConnection::new(self.client.clone(), name()).expect("a connection");
        let mut client = StreamOwned::new(connection, near);
        client.conn.complete_io(&mut client.sock).expect("a handshake");
        (client, server.join().expect("no panic"))
    }
}

fn bulk(mut from: impl Write, mut to: impl Read + Send + 'static) -> Duration {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        let mut left = BULK;
        while left > 0 {
            left -= to.read(&mut buffer).expect("reads");
        }
        done.send(()).expect("the sender waits");
    });
    let data = vec![0x5a; 64 << 10];
    let start = Instant::now();
    for _ in 0..BULK / data.len() {
        from.write_all(&data).expect("writes");
    }
    finished.recv().expect("all arrives");
    start.elapsed()
}

fn timed<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// KiB of this process.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
