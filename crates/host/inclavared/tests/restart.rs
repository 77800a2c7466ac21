//! Routes and processes change while connections are open.

mod common;

use common::hello::bound_hello;
use common::{Relay, echo, program, read, rest, wait};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

const CLIENTS: usize = 8;

/// Verifiers that open, use and close one connection after the other.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..CLIENTS)
            .map(|_| {
                let (stop, done) = (stop.clone(), done.clone());
                std::thread::spawn(move || {
                    let mut lost = Vec::new();
                    while !stop.load(SeqCst) {
                        match once(address) {
                            Ok(()) => {
                                done.fetch_add(1, SeqCst);
                            }
                            Err(error) => {
                                lost.push(error.to_string());
                                std::thread::sleep(Duration::from_millis(5));
                            }
                        }
                    }
                    lost
                })
            })
            .collect();
        Self { stop, done, threads }
    }

    fn goes_on(&self) {
        let before = self.done.load(SeqCst);
        wait("more connections", || self.done.load(SeqCst) > before + 4 * CLIENTS);
    }

    /// What was lost by each.
    fn stop(self) -> Vec<Vec<String>> {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

fn once(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(common::PATIENCE))?;
    stream.write_all(&bound_hello("web"))?;
    stream.write_all(b"ping")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"webping");
    Ok(())
}

/// Killed under load and started again: what was in flight is lost, and what comes after is not.
#[test]
fn a_kill_loses_the_connections_in_flight_alone() {
    let web = echo("web");
    let route = format!("--container=web={web}");
    let mut first = Relay::start(&[&route]);
    let mut kept = first.connect("web");
    read(&mut kept, 3);
    let load = Load::start(first.address);
    load.goes_on();
    first.signal(Signal::KILL);
    first.wait();
    let _second = Relay::start_at(&first.address.to_string(), &[&route]);
    load.goes_on();
    assert_eq!(rest(&mut kept), b"");
    for lost in load.stop() {
        let refused = |line: &&String| line.contains("refused");
        // Between the two nobody listens; besides, each client was in one connection.
        let in_flight = lost.len() - lost.iter().filter(refused).count();
        assert!(in_flight <= 1, "{lost:?}");
    }
}

/// The next process takes the port; this one lets its connections end.
#[test]
fn a_successor_takes_the_port_while_sessions_go_on() {
    let web = echo("web");
    let route = format!("--container=web={web}");
    let mut first = Relay::start(&[&route]);
    let mut open = first.connect("web");
    read(&mut open, 3);
    let second = Relay::start_at(&first.address.to_string(), &[&route]);
    assert_eq!(second.address, first.address);
    first.signal(Signal::TERM);
    first.logged("draining");
    wait("the successor to get connections", || {
        read(&mut second.connect("web"), 3);
        second.metric("relayed_total") > 0
    });
    open.write_all(b"still").unwrap();
    assert_eq!(read(&mut open, 5), "still");
    drop(open);
    assert!(first.wait().success());
}

#[test]
fn draining_ends_even_if_connections_do_not() {
    let web = echo("web");
    let mut relay = Relay::start(&[&format!("--container=web={web}"), "--drain-timeout=1"]);
    let mut open = relay.connect("web");
    read(&mut open, 3);
    relay.signal(Signal::TERM);
    assert_eq!(rest(&mut open), b"");
    assert!(relay.wait().success());
    relay.logged("cut off: they took too long open=1");
}

/// With the socket handed over nothing is lost at all.
#[test]
fn a_socket_that_is_handed_over_loses_nothing() {
    let web = echo("web");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = || {
        let mut command = Command::new("sh");
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
        command.args(["-c", script, "sh"]).arg(program().get_program());
        command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        command.arg(format!("--container=web={web}"));
        Relay::run(command)
    };
    let mut first = start();
    assert_eq!(first.address, socket.local_addr().unwrap());
    let load = Load::start(first.address);
    load.goes_on();
    for _ in 0..3 {
        let second = start();
        first.signal(Signal::TERM);
        assert!(first.wait().success());
        load.goes_on();
        first = second;
    }
    assert_eq!(load.stop(), vec![Vec::<String>::new(); CLIENTS]);
}

#[test]
fn routes_change_while_connections_are_open() {
    let (web, new) = (echo("web"), echo("new"));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("web"), &web).unwrap();
    let containers = format!("--containers={}", directory.path().display());
    let relay = Relay::start(&[&containers]);
    let mut open = relay.connect("web");
    assert_eq!(read(&mut open, 3), "web");
    // Moved into its place, as a writer should; seen without being told.
    std::fs::write(file(".web"), &new).unwrap();
    std::fs::rename(file(".web"), file("web")).unwrap();
    wait("the new route", || read(&mut relay.connect("web"), 3) == "new");
    std::fs::write(file("bad"), "nowhere").unwrap();
    let line = relay.logged("route not taken");
    assert!(line.contains("bad fault=address: expected IP:PORT"), "{line}");
    std::fs::remove_file(file("web")).unwrap();
    wait("the route to go", || relay.metric("routes") == 0);
    assert_eq!(rest(&mut relay.connect("web")), [21, 3, 3, 0, 2, 2, 112]);
    open.write_all(b"still").unwrap();
    assert_eq!(read(&mut open, 5), "still", "an open connection outlives its route");
    // The directory itself may be replaced.
    let beside = tempfile::tempdir().unwrap();
    std::fs::write(beside.path().join("web"), &web).unwrap();
    std::fs::rename(directory.path(), beside.path().join("old")).unwrap();
    std::fs::rename(beside.path(), directory.path()).unwrap();
    relay.signal(Signal::HUP);
    wait("the route to come back", || relay.metric("routes") == 1);
    assert_eq!(read(&mut relay.connect("web"), 3), "web");
}
