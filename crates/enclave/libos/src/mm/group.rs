//! Collision groups: processes that need the same addresses.
//!
//! An enclave page has one address and the library OS has no page tables, so two processes that need the
//! same address take turns. A process without such a rival is alone in its group and nothing here costs
//! it anything. Members of a group never run user code in parallel.
//!
//! For each member and page, with `memory` what the processor finds at the page's address:
//!
//! 1. *absent*: memory does not hold the member's contents; its frame does.
//! 2. in memory and alone: memory holds the member's contents and nobody else's. A frame with bytes is
//!    what it was at some time; comparing tells whether it was written since.
//! 3. in memory and shared: memory holds what the frame names, for every member that has the page in
//!    memory; the processor is not allowed to write it.
//!
//! While a member is resident it has no absent page, and no other member has a page in memory where the
//! resident one has a mapping but no page (it would see the other's bytes instead of a fault). So that a
//! switch need not look at every page for that, each member lists as *own* the pages it has in memory
//! and that another member may not know: a superset of case 2, kept only while there are several members.

use super::frame::{Frame, zeroed};
use super::va::GroupId;
use super::vma::{Backing, Vma, Vmas};
use super::{Memory, MmId};
use crate::errno::Errno;
use crate::platform::{Access, Exhausted, PAGE_SIZE};
use crate::sync::Mutex;
use crate::wait::ThreadRef;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// A collision group.
pub struct Group {
    /// Its members and pages.
    pub state: Mutex<State>,
}

/// What a group's lock protects.
pub struct State {
    /// Its name with the address allocator.
    pub id: GroupId,
    /// The group that took over all members.
    pub forward: Option<Arc<Group>>,
    /// The members.
    pub spaces: BTreeMap<MmId, Space>,
    /// Committed pages that nobody has in memory, and their rights.
    pub loose: BTreeMap<u64, Access>,
    /// Whose threads may run user code.
    pub resident: Option<MmId>,
    /// Since when.
    pub resident_since_ns: u64,
    /// Threads waiting for their process to become resident, in order.
    pub queue: VecDeque<(MmId, ThreadRef)>,
}

/// One member.
#[derive(Default)]
pub struct Space {
    /// Its mappings.
    pub vmas: Vmas,
    /// Its pages, by address.
    pub pages: BTreeMap<u64, Page>,
    /// Pages that are not in memory.
    pub absent: BTreeSet<u64>,
    /// Pages in memory that another member may not know.
    pub own: BTreeSet<u64>,
    /// Threads that hold residency: they run user code, or a system call that has not waited.
    pub runners: Vec<Runner>,
    /// Addresses kept beside the mappings: heap and stack to grow, trampolines.
    pub reserved: Vec<Range<u64>>,
    /// The heap: start and present end.
    pub heap: Range<u64>,
}

/// A thread that holds residency; None: a forked child's first thread that is still to start.
pub type Runner = Option<ThreadRef>;

/// A page of a member.
#[derive(Clone)]
pub struct Page {
    /// Saved contents; see the module's cases.
    pub frame: Option<Arc<Frame>>,
    /// Rights that the processor has on the page while it is in memory for this member.
    pub access: Access,
}

impl Page {
    /// Whether memory, if it holds this page, holds exactly the frame's contents.
    fn is_clean(&self) -> bool {
        self.frame.as_ref().is_some_and(is_clean)
    }
}

fn is_clean(frame: &Arc<Frame>) -> bool {
    matches!(**frame, Frame::File(_)) || frame.is_in_memory()
}

/// Rights for the processor: a page whose frame memory must keep equal is not written directly.
fn machine_access(vma: Access, frame: Option<&Arc<Frame>>) -> Access {
    Access { write: vma.write && !frame.is_some_and(is_clean), ..vma }
}

impl State {
    /// A group without members.
    #[must_use]
    pub fn new(id: GroupId) -> Self {
        Self {
            id,
            forward: None,
            spaces: BTreeMap::new(),
            loose: BTreeMap::new(),
            resident: None,
            resident_since_ns: 0,
            queue: VecDeque::new(),
        }
    }

    /// Adds a member that is not a copy of another one.
    pub fn join(&mut self, id: MmId, space: Space) {
        self.list_all();
        self.spaces.insert(id, space);
    }

    /// Lists every page in memory as unknown to others.
    fn list_all(&mut self) {
        for space in self.spaces.values_mut() {
            let in_memory = space.pages.keys().filter(|at| !space.absent.contains(at));
            space.own = in_memory.copied().collect();
        }
    }

    /// Takes all members and pages of `other`, which its owner then forwards here.
    pub fn absorb(&mut self, other: &mut Self) {
        self.list_all();
        other.list_all();
        self.spaces.append(&mut other.spaces);
        self.loose.append(&mut other.loose);
        self.queue.append(&mut other.queue);
    }

    /// A member.
    #[must_use]
    pub fn space(&mut self, id: MmId) -> &mut Space {
        self.spaces.get_mut(&id).expect("the caller looked the member up under this lock")
    }

    /// Whether a member's pages go to memory at once.
    #[must_use]
    pub fn is_in_place(&self, id: MmId) -> bool {
        self.spaces.len() == 1 || self.resident == Some(id)
    }

    /// Other members that have the page in memory.
    fn holders(&self, id: MmId, at: u64) -> Vec<MmId> {
        if self.spaces.len() == 1 && self.spaces.contains_key(&id) {
            return Vec::new();
        }
        let holds = |s: &Space| s.pages.contains_key(&at) && !s.absent.contains(&at);
        self.spaces.iter().filter(|(m, s)| **m != id && holds(s)).map(|(m, _)| *m).collect()
    }

    /// Saves a page that a member has in memory and makes it absent. Other members that share it keep it.
    fn evict(&mut self, memory: &Memory, id: MmId, at: u64) {
        let space = self.space(id);
        let page = space.pages.get_mut(&at).expect("the caller found the page");
        page.frame = Some(save(memory, page.frame.take(), at));
        space.own.remove(&at);
        space.absent.insert(at);
    }

    /// Makes `id` the only one that has the page in memory.
    fn detach_others(&mut self, memory: &Memory, id: MmId, at: u64) {
        for other in self.holders(id, at) {
            self.evict(memory, other, at);
        }
        if self.spaces.len() > 1 {
            self.space(id).own.insert(at);
        }
    }

    /// Puts a page that is absent, or new, into memory for `id`: `page.frame` is its contents (None: zeros).
    fn place(
        &mut self,
        memory: &Memory,
        id: MmId,
        at: u64,
        mut page: Page,
        vma: Access,
    ) -> Result<(), PlaceError> {
        let holders = self.holders(id, at);
        let wanted = machine_access(vma, page.frame.as_ref());
        if let Some(mine) = page.frame.clone().filter(is_clean) {
            let other = holders.iter().find_map(|h| self.spaces[h].pages.get(&at));
            if let Some(other) = other
                && other.access == wanted
                && other.frame.as_ref().is_some_and(|theirs| theirs.is_same(&mine))
            {
                page.access = wanted;
                let is_known_to_all = self.spaces.len() == 2;
                if is_known_to_all {
                    for holder in holders {
                        self.space(holder).own.remove(&at);
                    }
                }
                let space = self.space(id);
                space.absent.remove(&at);
                if !is_known_to_all {
                    space.own.insert(at);
                }
                space.pages.insert(at, page);
                return Ok(());
            }
        }
        let mut in_memory: Option<Arc<Frame>> = None;
        let mut rights = self.loose.get(&at).copied();
        for holder in &holders {
            self.evict(memory, *holder, at);
            let theirs = &self.spaces[holder].pages[&at];
            rights = Some(theirs.access);
            in_memory = theirs.frame.clone();
            self.loose.insert(at, theirs.access);
        }
        // Contents first: nothing is recorded before nothing can fail.
        let is_there = match (&page.frame, &in_memory) {
            (Some(mine), Some(theirs)) => mine.is_same(theirs),
            _ => false,
        };
        let open = Access { read: true, write: true, execute: false };
        if !is_there {
            let bytes = match page.frame.as_deref() {
                None => None,
                Some(Frame::File(file)) => {
                    let mut bytes = zeroed();
                    file.read(at, &mut bytes).map_err(PlaceError::Source)?;
                    Some(bytes)
                }
                Some(Frame::Data(bytes)) => bytes.lock().clone(),
            };
            let before = if bytes.is_some() { open } else { wanted };
            if rights.is_none() {
                memory.platform.commit(at..at + PAGE_SIZE, before)?;
                rights = Some(before);
            } else if bytes.is_none() {
                memory.fill(at, PAGE_SIZE);
            }
            if let Some(bytes) = bytes {
                memory.store(at, &*bytes);
            }
        }
        if rights != Some(wanted) {
            memory.platform.protect(at..at + PAGE_SIZE, wanted);
        }
        self.loose.remove(&at);
        page.access = wanted;
        let is_crowded = self.spaces.len() > 1;
        let space = self.space(id);
        space.absent.remove(&at);
        if is_crowded {
            space.own.insert(at);
        }
        space.pages.insert(at, page);
        Ok(())
    }

    /// Gives `id` the page at `at` of `vma`, which has none yet.
    pub fn fill(
        &mut self,
        memory: &Memory,
        id: MmId,
        at: u64,
        vma: &Vma,
        start: u64,
    ) -> Result<(), PlaceError> {
        let frame = initial_frame(vma, start, at)?;
        let page = Page { frame, access: Access::default() };
        if self.is_in_place(id) {
            // A page of a file that will be written is a copy from the start.
            let is_copy = vma.access.write && matches!(page.frame.as_deref(), Some(Frame::File(_)));
            self.place(memory, id, at, page, vma.access)?;
            if is_copy {
                self.make_writable(memory, id, at, vma.access);
            }
        } else {
            let frame = page.frame.or_else(|| Some(Frame::zeros()));
            let space = self.space(id);
            space.pages.insert(at, Page { frame, access: Access::default() });
            space.absent.insert(at);
        }
        Ok(())
    }

    /// Whether memory at `at` is nobody's.
    pub fn is_untouched(&self, at: u64) -> bool {
        !self.loose.contains_key(&at) && !self.spaces.values().any(|s| s.pages.contains_key(&at))
    }

    /// Fills a run of neighbouring untouched pages of a mapping in one step, for a member in place.
    pub fn fill_run(
        &mut self,
        memory: &Memory,
        id: MmId,
        run: Range<u64>,
        vma: &Vma,
        start: u64,
    ) -> Result<(), PlaceError> {
        let platform = memory.platform;
        let Backing::File { .. } = &vma.backing else {
            platform.commit(run.clone(), vma.access)?;
            let page = Page { frame: None, access: vma.access };
            self.add_run(id, run.step_by(4096).map(|at| (at, page.clone())));
            return Ok(());
        };
        let mut filled = Vec::new();
        let mut bytes = zeroed();
        platform.commit(run.clone(), Access { read: true, write: true, execute: false })?;
        for at in run.clone().step_by(4096) {
            let frame = match initial_frame(vma, start, at) {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(_) => break,
            };
            let Frame::File(file) = &*frame else { break };
            if let Err(error) = file.read(at, &mut bytes) {
                if filled.is_empty() {
                    platform.release(run);
                    return Err(PlaceError::Source(error));
                }
                break;
            }
            memory.store(at, &*bytes);
            filled.push(frame);
        }
        let done = run.start + filled.len() as u64 * PAGE_SIZE;
        if done < run.end {
            platform.release(done..run.end);
        }
        if vma.access != (Access { read: true, write: true, execute: false }) {
            platform.protect(run.start..done, vma.access);
        }
        let keep = !vma.access.write;
        let pages = filled
            .into_iter()
            .zip((run.start..done).step_by(4096))
            .map(|(frame, at)| (at, Page { frame: keep.then_some(frame), access: vma.access }));
        self.add_run(id, pages);
        Ok(())
    }

    fn add_run(&mut self, id: MmId, pages: impl Iterator<Item = (u64, Page)>) {
        let is_crowded = self.spaces.len() > 1;
        let space = self.space(id);
        for (at, page) in pages {
            if is_crowded {
                space.own.insert(at);
            }
            space.pages.insert(at, page);
        }
    }

    /// Prepares a page in memory, of a member that is in place, for writing by the processor.
    pub fn make_writable(&mut self, memory: &Memory, id: MmId, at: u64, vma: Access) {
        let page = self.spaces[&id].pages[&at].clone();
        if page.is_clean() {
            self.detach_others(memory, id, at);
            let frame = page.frame.as_ref().expect("clean pages have a frame");
            // This member's page and the clone above; any other owner needs the bytes.
            if Arc::strong_count(frame) > 2 {
                save(memory, Some(frame.clone()), at);
            }
            self.space(id).pages.get_mut(&at).expect("cloned above").frame = None;
        }
        if page.access != vma {
            memory.platform.protect(at..at + PAGE_SIZE, vma);
            self.space(id).pages.get_mut(&at).expect("cloned above").access = vma;
        }
    }

    /// Reads a page of a member, from wherever it is.
    pub fn read_page(
        &self,
        memory: &Memory,
        id: MmId,
        at: u64,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), Errno> {
        let space = &self.spaces[&id];
        let page = &space.pages[&at];
        if !space.absent.contains(&at) {
            memory.load(at + offset as u64, into);
            return Ok(());
        }
        match page.frame.as_deref() {
            Some(Frame::Data(bytes)) => match bytes.lock().as_ref() {
                Some(bytes) => into.copy_from_slice(&bytes[offset..offset + into.len()]),
                None => memory.load(at + offset as u64, into),
            },
            Some(Frame::File(file)) => {
                let mut bytes = zeroed();
                file.read(at, &mut bytes)?;
                into.copy_from_slice(&bytes[offset..offset + into.len()]);
            }
            None => into.fill(0),
        }
        Ok(())
    }

    /// Changes a page of a member, wherever it is. `vma` is what its mapping allows.
    pub fn write_page(
        &mut self,
        memory: &Memory,
        id: MmId,
        at: u64,
        vma: Access,
        offset: usize,
        from: &[u8],
    ) -> Result<(), Errno> {
        let is_absent = self.spaces[&id].absent.contains(&at);
        let is_clean = self.spaces[&id].pages[&at].is_clean();
        if !is_absent && is_clean && !self.is_in_place(id) {
            // It shares the page with whoever runs: it takes its copy away instead.
            self.withdraw(memory, id, at);
        } else if !is_absent {
            if is_clean {
                self.make_writable(memory, id, at, vma);
            }
            memory.store(at + offset as u64, from);
            return Ok(());
        }
        let mut bytes = zeroed();
        self.read_page(memory, id, at, 0, &mut bytes[..])?;
        bytes[offset..offset + from.len()].copy_from_slice(from);
        self.space(id).pages.get_mut(&at).expect("read above").frame = Some(Frame::data(bytes));
        Ok(())
    }

    /// A member that is not in place gives up a page it shares in memory. One other member keeps it: the
    /// resident one if it has it.
    fn withdraw(&mut self, memory: &Memory, id: MmId, at: u64) {
        self.evict(memory, id, at);
        let holders = self.holders(id, at);
        let keeper = holders.iter().copied().find(|h| self.resident == Some(*h));
        let keeper = keeper.or(holders.first().copied());
        for holder in holders.into_iter().filter(|h| Some(*h) != keeper) {
            self.evict(memory, holder, at);
        }
        if let Some(keeper) = keeper {
            self.space(keeper).own.insert(at);
        }
    }

    /// Removes a member's pages in `range`, and their memory where nobody else has it.
    pub fn discard(&mut self, memory: &Memory, id: MmId, range: Range<u64>) {
        let in_place = self.is_in_place(id);
        let mut gone = Runs::default();
        let pages: Vec<u64> = self.space(id).pages.range(range).map(|(at, _)| *at).collect();
        for at in pages {
            let is_absent = self.spaces[&id].absent.contains(&at);
            if !is_absent && in_place {
                self.detach_others(memory, id, at);
            }
            let is_shared = !is_absent && !in_place && !self.holders(id, at).is_empty();
            if is_shared {
                self.withdraw(memory, id, at);
            }
            let space = self.space(id);
            space.pages.remove(&at);
            space.absent.remove(&at);
            space.own.remove(&at);
            if (!is_absent && !is_shared) || self.loose.remove(&at).is_some() {
                gone.push(at);
            }
        }
        gone.finish(|run| memory.platform.release(run));
    }

    /// Gives a member's pages in `range` the rights of their mappings.
    pub fn protect(&mut self, memory: &Memory, id: MmId, range: Range<u64>) {
        let in_place = self.is_in_place(id);
        let mut runs = AccessRuns::default();
        let pages: Vec<u64> = self.space(id).pages.range(range).map(|(at, _)| *at).collect();
        for at in pages {
            if self.spaces[&id].absent.contains(&at) {
                continue;
            }
            let vma = self.spaces[&id].vmas.find(at).map_or(Access::default(), |(_, v)| v.access);
            let page = &self.spaces[&id].pages[&at];
            let wanted = machine_access(vma, page.frame.as_ref());
            if page.access == wanted {
                continue;
            }
            if in_place {
                self.detach_others(memory, id, at);
            } else if !self.holders(id, at).is_empty() {
                self.withdraw(memory, id, at);
                continue;
            }
            self.space(id).pages.get_mut(&at).expect("listed above").access = wanted;
            runs.push(at, wanted);
        }
        runs.finish(memory);
    }

    /// Moves other members out of the way of a new mapping of `id`.
    pub fn clear_for(&mut self, memory: &Memory, id: MmId, range: Range<u64>) {
        if self.spaces.len() == 1 || self.resident != Some(id) {
            return;
        }
        let others: Vec<MmId> = self.spaces.keys().copied().filter(|m| *m != id).collect();
        let mut gone = Runs::default();
        for other in others {
            let held: Vec<u64> =
                self.spaces[&other].pages.range(range.clone()).map(|p| *p.0).collect();
            for at in held {
                if !self.spaces[&other].absent.contains(&at) {
                    self.evict(memory, other, at);
                    gone.push(at);
                }
            }
        }
        gone.finish(|run| memory.platform.release(run));
        self.drop_loose_in(memory, range);
    }

    /// Releases committed pages of `range` that nobody has in memory; who has them saved loads them anew.
    fn drop_loose_in(&mut self, memory: &Memory, range: Range<u64>) {
        let mut gone = Runs::default();
        for (at, _) in self.loose.extract_if(range, |_, _| true) {
            gone.push(at);
        }
        gone.finish(|run| memory.platform.release(run));
    }

    /// Makes `id` resident; no other member has runners.
    ///
    /// # Errors
    /// What is not in memory yet stays absent; the member cannot run.
    pub fn bring_in(&mut self, memory: &Memory, id: MmId) -> Result<(), PlaceError> {
        self.resident = Some(id);
        self.resident_since_ns = memory.platform.monotonic_ns();
        let absent: Vec<u64> = self.space(id).absent.iter().copied().collect();
        for at in absent {
            let space = self.space(id);
            let page = space.pages[&at].clone();
            let vma = space.vmas.find(at).map_or(Access::default(), |(_, vma)| vma.access);
            self.place(memory, id, at, page, vma)?;
        }
        // All it had saved is loaded: what is loose now it does not know.
        if !self.loose.is_empty() {
            let mapped: Vec<_> = self.spaces[&id].vmas.iter().map(|(s, vma)| s..vma.end).collect();
            for range in mapped {
                self.drop_loose_in(memory, range);
            }
        }
        let mut foreign: Vec<(MmId, u64)> = Vec::new();
        let space = &self.spaces[&id];
        for (other, rival) in self.spaces.iter().filter(|(m, s)| **m != id && !s.own.is_empty()) {
            for (start, vma) in space.vmas.iter() {
                foreign.extend(rival.own.range(start..vma.end).map(|at| (*other, *at)));
            }
        }
        for (other, at) in foreign {
            let space = &self.spaces[&id];
            let Some((start, vma)) = space.vmas.find(at) else { continue };
            if space.pages.contains_key(&at) || self.spaces[&other].absent.contains(&at) {
                continue;
            }
            let vma = vma.clone();
            if vma.is_shared() || self.fill(memory, id, at, &vma, start).is_err() {
                for holder in self.holders(id, at) {
                    self.evict(memory, holder, at);
                }
                self.loose.remove(&at);
                memory.platform.release(at..at + PAGE_SIZE);
            }
        }
        Ok(())
    }

    /// Adds a copy of `parent` as `child`, which becomes resident in its place. The caller has made sure
    /// that no thread of the parent runs user code.
    pub fn fork(&mut self, memory: &Memory, parent: MmId, child: MmId) {
        let is_known_to_all = self.spaces.len() == 1;
        let source = self.space(parent);
        let is_written = |page: &Page| !page.is_clean() && page.access.write;
        let is_small = source.pages.values().filter(|p| is_written(p)).count() <= EAGER_PAGES;
        let mut copy = Space {
            vmas: source.vmas.clone(),
            pages: BTreeMap::new(),
            absent: BTreeSet::new(),
            own: BTreeSet::new(),
            runners: alloc::vec![None],
            reserved: source.reserved.clone(),
            heap: source.heap.clone(),
        };
        let mut protected = AccessRuns::default();
        for (at, page) in &mut source.pages {
            if source.absent.contains(at) {
                copy.absent.insert(*at);
            } else if page.is_clean() {
                if !is_known_to_all {
                    copy.own.insert(*at);
                }
            } else if is_small && page.access.write {
                // Snapshot: the child goes on in place, the parent's contents are the frame.
                page.frame = Some(save(memory, page.frame.take(), *at));
                source.own.remove(at);
                source.absent.insert(*at);
                copy.own.insert(*at);
            } else {
                // Shared until one of them writes.
                page.frame = Some(Frame::in_memory());
                if !is_known_to_all {
                    copy.own.insert(*at);
                }
                if page.access.write {
                    page.access.write = false;
                    protected.push(*at, page.access);
                }
            }
            copy.pages.insert(*at, page.clone());
        }
        protected.finish(memory);
        self.spaces.insert(child, copy);
        self.resident = Some(child);
        self.resident_since_ns = memory.platform.monotonic_ns();
    }

    /// Removes a member; what it shares or covers of others' stays as they need it. Gives its addresses
    /// that no other member uses.
    pub fn leave(&mut self, memory: &Memory, id: MmId) -> Vec<Range<u64>> {
        let Some(mut space) = self.spaces.remove(&id) else { return Vec::new() };
        let mut gone = Runs::default();
        for (at, page) in core::mem::take(&mut space.pages) {
            if space.absent.contains(&at) {
                continue;
            }
            let mut is_needed = false;
            for other in self.spaces.values_mut() {
                let Some(theirs) = other.pages.get(&at) else { continue };
                is_needed = true;
                // A file page that memory still holds need not be read again.
                let is_theirs = page.access == theirs.access
                    && page.frame.as_ref().filter(|f| is_clean(f)).is_some_and(|mine| {
                        theirs.frame.as_ref().is_some_and(|theirs| mine.is_same(theirs))
                    });
                if is_theirs {
                    other.absent.remove(&at);
                    other.own.insert(at);
                }
            }
            let holders = self.holders(id, at);
            if !is_needed {
                gone.push(at);
            } else if holders.is_empty() {
                self.loose.insert(at, page.access);
            } else if let [only] = holders[..] {
                self.space(only).own.insert(at);
            }
        }
        gone.finish(|run| memory.platform.release(run));
        self.drop_loose(memory);
        if self.resident == Some(id) {
            self.resident = None;
        }
        if self.spaces.len() == 1 {
            for last in self.spaces.values_mut() {
                last.own.clear();
            }
        }
        let used = space.vmas.iter().filter(|(_, v)| !v.is_shared()).map(|(s, v)| s..v.end);
        self.unused(used.chain(space.reserved.iter().cloned()))
    }

    /// The parts of `ranges` that no member maps or keeps.
    pub fn unused(&self, ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
        let mut free: Vec<Range<u64>> = ranges.collect();
        for space in self.spaces.values() {
            let kept = space.reserved.iter().cloned();
            for used in space.vmas.iter().map(|(start, vma)| start..vma.end).chain(kept) {
                free = free.into_iter().flat_map(|range| subtract(range, &used)).collect();
            }
        }
        free
    }

    /// Releases committed pages that no member will load.
    fn drop_loose(&mut self, memory: &Memory) {
        let spaces = &self.spaces;
        let mut gone = Runs::default();
        self.loose.retain(|at, _| {
            let is_needed = spaces.values().any(|s| s.pages.contains_key(at));
            if !is_needed {
                gone.push(*at);
            }
            is_needed
        });
        gone.finish(|run| memory.platform.release(run));
    }
}

/// Above this many written pages a fork write-protects instead of copying: 4 MiB, where copying
/// everything starts to cost more than the write faults of a child that touches a part.
const EAGER_PAGES: usize = 1024;

/// Why a page cannot be put into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// The enclave has no more memory.
    Exhausted,
    /// The file's page cannot be read: past its end, or not what was measured.
    Source(Errno),
}

impl From<Exhausted> for PlaceError {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

/// What a page of a mapping contains before anyone writes it; None: zeros.
fn initial_frame(vma: &Vma, start: u64, at: u64) -> Result<Option<Arc<Frame>>, PlaceError> {
    match &vma.backing {
        Backing::Anonymous | Backing::Shared { .. } => Ok(None),
        Backing::File { source, offset, image } => {
            let position = offset + (at - start);
            if position >= source.size() {
                return Err(PlaceError::Source(Errno::ENXIO));
            }
            let page = super::frame::FilePage {
                source: source.clone(),
                index: position / PAGE_SIZE,
                image: image.clone(),
            };
            Ok(Some(Arc::new(Frame::File(page))))
        }
    }
}

/// A frame that holds what memory has at `at` now; `known` is reused where it says so already.
fn save(memory: &Memory, known: Option<Arc<Frame>>, at: u64) -> Arc<Frame> {
    let mut present = zeroed();
    if let Some(frame) = known {
        match &*frame {
            Frame::File(_) => return frame,
            Frame::Data(bytes) => {
                let mut bytes = bytes.lock();
                memory.load(at, &mut present[..]);
                match bytes.as_mut() {
                    None => *bytes = Some(present),
                    Some(old) if **old == *present => {}
                    Some(old) if Arc::strong_count(&frame) == 1 => *old = present,
                    Some(_) => return Frame::data(present),
                }
            }
        }
        return frame;
    }
    memory.load(at, &mut present[..]);
    Frame::data(present)
}

fn subtract(range: Range<u64>, used: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let below = range.start..range.end.min(used.start);
    let above = range.start.max(used.end)..range.end;
    [below, above].into_iter().filter(|part| part.start < part.end)
}

/// Joins page addresses that come in ascending order into runs.
#[derive(Default)]
struct Runs(Vec<Range<u64>>);

impl Runs {
    fn push(&mut self, at: u64) {
        match self.0.last_mut() {
            Some(run) if run.end == at => run.end += PAGE_SIZE,
            _ => self.0.push(at..at + PAGE_SIZE),
        }
    }

    fn finish(self, each: impl FnMut(Range<u64>)) {
        self.0.into_iter().for_each(each);
    }
}

/// As [`Runs`], of pages with the same rights.
#[derive(Default)]
struct AccessRuns(Vec<(Range<u64>, Access)>);

impl AccessRuns {
    fn push(&mut self, at: u64, access: Access) {
        match self.0.last_mut() {
            Some((run, same)) if run.end == at && *same == access => run.end += PAGE_SIZE,
            _ => self.0.push((at..at + PAGE_SIZE, access)),
        }
    }

    fn finish(self, memory: &Memory) {
        for (run, access) in self.0 {
            memory.platform.protect(run, access);
        }
    }
}
