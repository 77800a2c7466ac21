//! What all threads share, and [`Platform`] over it.

use alloc::boxed::Box;
use core::ops::Range;
use core::ptr::NonNull;

use hostcall::TypeChange;
use libos::attestation::ReportData;
use libos::host::Host;
use libos::platform::{
    Access, BadAddress, BadTarget, Exhausted, NoKey, Platform, REPORT_SIZE, SealRequest, Sha256,
    SystemCalls, TARGETINFO_SIZE, ThreadId, UserContext, UserExit, XState,
};
use sgx::PageType;
use zeroize::Zeroizing;

use crate::attest;
use crate::clock::{Clock, Reading, tsc};
use crate::host::{self, Calls};
use crate::layout::{Layout, PAGE};
use crate::leaf;
use crate::memory::{Machine, Memory};
use crate::pages::{Pages, Rights};
use crate::random::Generator;
use crate::sha256;
use crate::thread::{SYSCALL_ENTRY, Thread, vectors};
use crate::threads::{self, Threads};
use crate::user::{self, FIXED_FLAGS, USER_FLAGS, back, load};
use crate::xstate::{self, INITIAL};

static RUNTIME: spin::Once<Runtime> = spin::Once::new();

/// The run time of this enclave.
pub(crate) struct Runtime {
    pub(crate) layout: Layout,
    pub(crate) pages: Pages,
    memory: Memory<Sgx>,
    clock: Clock,
    random: Generator,
    threads: Threads,
    is_emulated: bool,
    entry: u64,
    sha256: spin::Once<Sha256>,
}

/// What the start found out.
pub(crate) struct Found {
    pub(crate) layout: Layout,
    pub(crate) clock: Clock,
    pub(crate) random: Generator,
    pub(crate) is_emulated: bool,
    /// Where slots are built.
    pub(crate) slots: Range<u64>,
    /// Most threads.
    pub(crate) threads: u32,
    /// Address of the entry point.
    pub(crate) entry: u64,
}

/// Makes the run time. Once, on the first thread.
pub(crate) fn set(found: Found) -> &'static Runtime {
    RUNTIME.call_once(|| {
        let user = found.layout.user();
        let limit_pages = (user.end - user.start) / PAGE;
        Runtime {
            pages: Pages::new(user),
            memory: Memory::new(Sgx, limit_pages),
            threads: Threads::new(Thread::current(), found.slots, found.threads),
            layout: found.layout,
            clock: found.clock,
            random: found.random,
            is_emulated: found.is_emulated,
            entry: found.entry,
            sha256: spin::Once::new(),
        }
    })
}

/// The run time, once the start is complete.
pub(crate) fn get() -> Option<&'static Runtime> {
    RUNTIME.get()
}

/// Pages by EDMM.
struct Sgx;

impl Machine for Sgx {
    fn add(&self, page: u64) {
        if let Err(code) = leaf::accept_new(page) {
            host::refuse(format_args!("EACCEPT of page {page:#x}: expected 0, got {code}"));
        }
        leaf::extend_to_rwx(page);
    }

    fn remove(&self, pages: Range<u64>) {
        let length = pages.end - pages.start;
        host::modify_type(pages.start, length, TypeChange::Trim);
        for page in pages.clone().step_by(PAGE as usize) {
            if let Err(code) = leaf::accept_type(page, PageType::Trim) {
                host::refuse(format_args!(
                    "EACCEPT of trimmed page {page:#x}: expected 0, got {code}"
                ));
            }
        }
        host::must(&hostcall::Request::Remove { offset: pages.start, length });
    }

    fn protect(&self, pages: Range<u64>, rights: Rights) {
        host::protect(pages.start, pages.end - pages.start, rights.bits());
    }
}

fn reading() -> Option<Reading> {
    Some(host::clock())
}

impl Platform for Runtime {
    fn run_user(&self, context: &mut UserContext, calls: &dyn SystemCalls) -> UserExit {
        let thread = Thread::current();
        thread.host_faults.set(0);
        let is_canonical = |address: u64| !(1 << 47..!0 << 47).contains(&address);
        if !self.layout.user().contains(&context.regs.rip) || !is_canonical(context.regs.fs_base) {
            // What the CPU would say at the jump, had the program been there.
            return UserExit::Exception { vector: 13, error_code: 0, address: 0 };
        }
        context.regs.rflags = context.regs.rflags & USER_FLAGS | FIXED_FLAGS;
        let xfrm = xstate::xfrm();
        let (how, area): (u32, *const XState) = if context.xstate_is_full {
            xstate::sanitise(&mut context.xstate, xfrm);
            thread.vectors.set(vectors::NONE);
            (load::AREA, &raw const context.xstate)
        } else {
            match thread.vectors.get() {
                vectors::LIVE => (load::FAST, core::ptr::null()),
                vectors::SPILLED => (load::AREA_THEN_XMM, thread.spill.get().cast_const()),
                _ => (load::AREA_THEN_XMM, &raw const INITIAL),
            }
        };
        // SAFETY: only the lifetime changes; it is forgotten below, before the borrow ends.
        let calls = unsafe {
            core::mem::transmute::<NonNull<dyn SystemCalls + '_>, NonNull<dyn SystemCalls>>(
                calls.into(),
            )
        };
        thread.calls.set(Some(calls));
        thread.user.set(self.layout.user().into());
        // SAFETY: on an enclave thread; RIP, FS base and flags were just checked; the area is a state of this
        // run time's making or was just sanitised, and `context` is borrowed until the call returns.
        let back = unsafe { user::enter(context, how, area, xfrm) };
        thread.calls.set(None);
        match back {
            back::SYSCALL => UserExit::Syscall,
            back::CALLED => UserExit::Called,
            back::EXIT => thread.exit.take().unwrap_or(UserExit::Interrupted),
            _ => UserExit::Interrupted,
        }
    }

    fn capture_xstate(&self, context: &mut UserContext) {
        xstate::capture(Thread::current(), context);
    }

    fn initial_xstate(&self) -> XState {
        INITIAL.clone()
    }

    fn sha256(&self) -> Sha256 {
        *self.sha256.call_once(sha256::fastest)
    }

    fn xfrm(&self) -> u64 {
        xstate::xfrm()
    }

    fn syscall_entry_gs_offset(&self) -> u32 {
        SYSCALL_ENTRY as u32
    }

    fn kick(&self, thread: ThreadId) {
        self.threads.kick(thread);
    }

    fn spawn(&self, body: Box<dyn FnOnce() + Send>) -> Result<ThreadId, Exhausted> {
        self.threads.spawn(body, self.entry)
    }

    fn current(&self) -> ThreadId {
        ThreadId(Thread::current().id.get())
    }

    fn park(&self, deadline_ns: Option<u64>) {
        let timeout_ns = deadline_ns.map(|deadline| deadline.saturating_sub(self.monotonic_ns()));
        threads::park(timeout_ns);
    }

    fn unpark(&self, thread: ThreadId) {
        self.threads.unpark(thread);
    }

    fn yield_now(&self) {
        threads::yield_now();
    }

    fn user_range(&self) -> Range<u64> {
        self.layout.user()
    }

    fn commit(&self, pages: Range<u64>, access: Access) -> Result<(), Exhausted> {
        self.memory.commit(&self.pages, pages, access)
    }

    fn release(&self, pages: Range<u64>) {
        self.memory.release(&self.pages, pages);
    }

    fn protect(&self, pages: Range<u64>, access: Access) {
        self.memory.protect(&self.pages, pages, access);
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.memory.read(&self.pages, address, into)
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        self.memory.write(&self.pages, address, from)
    }

    fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), BadAddress> {
        self.memory.fill(&self.pages, address, length, byte)
    }

    fn read_open(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.memory.read_open(&self.pages, address, into)
    }

    fn write_open(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        self.memory.write_open(&self.pages, address, from)
    }

    fn fill_open(&self, address: u64, length: u64, byte: u8) -> Result<(), BadAddress> {
        self.memory.fill_open(&self.pages, address, length, byte)
    }

    fn load_u32(&self, address: u64) -> Result<u32, BadAddress> {
        self.memory.load_u32(&self.pages, address)
    }

    fn compare_exchange_u32(
        &self,
        address: u64,
        current: u32,
        new: u32,
    ) -> Result<u32, BadAddress> {
        self.memory.compare_exchange_u32(&self.pages, address, current, new)
    }

    fn random(&self, into: &mut [u8]) {
        if let Err(reason) = self.random.fill(into) {
            host::refuse(format_args!("entropy: expected a healthy source, got {reason:?}"));
        }
    }

    fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns(tsc(), reading)
    }

    fn realtime_ns(&self) -> u64 {
        self.clock.realtime_ns(tsc(), reading)
    }

    fn is_emulated(&self) -> bool {
        self.is_emulated
    }

    fn own_target(&self) -> [u8; TARGETINFO_SIZE] {
        attest::own_target()
    }

    fn report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
        data: &ReportData,
    ) -> Result<[u8; REPORT_SIZE], BadTarget> {
        attest::report(target, data)
    }

    fn seal_key(&self, request: &SealRequest) -> Result<Zeroizing<[u8; 16]>, NoKey> {
        attest::seal_key(request)
    }

    fn host(&self) -> &dyn Host {
        &Calls
    }
}
