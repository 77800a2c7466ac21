//! Who of a collision group runs.
//!
//! A thread holds residency from its return to user mode until it waits or its slice ends, through any
//! number of system calls. Where a group has one member that costs a flag to look at. Threads whose
//! member is not resident queue; the first takes over when no thread of another member holds residency,
//! and asks for that, by preempting, when the resident one has had its slice.

use super::group::PlaceError;
use super::{Mm, MmId};
use crate::wait::ThreadRef;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// How long a member may run while others wait.
const SLICE_NS: u64 = 3_000_000;

/// How long one waits before it looks again at threads that were kicked and have not left.
const RETRY_NS: u64 = 1_000_000;

/// What [`Mm::try_enter`] found.
enum Entry {
    Entered,
    Failed(PlaceError),
    /// Look again when woken or at this time.
    Wait(u64),
}

impl Mm {
    /// Waits until the calling thread may run user code of this address space, and records that it does.
    /// `is_first` says that it takes the place [`Mm::fork`] kept for the child. Gives false when `give_up`
    /// says so first.
    ///
    /// # Errors
    /// The process's memory cannot be brought in.
    pub fn enter(&self, is_first: bool, give_up: impl Fn() -> bool) -> Result<bool, PlaceError> {
        let platform = self.memory.platform;
        let me = ThreadRef::current(platform);
        if is_first {
            self.with(|state| {
                let space = state.space(self.id);
                if let Some(kept) = space.runners.iter_mut().find(|r| r.is_none()) {
                    *kept = Some(me);
                }
            });
            return Ok(true);
        }
        loop {
            match self.try_enter(me) {
                Entry::Entered => return Ok(true),
                Entry::Failed(error) => return Err(error),
                Entry::Wait(_) if give_up() => {
                    let next = self.with(|state| {
                        state.queue.retain(|(_, waiter)| waiter.thread != me.thread);
                        state.queue.front().map(|(_, waiter)| *waiter)
                    });
                    next.into_iter().for_each(|waiter| waiter.wake());
                    return Ok(false);
                }
                Entry::Wait(deadline) => platform.park(Some(deadline)),
            }
        }
    }

    fn try_enter(&self, me: ThreadRef) -> Entry {
        let memory = self.memory;
        let now = memory.platform.monotonic_ns();
        let mut to_kick: Vec<ThreadRef> = Vec::new();
        let mut to_wake: Vec<ThreadRef> = Vec::new();
        let entry = self.with(|state| {
            let is_queued = state.queue.iter().any(|(_, w)| w.thread == me.thread);
            let is_resident = state.resident == Some(self.id);
            let slice_end = state.resident_since_ns + SLICE_NS;
            let is_contended = state.queue.iter().any(|(id, _)| *id != self.id);
            let may_join = is_resident && !(is_contended && now >= slice_end);
            let is_next = state.queue.front().is_none_or(|(id, _)| *id == self.id);
            let is_idle = state.spaces.iter().all(|(id, s)| *id == self.id || s.runners.is_empty());
            let is_stopped = self.stopped.load(Ordering::Relaxed);
            if !is_stopped && (may_join || (is_next && is_idle)) {
                if !is_resident && let Err(error) = state.bring_in(memory, self.id) {
                    return Entry::Failed(error);
                }
                if !may_join {
                    state.resident_since_ns = now;
                }
                state.space(self.id).runners.push(Some(me));
                state.queue.retain(|(_, waiter)| waiter.thread != me.thread);
                to_wake
                    .extend(state.queue.iter().filter(|(id, _)| *id == self.id).map(|(_, w)| *w));
                return Entry::Entered;
            }
            if !is_queued {
                state.queue.push_back((self.id, me));
            }
            if now < slice_end {
                return Entry::Wait(slice_end);
            }
            if is_stopped {
                return Entry::Wait(now + RETRY_NS);
            }
            // One asks for all who wait.
            if state.queue.front().is_some_and(|(_, first)| first.thread != me.thread) {
                return Entry::Wait(now + SLICE_NS);
            }
            for (_, space) in state.spaces.iter().filter(|(id, _)| **id != self.id) {
                to_kick.extend(space.runners.iter().flatten());
            }
            Entry::Wait(now + RETRY_NS)
        });
        for waiter in to_wake {
            waiter.wake();
        }
        for waiter in to_kick {
            waiter.kick();
        }
        entry
    }

    /// Gives residency up: the calling thread waits, or its slice ended.
    pub fn exit_residency(&self) {
        let platform = self.memory.platform;
        let me = platform.current();
        let next = self.with(|state| {
            let space = state.space(self.id);
            space.runners.retain(|r| r.is_none_or(|waiter| waiter.thread != me));
            if !space.runners.is_empty() {
                return None;
            }
            state.queue.front().map(|(_, waiter)| *waiter)
        });
        if let Some(waiter) = next {
            waiter.wake();
        }
    }

    /// Whether other members wait for a member that has had its slice.
    #[must_use]
    pub fn should_yield(&self) -> bool {
        let now = self.memory.platform.monotonic_ns();
        self.with(|state| {
            state.queue.iter().any(|(id, _)| *id != self.id)
                && now >= state.resident_since_ns + SLICE_NS
        })
    }

    /// Gives back the place [`Mm::fork`] kept for a child's first thread that could not be started.
    pub fn cancel_first(&self) {
        self.with(|state| state.space(self.id).runners.retain(Option::is_some));
    }

    /// Makes every other thread of this address space leave user mode and wait for residency, until
    /// [`Mm::resume_others`]. The calling thread holds residency.
    pub fn stop_others(&self) {
        let platform = self.memory.platform;
        let me = platform.current();
        self.stopped.store(true, Ordering::Relaxed);
        loop {
            let others: Vec<ThreadRef> = self.with(|state| {
                let runners = state.space(self.id).runners.iter().flatten();
                runners.filter(|w| w.thread != me).copied().collect()
            });
            if others.is_empty() {
                return;
            }
            for waiter in others {
                waiter.kick();
            }
            platform.yield_now();
        }
    }

    /// Ends [`Mm::stop_others`].
    pub fn resume_others(&self) {
        self.stopped.store(false, Ordering::Relaxed);
        let waiting: Vec<ThreadRef> =
            self.with(|state| state.queue.iter().map(|(_, waiter)| *waiter).collect());
        for waiter in waiting {
            waiter.wake();
        }
    }

    /// Members of the group this is in, for tests and /proc.
    #[must_use]
    pub fn group_members(&self) -> Vec<MmId> {
        self.with(|state| state.spaces.keys().copied().collect())
    }
}
