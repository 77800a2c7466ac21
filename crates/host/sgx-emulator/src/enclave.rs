//! One enclave: the operations of the driver boundary.

use crate::aex;
use crate::block::{Block, EXIT_EEXIT, Event};
use crate::epcm::Entry;
use crate::gates;
use crate::patch::{self, GatePage};
use crate::secret::{Secret, SecretOrigin};
use crate::shadow::Shadow;
use crate::space::{FIRST_PAGE, PAGE, Space};
use crate::tcs::{BadTcs, Tcs};
use crate::xstate::Xstate;
use crate::{Mode, secret, secs, thread};
use core::sync::atomic::{AtomicU64, Ordering, fence};
use sgx::driver::{
    DriverError, Enclave, EntryLeaf, Exit, ModifiedType, PassedRegisters, Protection,
};
use sgx::einit::{self, Identity, LaunchControl};
use sgx::hash::Fast;
use sgx::measure::Measurement;
use sgx::{LayoutError, Miscselect, PageType, Secinfo, SecinfoFlags, Secs};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const GENERAL_PROTECTION: u16 = 13;
const PAGE_FAULT: u16 = 14;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What signal handlers and gates use of an enclave.
pub(crate) struct Shared {
    /// Different for each enclave of this process.
    pub(crate) id: u64,
    pub(crate) mode: Mode,
    /// RFLAGS at every EENTER; 0: as the host has them.
    entry_flags: AtomicU64,
    pub(crate) ssaframesize: u32,
    pub(crate) miscselect: Miscselect,
    pub(crate) xfrm: u64,
    pub(crate) xstate: &'static Xstate,
    pub(crate) space: Space,
    pub(crate) secret: Secret,
    /// CR_REPORT_KEYID.
    pub(crate) report_keyid: [u8; 32],
    /// The page that EACCEPT accepted last: a hint.
    pub(crate) last_accepted: AtomicU64,
    /// Set by EINIT.
    identity: OnceLock<Identity>,
    threads: Mutex<Threads>,
    shadow: Shadow,
}

/// Every TCS of the enclave.
#[derive(Default)]
struct Threads {
    live: HashMap<u64, Box<Tcs>>,
    /// Removed ones, kept because a thread's block may still point to one.
    #[allow(clippy::vec_box, reason = "their addresses must not change")]
    retired: Vec<Box<Tcs>>,
    /// Contents of pages that EMODT made PT_TCS and EACCEPT has not accepted.
    proposed: HashMap<u64, Box<[u8; 4096]>>,
}

impl Threads {
    fn insert(&mut self, tcs: Tcs, shadow: &Shadow) {
        let page = tcs.ogsbase / PAGE;
        let twins: Vec<&Tcs> =
            self.live.values().map(|t| &**t).filter(|t| t.ogsbase / PAGE == page).collect();
        tcs.has_own_gs_page.store(twins.is_empty(), Ordering::Release);
        for twin in twins {
            twin.has_own_gs_page.store(false, Ordering::Release);
            shadow.set(twin.ogsbase, None);
        }
        self.live.insert(tcs.address, Box::new(tcs));
    }

    fn retire(&mut self, address: u64, shadow: &Shadow) {
        self.proposed.remove(&address);
        if let Some(tcs) = self.live.remove(&address) {
            tcs.is_live.store(false, Ordering::Release);
            shadow.set(tcs.ogsbase, None);
            self.retired.push(tcs);
        }
    }
}

impl Shared {
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// EACCEPT of a page that EMODT made PT_TCS.
    pub(crate) fn accept_tcs(&self, address: u64) -> Result<(), BadTcs> {
        let mut threads = lock(&self.threads);
        let bytes = threads.proposed.get(&address).ok_or(BadTcs("EPCM.MODIFIED", 1, 0))?;
        let tcs = Tcs::parse(address, bytes, self.space.size())?;
        threads.proposed.remove(&address);
        threads.insert(tcs, &self.shadow);
        Ok(())
    }

    /// A pointer that stays valid as long as the enclave does.
    fn find(&self, address: u64) -> Option<*const Tcs> {
        lock(&self.threads).live.get(&address).map(|tcs| &raw const **tcs)
    }
}

/// An enclave of the [`Emulator`](crate::Emulator).
pub struct EmulatedEnclave {
    shared: Box<Shared>,
    gate_page: GatePage,
    building: Mutex<Building>,
}

/// What EADD and EEXTEND collect for EINIT.
struct Building {
    secs: Secs,
    measurement: Measurement<Fast>,
    code_pages: Vec<u64>,
}

impl EmulatedEnclave {
    /// Leaves these flags set in RFLAGS at every EENTER, as a hostile host can: what an enclave makes of them is
    /// its own affair. The enclave must be one that clears them before it leaves.
    pub fn leave_flags_at_entry(&self, flags: u64) {
        const RESERVED_ONE: u64 = 1 << 1;
        self.shared.entry_flags.store(flags | RESERVED_ONE, Ordering::Relaxed);
    }

    pub(crate) fn create(
        bytes: &[u8; 4096],
        mode: Mode,
        secret: Secret,
    ) -> Result<Self, DriverError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        require_fsgsbase()?;
        let xstate = Xstate::get().ok_or(DriverError::Refused {
            operation: "ECREATE",
            field: "CPUID.OSXSAVE",
            expected: 1,
            got: 0,
        })?;
        let secs = secs::check(bytes, xstate)?;
        let Secs { size, ssaframesize, miscselect, attributes, .. } = secs;
        let space = Space::reserve(size)?;
        let gate_page = GatePage::map(size)?;
        let shadow = Shadow::map(size)?;
        // SAFETY: no memory is involved. Without dumps and without other processes of the user looking in,
        // enclave memory is as private as emulation can make it, which is not much.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
        let shared = Box::new(Shared {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            mode,
            entry_flags: AtomicU64::new(0),
            ssaframesize,
            miscselect,
            xfrm: attributes.xfrm.bits(),
            xstate,
            space,
            secret,
            report_keyid: secret::random()?,
            last_accepted: AtomicU64::new(0),
            identity: OnceLock::new(),
            threads: Mutex::default(),
            shadow,
        });
        let measurement = Measurement::ecreate(ssaframesize, size);
        let building = Mutex::new(Building { secs, measurement, code_pages: Vec::new() });
        Ok(Self { shared, gate_page, building })
    }

    /// What EINIT made of the enclave; `None` before.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.shared.identity()
    }

    /// Where its keys come from, for people to see.
    #[must_use]
    pub fn secret_origin(&self) -> &SecretOrigin {
        &self.shared.secret.origin
    }

    /// Page numbers of a byte range, checked.
    fn pages(
        &self,
        operation: &'static str,
        range: &Range<u64>,
    ) -> Result<Range<u64>, DriverError> {
        let refused =
            |field, expected, got| DriverError::Refused { operation, field, expected, got };
        for (field, value) in [("start of range", range.start), ("end of range", range.end)] {
            if !value.is_multiple_of(PAGE) {
                return Err(refused(field, value / PAGE * PAGE, value));
            }
        }
        if range.start < FIRST_PAGE * PAGE {
            return Err(refused("start of range", FIRST_PAGE * PAGE, range.start));
        }
        if range.end > self.shared.space.size() {
            return Err(refused("end of range", self.shared.space.size(), range.end));
        }
        if range.start >= range.end {
            return Err(refused("end of range", range.start + PAGE, range.end));
        }
        Ok(range.start / PAGE..range.end / PAGE)
    }
}

fn require_fsgsbase() -> Result<(), DriverError> {
    const HWCAP2_FSGSBASE: u64 = 1 << 1;
    // SAFETY: it only reads the auxiliary vector.
    let hwcap2 = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    if hwcap2 & HWCAP2_FSGSBASE != 0 {
        return Ok(());
    }
    Err(DriverError::Refused {
        operation: "ECREATE",
        field: "AT_HWCAP2.FSGSBASE",
        expected: HWCAP2_FSGSBASE,
        got: hwcap2,
    })
}

impl Enclave for EmulatedEnclave {
    fn add_page(
        &self,
        offset: u64,
        secinfo: &[u8; 64],
        source: &[u8; 4096],
        measured: bool,
    ) -> Result<(), DriverError> {
        let refused =
            |field, expected, got| DriverError::Refused { operation: "EADD", field, expected, got };
        let page = self.pages("EADD", &(offset..offset.saturating_add(PAGE)))?.start;
        let secinfo = Secinfo::parse(secinfo).map_err(|error| match error {
            LayoutError::Reserved { got, .. } => refused("SECINFO reserved byte", 0, got.into()),
            LayoutError::Length { expected, got, .. } => {
                refused("SECINFO length", expected as u64, got as u64)
            }
        })?;
        let flags = secinfo.flags;
        let permissions = flags & SecinfoFlags::RWX;
        let mut building = lock(&self.building);
        let mut space = self.shared.space.lock();
        if space.is_initialised() {
            return Err(refused("SECS.ATTRIBUTES.INIT", 0, 1));
        }
        if space.entry(page).is_valid() {
            return Err(refused("EPCM.VALID", 0, 1));
        }
        let rest = flags.difference(SecinfoFlags::RWX | SecinfoFlags::PAGE_TYPE);
        if !rest.is_empty() {
            return Err(refused("SECINFO.FLAGS", flags.difference(rest).bits(), flags.bits()));
        }
        match flags.page_type() {
            Some(PageType::Reg) => {
                if permissions.contains(SecinfoFlags::W) && !permissions.contains(SecinfoFlags::R) {
                    let expected = (flags | SecinfoFlags::R).bits();
                    return Err(refused("SECINFO.FLAGS", expected, flags.bits()));
                }
                let rights = Protection(permissions.bits() as u8);
                let contents = source.iter().any(|&byte| byte != 0).then_some(source);
                space.add(page, Entry::new(PageType::Reg, rights, rights), contents)?;
                if rights.contains(Protection::EXEC) {
                    building.code_pages.push(page);
                }
            }
            Some(PageType::Tcs) => {
                let tcs = Tcs::parse(offset, source, self.shared.space.size())
                    .map_err(|BadTcs(field, expected, got)| refused(field, expected, got))?;
                let entry = Entry::new(
                    PageType::Tcs,
                    Protection::NONE,
                    Protection::READ | Protection::WRITE,
                );
                space.add(page, entry, None)?;
                lock(&self.shared.threads).insert(tcs, &self.shared.shadow);
            }
            _ => {
                let reg = SecinfoFlags::empty().with_page_type(PageType::Reg).bits();
                return Err(refused("SECINFO.FLAGS.PT", reg, flags.bits()));
            }
        }
        building.measurement.add_page(offset, &secinfo, source, measured);
        Ok(())
    }

    fn init(&self, sigstruct: &[u8; 1808]) -> Result<(), DriverError> {
        let mut building = lock(&self.building);
        let mut space = self.shared.space.lock();
        if space.is_initialised() {
            return Err(DriverError::Refused {
                operation: "EINIT",
                field: "SECS.ATTRIBUTES.INIT",
                expected: 0,
                got: 1,
            });
        }
        let mrenclave = building.measurement.clone().finish();
        let identity =
            einit::check::<Fast>(&building.secs, mrenclave, sigstruct, LaunchControl::Flexible)?;
        space.finish_building()?;
        // Nobody else sets it: the space was not initialised, and its lock is held.
        let _ = self.shared.identity.set(identity);
        if self.shared.mode == Mode::Fast {
            building.code_pages.sort_unstable();
            patch::patch(&space, &building.code_pages, &self.gate_page)?;
        }
        Ok(())
    }

    fn protect(&self, pages: Range<u64>, protection: Protection) -> Result<(), DriverError> {
        let pages = self.pages("mprotect", &pages)?;
        self.shared.space.lock().protect(pages, protection)
    }

    fn restrict(&self, pages: Range<u64>, permissions: Protection) -> Result<(), DriverError> {
        let pages = self.pages("EMODPR", &pages)?;
        let space = self.shared.space.lock();
        let refused = |field, expected, got| DriverError::Refused {
            operation: "EMODPR",
            field,
            expected,
            got,
        };
        if permissions.contains(Protection::WRITE) && !permissions.contains(Protection::READ) {
            return Err(refused("permissions", u64::from(permissions.0) | 1, permissions.0.into()));
        }
        require_initialised(&space, "EMODPR")?;
        for page in pages.clone() {
            let entry = space.entry(page);
            if !entry.is(PageType::Reg) {
                let expected = PageType::Reg as u64;
                return Err(refused("EPCM.PT", expected, entry.type_number().into()));
            }
            if entry.is_pending() || entry.is_modified() {
                return Err(not_modifiable("EMODPR"));
            }
        }
        for page in pages.clone() {
            let entry = space.entry(page);
            let rwx = Protection(entry.rwx().0 & permissions.0);
            space.set_entry(page, entry.with_rwx(rwx).with_restricted(true));
        }
        space.sync(pages)
    }

    fn modify_type(&self, pages: Range<u64>, page_type: ModifiedType) -> Result<(), DriverError> {
        let pages = self.pages("EMODT", &pages)?;
        let mut threads = lock(&self.shared.threads);
        let space = self.shared.space.lock();
        require_initialised(&space, "EMODT")?;
        for page in pages.clone() {
            let entry = space.entry(page);
            let is_possible = match page_type {
                ModifiedType::Tcs => entry.is(PageType::Reg),
                ModifiedType::Trim => entry.is(PageType::Reg) || entry.is(PageType::Tcs),
            };
            if !is_possible {
                return Err(DriverError::Refused {
                    operation: "EMODT",
                    field: "EPCM.PT",
                    expected: PageType::Reg as u64,
                    got: entry.type_number().into(),
                });
            }
            if entry.is_modified() || page_type == ModifiedType::Tcs && entry.is_pending() {
                return Err(not_modifiable("EMODT"));
            }
        }
        for page in pages.clone() {
            let entry = space.entry(page).with_modified(true).with_rwx(Protection::NONE);
            let entry = entry.with_pending(false).with_restricted(false);
            match page_type {
                ModifiedType::Tcs => {
                    space.set_entry(page, entry.with_type(PageType::Tcs));
                    let bytes = space.read_page(page)?;
                    threads.proposed.insert(page * PAGE, bytes);
                }
                ModifiedType::Trim => {
                    space.set_entry(page, entry.with_type(PageType::Trim));
                    threads.retire(page * PAGE, &self.shared.shadow);
                }
            }
        }
        space.sync(pages)
    }

    fn remove(&self, pages: Range<u64>) -> Result<(), DriverError> {
        let pages = self.pages("EREMOVE", &pages)?;
        let mut space = self.shared.space.lock();
        require_initialised(&space, "EREMOVE")?;
        for page in pages.clone() {
            let entry = space.entry(page);
            let is_trimmed = entry.is(PageType::Trim);
            if !is_trimmed || entry.is_modified() {
                return Err(DriverError::Refused {
                    operation: "EREMOVE",
                    field: if is_trimmed { "EPCM.MODIFIED" } else { "EPCM.PT" },
                    expected: if is_trimmed { 0 } else { PageType::Trim as u64 },
                    got: if is_trimmed { 1 } else { entry.type_number().into() },
                });
            }
        }
        space.remove(pages)
    }

    unsafe fn enter(
        &self,
        tcs: u64,
        leaf: EntryLeaf,
        registers: PassedRegisters,
    ) -> Result<Exit, DriverError> {
        let shared = &*self.shared;
        let block = thread::current(shared, &self.gate_page)?;
        let fault = |vector, error_code, address| {
            Ok(Exit::Exception { leaf: leaf as u32, vector, error_code, address })
        };
        // SAFETY: the block is this thread's, and the thread is in host code.
        let found = unsafe {
            if (*block).tcs_address == tcs && (*(*block).tcs).is_live.load(Ordering::Acquire) {
                (*block).tcs
            } else {
                match self.shared.find(tcs) {
                    Some(found) => found,
                    None if !tcs.is_multiple_of(PAGE) => return fault(GENERAL_PROTECTION, 0, 0),
                    None => return fault(PAGE_FAULT, 0x8005, tcs / PAGE * PAGE),
                }
            }
        };
        // SAFETY: TCS objects live as long as the enclave, which `self` borrows.
        let state = unsafe { &*found };
        let entry = shared.space.entry(tcs / PAGE);
        if entry.is_modified() || !entry.is(PageType::Tcs) {
            return fault(PAGE_FAULT, 0x8005, tcs);
        }
        if !shared.space.is_initialised() {
            return fault(GENERAL_PROTECTION, 0, 0);
        }
        if state.busy.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return fault(GENERAL_PROTECTION, 0, 0);
        }
        // SAFETY: the TCS is ours now, and the block is this thread's.
        unsafe {
            if (*block).tcs != found || (*block).tcs_address != tcs {
                (*block).tcs = found;
                (*block).tcs_address = tcs;
                (*block).entry = state.oentry;
                (*block).entry_fs = state.ofsbase;
                (*block).entry_gs = state.ogsbase;
                (*block).xfrm = shared.xfrm;
            }
            (*block).entry_flags = shared.entry_flags.load(Ordering::Relaxed);
            // A full barrier, so that a kicker that misses us has published its reason before we look
            // for it inside.
            state.owner.swap((*block).thread_id, Ordering::SeqCst);
            (*block).depth = 0;
            (*block).pending.store(0, Ordering::Relaxed);
            (*block).passed = registers;
            let entered = match leaf {
                EntryLeaf::Enter => self.prepare_enter(block, state),
                EntryLeaf::Resume => aex::prepare_resume(block, shared, state),
            };
            if let Err(event) = entered {
                state.owner.store(0, Ordering::Release);
                state.busy.store(0, Ordering::Release);
                return report(event, leaf as u32);
            }
            let is_own = state.has_own_gs_page.load(Ordering::Acquire);
            shared.shadow.set(state.ogsbase, is_own.then_some(block));
            match leaf {
                EntryLeaf::Enter => gates::enter(block),
                EntryLeaf::Resume => gates::resume(block),
            }
            if (*block).exit == EXIT_EEXIT {
                return Ok(Exit::Eexit((*block).passed));
            }
            // The AEP holds ERESUME.
            report((*block).exit_event, EntryLeaf::Resume as u32)
        }
    }

    fn kick(&self, tcs: u64) {
        // The caller's reason is visible before the thread is looked for: see `enter`.
        fence(Ordering::SeqCst);
        let Some(tcs) = self.shared.find(tcs) else { return };
        // SAFETY: TCS objects live as long as the enclave, which `self` borrows.
        let owner = unsafe { (*tcs).owner.load(Ordering::SeqCst) };
        if owner != 0 {
            // SAFETY: the call touches no memory. A thread that has left the enclave drops the signal.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), owner, crate::signal::KICK) };
        }
    }
}

impl EmulatedEnclave {
    /// The checks of EENTER that remain once the TCS is ours.
    ///
    /// # Safety
    /// The block is the calling thread's, which owns `tcs`.
    unsafe fn prepare_enter(&self, block: *mut Block, tcs: &Tcs) -> Result<(), Event> {
        let cssa = tcs.cssa.load(Ordering::Relaxed);
        if cssa >= tcs.nssa {
            return Err(Event::Exception {
                vector: GENERAL_PROTECTION as u8,
                error_code: 0,
                address: 0,
            });
        }
        let frame = aex::frame_address(&self.shared, tcs, cssa);
        aex::touch_frame(&self.shared, frame).map_err(|fault| Event::Exception {
            vector: PAGE_FAULT as u8,
            error_code: fault.error_code,
            address: fault.address,
        })?;
        // SAFETY: as the caller promises.
        unsafe {
            (*block).cssa = cssa.into();
            (*block).ssa = frame;
            (*block).gprsgx = aex::gprsgx_address(&self.shared, frame);
        }
        Ok(())
    }
}

fn report(event: Event, leaf: u32) -> Result<Exit, DriverError> {
    match event {
        Event::Interrupt => Ok(Exit::Interrupted),
        Event::Exception { vector, error_code, address } => Ok(Exit::Exception {
            leaf,
            vector: vector.into(),
            error_code: error_code as u16,
            address: address / PAGE * PAGE,
        }),
        Event::BadExit { target } => Err(DriverError::Refused {
            operation: "EEXIT",
            field: "RBX (must be what EENTER gave in RCX)",
            expected: gates::landing(),
            got: target,
        }),
    }
}

fn require_initialised(
    space: &crate::space::Locked<'_>,
    operation: &'static str,
) -> Result<(), DriverError> {
    if space.is_initialised() {
        return Ok(());
    }
    Err(DriverError::Refused { operation, field: "SECS.ATTRIBUTES.INIT", expected: 1, got: 0 })
}

const fn not_modifiable(operation: &'static str) -> DriverError {
    DriverError::Leaf { operation, code: sgx::ErrorCode::PageNotModifiable as u32 }
}
