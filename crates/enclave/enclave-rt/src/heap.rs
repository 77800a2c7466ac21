//! The library OS's heap.
//!
//! Small blocks (up to 1 KiB, and single pages, which fork needs by the thousand) come from free lists, one
//! lock each; the rest, and the slabs that fill the lists, from one general allocator that grows through
//! [`Grow`]. Memory is never given back to the host.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use libos::sync::Mutex;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

/// Where more memory comes from.
pub(crate) trait Grow: Send {
    /// At least `bytes` more, zeroed, accepted, and continuing where the last piece ended; `None` when there
    /// is no more.
    fn grow(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize)>;
}

const MIN_GROWTH: usize = 512 << 10;
const MAX_GROWTH: usize = 16 << 20;
/// Room for the general allocator's own structures in a piece of memory, the first one's included.
const OVERHEAD: usize = 64 << 10;
const SLAB: usize = 32 << 10;
const PAGE: usize = 4096;

/// Block sizes of the free lists: multiples of 16, then four steps to each doubling, then a page.
const CLASSES: [usize; 21] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
    PAGE,
];

/// The allocator.
pub(crate) struct Heap<G: Grow> {
    classes: [Mutex<FreeList>; CLASSES.len()],
    general: Mutex<Option<Talc<Grower<G>, talc::base::binning::DefaultBinning>>>,
}

impl<G: Grow> Heap<G> {
    /// An allocator with nothing to give until [`start`](Self::start).
    pub(crate) const fn new() -> Self {
        Self {
            classes: [const { Mutex::new(FreeList(ptr::null_mut())) }; CLASSES.len()],
            general: Mutex::new(None),
        }
    }

    /// Gives it its source of memory.
    pub(crate) fn start(&self, source: G) {
        *self.general.lock() = Some(Talc::new(Grower { source, end: ptr::null_mut(), total: 0 }));
    }

    /// Runs `change` on the source of memory; nothing happens before [`start`](Self::start).
    pub(crate) fn with_source(&self, change: impl FnOnce(&mut G)) {
        if let Some(talc) = &mut *self.general.lock() {
            change(&mut talc.source.source);
        }
    }

    fn general_alloc(&self, layout: Layout) -> *mut u8 {
        match &mut *self.general.lock() {
            // SAFETY: GlobalAlloc's caller promises a size that is not 0.
            Some(talc) => unsafe { talc.allocate(layout) }.map_or(ptr::null_mut(), NonNull::as_ptr),
            None => ptr::null_mut(),
        }
    }
}

impl<G: Grow> Default for Heap<G> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: blocks come from memory that `Grow` hands over for good; a block is in a free list or given out,
// never both, for each list is behind its lock; classes hold every layout that `class` maps to them.
unsafe impl<G: Grow> GlobalAlloc for Heap<G> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else { return self.general_alloc(layout) };
        // SAFETY: the list holds free blocks only.
        if let Some(block) = unsafe { self.classes[class].lock().pop() } {
            return block;
        }
        // Filled outside the list's lock, so that growing never makes others spin here.
        let slab = self.general_alloc(Layout::from_size_align(SLAB, PAGE).expect("constants"));
        if slab.is_null() {
            return slab;
        }
        let size = CLASSES[class];
        let mut list = self.classes[class].lock();
        for index in 1..SLAB / size {
            // SAFETY: the slab is `SLAB` bytes and ours.
            unsafe { list.push(slab.add(index * size)) };
        }
        slab
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            // SAFETY: the caller gives back a block of this class.
            Some(class) => unsafe { self.classes[class].lock().push(block) },
            None => {
                if let Some(talc) = &mut *self.general.lock() {
                    // SAFETY: the caller gives back a block that `general_alloc` gave out with this layout.
                    unsafe { talc.deallocate(block, layout) }
                }
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        let (old, new) = (class(layout), class(new_layout));
        if old.is_some() && old == new {
            return block;
        }
        if old.is_none()
            && new.is_none()
            && let Some(talc) = &mut *self.general.lock()
        {
            // SAFETY: the block is the general allocator's, with this layout; the new size is not 0.
            if unsafe { talc.try_realloc_in_place(block, layout, new_size) } {
                return block;
            }
        }
        // SAFETY: GlobalAlloc's caller promises a size that is not 0.
        let moved = unsafe { self.alloc(new_layout) };
        if !moved.is_null() {
            let length = layout.size().min(new_size);
            // SAFETY: both blocks are at least `length` bytes, and distinct.
            unsafe { ptr::copy_nonoverlapping(block, moved, length) };
            // SAFETY: the caller gives the old block up.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

/// The free list that serves a layout. Slabs are page-aligned, so that a block of a power of two is aligned
/// to its size.
fn class(layout: Layout) -> Option<usize> {
    let size = if layout.align() > 16 {
        layout.size().max(layout.align()).checked_next_power_of_two()?
    } else {
        layout.size()
    };
    match size {
        0..=128 => Some(size.max(1).div_ceil(16) - 1),
        129..=1024 => {
            // 2^power < size <= 2^(power + 1), in four steps.
            let power = (size - 1).ilog2();
            let step = 1 << (power - 2);
            let within = (size - (1 << power)).div_ceil(step);
            Some(7 + (power as usize - 7) * 4 + within)
        }
        PAGE => Some(CLASSES.len() - 1),
        _ => None,
    }
}

struct FreeList(*mut u8);

// SAFETY: the blocks belong to whoever holds the list.
unsafe impl Send for FreeList {}

impl FreeList {
    /// # Safety
    /// `block` is free, aligned to 16 and at least 16 bytes.
    unsafe fn push(&mut self, block: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { block.cast::<*mut u8>().write(self.0) };
        self.0 = block;
    }

    /// # Safety
    /// Nobody wrote to a block in the list.
    unsafe fn pop(&mut self) -> Option<*mut u8> {
        let block = self.0;
        if block.is_null() {
            return None;
        }
        // SAFETY: a block in the list starts with the address of the next.
        self.0 = unsafe { block.cast::<*mut u8>().read() };
        Some(block)
    }
}

/// Connects [`Grow`] with the general allocator.
struct Grower<G> {
    source: G,
    end: *mut u8,
    total: usize,
}

// SAFETY: the end of the heap is an address, nothing that belongs to a thread.
unsafe impl<G: Send> Send for Grower<G> {}

impl<G> core::fmt::Debug for Grower<G> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Grower({} bytes)", self.total)
    }
}

// SAFETY: growing never allocates.
unsafe impl<G: Grow> Source for Grower<G> {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let needed = layout.size().checked_add(layout.align()).ok_or(())?;
        let needed = needed.checked_add(OVERHEAD).ok_or(())?;
        let comfortable = (talc.source.total / 8).clamp(MIN_GROWTH, MAX_GROWTH);
        let source = &mut talc.source.source;
        let piece = source.grow(needed.max(comfortable)).or_else(|| source.grow(needed));
        let (start, length) = piece.ok_or(())?;
        let end = match NonNull::new(talc.source.end) {
            // SAFETY: the new piece continues the old one, is accepted, and belongs to the allocator for good.
            Some(end) => unsafe { talc.extend(end, start.as_ptr().wrapping_add(length)) },
            // SAFETY: the piece is accepted and belongs to the allocator for good.
            None => unsafe { talc.claim(start.as_ptr(), length) }.ok_or(())?,
        };
        talc.source.end = end.as_ptr();
        talc.source.total += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// A fixed arena handed out in pieces.
    struct Arena {
        next: *mut u8,
        left: usize,
    }

    // SAFETY: the arena is leaked and used by one heap.
    unsafe impl Send for Arena {}

    impl Arena {
        fn new(bytes: usize) -> Self {
            let arena = std::vec![0_u8; bytes].leak();
            Self { next: arena.as_mut_ptr(), left: bytes }
        }
    }

    impl Grow for Arena {
        fn grow(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize)> {
            self.left = self.left.checked_sub(bytes)?;
            let start = NonNull::new(self.next)?;
            self.next = self.next.wrapping_add(bytes);
            Some((start, bytes))
        }
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("valid")
    }

    #[test]
    fn classes_hold_what_is_mapped_to_them() {
        for size in 1..=1024 {
            let index = class(layout(size, 8)).expect("small");
            assert!(CLASSES[index] >= size, "{size} -> {}", CLASSES[index]);
            assert!(index == 0 || CLASSES[index - 1] < size, "{size} -> {}", CLASSES[index]);
        }
        for align in [32, 64, 256, 1024, 4096] {
            if let Some(index) = class(layout(24, align)) {
                assert_eq!(CLASSES[index] % align, 0, "{align}");
            }
        }
        assert_eq!(class(layout(1025, 8)), None);
        assert_eq!(class(layout(4096, 4096)), Some(20));
        assert_eq!(class(layout(100, 8192)), None);
    }

    #[test]
    fn blocks_are_aligned_disjoint_and_keep_their_contents() {
        let heap = Heap::new();
        heap.start(Arena::new(32 << 20));
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut random = 88172645463325252_u64;
        for round in 0..20_000_u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if !random.is_multiple_of(3) || live.is_empty() {
                let size =
                    1 + (random >> 8) as usize % [100, 2000, 20_000][(random >> 3) as usize % 3];
                let layout = layout(size, 1 << ((random >> 40) % 13));
                // SAFETY: the size is not 0.
                let block = unsafe { heap.alloc(layout) };
                if block.is_null() {
                    continue;
                }
                assert_eq!(block as usize % layout.align(), 0);
                // SAFETY: the block is ours.
                unsafe { block.write_bytes(round as u8, size) };
                live.push((block, layout, round as u8));
            } else {
                let (block, layout, byte) = live.swap_remove((random >> 8) as usize % live.len());
                // SAFETY: the block is live with this layout.
                unsafe {
                    let bytes = core::slice::from_raw_parts(block, layout.size());
                    assert!(bytes.iter().all(|value| *value == byte));
                    if random >> 50 & 1 == 0 {
                        heap.dealloc(block, layout);
                    } else {
                        let size = layout.size() * 2;
                        let block = heap.realloc(block, layout, size);
                        if !block.is_null() {
                            let bytes = core::slice::from_raw_parts(block, layout.size());
                            assert!(bytes.iter().all(|value| *value == byte));
                            block.write_bytes(byte, size);
                            let layout = Layout::from_size_align(size, layout.align());
                            live.push((block, layout.expect("valid"), byte));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn exhaustion_is_null_not_a_loop_and_freed_memory_is_used_again() {
        let heap = Heap::new();
        // SAFETY: sizes are not 0; blocks are given back once.
        unsafe {
            assert!(heap.alloc(layout(64, 8)).is_null(), "not started");
            heap.start(Arena::new(2 << 20));
            assert!(heap.alloc(layout(3 << 20, 8)).is_null());
            let block = heap.alloc(layout(1 << 20, 8));
            assert!(!block.is_null());
            assert!(heap.alloc(layout(1 << 20, 8)).is_null());
            heap.dealloc(block, layout(1 << 20, 8));
            assert!(!heap.alloc(layout(1 << 20, 8)).is_null());
        }
    }
}
