//! The relay against haproxy with splicing, in tcp mode with routing by SNI and ALPN, one thread each: bytes per
//! second, connections per second, processor time of both, and memory of idle connections.
//!
//! Verifiers and containers are in this process and cost little: bytes come out of a file by sendfile(2) and are
//! dropped unread (MSG_TRUNC). A line is `name ours ratio`, our figure the median of five and the ratio ours / peer
//! the median of five pairs, taken alternately. `INCLAVARED` names another program than cargo built here.
#![forbid(unsafe_code)]

#[path = "../tests/common/hello.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the tests")]
mod hello;

use rustix::net::RecvFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

const HAPROXY: &str = "/usr/sbin/haproxy";
const PAIRS: usize = 5;
const IDLE: usize = 9000;

/// Of a measurement.
const TIME: Duration = Duration::from_millis(1500);

/// What an attester answers to a hello, in bytes.
const ANSWER: usize = 1500;

/// How much a container sends of its file at once.
const PIECE: usize = 1 << 20;

fn main() {
    if !Path::new(HAPROXY).exists() {
        eprintln!("{HAPROXY} is not installed: apt-get install haproxy");
        std::process::exit(1);
    }
    // Both ends of the idle connections are here.
    let files = getrlimit(Resource::Nofile).maximum;
    assert!(files.is_none_or(|files| files >= 20_000), "expected 20,000 open files, got {files:?}");
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })
        .expect("no more than its limit");
    let hello = Arc::new(hello::bound_hello("web"));
    let container = Container::start(hello.len());
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let [ours, peer] =
        [Relay::ours(container.address), Relay::haproxy(container.address, scratch.path())];
    for count in [1, 64] {
        let name = |what: &str| format!("{what}-{count}");
        container.is_bulk.store(true, Relaxed);
        pairs(&name("bytes"), &[&ours, &peer], |relay| bulk(relay, &hello, count));
        container.is_bulk.store(false, Relaxed);
        pairs(&name("connections"), &[&ours, &peer], |relay| rate(relay, &hello, count));
    }
    let [ours, peer] = [&ours, &peer].map(|relay| {
        let memory = idle(relay, &hello);
        container.kept.lock().expect("nobody panics with it").clear();
        memory
    });
    println!("idle-mb {ours:.1} {:.3}", ours / peer);
}

/// A process that relays.
struct Relay {
    child: Child,
    address: SocketAddr,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    fn ours(container: SocketAddr) -> Self {
        let program = std::env::var("INCLAVARED");
        let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_inclavared").into());
        let address = free();
        let mut command = Command::new(program);
        command.args(["--threads=1", "--max-connections=9400", "--max-per-source=9400"]);
        command.args(["--log-level=warn", &format!("--listen={address}")]);
        command.arg(format!("--container=web={container}"));
        Self::start(command, address)
    }

    /// As its documentation has it for this use.
    fn haproxy(container: SocketAddr, scratch: &Path) -> Self {
        let address = free();
        let file = scratch.join("haproxy.cfg");
        let text = format!(
            "global\n  nbthread 1\n  maxconn 9400\n  maxpipes 200\n\
             defaults\n  mode tcp\n  option splice-auto\n  option splice-request\n  option splice-response\n  \
             timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             frontend verifiers\n  bind {address}\n  tcp-request inspect-delay 5s\n  \
             tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
             use_backend web if {{ req.ssl_sni -i web }} {{ req.ssl_alpn -m str eaa-bound/1 }}\n\
             backend web\n  server web {container}\n"
        );
        std::fs::write(&file, text).expect("the scratch directory is writable");
        let mut command = Command::new(HAPROXY);
        command.args(["-db", "-f"]).arg(file);
        Self::start(command, address)
    }

    fn start(mut command: Command, address: SocketAddr) -> Self {
        let child = command.stdout(Stdio::null()).spawn().expect("it starts");
        let relay = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        relay
    }

    fn connect(&self, hello: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.write_all(hello).expect("it reads a hello");
        stream
    }

    /// Processor time so far, in seconds.
    fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let nanoseconds = tasks.flatten().map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default()
        });
        nanoseconds.sum::<f64>() / 1e9
    }

    /// Resident memory, in megabytes.
    fn memory(&self) -> f64 {
        let text =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line =
            text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024.0 / 1e6
    }
}

/// A port that nobody has.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// A container: reads a hello, then answers it, or sends for as long as it may.
struct Container {
    address: SocketAddr,
    is_bulk: Arc<AtomicBool>,
    /// Idle connections.
    kept: Arc<Mutex<Vec<TcpStream>>>,
}

impl Container {
    fn start(hello: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let is_bulk = Arc::new(AtomicBool::new(true));
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = rustix::fs::memfd_create("bytes", flags).expect("memory for a file");
        let file = File::from(file);
        file.set_len(PIECE as u64).expect("memory for a file");
        (&file).write_all(&vec![7; PIECE]).expect("memory for a file");
        let file = Arc::new(file);
        let kept = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..80 {
            let listener = listener.try_clone().expect("a descriptor is free");
            let (is_bulk, file, kept) = (is_bulk.clone(), file.clone(), kept.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    // Whatever ends it, the next one comes.
                    if let Some(stream) = serve(stream, hello, &is_bulk, &file) {
                        kept.lock().expect("nobody panics with it").push(stream);
                    }
                }
            });
        }
        Self { address, is_bulk, kept }
    }
}

/// Gives the connection back if the verifier says nothing: an idle one.
fn serve(
    mut stream: TcpStream,
    hello: usize,
    is_bulk: &AtomicBool,
    file: &File,
) -> Option<TcpStream> {
    stream.set_nodelay(true).ok()?;
    stream.read_exact(&mut vec![0; hello]).ok()?;
    if !is_bulk.load(Relaxed) {
        let mut wish = [0];
        stream.write_all(&[7; ANSWER]).ok()?;
        return match stream.read(&mut wish) {
            Ok(1) => Some(stream),
            _ => None,
        };
    }
    loop {
        rustix::fs::sendfile(&stream, file, Some(&mut 0), PIECE).ok()?;
    }
}

/// Figure and processor time of both, alternately.
fn pairs(name: &str, relays: &[&Relay; 2], measure: impl Fn(&Relay) -> (f64, f64)) {
    let (mut figures, mut ratios, mut costs, mut cost_ratios) = (vec![], vec![], vec![], vec![]);
    for round in 0..PAIRS {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut got = [(0.0, 0.0); 2];
        for which in order {
            got[which] = measure(relays[which]);
        }
        let [(ours, our_cost), (peer, peer_cost)] = got;
        figures.push(ours);
        ratios.push(ours / peer);
        costs.push(our_cost);
        cost_ratios.push(our_cost / peer_cost);
    }
    println!("{name} {:.3} {:.3}", median(figures), median(ratios));
    println!("{name}-cpu {:.3} {:.3}", median(costs), median(cost_ratios));
}

/// Megabytes per second, and processor time for a gigabyte in milliseconds.
fn bulk(relay: &Relay, hello: &Arc<Vec<u8>>, count: usize) -> (f64, f64) {
    let (total, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let ready = Arc::new(Barrier::new(count + 1));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (total, stop, ready) = (total.clone(), stop.clone(), ready.clone());
            let stream = relay.connect(hello);
            std::thread::spawn(move || {
                let mut buffer = vec![0; PIECE];
                let mut take = || {
                    let got = rustix::net::recv(&stream, &mut buffer[..], RecvFlags::TRUNC);
                    got.expect("bytes come").1 as u64
                };
                take();
                ready.wait();
                while !stop.load(Relaxed) {
                    total.fetch_add(take(), Relaxed);
                }
            })
        })
        .collect();
    ready.wait();
    let (start, cpu, before) = (Instant::now(), relay.cpu(), total.load(Relaxed));
    std::thread::sleep(TIME);
    let moved = (total.load(Relaxed) - before) as f64;
    let (time, cpu) = (start.elapsed().as_secs_f64(), relay.cpu() - cpu);
    stop.store(true, Relaxed);
    for thread in threads {
        thread.join().expect("it only reads");
    }
    (moved / 1e6 / time, cpu * 1e3 / (moved / 1e9))
}

/// Connections per second, and processor time for one in microseconds.
fn rate(relay: &Relay, hello: &Arc<Vec<u8>>, count: usize) -> (f64, f64) {
    let ready = Arc::new(Barrier::new(count + 1));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (address, hello, ready) = (relay.address, hello.clone(), ready.clone());
            std::thread::spawn(move || {
                let mut answer = [0; ANSWER];
                ready.wait();
                let (start, mut done) = (Instant::now(), 0_u64);
                while start.elapsed() < TIME {
                    let mut stream = TcpStream::connect(address).expect("it listens");
                    stream.write_all(&hello).expect("it reads a hello");
                    stream.read_exact(&mut answer).expect("an answer");
                    done += 1;
                }
                done
            })
        })
        .collect();
    let cpu = relay.cpu();
    ready.wait();
    let start = Instant::now();
    let done: u64 = threads.into_iter().map(|thread| thread.join().expect("it counts")).sum();
    let (time, cpu) = (start.elapsed().as_secs_f64(), relay.cpu() - cpu);
    (done as f64 / time, cpu * 1e6 / done as f64)
}

/// Megabytes of the process with idle connections.
fn idle(relay: &Relay, hello: &[u8]) -> f64 {
    let mut answer = [0; ANSWER];
    let open: Vec<_> = (0..IDLE)
        .map(|_| {
            let mut stream = relay.connect(hello);
            stream.read_exact(&mut answer).expect("an answer");
            stream.write_all(&[1]).expect("it is open");
            stream
        })
        .collect();
    let memory = relay.memory();
    drop(open);
    memory
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
