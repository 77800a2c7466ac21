//! A host that lies about the sockets it gives a real enclave, and what the enclave makes of it.
//!
//! The enclave is the smoke kernel on the emulator, which uses sockets through the library OS's own layer and says
//! line by line what a program would have got. The host's side is a double in this file: it answers every call about
//! a socket as a kernel would, but for one lie. A reply that no kernel gives stops the enclave, which names the field;
//! what a kernel could say but not here becomes an error that sockets have.

mod smoke;

use hostcall::host::Server;
use hostcall::{DATA_SIZE, Event, ExitReason, Memory, RawBlock, Request, address_words};
use sgx::driver::{
    Driver, DriverError, Enclave, EntryLeaf, Exit, ModifiedType, PassedRegisters, Protection,
};
use sgx_emulator::{EmulatedEnclave, Emulator, Mode};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use urts::ExitStatus;

/// Offsets in a block, from the specification in the `hostcall` crate.
mod at {
    pub(crate) const STATUS: usize = 0x60;
    pub(crate) const VALUES: [usize; 4] = [0x68, 0x70, 0x78, 0x80];
    pub(crate) const REPLY_LENGTH: usize = 0x88;
    pub(crate) const DATA: usize = 0x1000;
}

/// Numbers that the host gives its sockets.
const OUT: u32 = 100;
const LISTENER: u32 = 101;
const ACCEPTED: u32 = 102;

const EAGAIN: i32 = 11;

/// Words that the host writes over those of its true reply to a call.
#[derive(Clone, Debug)]
struct Lie {
    call: &'static str,
    words: Vec<(usize, u64)>,
}

/// What the host has done.
#[derive(Default)]
struct Deeds {
    /// Lies that were told.
    lies: u32,
    /// Sockets that were closed, in order.
    closed: Vec<u32>,
    reads_of_out: u32,
    accepts: u32,
}

struct LyingDriver {
    lie: Option<Lie>,
    deeds: Arc<Mutex<Deeds>>,
}

struct LyingEnclave {
    inner: EmulatedEnclave,
    lie: Option<Lie>,
    deeds: Arc<Mutex<Deeds>>,
    /// Address of the first thread's block: no other is started.
    block: Mutex<u64>,
}

impl Driver for LyingDriver {
    type Enclave = LyingEnclave;
    const EMULATED: bool = true;

    fn create(&self, secs: &[u8; 4096]) -> Result<LyingEnclave, DriverError> {
        Ok(LyingEnclave {
            inner: Emulator::new(Mode::Pure).with_fresh_secret().create(secs)?,
            lie: self.lie.clone(),
            deeds: Arc::clone(&self.deeds),
            block: Mutex::default(),
        })
    }
}

impl LyingEnclave {
    /// Answers the call in the block if it is about sockets; false where the runtime is to answer it.
    fn answers(&self) -> bool {
        let address = *self.block.lock().expect("no panic");
        // SAFETY: the runtime's block of the thread that has just left, which lives as long as it.
        let block = unsafe { RawBlock::from_address(address) }.expect("a block");
        let server = Server::new(block);
        let mut scratch = [0; DATA_SIZE];
        let request = server.receive(&mut scratch).expect("our own enclave asks well");
        let mut deeds = self.deeds.lock().expect("no panic");
        if !answer(&server, &request, &mut deeds) {
            return false;
        }
        if let Some(lie) = self.lie.as_ref().filter(|lie| lie.call == request.name()) {
            deeds.lies += 1;
            for (offset, word) in &lie.words {
                server.block().set_word(*offset, *word);
            }
        }
        true
    }
}

/// The true answer.
fn answer(server: &Server<RawBlock>, request: &Request<'_>, deeds: &mut Deeds) -> bool {
    let values = |values| server.reply(values, &[]);
    let name = |stream: u32, ip: [u8; 4], port| {
        let [high, low] = address_words(ip.into());
        values([stream.into(), port, high, low]);
    };
    match *request {
        Request::NetConnect { .. } => values([OUT.into(), 0, 0, 0]),
        Request::NetListen { .. } => values([LISTENER.into(), 0, 0, 0]),
        Request::NetAccept { .. } => {
            deeds.accepts += 1;
            match deeds.accepts {
                1 => name(ACCEPTED, [10, 0, 0, 1], 7),
                _ => server.fail(EAGAIN),
            }
        }
        Request::NetName { .. } => name(0, [10, 9, 8, 7], 40000),
        Request::NetError { .. } | Request::NetShutdown { .. } | Request::StreamWatch { .. } => {
            values([0; 4])
        }
        // IN and OUT.
        Request::StreamPoll { .. } => values([5, 0, 0, 0]),
        Request::StreamRead { stream: OUT, .. } => {
            deeds.reads_of_out += 1;
            let data: &[u8] = if deeds.reads_of_out == 1 { b"answer" } else { b"" };
            server.reply([0; 4], data);
        }
        Request::StreamRead { .. } => server.reply([0; 4], b"hello"),
        Request::StreamWrite { bytes, .. } => values([bytes.len() as u64, 0, 0, 0]),
        Request::StreamClose { stream } => {
            deeds.closed.push(stream);
            values([0; 4]);
        }
        Request::NextEvent {} => {
            server.reply([0; 4], &Event::Ready { stream: OUT, readiness: 1 }.encode());
        }
        _ => return false,
    }
    true
}

impl Enclave for LyingEnclave {
    unsafe fn enter(
        &self,
        tcs: u64,
        leaf: EntryLeaf,
        registers: PassedRegisters,
    ) -> Result<Exit, DriverError> {
        if registers.rsi == hostcall::BLOCK_SIZE as u64 {
            *self.block.lock().expect("no panic") = registers.rdi;
        }
        // SAFETY: the caller's promise.
        let mut exit = unsafe { self.inner.enter(tcs, leaf, registers) }?;
        while matches!(exit, Exit::Eexit(left) if left.rdi == ExitReason::Call as u64)
            && self.answers()
        {
            // SAFETY: the caller's promise.
            exit = unsafe { self.inner.enter(tcs, EntryLeaf::Enter, PassedRegisters::default()) }?;
        }
        Ok(exit)
    }

    fn protect(&self, pages: Range<u64>, protection: Protection) -> Result<(), DriverError> {
        self.inner.protect(pages, protection)
    }
    fn add_page(
        &self,
        offset: u64,
        secinfo: &[u8; 64],
        source: &[u8; 4096],
        measured: bool,
    ) -> Result<(), DriverError> {
        self.inner.add_page(offset, secinfo, source, measured)
    }
    fn init(&self, sigstruct: &[u8; 1808]) -> Result<(), DriverError> {
        self.inner.init(sigstruct)
    }
    fn restrict(&self, pages: Range<u64>, permissions: Protection) -> Result<(), DriverError> {
        self.inner.restrict(pages, permissions)
    }
    fn modify_type(&self, pages: Range<u64>, to: ModifiedType) -> Result<(), DriverError> {
        self.inner.modify_type(pages, to)
    }
    fn remove(&self, pages: Range<u64>) -> Result<(), DriverError> {
        self.inner.remove(pages)
    }
    fn kick(&self, tcs: u64) {
        self.inner.kick(tcs);
    }
}

/// What came of a run.
struct Run {
    lie: Option<Lie>,
    outcome: smoke::Outcome,
    closed: Vec<u32>,
}

/// Runs the enclave on such a host. One at a time: ELRANGE starts at 0.
fn run(lie: Option<Lie>) -> Run {
    static ONE: Mutex<()> = Mutex::new(());
    let _one: MutexGuard<'_, ()> = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let deeds = Arc::new(Mutex::new(Deeds::default()));
    let driver = LyingDriver { lie: lie.clone(), deeds: Arc::clone(&deeds) };
    let outcome = smoke::run_request(&driver, None, b"net");
    let deeds = std::mem::take(&mut *deeds.lock().expect("no panic"));
    assert_eq!(deeds.lies > 0, lie.is_some(), "{lie:?} was never told");
    Run { lie, outcome, closed: deeds.closed }
}

fn lying(call: &'static str, words: &[(usize, u64)]) -> Run {
    run(Some(Lie { call, words: words.into() }))
}

/// An address and its port, as a reply has them.
fn address(ip: &str, port: u64) -> [(usize, u64); 3] {
    let [high, low] = address_words(ip.parse::<IpAddr>().expect("an address"));
    [(at::VALUES[1], port), (at::VALUES[2], high), (at::VALUES[3], low)]
}

/// A failure with this number.
fn errno(number: u64) -> [(usize, u64); 6] {
    let [a, b, c, d] = at::VALUES.map(|at| (at, 0));
    [(at::STATUS, number), (at::REPLY_LENGTH, 0), a, b, c, d]
}

impl Run {
    /// The enclave went on to its end, and said this. A line that no step says is the library OS's own.
    fn says(&self, expected: &[&str]) -> &Self {
        let Self { lie, outcome, .. } = self;
        assert_eq!(outcome.status, ExitStatus::Exited(0), "{lie:?}: {:#?}", outcome.lines);
        for line in expected {
            let is_said = outcome.lines.iter().any(|said| said.ends_with(line));
            assert!(is_said, "{lie:?}: {line:?} is not in {:#?}", outcome.lines);
        }
        self
    }

    fn closes(&self, expected: &[u32]) {
        assert_eq!(self.closed, expected, "{:?}: {:#?}", self.lie, self.outcome.lines);
    }
}

fn refusal(call: &'static str, words: &[(usize, u64)]) -> String {
    match lying(call, words).outcome.status {
        ExitStatus::Refused(reason) => reason,
        other => panic!("{call} {words:?}: expected a refusal, got {other}"),
    }
}

#[test]
fn a_host_that_does_not_lie_is_believed() {
    run(None)
        .says(&[
            "connect: Ok(10.0.0.5:5432)",
            "listen: Ok(true)",
            "accept: Some(Ok(10.0.0.1:7))",
            "finish: Ok(())",
            "name: Some(10.9.8.7:40000)",
            "send: Ok(8)",
            "receive: Ok(\"answer\")",
            "unread: 0",
            "end: Ok(\"\")",
            "error: None",
            "shutdown: Ok(())",
            "receive of the accepted: Ok(\"hello\")",
            "next accept: Some(Err(EAGAIN))",
            "ready: Ok(5)",
        ])
        .closes(&[ACCEPTED, LISTENER, OUT]);
}

/// Counts and numbers beyond what was asked for or what there can be.
#[test]
fn replies_that_no_kernel_gives_stop_the_enclave() {
    let (value, port) = (at::VALUES[0], at::VALUES[1]);
    let too_large = 1 << 32;
    let at_most = |field: &str, call: &str, most: u64, got: u64| {
        format!("{field} of the host's reply to {call}: expected at most {most}, got {got}")
    };
    let streams = u32::MAX.into();
    for (call, field, at, most, got) in [
        ("NetListen", "value", value, streams, too_large),
        ("NetListen", "unused value", port, 0, 7),
        ("NetListen", "data length", at::REPLY_LENGTH, 0, 1),
        ("NetListen", "status", at::STATUS, 4095, 4096),
        ("NetConnect", "value", value, streams, too_large),
        ("NetConnect", "unused value", at::VALUES[3], 0, u64::MAX),
        ("NetConnect", "status", at::STATUS, 4095, u64::MAX),
        ("NetAccept", "stream", value, streams, too_large),
        ("NetAccept", "port", port, 65535, 65536),
        ("NetAccept", "port", port, 65535, 0),
        ("NetAccept", "data length", at::REPLY_LENGTH, 0, 16),
        ("NetName", "stream", value, 0, 1),
        ("NetName", "port", port, 65535, 0),
        ("NetError", "value", value, 4095, 4096),
        ("NetShutdown", "value", value, 0, 1),
        ("StreamRead", "data length", at::REPLY_LENGTH, 16, 17),
        ("StreamRead", "data length", at::REPLY_LENGTH, 16, u64::MAX),
        ("StreamWrite", "value", value, 8, 9),
        ("StreamWrite", "bytes written", value, 1, 0),
        // POLLNVAL, and a bit of no poll(2).
        ("StreamPoll", "readiness", value, 0, 0x20),
        ("StreamPoll", "readiness", value, 1, 1 << 16 | 1),
        ("StreamWatch", "value", value, 0, 1),
        ("StreamClose", "value", value, 0, 1),
    ] {
        assert_eq!(refusal(call, &[(at, got)]), at_most(field, call, most, got));
    }
}

#[test]
fn an_event_that_the_abi_does_not_have_stops_the_enclave() {
    let word = |index: usize| at::DATA + index * 8;
    for (at, got, field) in [
        (word(0), 9, "kind"),
        (word(1), 1 << 32, "stream"),
        (word(2), 0, "readiness"),
        (word(2), 0x20, "readiness"),
        (word(2), 1 << 16, "readiness"),
        (word(5), 1, "unused word"),
        (at::REPLY_LENGTH, 47, "length"),
    ] {
        let expected = format!("{field} of the host's event: got {got:#x}, outside its domain");
        assert_eq!(refusal("NextEvent", &[(at, got)]), expected);
    }
}

/// Readiness is a hint: bits that nobody asked for, of a socket that nobody has, change no bytes.
#[test]
fn readiness_that_nobody_asked_for_is_harmless() {
    let whole = ["receive: Ok(\"answer\")", "end: Ok(\"\")", "send: Ok(8)"];
    // All bits that there are.
    lying("NextEvent", &[(at::DATA + 16, 0x201d)]).says(&whole).says(&["ready: Ok(8221)"]);
    lying("NextEvent", &[(at::DATA + 8, 77)]).says(&whole).says(&["ready: Ok(5)"]);
    lying("StreamPoll", &[(at::VALUES[0], 0x201d)]).says(&whole).says(&["finish: Ok(())"]);
    lying("StreamPoll", &[(at::VALUES[0], 0)]).says(&whole).says(&["finish: Err(EAGAIN)"]);
    lying("StreamPoll", &errno(9)).says(&whole);
}

/// Whatever number the host gives, a program gets one that the call is known for.
#[test]
fn errors_that_no_socket_has_become_plausible_ones() {
    // EINTR, EFAULT, two that only the library OS uses inside, and one that nobody has.
    for number in [4, 14, 512, 514, 4095] {
        let lie = errno(number);
        lying("NetConnect", &lie).says(&["connect: Err(ENETDOWN)"]);
        lying("NetListen", &lie).says(&["listen: Err(ENETDOWN)", "accept: None"]);
        lying("NetAccept", &lie).says(&["accept: Some(Err(ECONNABORTED))"]);
        lying("NetError", &[(at::VALUES[0], number)]).says(&["finish: Err(ENETDOWN)"]);
        lying("NetError", &lie).says(&["finish: Err(ENETDOWN)"]);
        lying("NetName", &lie).says(&["name: None"]);
        lying("NetShutdown", &lie).says(&["shutdown: Err(ENOTCONN)"]);
        // A call that the host says was interrupted is made again.
        let (read, sent) = match number {
            4 => ("receive: Err(EAGAIN)", "send: Err(EAGAIN)"),
            _ => ("receive: Err(ECONNRESET)", "send: Err(ECONNRESET)"),
        };
        lying("StreamRead", &lie).says(&[read]);
        lying("StreamWrite", &lie).says(&[sent]);
    }
    // What can be is passed on.
    lying("NetConnect", &errno(111)).says(&["connect: Err(ECONNREFUSED)"]);
    lying("NetError", &[(at::VALUES[0], 113)]).says(&["finish: Err(EHOSTUNREACH)"]);
    lying("NetListen", &errno(98)).says(&["listen: Err(EADDRINUSE)"]);
}

#[test]
fn a_socket_that_is_in_use_is_not_given_twice() {
    let in_use = |number: u32| {
        format!("socket of the host: expected a new one, got {number}, which is in use")
    };
    // The connection, and the listener itself: neither is closed for it, and both go on.
    for number in [OUT, LISTENER] {
        lying("NetAccept", &[(at::VALUES[0], number.into())])
            .says(&[&in_use(number), "accept: Some(Err(ECONNABORTED))"])
            .says(&["receive: Ok(\"answer\")", "next accept: Some(Err(EAGAIN))"])
            .closes(&[LISTENER, OUT]);
    }
    lying("NetListen", &[(at::VALUES[0], OUT.into())])
        .says(&[&in_use(OUT), "listen: Err(ENETDOWN)", "accept: None", "receive: Ok(\"answer\")"])
        .closes(&[OUT]);
}

#[test]
fn a_peer_that_cannot_be_is_no_connection() {
    for (ip, seen) in [
        ("0.0.0.0", "0.0.0.0:7"),
        ("224.0.0.1", "224.0.0.1:7"),
        ("255.255.255.255", "255.255.255.255:7"),
        // The listener is of IPv4.
        ("2001:db8::1", "[2001:db8::1]:7"),
        ("::1", "[::1]:7"),
        ("::", "[::]:7"),
    ] {
        let line = format!(
            "peer of the host's socket: expected one that can reach 0.0.0.0:80, got {seen}"
        );
        lying("NetAccept", &address(ip, 7))
            .says(&["accept: Some(Err(ECONNABORTED))", &line])
            .closes(&[ACCEPTED, LISTENER, OUT]);
    }
}

/// Programs trust who comes from loopback, which is the enclave's own.
#[test]
fn nobody_of_the_host_is_on_loopback() {
    for ip in ["127.0.0.1", "127.255.0.9"] {
        lying("NetAccept", &address(ip, 7)).says(&["accept: Some(Ok(192.0.0.8:7))"]);
        lying("NetName", &address(ip, 7)).says(&["name: Some(192.0.0.8:7)"]);
    }
    for ip in ["0.0.0.0", "224.0.0.1", "::1", "2001:db8::1"] {
        lying("NetName", &address(ip, 7)).says(&["name: None"]);
    }
}
