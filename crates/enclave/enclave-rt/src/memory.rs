//! User memory: commit, release, protect, and access by the library OS.
//!
//! User pages are readable, writable and executable in the EPCM; what `mprotect` changes is the page table,
//! by a host call, which is right for programs and claims nothing against the host. Changes are serialised
//! by one lock. Access by the library OS takes no lock as long as nothing is in the way: it looks at the
//! record, copies by instructions that may fault, and only where that fails takes the lock, lifts what is in
//! the way, copies, and restores it.

use core::ops::Range;

use libos::platform::{Access, BadAddress, Exhausted};
use libos::sync::Mutex;

use crate::layout::PAGE;
use crate::pages::{Pages, Rights, State};
use crate::usercopy;

/// What changing pages takes: the host's part and the enclave's.
pub(crate) trait Machine {
    /// Makes an absent page present: zeroed and, in the EPCM, readable, writable and executable.
    fn add(&self, page: u64);
    /// Takes pages away, as a whole.
    fn remove(&self, pages: Range<u64>);
    /// Sets page-table rights.
    fn protect(&self, pages: Range<u64>, rights: Rights);
}

/// User memory of the enclave.
pub(crate) struct Memory<M> {
    machine: M,
    /// How many pages are committed; also the lock for every change.
    committed: Mutex<u64>,
    limit_pages: u64,
}

impl<M: Machine> Memory<M> {
    /// No user page is committed; at most `limit_pages` will be.
    pub(crate) fn new(machine: M, limit_pages: u64) -> Self {
        Self { machine, committed: Mutex::new(0), limit_pages }
    }

    /// See `Platform::commit`.
    pub(crate) fn commit(
        &self,
        pages: &Pages,
        range: Range<u64>,
        access: Access,
    ) -> Result<(), Exhausted> {
        let user = pages.user();
        if !is_aligned(&range) || range.start < user.start || range.end > user.end {
            return Err(Exhausted);
        }
        let mut committed = self.committed.lock();
        let absent = each(&range).filter(|page| !pages.get(*page).is_committed).count() as u64;
        if committed.saturating_add(absent) > self.limit_pages {
            return Err(Exhausted);
        }
        *committed += absent;
        for page in each(&range) {
            let state = pages.get(page);
            if !state.is_committed {
                self.machine.add(page);
                pages.set(page, State { is_committed: true, ..state });
            }
        }
        self.set_rights(pages, range, access.into());
        Ok(())
    }

    /// See `Platform::release`.
    pub(crate) fn release(&self, pages: &Pages, range: Range<u64>) {
        let range = clamp(pages, range);
        let mut committed = self.committed.lock();
        // Absent pages have the default rights; and EACCEPT of a trimmed page needs it readable.
        self.set_rights(pages, range.clone(), Rights::DEFAULT);
        for run in runs(pages, &range, |state| state.is_committed) {
            for page in each(&run) {
                pages.set(page, State { is_committed: false, rights: Rights::DEFAULT });
            }
            *committed -= (run.end - run.start) / PAGE;
            self.machine.remove(run);
        }
    }

    /// See `Platform::protect`.
    pub(crate) fn protect(&self, pages: &Pages, range: Range<u64>, access: Access) {
        let _lock = self.committed.lock();
        self.set_rights(pages, clamp(pages, range), access.into());
    }

    /// Gives committed pages of the range these rights. Under the lock.
    fn set_rights(&self, pages: &Pages, range: Range<u64>, rights: Rights) {
        for run in runs(pages, &range, |state| state.is_committed && state.rights != rights) {
            for page in each(&run) {
                let state = pages.get(page);
                pages.set(page, State { rights: state.rights.and(rights), ..state });
            }
            self.machine.protect(run.clone(), rights);
            for page in each(&run) {
                pages.set(page, State { is_committed: true, rights });
            }
        }
    }

    /// See `Platform::read`.
    pub(crate) fn read(
        &self,
        pages: &Pages,
        address: u64,
        into: &mut [u8],
    ) -> Result<(), BadAddress> {
        let length = into.len() as u64;
        let to = into.as_mut_ptr();
        self.access(pages, address, length, Rights::READ, |at, done, length| {
            // SAFETY: `access` gives parts of the user range, which no Rust object lies in; `to + done` is
            // the matching part of `into`.
            unsafe { usercopy::copy(to.add(done), at as *const u8, length) }
        })
    }

    /// See `Platform::write`.
    pub(crate) fn write(&self, pages: &Pages, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        let source = from.as_ptr();
        self.access(pages, address, from.len() as u64, Rights::WRITE, |at, done, length| {
            // SAFETY: as in `read`, the other way round.
            unsafe { usercopy::copy(at as *mut u8, source.add(done), length) }
        })
    }

    /// See `Platform::fill`.
    pub(crate) fn fill(
        &self,
        pages: &Pages,
        address: u64,
        length: u64,
        byte: u8,
    ) -> Result<(), BadAddress> {
        self.access(pages, address, length, Rights::WRITE, |at, _, length| {
            // SAFETY: as in `read`.
            unsafe { usercopy::fill(at as *mut u8, byte, length) }
        })
    }

    /// See `Platform::read_open`.
    pub(crate) fn read_open(
        &self,
        pages: &Pages,
        address: u64,
        into: &mut [u8],
    ) -> Result<(), BadAddress> {
        let is_done = is_open(pages, address, into.len(), Rights::READ)
            // SAFETY: as in `read`: `is_open` has seen that the range is user memory.
            && unsafe { usercopy::copy(into.as_mut_ptr(), address as *const u8, into.len()) };
        if is_done { Ok(()) } else { Err(BadAddress) }
    }

    /// See `Platform::write_open`.
    pub(crate) fn write_open(
        &self,
        pages: &Pages,
        address: u64,
        from: &[u8],
    ) -> Result<(), BadAddress> {
        let is_done = is_open(pages, address, from.len(), Rights::WRITE)
            // SAFETY: as in `write`: `is_open` has seen that the range is user memory.
            && unsafe { usercopy::copy(address as *mut u8, from.as_ptr(), from.len()) };
        if is_done { Ok(()) } else { Err(BadAddress) }
    }

    /// See `Platform::fill_open`.
    pub(crate) fn fill_open(
        &self,
        pages: &Pages,
        address: u64,
        length: u64,
        byte: u8,
    ) -> Result<(), BadAddress> {
        let is_done = is_open(pages, address, length as usize, Rights::WRITE)
            // SAFETY: as in `write_open`.
            && unsafe { usercopy::fill(address as *mut u8, byte, length as usize) };
        if is_done { Ok(()) } else { Err(BadAddress) }
    }

    /// See `Platform::load_u32`.
    pub(crate) fn load_u32(&self, pages: &Pages, address: u64) -> Result<u32, BadAddress> {
        let mut value = None;
        self.word(pages, address, Rights::READ, |at| {
            // SAFETY: `word` gives an aligned word of the user range.
            value = unsafe { usercopy::load(at as *const u32) };
            value.is_some()
        })?;
        value.ok_or(BadAddress)
    }

    /// See `Platform::compare_exchange_u32`.
    pub(crate) fn compare_exchange_u32(
        &self,
        pages: &Pages,
        address: u64,
        current: u32,
        new: u32,
    ) -> Result<u32, BadAddress> {
        let mut value = None;
        // A locked exchange writes even if it does not change, so it needs both rights.
        self.word(pages, address, Rights::DEFAULT, |at| {
            // SAFETY: `word` gives an aligned word of the user range.
            value = unsafe { usercopy::compare_exchange(at as *mut u32, current, new) };
            value.is_some()
        })?;
        value.ok_or(BadAddress)
    }

    fn word(
        &self,
        pages: &Pages,
        address: u64,
        needed: Rights,
        mut operation: impl FnMut(u64) -> bool,
    ) -> Result<(), BadAddress> {
        if !address.is_multiple_of(4) {
            return Err(BadAddress);
        }
        self.access(pages, address, 4, needed, |at, _, _| operation(at))
    }

    /// Runs `operation(address, bytes done, length)` on the whole range where every page has the rights, or
    /// else page by page with the rights lifted. It answers false if it faulted.
    fn access(
        &self,
        pages: &Pages,
        address: u64,
        length: u64,
        needed: Rights,
        mut operation: impl FnMut(u64, usize, usize) -> bool,
    ) -> Result<(), BadAddress> {
        let user = pages.user();
        let end = address.checked_add(length).ok_or(BadAddress)?;
        if length == 0 {
            return Ok(());
        }
        if address < user.start || end > user.end {
            return Err(BadAddress);
        }
        let mut is_open = true;
        for page in each(&(address & !(PAGE - 1)..end)) {
            let state = pages.get(page);
            if !state.is_committed {
                return Err(BadAddress);
            }
            is_open &= state.rights.contains(needed);
        }
        if is_open && operation(address, 0, length as usize) {
            return Ok(());
        }
        let _lock = self.committed.lock();
        let mut at = address;
        while at < end {
            let page = at & !(PAGE - 1);
            let part = end.min(page + PAGE) - at;
            let state = pages.get(page);
            if !state.is_committed {
                return Err(BadAddress);
            }
            let is_lifted = !state.rights.contains(needed);
            if is_lifted {
                self.machine.protect(page..page + PAGE, state.rights.or(needed));
            }
            let done = (at - address) as usize;
            // With the lock held nobody but the host can be in the way.
            let is_done =
                (0..crate::exception::MAX_HOST_FAULTS).any(|_| operation(at, done, part as usize));
            if is_lifted {
                self.machine.protect(page..page + PAGE, state.rights);
            }
            if !is_done {
                return Err(BadAddress);
            }
            at += part;
        }
        Ok(())
    }
}

/// Whether all of the range is committed and has the right.
fn is_open(pages: &Pages, address: u64, length: usize, needed: Rights) -> bool {
    let Some(end) = address.checked_add(length as u64) else { return false };
    let mut page = address & !(PAGE - 1);
    while page < end {
        let state = pages.get(page);
        if !state.is_committed || !state.rights.contains(needed) {
            return false;
        }
        page += PAGE;
    }
    true
}

fn is_aligned(range: &Range<u64>) -> bool {
    range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE) && range.start <= range.end
}

/// The part of a page range that is user space.
fn clamp(pages: &Pages, range: Range<u64>) -> Range<u64> {
    let user = pages.user();
    let start = (range.start & !(PAGE - 1)).max(user.start);
    let end = (range.end.saturating_add(PAGE - 1) & !(PAGE - 1)).min(user.end);
    start..end.max(start)
}

fn each(range: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
    range.clone().step_by(PAGE as usize)
}

/// Maximal runs of neighbouring pages for which `is_wanted` holds, as they are when the iterator gets there.
fn runs<'a>(
    pages: &'a Pages,
    range: &Range<u64>,
    is_wanted: impl Fn(State) -> bool + 'a,
) -> impl Iterator<Item = Range<u64>> + 'a {
    let Range { mut start, end } = range.clone();
    core::iter::from_fn(move || {
        while start < end && !is_wanted(pages.get(start)) {
            start += PAGE;
        }
        let first = start;
        while start < end && is_wanted(pages.get(start)) {
            start += PAGE;
        }
        (first < start).then_some(first..start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::vec::Vec;

    const USER: Range<u64> = 0x1_0000..0x400_0000;
    const AT: u64 = 0x40_0000;
    const READ_ONLY: Access = Access { read: true, write: false, execute: false };
    const READ_WRITE: Access = Access { read: true, write: true, execute: false };

    /// Records what is asked of it.
    #[derive(Default)]
    struct Recorder(RefCell<Vec<(&'static str, Range<u64>, u8)>>);

    impl Machine for Recorder {
        fn add(&self, page: u64) {
            self.0.borrow_mut().push(("add", page..page + PAGE, 0));
        }
        fn remove(&self, pages: Range<u64>) {
            self.0.borrow_mut().push(("remove", pages, 0));
        }
        fn protect(&self, pages: Range<u64>, rights: Rights) {
            self.0.borrow_mut().push(("protect", pages, rights.bits()));
        }
    }

    fn pages(start: u64, count: u64) -> Range<u64> {
        AT + start * PAGE..AT + (start + count) * PAGE
    }

    fn fixture() -> (Pages, Memory<Recorder>) {
        (Pages::new(USER), Memory::new(Recorder::default(), 100))
    }

    fn log(memory: &Memory<Recorder>) -> Vec<(&'static str, Range<u64>, u8)> {
        memory.machine.0.take()
    }

    #[test]
    fn ordinary_memory_is_committed_without_a_protect_call() {
        let (record, memory) = fixture();
        assert!(memory.commit(&record, pages(0, 2), READ_WRITE).is_ok());
        assert_eq!(log(&memory), [("add", pages(0, 1), 0), ("add", pages(1, 1), 0)]);
        assert!(memory.commit(&record, pages(1, 2), READ_ONLY).is_ok());
        assert_eq!(log(&memory), [("add", pages(2, 1), 0), ("protect", pages(1, 2), 1)]);
    }

    #[test]
    fn release_restores_the_default_rights_and_skips_absent_pages() {
        let (record, memory) = fixture();
        memory.commit(&record, pages(0, 1), READ_ONLY).expect("room");
        memory.commit(&record, pages(2, 2), READ_WRITE).expect("room");
        log(&memory);
        memory.release(&record, pages(0, 4));
        let expected =
            [("protect", pages(0, 1), 3), ("remove", pages(0, 1), 0), ("remove", pages(2, 2), 0)];
        assert_eq!(log(&memory), expected);
        memory.release(&record, pages(0, 4));
        assert_eq!(log(&memory), []);
    }

    #[test]
    fn protect_calls_the_host_once_per_run_that_changes() {
        let (record, memory) = fixture();
        memory.commit(&record, pages(0, 4), READ_WRITE).expect("room");
        memory.protect(&record, pages(1, 1), READ_ONLY);
        log(&memory);
        memory.protect(&record, pages(0, 4), READ_ONLY);
        assert_eq!(log(&memory), [("protect", pages(0, 1), 1), ("protect", pages(2, 2), 1)]);
    }

    #[test]
    fn the_limit_is_kept_and_a_refused_commit_changes_nothing() {
        let (record, memory) = fixture();
        memory.commit(&record, pages(0, 99), READ_WRITE).expect("room");
        log(&memory);
        assert!(memory.commit(&record, pages(98, 3), READ_WRITE).is_err());
        assert_eq!(log(&memory), []);
        memory.release(&record, pages(0, 1));
        assert!(memory.commit(&record, pages(98, 3), READ_WRITE).is_ok());
    }

    #[test]
    fn addresses_outside_user_space_are_refused_or_ignored() {
        let (record, memory) = fixture();
        for range in [0..PAGE, 0x400_0000..0x400_1000, 0x3ff_f000..0x400_1000, 0x40_0001..0x40_1001]
        {
            assert!(memory.commit(&record, range.clone(), READ_WRITE).is_err(), "{range:x?}");
        }
        memory.release(&record, 0..u64::MAX);
        memory.protect(&record, 0..u64::MAX, READ_ONLY);
        assert_eq!(log(&memory), []);
        let mut byte = [0; 2];
        for address in [0, 0xffff, 0x3ff_ffff, 0x400_0000, u64::MAX] {
            assert_eq!(memory.read(&record, address, &mut byte), Err(BadAddress), "{address:#x}");
            assert_eq!(memory.write(&record, address, &byte), Err(BadAddress));
        }
        assert_eq!(memory.load_u32(&record, AT + 2), Err(BadAddress), "unaligned");
    }

    /// User space is a piece of this process's own memory here, so that copies really happen.
    #[test]
    fn access_lifts_rights_for_its_length_only() {
        let area = area();
        let user = Pages::new(area.clone());
        let memory = Memory::new(Recorder::default(), 100);
        memory.commit(&user, area.start..area.start + 2 * PAGE, READ_WRITE).expect("room");
        memory.protect(&user, area.start + PAGE..area.start + 2 * PAGE, READ_ONLY);
        log(&memory);
        assert_eq!(memory.write(&user, area.start + PAGE - 2, b"abcd"), Ok(()));
        let second = area.start + PAGE..area.start + 2 * PAGE;
        assert_eq!(log(&memory), [("protect", second.clone(), 3), ("protect", second, 1)]);
        let mut bytes = [0; 4];
        assert_eq!(memory.read(&user, area.start + PAGE - 2, &mut bytes), Ok(()));
        assert_eq!(&bytes, b"abcd");
        assert_eq!(log(&memory), [], "reading needed no lifting");
        assert_eq!(memory.read(&user, area.start + 2 * PAGE - 2, &mut bytes), Err(BadAddress));
        let across = area.start + PAGE - 2;
        assert_eq!(memory.write_open(&user, across, b"efgh"), Err(BadAddress), "half is read-only");
        assert_eq!(memory.fill_open(&user, across, 4, 0), Err(BadAddress));
        assert_eq!(memory.fill_open(&user, across, 1, b'x'), Ok(()));
        assert_eq!(memory.read_open(&user, across, &mut bytes), Ok(()));
        assert_eq!(&bytes, b"xbcd");
        assert_eq!(memory.read_open(&user, area.start + 2 * PAGE - 2, &mut bytes), Err(BadAddress));
        assert_eq!(memory.read_open(&user, u64::MAX - 1, &mut bytes), Err(BadAddress));
        assert_eq!(log(&memory), [], "nothing is lifted for an open access");
        assert_eq!(memory.compare_exchange_u32(&user, area.start, 0, 7), Ok(0));
        assert_eq!(memory.load_u32(&user, area.start), Ok(7));
    }

    fn area() -> Range<u64> {
        let leaked = std::vec![0_u8; 5 * PAGE as usize].leak();
        let start = (leaked.as_ptr() as u64).next_multiple_of(PAGE);
        start..start + 4 * PAGE
    }
}
