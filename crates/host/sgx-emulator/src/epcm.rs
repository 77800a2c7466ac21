//! The EPCM: what the CPU knows of each enclave page.
//!
//! A sparse two-level table of atomic entries. Any thread may read an entry at any time; changes are made
//! under the lock of [`Space`](crate::space::Space), which also keeps the host's page tables in step.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use sgx::driver::Protection;
use sgx::page::PageType;

const LEAF_PAGES: u64 = 512;
type Leaf = [AtomicU32; LEAF_PAGES as usize];

/// State of one enclave page.
///
/// Beside the EPCM proper it holds the rights that the host's page tables give now (`host`), the most that
/// the page-table rights of the page may become (`maximum`: the kernel lets a page added before EINIT have
/// no more than its SECINFO says), and whether there may be host memory behind it (`backed`); behind an
/// absent page that memory is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry(u32);

impl Entry {
    const VALID: u32 = 1 << 0;
    const PENDING: u32 = 1 << 1;
    const MODIFIED: u32 = 1 << 2;
    const PR: u32 = 1 << 3;
    const RWX_SHIFT: u32 = 4;
    const TYPE_SHIFT: u32 = 8;
    const HOST_SHIFT: u32 = 16;
    const MAXIMUM_SHIFT: u32 = 20;
    const BACKED: u32 = 1 << 24;

    /// A valid page that is neither pending nor modified.
    pub(crate) const fn new(page_type: PageType, rwx: Protection, maximum: Protection) -> Self {
        Self(
            Self::VALID
                | (rwx.0 as u32) << Self::RWX_SHIFT
                | (page_type as u32) << Self::TYPE_SHIFT
                | (maximum.0 as u32) << Self::MAXIMUM_SHIFT,
        )
    }

    /// What EAUG makes of an absent page.
    pub(crate) const fn augmented(self) -> Self {
        let rw = Protection(Protection::READ.0 | Protection::WRITE.0);
        let new = Self::new(PageType::Reg, rw, Protection::ALL).with_pending(true);
        new.with_host(self.host()).with_backed(self.is_backed())
    }

    pub(crate) const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }
    pub(crate) const fn is_pending(self) -> bool {
        self.0 & Self::PENDING != 0
    }
    pub(crate) const fn is_modified(self) -> bool {
        self.0 & Self::MODIFIED != 0
    }
    pub(crate) const fn is_restricted(self) -> bool {
        self.0 & Self::PR != 0
    }
    pub(crate) const fn rwx(self) -> Protection {
        Protection((self.0 >> Self::RWX_SHIFT) as u8 & 7)
    }
    pub(crate) const fn host(self) -> Protection {
        Protection((self.0 >> Self::HOST_SHIFT) as u8 & 7)
    }
    pub(crate) const fn maximum(self) -> Protection {
        Protection((self.0 >> Self::MAXIMUM_SHIFT) as u8 & 7)
    }
    pub(crate) const fn type_number(self) -> u8 {
        (self.0 >> Self::TYPE_SHIFT) as u8
    }
    pub(crate) const fn is(self, page_type: PageType) -> bool {
        self.is_valid() && self.type_number() == page_type as u8
    }

    /// What enclave code may do with the page as far as the EPCM says.
    pub(crate) const fn accessible(self) -> Protection {
        if self.is(PageType::Reg) && !self.is_pending() && !self.is_modified() {
            self.rwx()
        } else {
            Protection::NONE
        }
    }

    const fn with(self, bit: u32, set: bool) -> Self {
        Self(if set { self.0 | bit } else { self.0 & !bit })
    }
    pub(crate) const fn with_pending(self, set: bool) -> Self {
        self.with(Self::PENDING, set)
    }
    pub(crate) const fn with_modified(self, set: bool) -> Self {
        self.with(Self::MODIFIED, set)
    }
    pub(crate) const fn with_restricted(self, set: bool) -> Self {
        self.with(Self::PR, set)
    }
    pub(crate) const fn with_rwx(self, rwx: Protection) -> Self {
        Self(self.0 & !(7 << Self::RWX_SHIFT) | (rwx.0 as u32) << Self::RWX_SHIFT)
    }
    pub(crate) const fn with_type(self, page_type: PageType) -> Self {
        Self(self.0 & !(0xff << Self::TYPE_SHIFT) | (page_type as u32) << Self::TYPE_SHIFT)
    }
    pub(crate) const fn with_host(self, host: Protection) -> Self {
        Self(self.0 & !(7 << Self::HOST_SHIFT) | (host.0 as u32) << Self::HOST_SHIFT)
    }
    pub(crate) const fn is_backed(self) -> bool {
        self.0 & Self::BACKED != 0
    }
    pub(crate) const fn with_backed(self, set: bool) -> Self {
        self.with(Self::BACKED, set)
    }
    /// An absent page whose page-table entry and memory are still there.
    pub(crate) const fn removed(self) -> Self {
        Self(self.0 & Self::BACKED).with_host(self.host())
    }
}

/// The table. Page numbers are linear address / 4096; one past the end reads as absent.
pub(crate) struct Epcm {
    leaves: Box<[AtomicPtr<Leaf>]>,
}

impl Epcm {
    pub(crate) fn new(pages: u64) -> Self {
        let leaves = (0..pages.div_ceil(LEAF_PAGES)).map(|_| AtomicPtr::default()).collect();
        Self { leaves }
    }

    fn leaf(&self, page: u64) -> Option<&Leaf> {
        let leaf = self.leaves.get((page / LEAF_PAGES) as usize)?.load(Ordering::Acquire);
        // SAFETY: a leaf pointer is null or came from Box::into_raw in `set`, and is freed only by Drop.
        unsafe { leaf.as_ref() }
    }

    pub(crate) fn get(&self, page: u64) -> Entry {
        self.leaf(page).map_or(Entry(0), |leaf| {
            Entry(leaf[(page % LEAF_PAGES) as usize].load(Ordering::Acquire))
        })
    }

    /// Stores an entry. Only the holder of the space's lock may.
    ///
    /// # Panics
    /// If `page` is outside the table.
    pub(crate) fn set(&self, page: u64, entry: Entry) {
        let slot = &self.leaves[(page / LEAF_PAGES) as usize];
        if slot.load(Ordering::Acquire).is_null() {
            let leaf: Box<Leaf> = Box::new([const { AtomicU32::new(0) }; LEAF_PAGES as usize]);
            slot.store(Box::into_raw(leaf), Ordering::Release);
        }
        let leaf = self.leaf(page).expect("stored just above, and leaves are never taken out");
        leaf[(page % LEAF_PAGES) as usize].store(entry.0, Ordering::Release);
    }

    /// The pages from `page` on whose entry may be other than absent: skips whole empty leaves.
    pub(crate) fn next_populated(&self, page: u64, end: u64) -> u64 {
        let mut page = page;
        while page < end && self.leaf(page).is_none() {
            page = (page / LEAF_PAGES + 1) * LEAF_PAGES;
        }
        page.min(end)
    }
}

impl Drop for Epcm {
    fn drop(&mut self) {
        for leaf in &self.leaves {
            let leaf = leaf.swap(ptr::null_mut(), Ordering::AcqRel);
            if !leaf.is_null() {
                // SAFETY: it came from Box::into_raw, was swapped out once, and `&mut self` means that no
                // reader is left.
                drop(unsafe { Box::from_raw(leaf) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_parts_apart() {
        let entry = Entry::new(PageType::Reg, Protection::ALL, Protection::READ)
            .with_host(Protection::WRITE)
            .with_restricted(true)
            .with_type(PageType::Trim)
            .with_rwx(Protection::EXEC);
        assert!(entry.is(PageType::Trim) && entry.is_restricted() && !entry.is_pending());
        assert_eq!(
            (entry.rwx(), entry.host(), entry.maximum()),
            (Protection::EXEC, Protection::WRITE, Protection::READ)
        );
        assert_eq!(entry.accessible(), Protection::NONE);
        assert!(!entry.removed().is_valid());
        let reborn = entry.with_backed(true).removed().augmented();
        assert!(reborn.is_backed() && reborn.is_pending() && reborn.is(PageType::Reg));
        assert_eq!(entry.removed().host(), Protection::WRITE);
    }

    #[test]
    fn the_table_is_sparse() {
        let epcm = Epcm::new(1 << 24);
        assert!(!epcm.get(1 << 23).is_valid() && !epcm.get(u64::MAX).is_valid());
        epcm.set(1 << 23, Entry::default().augmented());
        assert!(epcm.get(1 << 23).is_pending());
        assert_eq!(epcm.next_populated(3, 1 << 24), 1 << 23);
        assert_eq!(epcm.next_populated(3, 1000), 1000);
    }
}
