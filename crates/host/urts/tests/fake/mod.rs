//! A scripted double of a driver: each TCS runs a closure on a thread of its own, and `enter` hands control to it
//! and back, as EENTER and EEXIT do. So a test says what an enclave does, byte by byte if it likes, and sees what
//! the runtime makes of it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use hostcall::enclave::{CallError, Caller, Reply};
use hostcall::{ExitReason, RawBlock, Request};
use sgx::driver::{
    Driver, DriverError, Enclave, EntryLeaf, Exit, ModifiedType, PassedRegisters, Protection,
};
use sgx::sgxs::{Ecreate, Io, Page, Writer};
use sgx::{PAGE_SIZE, Secinfo, SecinfoFlags};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use urts::Pack;

/// The TCS that `start` enters.
pub(crate) const FIRST: u64 = 0x10000;
/// Further TCSs.
pub(crate) const SECOND: u64 = 0x11000;
pub(crate) const THIRD: u64 = 0x12000;

type Running = (Sender<PassedRegisters>, Receiver<Exit>);
type Script = Arc<dyn Fn(&mut Thread) + Send + Sync>;

/// What the runtime did to the enclave besides entering it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add { offset: u64, measured: bool },
    Init,
    Protect(u64, u64, u8),
    Restrict(u64, u64, u8),
    ModifyType(u64, u64, ModifiedType),
    Remove(u64, u64),
    Kick(u64),
}

#[derive(Default)]
pub(crate) struct Fake {
    scripts: HashMap<u64, Script>,
    pub(crate) operations: Arc<Mutex<Vec<Operation>>>,
    pub(crate) entries: Arc<Mutex<Vec<(u64, EntryLeaf)>>>,
}

impl Fake {
    /// An enclave whose first thread runs `script`.
    pub(crate) fn new(script: impl Fn(&mut Thread) + Send + Sync + 'static) -> Self {
        Self::default().thread(FIRST, script)
    }

    /// With a script for another TCS.
    pub(crate) fn thread(
        mut self,
        tcs: u64,
        script: impl Fn(&mut Thread) + Send + Sync + 'static,
    ) -> Self {
        self.scripts.insert(tcs, Arc::new(script));
        self
    }
}

impl Driver for Fake {
    type Enclave = FakeEnclave;
    const EMULATED: bool = true;

    fn create(&self, secs: &[u8; 4096]) -> Result<FakeEnclave, DriverError> {
        assert_eq!(secs[8..16], [0; 8], "ELRANGE starts at 0");
        Ok(FakeEnclave {
            scripts: self.scripts.clone(),
            operations: Arc::clone(&self.operations),
            entries: Arc::clone(&self.entries),
            running: Mutex::default(),
        })
    }
}

pub(crate) struct FakeEnclave {
    scripts: HashMap<u64, Script>,
    operations: Arc<Mutex<Vec<Operation>>>,
    entries: Arc<Mutex<Vec<(u64, EntryLeaf)>>>,
    running: Mutex<HashMap<u64, Running>>,
}

impl FakeEnclave {
    fn record(&self, operation: Operation) -> Result<(), DriverError> {
        self.operations.lock().unwrap().push(operation);
        Ok(())
    }
}

impl Enclave for FakeEnclave {
    fn add_page(
        &self,
        offset: u64,
        _: &[u8; 64],
        _: &[u8; 4096],
        measured: bool,
    ) -> Result<(), DriverError> {
        self.record(Operation::Add { offset, measured })
    }

    fn init(&self, sigstruct: &[u8; 1808]) -> Result<(), DriverError> {
        if sigstruct[0] == 0xee {
            return Err(DriverError::Leaf { operation: "EINIT", code: 8 });
        }
        self.record(Operation::Init)
    }

    fn protect(&self, pages: std::ops::Range<u64>, to: Protection) -> Result<(), DriverError> {
        if pages.end > 1 << 20 {
            return Err(DriverError::Os { operation: "mprotect", errno: 12 });
        }
        self.record(Operation::Protect(pages.start, pages.end, to.0))
    }

    fn restrict(&self, pages: std::ops::Range<u64>, to: Protection) -> Result<(), DriverError> {
        self.record(Operation::Restrict(pages.start, pages.end, to.0))
    }

    fn modify_type(
        &self,
        pages: std::ops::Range<u64>,
        to: ModifiedType,
    ) -> Result<(), DriverError> {
        self.record(Operation::ModifyType(pages.start, pages.end, to))
    }

    fn remove(&self, pages: std::ops::Range<u64>) -> Result<(), DriverError> {
        self.record(Operation::Remove(pages.start, pages.end))
    }

    unsafe fn enter(
        &self,
        tcs: u64,
        leaf: EntryLeaf,
        registers: PassedRegisters,
    ) -> Result<Exit, DriverError> {
        self.entries.lock().unwrap().push((tcs, leaf));
        let taken = self.running.lock().unwrap().remove(&tcs);
        let (go, exits) = match taken {
            Some(running) => running,
            None => {
                let Some(script) = self.scripts.get(&tcs).cloned() else {
                    return Err(DriverError::Refused {
                        operation: "EENTER",
                        field: "TCS",
                        expected: FIRST,
                        got: tcs,
                    });
                };
                let (go, entered) = channel();
                let (exit, exits) = channel();
                std::thread::spawn(move || {
                    let Ok(registers) = entered.recv() else { return };
                    Thread { registers, entered, exit, caller: None, last: registers }.run(&script);
                });
                (go, exits)
            }
        };
        go.send(registers).unwrap();
        // A script that panicked shows as a driver error here and in the test's output.
        let exit = exits.recv().map_err(|_| DriverError::Os { operation: "script", errno: 5 })?;
        if exit != ended() {
            self.running.lock().unwrap().insert(tcs, (go, exits));
        }
        Ok(exit)
    }

    fn kick(&self, tcs: u64) {
        self.record(Operation::Kick(tcs)).unwrap();
    }
}

/// A thread inside.
pub(crate) struct Thread {
    /// Registers of the first entry.
    pub(crate) registers: PassedRegisters,
    /// Registers of the last entry.
    pub(crate) last: PassedRegisters,
    entered: Receiver<PassedRegisters>,
    exit: Sender<Exit>,
    caller: Option<Caller<RawBlock>>,
}

impl Thread {
    fn run(mut self, script: &Script) {
        // SAFETY: the runtime promises a live block of the ABI's size at RDI.
        let block = unsafe { RawBlock::from_address(self.registers.rdi) }.unwrap();
        assert_eq!(self.registers.rsi, hostcall::BLOCK_SIZE as u64);
        self.caller = Some(Caller::new(block).unwrap());
        script(&mut self);
        let _ = self.exit.send(ended());
    }

    /// Leaves and comes back. If the runtime never enters again, the thread sleeps until the process ends, as a
    /// TCS that is not entered does.
    pub(crate) fn leave(&mut self, exit: Exit) {
        self.exit.send(exit).unwrap();
        match self.entered.recv() {
            Ok(registers) => self.last = registers,
            Err(_) => loop {
                std::thread::park();
            },
        }
    }

    /// Leaves by EEXIT.
    pub(crate) fn eexit(&mut self, rdi: u64) {
        self.leave(Exit::Eexit(PassedRegisters { rdi, ..PassedRegisters::default() }));
    }

    /// Makes a host call.
    pub(crate) fn call(
        &mut self,
        request: Request<'_>,
        into: &mut [u8],
    ) -> Result<Reply, CallError> {
        let mut caller = self.caller.take().unwrap();
        let result = caller.call(&request, into, || self.eexit(ExitReason::Call as u64));
        self.caller = Some(caller);
        result
    }

    /// Makes a host call that answers no data.
    pub(crate) fn ask(&mut self, request: Request<'_>) -> Result<u64, u16> {
        self.call(request, &mut []).map(|reply| reply.values[0]).map_err(errno)
    }

    /// Makes a host call that answers data.
    pub(crate) fn data(&mut self, request: Request<'_>) -> Result<Vec<u8>, u16> {
        let mut into = vec![0; hostcall::DATA_SIZE];
        let reply = self.call(request, &mut into).map_err(errno)?;
        into.truncate(reply.length);
        Ok(into)
    }

    /// Ends the container with an exit code.
    pub(crate) fn exit(&mut self, code: u32) {
        let _ = self.ask(Request::Exit { status: code << 8 });
    }
}

fn errno(error: CallError) -> u16 {
    match error {
        CallError::Errno(number) => number,
        other => panic!("the runtime's reply: {other}"),
    }
}

fn ended() -> Exit {
    let rdi = ExitReason::ThreadEnded as u64;
    Exit::Eexit(PassedRegisters { rdi, ..PassedRegisters::default() })
}

/// Streams that give nothing and keep nothing.
pub(crate) fn no_streams() -> [OwnedFd; 3] {
    [null(), null(), null()]
}

pub(crate) fn null() -> OwnedFd {
    std::fs::File::options().read(true).write(true).open("/dev/null").unwrap().into()
}

/// Starts an enclave that runs `script`, with these streams.
pub(crate) fn start(
    streams: [OwnedFd; 3],
    script: impl Fn(&mut Thread) + Send + Sync + 'static,
) -> urts::Enclave {
    let root = std::fs::File::open("/tmp").unwrap().into();
    let options = urts::Options::default();
    let enclave = urts::Enclave::load(&Fake::new(script), pack(), root, options).unwrap();
    enclave.start(b"{}".to_vec(), streams).unwrap();
    enclave
}

/// A pack with three TCSs, one unmeasured page, and some side data.
pub(crate) fn pack() -> Pack {
    let mut stream = Vec::new();
    let ecreate = Ecreate { ssaframesize_pages: 1, size: 1 << 20 };
    let mut writer = Writer::new(Io(&mut stream), ecreate).unwrap();
    let page = |offset, secinfo, measured| Page {
        offset,
        secinfo,
        measured,
        present: measured,
        data: [0; PAGE_SIZE],
    };
    for tcs in [FIRST, SECOND, THIRD] {
        writer.page(&page(tcs, Secinfo::tcs(), u16::MAX)).unwrap();
    }
    writer.page(&page(0x20000, Secinfo::reg(SecinfoFlags::R | SecinfoFlags::W), 0)).unwrap();
    writer.page(&page(0x21000, Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X), u16::MAX)).unwrap();
    pack_of(&stream, &[0; 1808])
}

/// A pack of these bytes.
pub(crate) fn pack_of(sgxs: &[u8], sigstruct: &[u8]) -> Pack {
    Pack {
        sgxs: file(sgxs),
        sigstruct: file(sigstruct),
        metadata: file(b"the metadata"),
        trees: file(&[7; 100_000]),
    }
}

/// An unnamed file with these bytes.
pub(crate) fn file(bytes: &[u8]) -> OwnedFd {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file.into()
}
