//! What the library OS does to user memory.
//!
//! Every access checks the mappings first and is resolved under the group's lock, page by page.

use super::frame::Bytes;
use super::group::{PlaceError, State};
use super::shared::SharedObject;
use super::vma::{Backing, Vma};
use super::{Mm, MmId};
use crate::errno::Errno;
use crate::platform::{Access, PAGE_SIZE};
use alloc::boxed::Box;

/// What an access wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Read,
    Write,
}

impl Want {
    fn is_allowed(self, access: Access) -> bool {
        match self {
            Self::Read => access != Access::default(),
            Self::Write => access.write,
        }
    }
}

impl Mm {
    /// Copies user memory into `into`.
    ///
    /// # Errors
    /// EFAULT where the range is not mapped readable; EIO where file pages fail verification.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut rest = into;
        self.each_page(address, rest.len(), Want::Read, |state, at, vma, start, offset, count| {
            let (now, later) = core::mem::take(&mut rest).split_at_mut(count);
            rest = later;
            read_part(self, state, at, vma, start, offset, now)
        })
    }

    /// Copies `from` into user memory.
    ///
    /// # Errors
    /// EFAULT where the range is not mapped writable; ENOMEM without enclave memory.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let mut rest = from;
        self.each_page(address, from.len(), Want::Write, |state, at, vma, start, offset, count| {
            let (now, later) = rest.split_at(count);
            rest = later;
            write_part(self, state, at, vma, start, offset, now)
        })
    }

    /// Fills user memory.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), Errno> {
        static ZEROS: Bytes = [0; PAGE_SIZE as usize];
        let filled = (byte != 0).then(|| Box::new([byte; PAGE_SIZE as usize]));
        let page = filled.as_deref().unwrap_or(&ZEROS);
        let length = usize::try_from(length).map_err(|_| Errno::EFAULT)?;
        self.each_page(address, length, Want::Write, |state, at, vma, start, offset, count| {
            write_part(self, state, at, vma, start, offset, &page[..count])
        })
    }

    /// Writes whatever the mappings allow: the loader puts segments and argument strings in place.
    ///
    /// # Errors
    /// EFAULT where nothing is mapped; ENOMEM without enclave memory.
    pub fn force_write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < from.len() {
            let position = address.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let offset = (position % PAGE_SIZE) as usize;
            let count = (PAGE_SIZE as usize - offset).min(from.len() - done);
            let part = &from[done..done + count];
            self.with(|state| {
                let (start, vma) = state.space(self.id).vmas.find(position).ok_or(Errno::EFAULT)?;
                let vma = vma.clone();
                write_part(self, state, position - offset as u64, &vma, start, offset, part)
            })?;
            done += count;
        }
        Ok(())
    }

    /// A fixed-size structure.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_array<const N: usize>(&self, address: u64) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A little-endian word.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_u32(&self, address: u64) -> Result<u32, Errno> {
        self.read_array(address).map(u32::from_le_bytes)
    }

    /// A little-endian word.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_u64(&self, address: u64) -> Result<u64, Errno> {
        self.read_array(address).map(u64::from_le_bytes)
    }

    /// Atomically replaces an aligned word by `change` of it; None leaves it. Gives the word found.
    ///
    /// # Errors
    /// EFAULT, EINVAL for an address not aligned to 4.
    pub fn update_u32(
        &self,
        address: u64,
        mut change: impl FnMut(u32) -> Option<u32>,
    ) -> Result<u32, Errno> {
        let platform = self.memory.platform;
        self.word(address, Want::Write, |state, at, vma, start, offset| {
            // A write of nothing makes the page this process's own.
            write_part(self, state, at, vma, start, offset, &[])?;
            if !vma.is_shared() && state.space(self.id).absent.contains(&at) {
                // Saved: no processor writes it meanwhile.
                let mut bytes = [0; 4];
                state.read_page(self.memory, self.id, at, offset, &mut bytes)?;
                let found = u32::from_le_bytes(bytes);
                if let Some(new) = change(found) {
                    write_part(self, state, at, vma, start, offset, &new.to_le_bytes())?;
                }
                return Ok(found);
            }
            let mut found = platform.load_u32(address).map_err(|_| Errno::EFAULT)?;
            while let Some(new) = change(found) {
                let seen = platform.compare_exchange_u32(address, found, new);
                let seen = seen.map_err(|_| Errno::EFAULT)?;
                if seen == found {
                    break;
                }
                found = seen;
            }
            Ok(found)
        })
    }

    /// A word as another processor may be changing it: one load.
    ///
    /// # Errors
    /// EFAULT, EINVAL for an address not aligned to 4.
    pub fn load_u32(&self, address: u64) -> Result<u32, Errno> {
        let platform = self.memory.platform;
        self.word(address, Want::Read, |state, at, vma, start, offset| {
            let mut bytes = [0; 4];
            read_part(self, state, at, vma, start, offset, &mut bytes)?;
            let space = state.space(self.id);
            let is_here = space.pages.contains_key(&at) && !space.absent.contains(&at);
            if is_here || vma.is_shared() {
                return platform.load_u32(address).map_err(|_| Errno::EFAULT);
            }
            Ok(u32::from_le_bytes(bytes))
        })
    }

    /// What names a futex at `address`: a shared object and the offset in it, or nothing.
    #[must_use]
    pub fn shared_place(&self, address: u64) -> Option<(u64, u64)> {
        self.with(|state| match &state.space(self.id).vmas.find(address)?.1.backing {
            Backing::Shared { object, .. } => Some((object.id, address - object.place().start)),
            _ => None,
        })
    }

    fn word<R>(
        &self,
        address: u64,
        want: Want,
        body: impl FnOnce(&mut State, u64, &Vma, u64, usize) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        if !address.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let offset = address % PAGE_SIZE;
        self.with(|state| {
            let (start, vma) = state.space(self.id).vmas.find(address).ok_or(Errno::EFAULT)?;
            let vma = vma.clone();
            if !want.is_allowed(vma.access) {
                return Err(Errno::EFAULT);
            }
            body(state, address - offset, &vma, start, offset as usize)
        })
    }

    fn each_page(
        &self,
        address: u64,
        length: usize,
        want: Want,
        mut body: impl FnMut(&mut State, u64, &Vma, u64, usize, usize) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if length == 0 {
            return Ok(());
        }
        let end = address.checked_add(length as u64).ok_or(Errno::EFAULT)?;
        let mut position = address;
        while position < end {
            // A lock per mapping, not per page: buffers are mostly in one mapping.
            position = self.with(|state| {
                let (start, vma) = state.space(self.id).vmas.find(position).ok_or(Errno::EFAULT)?;
                let vma = vma.clone();
                if !want.is_allowed(vma.access) {
                    return Err(Errno::EFAULT);
                }
                let stop = end.min(vma.end).min(position.saturating_add(LOCKED_BYTES));
                let mut position = position;
                while position < stop {
                    let offset = position % PAGE_SIZE;
                    let count = (PAGE_SIZE - offset).min(stop - position);
                    let at = position - offset;
                    body(state, at, &vma, start, offset as usize, count as usize)?;
                    position += count;
                }
                Ok(position)
            })?;
        }
        Ok(())
    }
}

/// Bytes copied before other threads of the group get the lock.
const LOCKED_BYTES: u64 = 256 << 10;

fn read_part(
    mm: &Mm,
    state: &mut State,
    at: u64,
    vma: &Vma,
    start: u64,
    offset: usize,
    into: &mut [u8],
) -> Result<(), Errno> {
    if let Backing::Shared { object, .. } = &vma.backing {
        touch(object, at, vma)?;
        mm.memory.load(at + offset as u64, into);
        return Ok(());
    }
    if !state.space(mm.id).pages.contains_key(&at) {
        if matches!(vma.backing, Backing::Anonymous) {
            into.fill(0);
            return Ok(());
        }
        fill(mm, state, mm.id, at, vma, start)?;
    }
    state.read_page(mm.memory, mm.id, at, offset, into)
}

fn write_part(
    mm: &Mm,
    state: &mut State,
    at: u64,
    vma: &Vma,
    start: u64,
    offset: usize,
    from: &[u8],
) -> Result<(), Errno> {
    if let Backing::Shared { object, .. } = &vma.backing {
        touch(object, at, vma)?;
        mm.memory.store(at + offset as u64, from);
        return Ok(());
    }
    if !state.space(mm.id).pages.contains_key(&at) {
        fill(mm, state, mm.id, at, vma, start)?;
    }
    state.write_page(mm.memory, mm.id, at, vma.access, offset, from)
}

/// Fills a page, and its neighbours where that is one step.
fn fill(mm: &Mm, state: &mut State, id: MmId, at: u64, vma: &Vma, start: u64) -> Result<(), Errno> {
    super::fault::fill_around(mm.memory, state, id, at, vma, start).map_err(|error| match error {
        PlaceError::Exhausted => Errno::ENOMEM,
        PlaceError::Source(Errno::ENXIO) => Errno::EFAULT,
        PlaceError::Source(errno) => errno,
    })
}

fn touch(object: &SharedObject, at: u64, vma: &Vma) -> Result<(), Errno> {
    match object.touch(at, vma.access) {
        Ok(_) => Ok(()),
        Err(Errno::ENXIO) => Err(Errno::EFAULT),
        Err(error) => Err(error),
    }
}
