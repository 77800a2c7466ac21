//! Files' code in memory: where the system calls of one executable mapping go.
//!
//! [`crate::patch`] knows the sites of a file; this keeps the trampolines of a file mapped at an address, near
//! enough for a jump. Processes that have the same file at the same address (fork, non-PIE programs)
//! share them. The trampolines are in nobody's mappings: the library OS's own copies never touch them.

use super::Memory;
use super::frame::Bytes;
use super::shared::SHARED;
use crate::elf::{self, FileBytes};
use crate::fs::file::PageSource;
use crate::patch::{Action, CHUNK_SIZE, Image, SLOT_SIZE, Trampolines};
use crate::platform::{Access, PAGE_SIZE};
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::ops::Range;

/// The sites known of files, by content digest, and the images in memory.
#[derive(Default)]
pub struct Images {
    files: Mutex<BTreeMap<[u8; 32], Option<Arc<Image>>>>,
    /// By file and address of the file's first byte.
    mapped: Mutex<BTreeMap<Placement, Weak<MappedImage>>>,
}

/// A file's digest and the address of its first byte.
type Placement = ([u8; 32], u64);

/// A file's code at an address.
pub struct MappedImage {
    memory: &'static Memory,
    image: Arc<Image>,
    source: Arc<dyn PageSource>,
    /// Address of the file's first byte.
    origin: u64,
    area: Range<u64>,
    slots: Mutex<Slots>,
}

struct Slots {
    trampolines: Trampolines,
    /// Committed up to here.
    committed: u64,
}

/// One slot per this many bytes of text is more than libraries have; the rest would trap.
const TEXT_PER_SLOT: u64 = 1024;
/// A jump reaches 2 GiB; a little less allows for the instruction.
const REACH: u64 = (1 << 31) - (1 << 16);

impl Images {
    /// The image of `source` where `range` maps it from `offset`. None where its contents can change, it
    /// is no program, or there is no room: its system calls then trap.
    pub fn attach(
        &self,
        memory: &'static Memory,
        source: &Arc<dyn PageSource>,
        range: Range<u64>,
        offset: u64,
    ) -> Option<Arc<MappedImage>> {
        let digest = source.content_digest()?;
        let origin = range.start.checked_sub(offset)?;
        if let Some(image) = self.mapped.lock().get(&(digest, origin)).and_then(Weak::upgrade) {
            return Some(image);
        }
        let image = self.file(digest, source)?;
        let length = range.end - range.start;
        let slots = (length / TEXT_PER_SLOT + 64) * SLOT_SIZE;
        let size = slots.next_multiple_of(PAGE_SIZE);
        let start = memory.addresses.lock().allocate_near(size, range, REACH, SHARED)?;
        let gs_offset = memory.platform.syscall_entry_gs_offset();
        let mapped = Arc::new(MappedImage {
            memory,
            image,
            source: source.clone(),
            origin,
            area: start..start + size,
            slots: Mutex::new(Slots {
                trampolines: Trampolines::new(start, size, gs_offset),
                committed: start,
            }),
        });
        let mut all = self.mapped.lock();
        all.retain(|_, image| image.strong_count() > 0);
        all.insert((digest, origin), Arc::downgrade(&mapped));
        Some(mapped)
    }

    fn file(&self, digest: [u8; 32], source: &Arc<dyn PageSource>) -> Option<Arc<Image>> {
        if let Some(known) = self.files.lock().get(&digest) {
            return known.clone();
        }
        let bytes = FileBytes(&**source);
        let program = elf::parse(&bytes).ok();
        let image = program.and_then(|p| Image::open(&bytes, &p).ok()).map(Arc::new);
        self.files.lock().insert(digest, image.clone());
        image
    }

    /// The address of the system call that a thread at `rip` is about to make, if that is in a trampoline.
    #[must_use]
    pub fn site_of(&self, rip: u64) -> Option<u64> {
        let mapped = self.mapped.lock();
        let image = mapped.values().filter_map(Weak::upgrade).find(|i| i.area.contains(&rip))?;
        drop(mapped);
        let slots = image.slots.lock();
        slots.trampolines.lookup(rip).map(|location| location.instruction)
    }
}

impl MappedImage {
    /// Patches the page at `address`: `bytes` are its contents in the file.
    pub fn apply(&self, address: u64, bytes: &mut Bytes) {
        let Some(offset) = address.checked_sub(self.origin) else { return };
        // A patch never leaves its chunk, and a page is in one chunk.
        let Ok(sites) = self.image.sites(offset / CHUNK_SIZE, &FileBytes(&*self.source)) else {
            return;
        };
        let page = offset..offset + PAGE_SIZE;
        for site in sites.iter() {
            let extent = site.extent();
            if extent.end <= page.start || extent.start >= page.end {
                continue;
            }
            let mut slots = self.slots.lock();
            let patches = slots.trampolines.add(site, self.origin + site.offset);
            for patch in patches.into_iter().flatten() {
                if self.area.contains(&patch.address) {
                    if !self.write_slot(&mut slots, patch.address, &patch.bytes) {
                        break;
                    }
                    continue;
                }
                for (at, byte) in (patch.address..).zip(patch.bytes) {
                    if let Some(place) =
                        at.checked_sub(address).and_then(|i| bytes.get_mut(i as usize))
                    {
                        *place = byte;
                    }
                }
            }
        }
    }

    /// Whether the file has a CPUID at `address` (which patching made UD2).
    #[must_use]
    pub fn is_cpuid(&self, address: u64) -> bool {
        let Some(offset) = address.checked_sub(self.origin) else { return false };
        let sites = self.image.sites(offset / CHUNK_SIZE, &FileBytes(&*self.source));
        sites.is_ok_and(|sites| {
            sites.iter().any(|site| site.offset == offset && site.action == Action::Cpuid)
        })
    }

    /// Puts a slot into memory; false without enclave memory.
    fn write_slot(&self, slots: &mut Slots, address: u64, bytes: &[u8]) -> bool {
        let end = (address + bytes.len() as u64).next_multiple_of(PAGE_SIZE);
        if end > slots.committed {
            let access = Access { read: true, write: true, execute: true };
            if self.memory.platform.commit(slots.committed..end, access).is_err() {
                return false;
            }
            slots.committed = end;
        }
        self.memory.platform.write(address, bytes).is_ok()
    }
}

impl Drop for MappedImage {
    fn drop(&mut self) {
        let committed = self.slots.lock().committed;
        if committed > self.area.start {
            self.memory.platform.release(self.area.start..committed);
        }
        self.memory.addresses.lock().release(self.area.clone());
    }
}
