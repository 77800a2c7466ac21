//! A hostile host: a driver that does to a real enclave what a host can do, and what the enclave makes of it.
//!
//! The enclave is the smoke kernel on the emulator in pure mode, where the host sees every exit. Whatever the
//! host does, the enclave either goes on as if nothing had happened, all of its checks holding, or stops with
//! a reason that names what it saw.

mod smoke;

use hostcall::BLOCK_SIZE;
use sgx::driver::{
    Driver, DriverError, Enclave, EntryLeaf, Exit, ModifiedType, PassedRegisters, Protection,
};
use sgx::{AttributeFlags, Secs};
use sgx_emulator::{EmulatedEnclave, Emulator, Mode, RESUME_REASON};
use smoke::Outcome;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use urts::{ExitStatus, StopReason};

/// Offsets in a block, from the specification in the `hostcall` crate.
mod at {
    pub(crate) const CALL: usize = 0x18;
    pub(crate) const REPLY_SEQUENCE: usize = 0x58;
    pub(crate) const STATUS: usize = 0x60;
    pub(crate) const VALUES: usize = 0x68;
    pub(crate) const REPLY_LENGTH: usize = 0x88;
    pub(crate) const DATA: usize = 0x1000;
}

/// Numbers of host calls.
const YIELD: u64 = 68;
const CLOCK: u64 = 80;
const PROTECT: u64 = 81;
const QUOTE_TARGET: u64 = 96;
const QUOTE: u64 = 97;

/// What the host does.
#[derive(Clone, Debug)]
enum Deed {
    /// Enters a slot whose thread has ended.
    EnterEndedThreads,
    /// Leaves MXCSR and x87 poisoned at every entry.
    PoisonState,
    /// Leaves the direction and alignment-check flags set at every entry.
    PoisonFlags,
    /// Calls every interrupt an exception: the registers of the exception entry say so, SSA does not.
    ForgeExceptions,
    /// Enters the exception handler again where it asked to be resumed: SSA\[0\] still holds what was handled.
    RepeatExceptions,
    /// Starts the enclave with a CONFIGID that its manifest does not name.
    SetConfigId,
    /// Gives the first thread another block.
    Block(fn(PassedRegisters) -> PassedRegisters),
    /// Writes a word into the block after the reply to a call.
    Spoil { call: u64, offset: usize, word: u64 },
    /// Takes the right to the program's code page away behind the enclave's back.
    HideCode,
}

struct HostileDriver {
    deed: Deed,
    count: Arc<AtomicU32>,
}

struct HostileEnclave {
    inner: EmulatedEnclave,
    deed: Deed,
    /// How often the deed was done.
    count: Arc<AtomicU32>,
    /// Block address by TCS, as the first entry gave it.
    blocks: Mutex<HashMap<u64, u64>>,
    /// TCSs whose next entry is the exception entry after an interrupt.
    interrupted: Mutex<HashSet<u64>>,
    /// TCSs that were entered before the host thread came that is to enter them.
    taken: Mutex<HashSet<u64>>,
}

impl Driver for HostileDriver {
    type Enclave = HostileEnclave;
    const EMULATED: bool = true;

    fn create(&self, secs: &[u8; 4096]) -> Result<HostileEnclave, DriverError> {
        let mut secs = *secs;
        if let Deed::SetConfigId = self.deed {
            self.count.fetch_add(1, Ordering::Relaxed);
            secs[Secs::offset("attributes")] |= AttributeFlags::KSS.bits() as u8;
            secs[Secs::offset("configid")] = 7;
        }
        let inner = Emulator::new(Mode::Pure).with_fresh_secret().create(&secs)?;
        if let Deed::PoisonFlags = self.deed {
            self.count.fetch_add(1, Ordering::Relaxed);
            let (direction, alignment_check) = (1 << 10, 1 << 18);
            inner.leave_flags_at_entry(direction | alignment_check);
        }
        Ok(HostileEnclave {
            inner,
            deed: self.deed.clone(),
            count: Arc::clone(&self.count),
            blocks: Mutex::default(),
            interrupted: Mutex::default(),
            taken: Mutex::default(),
        })
    }
}

impl HostileEnclave {
    fn done(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// The block of the thread, a fresh one's address being in RDI.
    fn block(&self, tcs: u64, registers: PassedRegisters) -> *mut u64 {
        let mut blocks = self.blocks.lock().expect("no panic");
        if registers.rsi == BLOCK_SIZE as u64 {
            blocks.insert(tcs, registers.rdi);
        }
        blocks.get(&tcs).map_or(std::ptr::null_mut(), |address| *address as *mut u64)
    }
}

impl Enclave for HostileEnclave {
    unsafe fn enter(
        &self,
        tcs: u64,
        leaf: EntryLeaf,
        mut registers: PassedRegisters,
    ) -> Result<Exit, DriverError> {
        if registers.rsi == BLOCK_SIZE as u64 && self.taken.lock().expect("no panic").remove(&tcs) {
            return Ok(Exit::Eexit(PassedRegisters { rdi: 2, ..PassedRegisters::default() }));
        }
        let block = self.block(tcs, registers);
        match self.deed {
            Deed::Block(change) if registers.rsi != 0 => {
                self.done();
                registers = change(registers);
            }
            Deed::Spoil { call, offset, word }
                if leaf == EntryLeaf::Enter && registers.rsi == 0 =>
            {
                // SAFETY: the block of a thread lives as long as the thread, and is aligned.
                unsafe {
                    if *block.add(at::CALL / 8) & 0xffff_ffff == call {
                        self.done();
                        block.add(offset / 8).write_volatile(word);
                    }
                }
            }
            Deed::PoisonState => {
                self.done();
                // All exceptions unmasked, rounding changed, a full x87 stack.
                // SAFETY: the host code between here and EENTER does no floating-point arithmetic, and EEXIT is
                // followed by the constants below.
                unsafe {
                    let (mxcsr, control) = (0x6000_u32, 0x0f40_u16);
                    std::arch::asm!(
                        "fld1", "fld1", "fld1", "fld1", "fld1", "fld1", "fld1", "fld1",
                        "fldcw [{control}]", "ldmxcsr [{mxcsr}]",
                        control = in(reg) &control, mxcsr = in(reg) &mxcsr,
                    );
                }
            }
            _ => {}
        }
        if let Deed::ForgeExceptions = self.deed
            && leaf == EntryLeaf::Enter
            && self.interrupted.lock().expect("no panic").remove(&tcs)
        {
            self.done();
            // A page fault, as the vDSO would report it: vector, error code, address.
            registers = PassedRegisters { rdi: 14, rsi: 7, rdx: 0x40_0000, r8: 3, r9: 14 };
        }
        // SAFETY: the caller's promise.
        let mut exit = unsafe { self.inner.enter(tcs, leaf, registers) }?;
        if let (Deed::ForgeExceptions, Exit::Interrupted) = (&self.deed, exit) {
            self.interrupted.lock().expect("no panic").insert(tcs);
        }
        if let Deed::RepeatExceptions = self.deed {
            for _ in 0..3 {
                if !matches!(exit, Exit::Eexit(left) if left.rdi == RESUME_REASON) {
                    break;
                }
                self.done();
                // SAFETY: the caller's promise.
                exit = unsafe { self.inner.enter(tcs, EntryLeaf::Enter, Default::default()) }?;
            }
        }
        if let Deed::PoisonState = self.deed {
            // SAFETY: back to what host code expects.
            unsafe {
                let mxcsr = 0x1f80_u32;
                std::arch::asm!("fninit", "ldmxcsr [{}]", in(reg) &mxcsr);
            }
        }
        if let (Deed::EnterEndedThreads, Exit::Eexit(left)) = (&self.deed, exit)
            && left.rdi == 2
        {
            self.done();
            let fresh = PassedRegisters { rdi: block as u64, rsi: BLOCK_SIZE as u64, ..left };
            // SAFETY: the caller's promise.
            let again = unsafe { self.inner.enter(tcs, EntryLeaf::Enter, fresh) }?;
            match again {
                Exit::Eexit(left) if left.rdi == 4 => {}
                // Another thread has armed the slot meanwhile: this entry was the new thread's first, so that
                // this run shows nothing.
                Exit::Eexit(left) if left.rdi == 1 => {
                    RACED.store(true, Ordering::Relaxed);
                    self.taken.lock().expect("no panic").insert(tcs);
                    return Ok(again);
                }
                other => panic!("got {other:?}"),
            }
        }
        Ok(exit)
    }

    fn protect(&self, pages: Range<u64>, mut protection: Protection) -> Result<(), DriverError> {
        if let (Deed::HideCode, Protection(5)) = (&self.deed, protection)
            && pages.start == 0x40_0000
        {
            self.done();
            protection = Protection::NONE;
        }
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

/// Whether [`Deed::EnterEndedThreads`] came too late in this run.
static RACED: AtomicBool = AtomicBool::new(false);

/// One enclave at a time: ELRANGE starts at 0.
fn exclusive() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the enclave on such a host.
fn run(deed: Deed) -> Outcome {
    let _one = exclusive();
    let count = Arc::new(AtomicU32::new(0));
    let driver = HostileDriver { deed: deed.clone(), count: Arc::clone(&count) };
    let outcome = smoke::run_with(&driver, Some(Arc::new(smoke::Unsigned)));
    assert_ne!(count.load(Ordering::Relaxed), 0, "{deed:?} was never done");
    outcome
}

fn refusal(deed: Deed) -> String {
    match run(deed).status {
        ExitStatus::Refused(reason) => reason,
        other => panic!("expected a refusal, got {other}"),
    }
}

#[test]
fn an_ended_thread_is_not_entered_again() {
    for _ in 0..50 {
        RACED.store(false, Ordering::Relaxed);
        let outcome = run(Deed::EnterEndedThreads);
        if !RACED.load(Ordering::Relaxed) {
            return outcome.must_be_good();
        }
    }
    panic!("in every run a slot was armed again before it could be entered");
}

#[test]
fn poisoned_floating_point_state_is_replaced() {
    run(Deed::PoisonState).must_be_good();
}

#[test]
fn poisoned_flags_are_replaced() {
    run(Deed::PoisonFlags).must_be_good();
}

#[test]
fn an_interrupt_that_is_called_an_exception_is_an_interrupt() {
    run(Deed::ForgeExceptions).must_be_good();
}

#[test]
fn an_exception_is_handled_once_however_often_it_is_entered() {
    run(Deed::RepeatExceptions).must_be_good();
}

#[test]
fn a_configid_that_the_manifest_does_not_name_is_refused() {
    let got = format!("07{}", "0".repeat(126));
    assert_eq!(refusal(Deed::SetConfigId), format!("CONFIGID: expected 0, got {got}"));
}

#[test]
fn a_block_in_the_enclave_or_of_another_shape_is_refused() {
    let blocks: [fn(PassedRegisters) -> PassedRegisters; 6] = [
        |registers| PassedRegisters { rdi: 0x40_0000, ..registers },
        |registers| PassedRegisters { rdi: (1 << 30) - 8, ..registers },
        |registers| PassedRegisters { rdi: 0, ..registers },
        |registers| PassedRegisters { rdi: registers.rdi + 4, ..registers },
        |registers| PassedRegisters { rdi: u64::MAX - 7, ..registers },
        |registers| PassedRegisters { rsi: registers.rsi * 2, ..registers },
    ];
    for block in blocks {
        let status = run(Deed::Block(block)).status;
        let is_fatal = matches!(status, ExitStatus::Stopped(StopReason::FatalException { .. }));
        assert!(is_fatal, "got {status}");
    }
}

#[test]
fn replies_that_cannot_be_true_are_refused_by_name() {
    let spoil = |call, offset, word| refusal(Deed::Spoil { call, offset, word });
    let negative = -14_i64 as u64;
    assert_eq!(
        spoil(YIELD, at::STATUS, negative),
        format!("status of the host's reply to Yield: expected at most 4095, got {negative}")
    );
    assert_eq!(
        spoil(YIELD, at::REPLY_LENGTH, 1 << 40),
        format!(
            "data length of the host's reply to Yield: expected at most 0, got {}",
            1_u64 << 40
        )
    );
    assert_eq!(
        spoil(YIELD, at::VALUES, 7),
        "value of the host's reply to Yield: expected at most 0, got 7"
    );
    let sequence = spoil(YIELD, at::REPLY_SEQUENCE, 0);
    assert!(sequence.starts_with("sequence of the host's reply: expected "), "{sequence}");
    assert_eq!(
        spoil(CLOCK, at::VALUES + 24, 99_999),
        "TSC frequency of Clock: expected 100000 to 20000000 kHz, got 99999"
    );
    assert_eq!(spoil(PROTECT, at::STATUS, 12), "Protect: expected success, got ENOMEM");
}

/// A fault on a page that the enclave committed and permitted is the host's: it is tried again, then the
/// enclave stops. The program never sees it.
#[test]
fn a_page_that_the_host_hides_stops_the_enclave() {
    let outcome = run(Deed::HideCode);
    let is_fatal = matches!(
        outcome.status,
        ExitStatus::Stopped(StopReason::FatalException { last: Some((14, _, 0x40_0000)) })
    );
    assert!(is_fatal, "got {}: {:#?}", outcome.status, outcome.lines);
    assert!(!outcome.lines.iter().any(|line| line.contains("FAILED")), "{:#?}", outcome.lines);
}

/// What does not fit is an error that the program sees and the log explains; the enclave goes on.
#[test]
fn a_quote_that_is_not_of_this_report_is_eio() {
    let spoil = |call, offset, word, reason: &str| {
        let outcome = run(Deed::Spoil { call, offset, word });
        outcome.must_be_good();
        let has = |words: &str| outcome.lines.iter().any(|line| line.contains(words));
        assert!(has("no quote: EIO") && has(reason), "{reason}: {:#?}", outcome.lines);
    };
    let body = at::DATA + 48;
    spoil(QUOTE, at::REPLY_LENGTH, 0, "length of the host's quote: expected 437, got 0");
    spoil(QUOTE, at::REPLY_LENGTH, 499, "length of the signature data of the host's quote");
    spoil(QUOTE, at::DATA, u64::MAX, "version of the host's quote: expected 3, got 65535");
    spoil(QUOTE, body + 64, 0, "a byte of MRENCLAVE of the host's quote");
    spoil(QUOTE, body + 376, 0, "a byte of the report data of the host's quote");
    spoil(QUOTE, at::STATUS, 2, "quote: the host: expected success, got ENOENT");
    spoil(QUOTE_TARGET, at::REPLY_LENGTH, 511, "reply to QuoteTarget: expected 512, got 511");
    spoil(QUOTE_TARGET, at::DATA + 504, 1 << 56, "target of the host: expected reserved bytes 0");
}

#[test]
fn a_quote_of_this_report_is_passed_on() {
    let _one = exclusive();
    let outcome = smoke::run_with(
        &Emulator::new(Mode::Pure).with_fresh_secret(),
        Some(Arc::new(smoke::Unsigned)),
    );
    outcome.must_be_good();
    assert!(outcome.lines.iter().any(|line| line.contains("quote of 500 bytes")));
}
