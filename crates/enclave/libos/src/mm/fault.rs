//! Page faults of user code.

use super::Memory;
use super::group::{PlaceError, State};
use super::vma::{Backing, Role, Vma};
use super::{Mm, MmId};
use crate::errno::Errno;
use crate::platform::{Access, PAGE_SIZE};

/// What the processor was denied, from the error code of #PF (SDM Vol. 3A, page-fault error code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// A read.
    Read,
    /// A write.
    Write,
    /// An instruction fetch.
    Execute,
}

impl Attempt {
    /// From the error code.
    #[must_use]
    pub fn from_error_code(code: u32) -> Self {
        match code {
            code if code & 0x10 != 0 => Self::Execute,
            code if code & 0x2 != 0 => Self::Write,
            _ => Self::Read,
        }
    }

    fn is_allowed(self, access: Access) -> bool {
        match self {
            Self::Read => access != Access::default(),
            Self::Write => access.write,
            Self::Execute => access.execute,
        }
    }
}

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Something changed: try the instruction again.
    Resolved,
    /// The page is mapped, permitted and in memory: the fault was not the program's doing.
    Unexplained,
    /// SIGSEGV, SEGV_MAPERR: nothing is mapped there.
    NotMapped,
    /// SIGSEGV, SEGV_ACCERR: the mapping forbids it.
    NotPermitted,
    /// SIGBUS: past the end of the file, or its bytes are not what was measured.
    Bus,
    /// The enclave has no more memory.
    Exhausted,
}

/// Pages filled around a fault, as Linux's fault-around.
const AROUND: u64 = 16 * PAGE_SIZE;

impl Mm {
    /// Handles a fault at `address` of user code of this process, which is resident.
    pub fn handle_fault(&self, address: u64, attempt: Attempt) -> Resolution {
        let at = address & !(PAGE_SIZE - 1);
        self.with(|state| {
            let Some((start, vma)) = state.space(self.id).vmas.find(address) else {
                return Resolution::NotMapped;
            };
            let vma = vma.clone();
            if !attempt.is_allowed(vma.access) {
                return Resolution::NotPermitted;
            }
            if let Backing::Shared { object, .. } = &vma.backing {
                return match object.touch(address, vma.access) {
                    Ok(true) => Resolution::Resolved,
                    Ok(false) => Resolution::Unexplained,
                    Err(Errno::ENOMEM) => Resolution::Exhausted,
                    Err(_) => Resolution::Bus,
                };
            }
            let space = state.space(self.id);
            let Some(page) = space.pages.get(&at) else {
                return match fill_around(self.memory, state, self.id, at, &vma, start) {
                    Ok(()) => Resolution::Resolved,
                    Err(PlaceError::Exhausted) => Resolution::Exhausted,
                    Err(PlaceError::Source(_)) => Resolution::Bus,
                };
            };
            if attempt == Attempt::Write && !page.access.write {
                state.make_writable(self.memory, self.id, at, vma.access);
                return Resolution::Resolved;
            }
            Resolution::Unexplained
        })
    }
}

/// Fills the page at `at`, and, where the member is in place, its untouched neighbours in the window.
pub(super) fn fill_around(
    memory: &Memory,
    state: &mut State,
    id: MmId,
    at: u64,
    vma: &Vma,
    start: u64,
) -> Result<(), PlaceError> {
    if !state.is_in_place(id) || !state.is_untouched(at) {
        return state.fill(memory, id, at, vma, start);
    }
    let window_start = (at & !(AROUND - 1)).max(start);
    let mut window_end = ((at & !(AROUND - 1)) + AROUND).min(vma.end);
    if let Backing::File { source, offset, .. } = &vma.backing {
        let file_end = source.size().saturating_sub(*offset).saturating_add(start);
        window_end = window_end.min(file_end.next_multiple_of(PAGE_SIZE)).max(at + PAGE_SIZE);
    }
    let mut low = at;
    // A stack grows down, everything else mostly up.
    while low > window_start && state.is_untouched(low - PAGE_SIZE) {
        low -= PAGE_SIZE;
    }
    let mut high = at + PAGE_SIZE;
    while vma.role != Role::Stack && high < window_end && state.is_untouched(high) {
        high += PAGE_SIZE;
    }
    if matches!(vma.backing, Backing::Anonymous) && vma.role != Role::Stack {
        low = at;
    }
    match state.fill_run(memory, id, low..high, vma, start) {
        Err(PlaceError::Exhausted | PlaceError::Source(Errno::EIO | Errno::ENXIO)) if low < at => {
            state.fill_run(memory, id, at..at + PAGE_SIZE, vma, start)
        }
        Ok(()) if !state.spaces[&id].pages.contains_key(&at) => {
            state.fill_run(memory, id, at..at + PAGE_SIZE, vma, start)
        }
        other => other,
    }
}
