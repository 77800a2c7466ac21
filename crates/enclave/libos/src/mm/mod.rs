//! Memory of programs.
//!
//! All processes share one range of addresses ([`va`]); each has mappings ([`vma`]) and pages filled on
//! first touch ([`fault`]). Processes that need the same addresses take turns in memory ([`group`],
//! [`residency`]); fork(2) is built on that. Shared mappings have one place ([`shared`]).
//!
//! Guaranteed: an access by the library OS goes through the mappings and their permissions and to the
//! process's own contents, wherever they are. Not guaranteed, and no security claim: that a program cannot
//! reach another's memory by address.
//!
//! Lock order: a group's lock, then the address allocator, then a shared object. Files are read under a
//! group's lock; the file layer holds no lock of its own while it copies to or from user memory.

pub mod access;
pub mod fault;
pub mod frame;
pub mod group;
pub mod image;
pub mod map;
pub mod residency;
pub mod shared;

pub mod syscalls;
pub mod va;
pub mod vma;
pub mod window;

use crate::platform::Platform;
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use group::{Group, Space, State};
use image::Images;
use va::{Addresses, GroupId};

/// What all processes' memory shares.
pub struct Memory {
    /// The machine below.
    pub platform: &'static dyn Platform,
    /// Who uses which addresses.
    pub addresses: Mutex<Addresses>,
    /// Where files' system calls are.
    pub images: Images,
    /// Shared mappings refused because the object has its place elsewhere.
    pub refused_shared: AtomicU64,
    groups: Mutex<BTreeMap<GroupId, Weak<Group>>>,
    /// Files that are mapped shared, by identity.
    shared_files: Mutex<BTreeMap<(u64, u64), Weak<shared::SharedObject>>>,
    ids: AtomicU64,
}

impl Memory {
    /// All user memory, unused.
    #[must_use]
    pub fn new(platform: &'static dyn Platform) -> Self {
        Self {
            platform,
            addresses: Mutex::new(Addresses::new(platform.user_range())),
            images: Images::default(),
            refused_shared: AtomicU64::new(0),
            groups: Mutex::default(),
            shared_files: Mutex::default(),
            ids: AtomicU64::new(1),
        }
    }

    /// A number never given before; not 0.
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Copies from committed user memory: our own books say that it is committed, so that a failure is a
    /// bug of ours or of the platform, and going on would corrupt a program.
    fn load(&self, address: u64, into: &mut [u8]) {
        if self.platform.read(address, into).is_err() {
            self.platform.host().refuse("committed user memory is not readable");
        }
    }

    fn store(&self, address: u64, from: &[u8]) {
        if self.platform.write(address, from).is_err() {
            self.platform.host().refuse("committed user memory is not writable");
        }
    }

    fn fill(&self, address: u64, length: u64) {
        if self.platform.fill(address, length, 0).is_err() {
            self.platform.host().refuse("committed user memory is not writable");
        }
    }
}

/// An address space's name; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MmId(pub u64);

/// The address space of one process (or of several: CLONE_VM). It ends when the last holder drops it.
pub struct Mm {
    /// Its name.
    pub id: MmId,
    /// What it shares with others.
    pub memory: &'static Memory,
    /// A fork is copying: its threads give residency up at the next return to user mode, and wait.
    pub stopped: AtomicBool,
    group: Mutex<Arc<Group>>,
}

impl Mm {
    /// An empty address space, alone.
    #[must_use]
    pub fn new(memory: &'static Memory) -> Arc<Self> {
        let id = MmId(memory.next_id());
        let group_id = GroupId(memory.next_id());
        let mut state = State::new(group_id);
        state.join(id, Space::default());
        let group = Arc::new(Group { state: Mutex::new(state) });
        let mut groups = memory.groups.lock();
        groups.retain(|_, group| group.strong_count() > 0);
        groups.insert(group_id, Arc::downgrade(&group));
        drop(groups);
        Self::with_group(memory, id, group)
    }

    fn with_group(memory: &'static Memory, id: MmId, group: Arc<Group>) -> Arc<Self> {
        Arc::new(Self { id, memory, stopped: AtomicBool::new(false), group: Mutex::new(group) })
    }

    /// Runs `body` under the lock of the group this is a member of.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut State) -> R) -> R {
        loop {
            let group = self.group.lock().clone();
            let mut state = group.state.lock();
            match state.forward.clone() {
                None => return body(&mut state),
                Some(next) => *self.group.lock() = next,
            }
        }
    }

    /// The group this is a member of, for merging.
    fn group(&self) -> Arc<Group> {
        loop {
            let group = self.group.lock().clone();
            let forward = group.state.lock().forward.clone();
            match forward {
                None => return group,
                Some(next) => *self.group.lock() = next,
            }
        }
    }

    /// A copy for fork(2). The calling thread holds residency; every other thread of this address space
    /// has been stopped by [`Mm::stop_others`]. The copy is in memory, this one is not any more.
    #[must_use]
    pub fn fork(&self) -> Arc<Self> {
        let id = MmId(self.memory.next_id());
        self.with(|state| state.fork(self.memory, self.id, id));
        Self::with_group(self.memory, id, self.group())
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        let memory = self.memory;
        let (unused, next) = self.with(|state| {
            let unused = state.leave(memory, self.id);
            (unused, state.queue.front().map(|(_, waiter)| *waiter))
        });
        let mut addresses = memory.addresses.lock();
        for range in unused {
            addresses.release(range);
        }
        drop(addresses);
        if let Some(waiter) = next {
            waiter.wake();
        }
    }
}
#[cfg(test)]
mod tests;
