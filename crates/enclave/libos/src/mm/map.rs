//! Making and unmaking mappings.

use super::group::{Group, State};
use super::shared::{SHARED, SharedObject};
use super::va::GroupId;
use super::vma::{Backing, Role, Vma};
use super::{Mm, MmId};
use crate::errno::Errno;
use crate::platform::{Access, PAGE_SIZE};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

/// Most mappings of a process (vm.max_map_count).
const MAX_MAPPINGS: usize = 65530;

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this address if it is free, else anywhere; 0 for no wish.
    Hint(u64),
    /// There, in place of what is there.
    Fixed(u64),
    /// There, or EEXIST.
    FixedNoReplace(u64),
}

/// A new mapping.
pub struct Request {
    /// Where.
    pub place: Place,
    /// Bytes; rounded up to whole pages.
    pub length: u64,
    /// What the program may do.
    pub access: Access,
    /// What fills it.
    pub backing: Backing,
    /// Its role.
    pub role: Role,
    /// The file's path for /proc/PID/maps; empty for none.
    pub path: Arc<[u8]>,
}

/// A mapping as /proc/PID/maps lists it.
#[derive(Clone)]
pub struct MappingInfo {
    /// Addresses.
    pub range: Range<u64>,
    /// Rights.
    pub access: Access,
    /// Whether it is shared.
    pub is_shared: bool,
    /// Offset in the file.
    pub offset: u64,
    /// Role.
    pub role: Role,
    /// The file's path; empty for none.
    pub path: Arc<[u8]>,
}

/// Bytes rounded up to whole pages; None for 0 or too many.
fn whole_pages(length: u64) -> Option<u64> {
    length.checked_next_multiple_of(PAGE_SIZE).filter(|rounded| *rounded > 0)
}

impl Mm {
    /// Adds a mapping; gives its address.
    ///
    /// # Errors
    /// EINVAL for no length or an unaligned fixed address; EEXIST; ENOMEM without addresses; ENOTSUP
    /// where a shared object is in the way or would get a second address.
    pub fn map(&self, request: Request) -> Result<u64, Errno> {
        let length = whole_pages(request.length).ok_or(Errno::EINVAL)?;
        let place = match &request.backing {
            Backing::Shared { object, offset } => {
                self.shared_place_for(object, *offset, length, request.place)?
            }
            _ => request.place,
        };
        let image_source = match &request.backing {
            Backing::File { source, offset, .. } if request.access.execute => {
                Some((source.clone(), *offset))
            }
            _ => None,
        };
        let address = loop {
            match self.with(|state| self.try_map(state, place, length, &request)) {
                Ok(address) => break address,
                Err(Refusal::Errno(errno)) => return Err(errno),
                Err(Refusal::Occupied(groups)) => self.merge(&groups)?,
            }
        };
        if let Some((source, offset)) = image_source {
            self.attach_image(address..address + length, &source, offset);
        }
        Ok(address)
    }

    fn try_map(
        &self,
        state: &mut State,
        place: Place,
        length: u64,
        request: &Request,
    ) -> Result<u64, Refusal> {
        if state.space(self.id).vmas.len() >= MAX_MAPPINGS {
            return Err(Refusal::Errno(Errno::ENOMEM));
        }
        let is_shared = matches!(request.backing, Backing::Shared { .. });
        let address = match place {
            Place::Hint(hint) => {
                let hint = Some(hint & !(PAGE_SIZE - 1)).filter(|hint| *hint != 0);
                let mut addresses = self.memory.addresses.lock();
                let found = addresses.allocate(length, hint, state.id);
                found.ok_or(Refusal::Errno(Errno::ENOMEM))?
            }
            Place::Fixed(at) | Place::FixedNoReplace(at) => {
                if !at.is_multiple_of(PAGE_SIZE) {
                    return Err(Refusal::Errno(Errno::EINVAL));
                }
                let end = at.checked_add(length).ok_or(Refusal::Errno(Errno::ENOMEM))?;
                let limits = self.memory.addresses.lock().limits();
                if at < limits.start || end > limits.end {
                    // As Linux below vm.mmap_min_addr, or past the end of user space.
                    let errno = if at < limits.start { Errno::EPERM } else { Errno::ENOMEM };
                    return Err(Refusal::Errno(errno));
                }
                if matches!(place, Place::FixedNoReplace(_))
                    && state.space(self.id).vmas.overlapping(at..end).next().is_some()
                {
                    return Err(Refusal::Errno(Errno::EEXIST));
                }
                self.drop_mappings(state, at..end);
                if !is_shared {
                    let reserved = self.memory.addresses.lock().reserve(at..end, state.id);
                    if let Err(groups) = reserved {
                        if groups.contains(&SHARED) {
                            self.memory.refused_shared.fetch_add(1, Ordering::Relaxed);
                            return Err(Refusal::Errno(Errno::EOPNOTSUPP));
                        }
                        return Err(Refusal::Occupied(groups));
                    }
                }
                at
            }
        };
        let range = address..address + length;
        state.clear_for(self.memory, self.id, range.clone());
        let vma = Vma {
            end: range.end,
            access: request.access,
            backing: request.backing.clone(),
            role: request.role,
            path: request.path.clone(),
        };
        state.space(self.id).vmas.insert(address, vma);
        Ok(address)
    }

    /// A shared object has one place; a demand for another is refused and counted.
    fn shared_place_for(
        &self,
        object: &SharedObject,
        offset: u64,
        length: u64,
        place: Place,
    ) -> Result<Place, Errno> {
        let home = object.place();
        let end = offset.checked_add(length).ok_or(Errno::EINVAL)?;
        if end > home.end - home.start {
            return Err(Errno::EINVAL);
        }
        let start = home.start + offset;
        match place {
            Place::Fixed(at) | Place::FixedNoReplace(at) if at != start => {
                self.memory.refused_shared.fetch_add(1, Ordering::Relaxed);
                Err(Errno::EOPNOTSUPP)
            }
            _ => Ok(Place::Fixed(start)),
        }
    }

    /// Has the file's system calls in `range` go to a trampoline. Where that fails they trap.
    fn attach_image(
        &self,
        range: Range<u64>,
        source: &Arc<dyn crate::fs::file::PageSource>,
        offset: u64,
    ) {
        let Some(image) = self.memory.images.attach(self.memory, source, range.clone(), offset)
        else {
            return;
        };
        self.with(|state| {
            state.space(self.id).vmas.update(range, |vma| {
                if let Backing::File { image: place, source: mapped, .. } = &mut vma.backing
                    && Arc::ptr_eq(mapped, source)
                {
                    *place = Some(image.clone());
                }
            });
        });
    }

    /// Joins the collision groups that have addresses this process needs.
    fn merge(&self, groups: &[GroupId]) -> Result<(), Errno> {
        for id in groups {
            let other = self.memory.groups.lock().get(id).and_then(alloc::sync::Weak::upgrade);
            let Some(other) = other else { continue };
            self.merge_with(&other);
        }
        if groups.is_empty() { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    fn merge_with(&self, other: &Arc<Group>) {
        let mine = self.group();
        if Arc::ptr_eq(&mine, other) {
            return;
        }
        let key = |group: &Arc<Group>| Arc::as_ptr(group).addr();
        let (first, second) = if key(&mine) < key(other) { (&mine, other) } else { (other, &mine) };
        let first_guard = first.state.lock();
        let second_guard = second.state.lock();
        let (mut ours, mut theirs) = if Arc::ptr_eq(first, &mine) {
            (first_guard, second_guard)
        } else {
            (second_guard, first_guard)
        };
        if ours.forward.is_some() || theirs.forward.is_some() {
            return; // The caller asks again.
        }
        // Whoever runs there goes on until it waits or is asked to leave.
        ours.absorb(&mut theirs);
        if ours.resident.is_none() {
            ours.resident = theirs.resident.take();
            ours.resident_since_ns = theirs.resident_since_ns;
        }
        theirs.forward = Some(mine.clone());
        self.memory.addresses.lock().transfer(theirs.id, ours.id);
    }

    /// Removes mappings; addresses that nobody else needs become free.
    ///
    /// # Errors
    /// EINVAL for no length or an unaligned address.
    pub fn unmap(&self, address: u64, length: u64) -> Result<(), Errno> {
        let range = page_range(address, length)?;
        self.with(|state| {
            self.drop_mappings(state, range.clone());
            let mut addresses = self.memory.addresses.lock();
            for (part, id) in addresses.parts(range.clone()) {
                if id == state.id {
                    for free in state.unused(core::iter::once(part)) {
                        addresses.release(free);
                    }
                }
            }
        });
        Ok(())
    }

    fn drop_mappings(&self, state: &mut State, range: Range<u64>) {
        state.discard(self.memory, self.id, range.clone());
        drop(state.space(self.id).vmas.remove(range));
    }

    /// Changes rights.
    ///
    /// # Errors
    /// EINVAL, ENOMEM where a part is not mapped.
    pub fn protect(&self, address: u64, length: u64, access: Access) -> Result<(), Errno> {
        if length == 0 && address.is_multiple_of(PAGE_SIZE) {
            return Ok(());
        }
        let range = page_range(address, length)?;
        let executable = self.with(|state| {
            let space = state.space(self.id);
            if !space.vmas.covers(range.clone()) {
                return Err(Errno::ENOMEM);
            }
            let mut newly_executable = Vec::new();
            for (start, vma) in space.vmas.overlapping(range.clone()) {
                if let Backing::File { source, offset, image: None } = &vma.backing
                    && access.execute
                    && !vma.access.execute
                {
                    newly_executable.push((start..vma.end, source.clone(), *offset));
                }
            }
            space.vmas.update(range.clone(), |vma| vma.access = access);
            state.protect(self.memory, self.id, range.clone());
            Ok(newly_executable)
        })?;
        for (mapped, source, offset) in executable {
            self.attach_image(mapped, &source, offset);
        }
        Ok(())
    }

    /// Forgets the contents of private pages (MADV_DONTNEED).
    ///
    /// # Errors
    /// EINVAL, ENOMEM where a part is not mapped.
    pub fn forget(&self, address: u64, length: u64) -> Result<(), Errno> {
        let range = page_range(address, length)?;
        self.with(|state| {
            let is_mapped = state.space(self.id).vmas.covers(range.clone());
            state.discard(self.memory, self.id, range);
            if is_mapped { Ok(()) } else { Err(Errno::ENOMEM) }
        })
    }

    /// Which pages of a range have been filled (mincore(2)).
    ///
    /// # Errors
    /// EINVAL, ENOMEM where a part is not mapped.
    pub fn filled(&self, address: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let range = page_range(address, length)?;
        self.with(|state| {
            let space = state.space(self.id);
            if !space.vmas.covers(range.clone()) {
                return Err(Errno::ENOMEM);
            }
            Ok(range.step_by(4096).map(|at| u8::from(space.pages.contains_key(&at))).collect())
        })
    }

    /// Resizes or moves a mapping (mremap(2)). `place` is None where it may not move.
    ///
    /// # Errors
    /// EINVAL, EFAULT where the old range is not one mapping, ENOMEM.
    pub fn remap(
        &self,
        address: u64,
        old: u64,
        new: u64,
        place: Option<Place>,
    ) -> Result<u64, Errno> {
        let range = page_range(address, old)?;
        let new = whole_pages(new).ok_or(Errno::EINVAL)?;
        let old = range.end - range.start;
        let (start, vma) = self.with(|state| {
            let found = state.space(self.id).vmas.find(address);
            found.map(|(start, vma)| (start, vma.clone())).ok_or(Errno::EFAULT)
        })?;
        if vma.end < range.end {
            return Err(Errno::EFAULT);
        }
        let moves = matches!(place, Some(Place::Fixed(_)));
        if !moves && new <= old {
            if new < old {
                self.unmap(address + new, old - new)?;
            }
            return Ok(address);
        }
        if vma.is_shared() {
            return Err(Errno::EOPNOTSUPP);
        }
        let request = |place, from: u64, length| {
            let mut backing = vma.backing.clone();
            if let Backing::File { offset, .. } = &mut backing {
                *offset += from - start;
            }
            let path = vma.path.clone();
            Request { place, length, access: vma.access, backing, role: vma.role, path }
        };
        if !moves && vma.end == range.end {
            let more = request(Place::FixedNoReplace(range.end), range.end, new - old);
            let is_free = self.memory.addresses.lock().is_free(range.end..range.end + (new - old));
            if is_free && self.map(more).is_ok() {
                return Ok(address);
            }
        }
        let place = place.ok_or(Errno::ENOMEM)?;
        let to = self.map(request(place, address, new))?;
        self.copy_pages(range.start, to, old.min(new))?;
        self.unmap(range.start, old)?;
        Ok(to)
    }

    /// Copies the pages that were filled; the rest comes from the same backing.
    fn copy_pages(&self, from: u64, to: u64, length: u64) -> Result<(), Errno> {
        let filled: Vec<u64> = self.with(|state| {
            let pages = &state.space(self.id).pages;
            pages.range(from..from + length).map(|(at, _)| *at).collect()
        });
        let mut bytes = super::frame::zeroed();
        for at in filled {
            self.with(|state| state.read_page(self.memory, self.id, at, 0, &mut bytes[..]))?;
            self.force_write(to + (at - from), &bytes[..])?;
        }
        Ok(())
    }

    /// Gives the heap its place: `reserve` bytes of addresses kept for it, at `near` if free.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn set_heap(&self, near: Option<u64>, reserve: u64) -> Result<(), Errno> {
        self.with(|state| {
            let mut addresses = self.memory.addresses.lock();
            let start = addresses.allocate(reserve, near, state.id).ok_or(Errno::ENOMEM)?;
            let space = state.space(self.id);
            space.reserved.push(start..start + reserve);
            space.heap = start..start;
            Ok(())
        })
    }

    /// brk(2): the heap's end, moved to `wanted` if that is possible.
    pub fn set_break(&self, wanted: u64) -> u64 {
        let (heap, old_end) = self.with(|state| {
            let heap = state.space(self.id).heap.clone();
            (heap.clone(), heap.end.next_multiple_of(PAGE_SIZE))
        });
        let Some(new_end) = wanted.checked_next_multiple_of(PAGE_SIZE) else { return heap.end };
        if wanted < heap.start {
            return heap.end;
        }
        let is_done = if new_end > old_end {
            self.grow_heap(old_end..new_end).is_ok()
        } else {
            new_end == old_end
                || self.with(|state| {
                    self.drop_mappings(state, new_end..old_end);
                    true
                })
        };
        if !is_done {
            return heap.end;
        }
        self.with(|state| state.space(self.id).heap.end = wanted);
        wanted
    }

    fn grow_heap(&self, range: Range<u64>) -> Result<(), Errno> {
        self.with(|state| {
            let kept = state
                .space(self.id)
                .reserved
                .iter()
                .position(|r| r.contains(&range.start) || r.end == range.start);
            let kept = kept.ok_or(Errno::ENOMEM)?;
            let kept_end = state.space(self.id).reserved[kept].end;
            if range.end > kept_end {
                let mut addresses = self.memory.addresses.lock();
                if !addresses.is_free(kept_end..range.end) {
                    return Err(Errno::ENOMEM);
                }
                addresses.reserve(kept_end..range.end, state.id).map_err(|_| Errno::ENOMEM)?;
                state.space(self.id).reserved[kept].end = range.end;
            }
            state.clear_for(self.memory, self.id, range.clone());
            let vma = Vma {
                end: range.end,
                access: Access { read: true, write: true, execute: false },
                backing: Backing::Anonymous,
                role: Role::Heap,
                path: Arc::from([]),
            };
            state.space(self.id).vmas.insert(range.start, vma);
            Ok(())
        })
    }

    /// All mappings, ascending.
    #[must_use]
    pub fn mappings(&self) -> Vec<MappingInfo> {
        self.with(|state| {
            let info = |(start, vma): (u64, &Vma)| MappingInfo {
                range: start..vma.end,
                access: vma.access,
                is_shared: vma.is_shared(),
                offset: match &vma.backing {
                    Backing::File { offset, .. } | Backing::Shared { offset, .. } => *offset,
                    Backing::Anonymous => 0,
                },
                role: vma.role,
                path: vma.path.clone(),
            };
            state.space(self.id).vmas.iter().map(info).collect()
        })
    }

    /// Bytes mapped, and bytes filled.
    #[must_use]
    pub fn usage(&self) -> (u64, u64) {
        self.with(|state| {
            let space = state.space(self.id);
            (space.vmas.total(), space.pages.len() as u64 * PAGE_SIZE)
        })
    }

    /// Whether the instruction at `address` was a CPUID before patching.
    #[must_use]
    pub fn is_cpuid_site(&self, address: u64) -> bool {
        let image = self.with(|state| match &state.space(self.id).vmas.find(address)?.1.backing {
            Backing::File { image, .. } => image.clone(),
            _ => None,
        });
        image.is_some_and(|image| image.is_cpuid(address))
    }

    /// This address space's name, for keys.
    #[must_use]
    pub fn id(&self) -> MmId {
        self.id
    }
}

enum Refusal {
    Errno(Errno),
    Occupied(Vec<GroupId>),
}

fn page_range(address: u64, length: u64) -> Result<Range<u64>, Errno> {
    let length = whole_pages(length).ok_or(Errno::EINVAL)?;
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    Ok(address..address.checked_add(length).ok_or(Errno::EINVAL)?)
}
