//! ELRANGE in this process: the reservation, the EPCM, and the host page tables that follow both.
//!
//! What enclave code can really do with a page is `EPCM rights & page-table rights`, and the host mapping
//! of the page never allows more. It may allow less for a while: rights that grow are mapped when first
//! used, a run of pages at a time, so that accepting many pages costs one `mprotect(2)`.
//!
//! Lock order: nothing is locked while the lock here is held. It is taken in signal handlers, which is
//! sound because they interrupt enclave code or gate code only, never code that holds it.

use crate::epcm::{Entry, Epcm};
use crate::rights::RightsMap;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use sgx::driver::{DriverError, Protection};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) const PAGE: u64 = 4096;
/// The first page that is ever mapped: [0, 64 KiB) stays empty (`vm.mmap_min_addr`, null pointers).
pub(crate) const FIRST_PAGE: u64 = 16;
/// Pages that become writable together while the enclave is built.
const BUILD_CHUNK: u64 = 512;
/// Memory of this many removed pages is kept for new ones: clearing a page costs a tenth of having the kernel
/// free one and find another (0.2 µs against 2, measured on a VM).
const KEPT_PAGES: u64 = 8192;
/// The most pages on each side of a faulting one that are mapped along with it.
const FIXUP_SPAN: u64 = 2048;

/// Page-fault error code bits (SDM Vol. 3A, "Page-Fault Exceptions"; Vol. 3D, "Page Fault Error Codes").
pub(crate) mod error_code {
    pub(crate) const PRESENT: u32 = 1 << 0;
    pub(crate) const WRITE: u32 = 1 << 1;
    pub(crate) const USER: u32 = 1 << 2;
    pub(crate) const FETCH: u32 = 1 << 4;
    pub(crate) const PROTECTION_KEY: u32 = 1 << 5;
    pub(crate) const SGX: u32 = 1 << 15;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Fetch,
}

impl Access {
    pub(crate) const fn from_error_code(code: u32) -> Self {
        if code & error_code::FETCH != 0 {
            Self::Fetch
        } else if code & error_code::WRITE != 0 {
            Self::Write
        } else {
            Self::Read
        }
    }

    const fn needs(self) -> Protection {
        match self {
            Self::Read => Protection::READ,
            Self::Write => Protection::WRITE,
            Self::Fetch => Protection::EXEC,
        }
    }

    const fn error_code(self) -> u32 {
        error_code::USER
            | match self {
                Self::Read => 0,
                Self::Write => error_code::WRITE,
                Self::Fetch => error_code::FETCH,
            }
    }
}

/// #PF as the CPU would raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageFault {
    /// Linear address.
    pub(crate) address: u64,
    /// Error code, with the SGX bit where the EPCM is the reason.
    pub(crate) error_code: u32,
}

/// What the lock protects.
pub(crate) struct State {
    rights: RightsMap,
    /// Chunks that are writable because pages are being added.
    building: BTreeSet<u64>,
    /// Absent pages with memory behind them.
    kept: u64,
}

pub(crate) struct Space {
    size: u64,
    epcm: Epcm,
    state: Mutex<State>,
    /// EINIT succeeded.
    initialised: AtomicBool,
}

fn os(operation: &'static str) -> DriverError {
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    DriverError::Os { operation, errno }
}

fn mprotect(pages: Range<u64>, rights: Protection) -> Result<(), DriverError> {
    // Executable without readable would make the kernel use a protection key; the emulator itself reads
    // the instruction that trapped.
    let rights = if rights.contains(Protection::EXEC) { rights | Protection::READ } else { rights };
    // SAFETY: the callers pass pages of the reservation, which holds enclave memory only; no Rust object
    // lies there.
    let result = unsafe {
        libc::mprotect(
            (pages.start * PAGE) as *mut c_void,
            ((pages.end - pages.start) * PAGE) as usize,
            i32::from(rights.0),
        )
    };
    if result == 0 { Ok(()) } else { Err(os("mprotect of enclave pages")) }
}

/// Clears absent pages that are mapped PROT_NONE, and leaves them so.
fn clear(pages: Range<u64>) -> Result<(), DriverError> {
    mprotect(pages.clone(), Protection::READ | Protection::WRITE)?;
    // SAFETY: the pages are in the reservation and writable now. Enclave code has no right to an absent page;
    // if it breaks that rule in this moment it may find zeros instead of a fault.
    unsafe {
        let length = (pages.end - pages.start) * PAGE;
        core::ptr::write_bytes((pages.start * PAGE) as *mut u8, 0, length as usize);
    }
    mprotect(pages, Protection::NONE)
}

impl Space {
    /// Reserves [0x10000, `size`).
    pub(crate) fn reserve(size: u64) -> Result<Self, DriverError> {
        let start = FIRST_PAGE * PAGE;
        let length = (size - start) as usize;
        // SAFETY: MAP_FIXED_NOREPLACE maps nothing over an existing mapping.
        let got = unsafe {
            libc::mmap(
                start as *mut c_void,
                length,
                libc::PROT_NONE,
                libc::MAP_PRIVATE
                    | libc::MAP_ANONYMOUS
                    | libc::MAP_NORESERVE
                    | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        if got == libc::MAP_FAILED {
            return Err(os(
                "mmap of ELRANGE (another enclave in this process, or a non-PIE host?)",
            ));
        }
        if got as u64 != start {
            // A kernel older than 4.17 takes the flag for a hint.
            // SAFETY: it unmaps what was mapped just above and nobody else knows.
            unsafe { libc::munmap(got, length) };
            return Err(DriverError::Os { operation: "mmap of ELRANGE", errno: libc::EEXIST });
        }
        // SAFETY: the range was mapped just above. A failure only means a bigger core dump.
        unsafe { libc::madvise(got, length, libc::MADV_DONTDUMP) };
        let state = State { rights: RightsMap::default(), building: BTreeSet::new(), kept: 0 };
        Ok(Self {
            size,
            epcm: Epcm::new(size / PAGE),
            state: Mutex::new(state),
            initialised: AtomicBool::new(false),
        })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn entry(&self, page: u64) -> Entry {
        self.epcm.get(page)
    }

    pub(crate) fn is_initialised(&self) -> bool {
        self.initialised.load(Ordering::Acquire)
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { space: self, state }
    }

    /// Makes `[address, address + length)` accessible to the emulator on behalf of enclave code, or says
    /// which fault enclave code would take. The range must not leave ELRANGE.
    pub(crate) fn touch(&self, address: u64, length: u64, access: Access) -> Result<(), PageFault> {
        let last = (address + length.max(1) - 1) / PAGE;
        for page in address / PAGE..=last {
            if !self.epcm.get(page).host().contains(access.needs()) {
                let at = (page * PAGE).max(address);
                match self.lock().resolve(at, access) {
                    Resolution::Retry => {}
                    Resolution::Fault(fault) => return Err(fault),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let start = FIRST_PAGE * PAGE;
        // SAFETY: this is the range that `reserve` mapped, and no thread is in the enclave any more
        // because entering borrows it.
        unsafe { libc::munmap(start as *mut c_void, (self.size - start) as usize) };
    }
}

/// What to do about a fault.
pub(crate) enum Resolution {
    /// The access is allowed; the page is mapped now.
    Retry,
    /// The enclave takes this.
    Fault(PageFault),
}

/// The space with its lock held.
pub(crate) struct Locked<'a> {
    space: &'a Space,
    state: MutexGuard<'a, State>,
}

impl Locked<'_> {
    pub(crate) fn entry(&self, page: u64) -> Entry {
        self.space.epcm.get(page)
    }

    pub(crate) fn set_entry(&self, page: u64, entry: Entry) {
        self.space.epcm.set(page, entry);
    }

    pub(crate) fn is_initialised(&self) -> bool {
        self.space.is_initialised()
    }

    /// The page-table rights of a page.
    pub(crate) fn rights(&self, page: u64) -> Protection {
        self.state.rights.get(page)
    }

    fn wanted(&self, page: u64) -> Protection {
        let rights = self.entry(page).accessible().0 & self.rights(page).0;
        // x86 has no page that is writable or executable and not readable.
        let rights = Protection(rights);
        if rights == Protection::NONE { rights } else { rights | Protection::READ }
    }

    /// Adds a page before EINIT.
    pub(crate) fn add(
        &mut self,
        page: u64,
        entry: Entry,
        contents: Option<&[u8; 4096]>,
    ) -> Result<(), DriverError> {
        if let Some(contents) = contents {
            let chunk = page / BUILD_CHUNK;
            if !self.state.building.contains(&chunk) {
                mprotect(self.chunk_pages(chunk), Protection::READ | Protection::WRITE)?;
                self.state.building.insert(chunk);
            }
            // SAFETY: the page is in the reservation and was made writable just now or by an earlier
            // call; enclave code does not run before EINIT, so nothing else uses it.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    contents.as_ptr(),
                    (page * PAGE) as *mut u8,
                    contents.len(),
                );
            }
        }
        self.state.rights.set(page..page + 1, entry.maximum());
        self.set_entry(page, entry.with_backed(contents.is_some()));
        Ok(())
    }

    fn chunk_pages(&self, chunk: u64) -> Range<u64> {
        let start = (chunk * BUILD_CHUNK).max(FIRST_PAGE);
        start..((chunk + 1) * BUILD_CHUNK).min(self.space.size / PAGE)
    }

    /// Ends the building: page tables become what the EPCM says.
    pub(crate) fn finish_building(&mut self) -> Result<(), DriverError> {
        while let Some(chunk) = self.state.building.pop_first() {
            let pages = self.chunk_pages(chunk);
            mprotect(pages.clone(), Protection::NONE)?;
            self.sync(pages)?;
        }
        self.space.initialised.store(true, Ordering::Release);
        Ok(())
    }

    /// Brings the host's page tables in step with the EPCM and the page-table rights.
    pub(crate) fn sync(&self, pages: Range<u64>) -> Result<(), DriverError> {
        let mut run: Option<(Range<u64>, Protection)> = None;
        let mut page = self.space.epcm.next_populated(pages.start, pages.end);
        while page < pages.end {
            let wanted = self.wanted(page);
            let differs = self.entry(page).host() != wanted;
            match &mut run {
                Some((run, rights)) if differs && run.end == page && *rights == wanted => {
                    run.end += 1;
                }
                _ => {
                    if let Some((run, rights)) = run.take() {
                        self.map(run, rights)?;
                    }
                    run = differs.then(|| (page..page + 1, wanted));
                }
            }
            page = self.space.epcm.next_populated(page + 1, pages.end);
        }
        run.map_or(Ok(()), |(run, rights)| self.map(run, rights))
    }

    fn map(&self, pages: Range<u64>, rights: Protection) -> Result<(), DriverError> {
        mprotect(pages.clone(), rights)?;
        for page in pages {
            let entry = self.entry(page).with_host(rights);
            let backed = entry.is_backed() || rights != Protection::NONE;
            self.set_entry(page, entry.with_backed(backed));
        }
        Ok(())
    }

    /// Maps the run of pages around `page` that were given the same rights and are not mapped with them
    /// yet.
    pub(crate) fn map_run(&self, page: u64) -> Result<(), DriverError> {
        let wanted = self.wanted(page);
        let belongs = |other: u64| {
            let entry = self.entry(other);
            entry.is_valid() && entry.host() != wanted && self.wanted(other) == wanted
        };
        if !belongs(page) {
            return Ok(());
        }
        let low = page.saturating_sub(FIXUP_SPAN).max(FIRST_PAGE);
        let high = (page + FIXUP_SPAN).min(self.space.size / PAGE);
        let start = (low..page).rev().take_while(|&other| belongs(other)).last().unwrap_or(page);
        let end = (page + 1..high).take_while(|&other| belongs(other)).last().unwrap_or(page) + 1;
        self.map(start..end, wanted)
    }

    /// Resolves an access by enclave code that the host's page tables stopped, augmenting an absent page
    /// as the kernel does.
    pub(crate) fn resolve(&mut self, address: u64, access: Access) -> Resolution {
        let page = address / PAGE;
        let fault =
            |bits| Resolution::Fault(PageFault { address, error_code: access.error_code() | bits });
        if !(FIRST_PAGE..self.space.size / PAGE).contains(&page) {
            return fault(0);
        }
        let (entry, rights) = (self.entry(page), self.rights(page));
        if !rights.contains(access.needs()) {
            let is_mapped = entry.is_valid() && rights != Protection::NONE;
            return fault(if is_mapped { error_code::PRESENT } else { 0 });
        }
        if !entry.is_valid() {
            if !self.is_initialised() {
                return fault(0);
            }
            if entry.is_backed() {
                self.state.kept -= 1;
            }
            self.set_entry(page, entry.augmented());
        }
        if !self.entry(page).accessible().contains(access.needs()) {
            return fault(error_code::PRESENT | error_code::SGX);
        }
        // Mapped already: another thread was faster, and mapping it once more does no harm.
        let is_mapped = self.entry(page).host() == self.wanted(page);
        let mapped = if is_mapped {
            self.map(page..page + 1, self.wanted(page))
        } else {
            self.map_run(page)
        };
        match mapped {
            Ok(()) => Resolution::Retry,
            // Out of memory maps: the enclave cannot go on and is told what an absent page tells.
            Err(_) => fault(0),
        }
    }

    /// Changes page-table rights, as `mprotect(2)` on the enclave's mapping.
    pub(crate) fn protect(
        &mut self,
        pages: Range<u64>,
        rights: Protection,
    ) -> Result<(), DriverError> {
        let mut page = self.space.epcm.next_populated(pages.start, pages.end);
        while page < pages.end {
            let entry = self.entry(page);
            if entry.is_valid() && !entry.maximum().contains(rights) {
                return Err(DriverError::Refused {
                    operation: "mprotect",
                    field: "rights beyond the SECINFO of a measured page",
                    expected: u64::from(entry.maximum().0),
                    got: u64::from(rights.0),
                });
            }
            page = self.space.epcm.next_populated(page + 1, pages.end);
        }
        self.state.rights.set(pages.clone(), rights);
        // Until EINIT the pages are the builder's; `finish_building` maps them.
        if self.is_initialised() { self.sync(pages) } else { Ok(()) }
    }

    /// Makes trimmed pages absent. Their contents are gone: some memory is cleared and kept for pages that
    /// come later, the rest is given back.
    pub(crate) fn remove(&mut self, pages: Range<u64>) -> Result<(), DriverError> {
        for page in pages.clone() {
            self.set_entry(page, self.entry(page).removed());
        }
        self.sync(pages.clone())?;
        let backed: Vec<u64> = pages.clone().filter(|&page| self.entry(page).is_backed()).collect();
        if self.state.kept + backed.len() as u64 <= KEPT_PAGES {
            self.state.kept += backed.len() as u64;
            return backed
                .chunk_by(|a, b| a + 1 == *b)
                .try_for_each(|run| clear(run[0]..run[0] + run.len() as u64));
        }
        // SAFETY: the pages are in the reservation, absent in the EPCM and mapped PROT_NONE.
        let result = unsafe {
            libc::madvise(
                (pages.start * PAGE) as *mut c_void,
                ((pages.end - pages.start) * PAGE) as usize,
                libc::MADV_DONTNEED,
            )
        };
        if result != 0 {
            return Err(os("madvise of removed enclave pages"));
        }
        for page in pages {
            self.set_entry(page, self.entry(page).with_backed(false));
        }
        Ok(())
    }

    /// Copies a page that enclave code can no longer reach.
    pub(crate) fn read_page(&self, page: u64) -> Result<Box<[u8; 4096]>, DriverError> {
        self.map(page..page + 1, Protection::READ)?;
        let mut bytes = Box::new([0; 4096]);
        // SAFETY: the page is in the reservation and readable; `bytes` is as long. Another thread may
        // still write it through a stale translation, which is why the copy is by raw pointer.
        unsafe {
            core::ptr::copy_nonoverlapping((page * PAGE) as *const u8, bytes.as_mut_ptr(), 4096);
        }
        Ok(bytes)
    }

    /// Writes the contents of a page whatever its rights, which the host's page tables have afterwards.
    pub(crate) fn fill_page(&self, page: u64, bytes: &[u8; 4096]) -> Result<(), DriverError> {
        let rw = Protection::READ | Protection::WRITE;
        if !self.entry(page).host().contains(rw) {
            self.map(page..page + 1, rw)?;
        }
        // SAFETY: the page is in the reservation and mapped writable while the lock is held.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), (page * PAGE) as *mut u8, bytes.len());
        }
        self.sync(page..page + 1)
    }

    /// Writes code into a page, whatever its rights; they are restored.
    pub(crate) fn poke(&self, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        let last = (address + bytes.len() as u64 - 1) / PAGE;
        let pages = address / PAGE..last + 1;
        mprotect(pages.clone(), Protection::READ | Protection::WRITE)?;
        // SAFETY: the pages are in the reservation and writable for the moment; no enclave code runs yet.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len());
        }
        pages.clone().try_for_each(|page| mprotect(page..page + 1, self.entry(page).host()))
    }
}
