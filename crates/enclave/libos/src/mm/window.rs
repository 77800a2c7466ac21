//! What a thread remembers of its process's mappings, so that most accesses to user memory look nothing up.
//!
//! A window is a mapping as it was when it was looked up. Through it the library OS reaches memory exactly
//! where the program itself could at this moment: the processor has the rights, the process is resident,
//! and the mappings have not changed since. Where any of this does not hold the access goes the long way
//! ([`Mm::read`], [`Mm::write`]), which fills pages, finds saved ones, and says EFAULT.
//!
//! Whoever holds windows must be the only one who can change the mappings: the count of changes is looked
//! at before an access, not during it.

use super::Mm;
use super::vma::Changes;
use crate::platform::{Access, Platform};
use core::ops::Range;

/// Mappings remembered at once: a program's buffers are in its stack, heap, data, and an arena.
const WINDOWS: usize = 4;

/// The mappings of one process that were used last.
#[derive(Default)]
pub struct Windows {
    changes: Changes,
    /// Count of changes when they were looked up.
    seen: u64,
    windows: [Window; WINDOWS],
    /// Which is replaced next.
    next: usize,
}

#[derive(Clone, Copy, Default)]
struct Window {
    start: u64,
    end: u64,
    access: Access,
}

impl Windows {
    /// Reads memory of a process that is resident; whether that was possible.
    #[must_use]
    pub fn read(&self, platform: &dyn Platform, address: u64, into: &mut [u8]) -> bool {
        self.allow(address, into.len(), false) && platform.read_open(address, into).is_ok()
    }

    /// Writes likewise.
    #[must_use]
    pub fn write(&self, platform: &dyn Platform, address: u64, from: &[u8]) -> bool {
        self.allow(address, from.len(), true) && platform.write_open(address, from).is_ok()
    }

    /// Fills likewise.
    #[must_use]
    pub fn fill(&self, platform: &dyn Platform, address: u64, length: u64, byte: u8) -> bool {
        usize::try_from(length).is_ok_and(|length| self.allow(address, length, true))
            && platform.fill_open(address, length, byte).is_ok()
    }

    /// Whether `length` bytes at `address` lie in a mapping that may be read, or written.
    fn allow(&self, address: u64, length: usize, is_write: bool) -> bool {
        let Some(end) = address.checked_add(length as u64) else { return false };
        let holds = |window: &Window| {
            window.start <= address
                && end <= window.end
                && if is_write { window.access.write } else { window.access.read }
        };
        self.windows.iter().any(holds) && self.changes.count() == self.seen
    }

    /// Remembers the mapping that holds `address`.
    pub fn look(&mut self, mm: &Mm, address: u64) {
        let Some((changes, range, access)) = mm.mapping_at(address) else { return };
        // The count was taken under the lock under which the mapping was found.
        if !changes.is_same(&self.changes) || changes.count() != self.seen {
            *self = Self { seen: changes.count(), changes, ..Self::default() };
        }
        self.windows[self.next] = Window { start: range.start, end: range.end, access };
        self.next = (self.next + 1) % WINDOWS;
    }
}

impl Mm {
    /// The mapping that holds `address`: whose changes tell that it changed, where it lies, what it allows.
    fn mapping_at(&self, address: u64) -> Option<(Changes, Range<u64>, Access)> {
        self.with(|state| {
            let vmas = &state.space(self.id).vmas;
            let (start, vma) = vmas.find(address)?;
            Some((vmas.changes().clone(), start..vma.end, vma.access))
        })
    }
}
