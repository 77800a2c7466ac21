//! Pages of a regular file.
//!
//! A page is in one of four places: in the heap, at the one address where mappings share it, in the file
//! below, or nowhere (zeros). Readers take a reference to a heap page and copy without the lock; a writer
//! that meets such a reader makes a copy.

use super::{Fs, LowerFile};
use crate::errno::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

pub(super) const PAGE: u64 = 4096;

/// Largest file, as Linux's MAX_LFS_FILESIZE.
pub(super) const MAX_SIZE: u64 = i64::MAX as u64;

pub(super) type Page = [u8; PAGE as usize];

pub(super) struct Pages {
    size: u64,
    slots: BTreeMap<u64, Slot>,
    below: Option<Below>,
}

struct Below {
    file: Arc<dyn LowerFile>,
    /// Bytes of it that were never cut off.
    valid: u64,
    size: u64,
}

#[derive(Clone)]
enum Slot {
    Heap(Arc<Page>),
    /// Address in user memory.
    Shared(u64),
}

/// Where bytes are found, good without the lock.
pub(super) enum Place {
    /// A page.
    Heap(Arc<Page>),
    /// Address of a shared page.
    Shared(u64),
    /// The file below, for this many bytes from the offset asked for.
    Below(Arc<dyn LowerFile>, u64),
    /// Zeros, for this many bytes.
    Zeros(u64),
    /// The end of the file.
    End,
}

impl Pages {
    pub(super) fn empty() -> Self {
        Self::over(None, 0)
    }

    pub(super) fn over(file: Option<Arc<dyn LowerFile>>, size: u64) -> Self {
        let below = file.map(|file| Below { file, valid: size, size });
        Self { size, slots: BTreeMap::new(), below }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Pages that count against the budget.
    pub(super) fn pages_in_use(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Digest of the contents while they are exactly the file below.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        let below = self.below.as_ref()?;
        let is_same = self.slots.is_empty() && below.valid == below.size && self.size == below.size;
        is_same.then(|| below.file.digest())
    }

    /// Where the byte at `offset` is. Of a heap or shared page the rest of the page is meant, up to the
    /// size of the file.
    pub(super) fn place(&self, offset: u64) -> Place {
        if offset >= self.size {
            return Place::End;
        }
        let index = offset / PAGE;
        match self.slots.get(&index) {
            Some(Slot::Heap(page)) => return Place::Heap(page.clone()),
            Some(Slot::Shared(address)) => return Place::Shared(*address),
            None => {}
        }
        let next = self.slots.range(index..).next().map_or(u64::MAX, |(index, _)| index * PAGE);
        let end = next.min(self.size);
        match &self.below {
            Some(below) if offset < below.valid => {
                Place::Below(below.file.clone(), end.min(below.valid) - offset)
            }
            _ => Place::Zeros(end - offset),
        }
    }

    /// Next offset at or after `offset` that has (or has not) bytes of its own; None beyond the end.
    pub(super) fn seek(&self, offset: u64, is_hole: bool) -> Option<u64> {
        let mut at = offset;
        while at < self.size {
            let (found_hole, next) = match self.place(at) {
                Place::Zeros(count) => (true, at + count),
                Place::Below(_, count) => (false, at + count),
                _ => (false, (at / PAGE + 1) * PAGE),
            };
            if found_hole == is_hole {
                return Some(at);
            }
            at = next;
        }
        (is_hole && offset < self.size).then_some(self.size)
    }

    /// Contents of a page, zeros past the end.
    fn page(&self, fs: &Fs, index: u64, into: &mut Page) -> Result<(), Errno> {
        match self.slots.get(&index) {
            Some(Slot::Heap(page)) => *into = **page,
            Some(Slot::Shared(address)) => {
                fs.platform.read(*address, into).map_err(|_| Errno::EIO)?;
            }
            None => {
                *into = [0; PAGE as usize];
                if let Some(below) = &self.below {
                    let start = index.saturating_mul(PAGE);
                    let count = below.valid.saturating_sub(start).min(PAGE);
                    if count > 0 {
                        let count = count as usize;
                        into[..count].copy_from_slice(&below.file.block(index)?[..count]);
                    }
                }
            }
        }
        Ok(())
    }

    /// As [`page`](Self::page), with what lies past the end of the file cleared.
    pub(super) fn read_page(&self, fs: &Fs, index: u64, into: &mut Page) -> Result<(), Errno> {
        let valid = self.size.saturating_sub(index.saturating_mul(PAGE)).min(PAGE) as usize;
        if valid > 0 {
            self.page(fs, index, into)?;
        }
        into[valid..].fill(0);
        Ok(())
    }

    /// Puts `bytes`, which lie within one page, at `offset`; the file grows if it must.
    pub(super) fn write(&mut self, fs: &Fs, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (index, start) = (offset / PAGE, (offset % PAGE) as usize);
        match self.slots.get_mut(&index) {
            Some(Slot::Shared(address)) => {
                let at = *address + start as u64;
                fs.platform.write(at, bytes).map_err(|_| Errno::EIO)?;
            }
            Some(Slot::Heap(page)) => {
                Arc::make_mut(page)[start..start + bytes.len()].copy_from_slice(bytes);
            }
            None => {
                let mut page = Arc::new([0; PAGE as usize]);
                let fresh = Arc::make_mut(&mut page);
                if bytes.len() < PAGE as usize {
                    self.page(fs, index, fresh)?;
                }
                fresh[start..start + bytes.len()].copy_from_slice(bytes);
                fs.take_pages(1)?;
                self.slots.insert(index, Slot::Heap(page));
            }
        }
        self.size = self.size.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// Sets the size. Bytes that are cut off are gone: growing again shows zeros.
    pub(super) fn truncate(&mut self, fs: &Fs, size: u64) -> Result<(), Errno> {
        if size < self.size {
            let keep = size.div_ceil(PAGE);
            fs.give_pages(self.slots.split_off(&keep).len() as u64);
            if !size.is_multiple_of(PAGE) {
                self.clear_in_page(fs, size, PAGE - size % PAGE)?;
            }
            if let Some(below) = &mut self.below {
                below.valid = below.valid.min(size);
            }
        }
        self.size = size;
        Ok(())
    }

    /// Turns a range into zeros and gives whole pages back; the size stays.
    pub(super) fn punch(&mut self, fs: &Fs, start: u64, end: u64) -> Result<(), Errno> {
        let end = end.min(self.size);
        let mut at = start;
        while at < end {
            let count = (PAGE - at % PAGE).min(end - at);
            let index = at / PAGE;
            let is_below = self.below.as_ref().is_some_and(|below| index * PAGE < below.valid);
            let is_shared = matches!(self.slots.get(&index), Some(Slot::Shared(_)));
            if count == PAGE && !is_below && !is_shared {
                if self.slots.remove(&index).is_some() {
                    fs.give_pages(1);
                }
            } else if is_below && !self.slots.contains_key(&index) {
                // What shows through from below is covered by a page of our own.
                self.write(fs, at, &[0; PAGE as usize][..count as usize])?;
            } else {
                self.clear_in_page(fs, at, count)?;
            }
            at += count;
        }
        Ok(())
    }

    /// Clears bytes of a page that is in the heap or shared.
    fn clear_in_page(&mut self, fs: &Fs, offset: u64, count: u64) -> Result<(), Errno> {
        let start = (offset % PAGE) as usize;
        match self.slots.get_mut(&(offset / PAGE)) {
            Some(Slot::Heap(page)) => {
                Arc::make_mut(page)[start..start + count as usize].fill(0);
                Ok(())
            }
            Some(Slot::Shared(address)) => {
                let at = *address + start as u64;
                fs.platform.fill(at, count, 0).map_err(|_| Errno::EIO)
            }
            None => Ok(()),
        }
    }

    /// Moves a page to `address`.
    pub(super) fn share(&mut self, fs: &Fs, index: u64, address: u64) -> Result<(), Errno> {
        let mut page = [0; PAGE as usize];
        self.read_page(fs, index, &mut page)?;
        if !self.slots.contains_key(&index) {
            fs.take_pages(1)?;
        }
        fs.platform.write(address, &page).map_err(|_| Errno::EIO)?;
        self.slots.insert(index, Slot::Shared(address));
        Ok(())
    }

    /// Takes a page back from where it was shared.
    pub(super) fn unshare(&mut self, fs: &Fs, index: u64) {
        let Some(slot @ Slot::Shared(_)) = self.slots.get_mut(&index) else { return };
        let Slot::Shared(address) = *slot else { return };
        let mut page = Arc::new([0; PAGE as usize]);
        // Only an address that never was user memory fails, and then there is nothing to keep.
        if fs.platform.read(address, &mut Arc::make_mut(&mut page)[..]).is_err() {
            page = Arc::new([0; PAGE as usize]);
        }
        *slot = Slot::Heap(page);
    }
}
