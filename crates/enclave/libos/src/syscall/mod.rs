//! System calls: the table as data, and the dispatch through it.
//!
//! Each part of the library OS has a `&[Entry]` of its own; [`Table::new`] joins them. What no part
//! serves answers ENOSYS, is counted, and is listed in /proc/inclavare/syscalls.

use crate::errno::Errno;
use crate::platform::UserContext;
use crate::thread::{Seat, Thread};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

pub mod clock;
pub mod misc;
pub mod names;

/// Numbers at or above this are unknown to everyone.
pub const LIMIT: usize = 512;

/// The six arguments, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Args(pub [u64; 6]);

impl Args {
    /// An argument that Linux takes as `int`.
    #[must_use]
    pub fn int(&self, index: usize) -> i32 {
        self.0[index] as i32
    }
}

/// What a call returns in RAX.
pub type SysResult = Result<u64, Errno>;

/// How much of a call there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As on Linux.
    Full,
    /// With the difference named.
    Partial(&'static str),
}

/// Who serves a call.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Needs the calling thread only.
    Plain(fn(&Arc<Thread>, &Args) -> SysResult),
    /// Needs what the thread keeps at hand between calls: descriptors and mappings.
    Seated(fn(&Seat, &Args) -> SysResult),
    /// Reads or changes the thread's registers (clone, execve, rt_sigreturn, ...).
    Registers(fn(&Arc<Thread>, &mut UserContext, &Args) -> SysResult),
}

/// One call.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its number (x86-64).
    pub number: u16,
    /// How much of it there is.
    pub support: Support,
    /// Who serves it.
    pub handler: Handler,
}

impl Entry {
    /// A call served as on Linux.
    pub const fn full(number: u16, handler: fn(&Arc<Thread>, &Args) -> SysResult) -> Self {
        Self { number, support: Support::Full, handler: Handler::Plain(handler) }
    }

    /// A call served from the thread's seat.
    pub const fn seated(
        number: u16,
        support: Support,
        handler: fn(&Seat, &Args) -> SysResult,
    ) -> Self {
        Self { number, support, handler: Handler::Seated(handler) }
    }

    /// A call served with a difference.
    pub const fn partial(
        number: u16,
        note: &'static str,
        handler: fn(&Arc<Thread>, &Args) -> SysResult,
    ) -> Self {
        Self { number, support: Support::Partial(note), handler: Handler::Plain(handler) }
    }
}

/// All calls, by number, with how often each was made.
pub struct Table {
    entries: Vec<Option<Entry>>,
    counts: Box<[AtomicU64]>,
}

impl Table {
    /// Joins the parts' tables; of two entries for a number the later wins.
    #[must_use]
    pub fn new(parts: &[&[Entry]]) -> Self {
        let mut entries = alloc::vec![None; LIMIT];
        for entry in parts.iter().copied().flatten() {
            entries[usize::from(entry.number) % LIMIT] = Some(*entry);
        }
        let counts = (0..LIMIT).map(|_| AtomicU64::new(0)).collect();
        Self { entries, counts }
    }

    /// Who serves `number`.
    #[must_use]
    pub fn handler(&self, number: u64) -> Option<Handler> {
        let index = usize::try_from(number).ok()?;
        self.entries.get(index)?.as_ref().map(|entry| entry.handler)
    }

    /// Counts a call of `number`.
    pub fn count(&self, number: u64) {
        let Some(count) = usize::try_from(number).ok().and_then(|at| self.counts.get(at)) else {
            return;
        };
        // Two threads at once may count one call: a locked addition would cost a tenth of a short one.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// All numbers with a name or a count: number, name, support (None: not served), calls so far.
    pub fn list(&self) -> impl Iterator<Item = (u16, &'static str, Option<Support>, u64)> + '_ {
        (0..LIMIT as u16).filter_map(|number| {
            let entry = self.entries[usize::from(number)];
            let count = self.counts[usize::from(number)].load(Ordering::Relaxed);
            let name = names::name(number);
            (name.is_some() || count > 0)
                .then(|| (number, name.unwrap_or("?"), entry.map(|e| e.support), count))
        })
    }
}
