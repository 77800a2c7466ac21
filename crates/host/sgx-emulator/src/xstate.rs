//! Extended state between signal frames and SSA frames.
//!
//! Both have the XSAVE standard format, with this CPU's component offsets (CPUID leaf 0xD), so a component
//! is one copy. A component that XSTATE_BV does not mark is in its initial configuration; what is stored
//! then is that configuration, whatever the frame happens to hold.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::ptr;
use std::sync::OnceLock;

const LEGACY: usize = 512;
const HEADER: usize = 64;
const MXCSR: usize = 24;
/// x87 registers and control, without MXCSR and its mask.
const X87: [(usize, usize); 2] = [(0, 24), (32, 128)];
const XMM: (usize, usize) = (160, 256);
const INITIAL_FCW: u16 = 0x37f;
pub(crate) const INITIAL_MXCSR: u32 = 0x1f80;
/// `_fpx_sw_bytes` in the legacy area of a signal frame: magic, then components at +8.
const SOFTWARE: usize = 464;
const MAGIC: u32 = 0x4650_5853;

const X87_BIT: u64 = 1 << 0;
const SSE_BIT: u64 = 1 << 1;
const PKRU_BIT: u64 = 1 << 9;
const AMX_BITS: u64 = 3 << 17;

/// What this CPU and kernel have enabled.
pub(crate) struct Xstate {
    /// XCR0.
    pub(crate) xcr0: u64,
    /// Bit number, offset and size of each component beyond the legacy region.
    components: Vec<(u32, usize, usize)>,
}

impl Xstate {
    /// This machine's; `None` if the kernel has not enabled XSAVE.
    pub(crate) fn get() -> Option<&'static Self> {
        static CELL: OnceLock<Option<Xstate>> = OnceLock::new();
        CELL.get_or_init(Self::read).as_ref()
    }

    fn read() -> Option<Self> {
        const OSXSAVE: u32 = 1 << 27;
        if __cpuid(1).ecx & OSXSAVE == 0 {
            return None;
        }
        // SAFETY: OSXSAVE says that XGETBV is enabled.
        let xcr0 = unsafe { xgetbv0() };
        let components = (2..63)
            .filter(|bit| xcr0 & 1 << bit != 0)
            .map(|bit| {
                let leaf = __cpuid_count(0xd, bit);
                (bit, leaf.ebx as usize, leaf.eax as usize)
            })
            .collect();
        Some(Self { xcr0, components })
    }

    /// Components that a leaf gate keeps over host code.
    pub(crate) const fn host_components(&self) -> u64 {
        self.xcr0 & !AMX_BITS
    }

    /// Bytes of an XSAVE area with these components.
    pub(crate) fn area(&self, mask: u64) -> usize {
        self.components
            .iter()
            .filter(|(bit, ..)| mask & 1 << bit != 0)
            .map(|&(_, offset, size)| offset + size)
            .max()
            .unwrap_or(LEGACY + HEADER)
    }

    /// Saves the state in a signal frame into an SSA frame, limited to `xfrm`.
    ///
    /// # Safety
    /// `frame` is the `fpstate` of a signal frame; `ssa` is writable for [`area`](Self::area) bytes.
    pub(crate) unsafe fn save(&self, frame: *const u8, ssa: *mut u8, xfrm: u64) {
        // SAFETY: as the caller promises; a frame without the magic has the legacy region only, and
        // `components` is then 3.
        unsafe {
            let live = live_components(frame) & xfrm;
            ptr::write_bytes(ssa, 0, LEGACY + HEADER);
            copy_legacy(frame, ssa, live);
            ssa.add(MXCSR).cast::<u64>().write(frame.add(MXCSR).cast::<u64>().read());
            ssa.add(LEGACY).cast::<u64>().write(live);
            for &(bit, offset, size) in self.components.iter().filter(|c| xfrm & 1 << c.0 != 0) {
                if live & 1 << bit != 0 {
                    ptr::copy_nonoverlapping(frame.add(offset), ssa.add(offset), size);
                } else {
                    ptr::write_bytes(ssa.add(offset), 0, size);
                }
            }
        }
    }

    /// Loads the components of `xfrm` from an SSA frame into a signal frame; others stay.
    ///
    /// # Safety
    /// As [`save`](Self::save), and the SSA frame passed [`check`](Self::check).
    pub(crate) unsafe fn load(&self, ssa: *const u8, frame: *mut u8, xfrm: u64) {
        // SAFETY: as the caller promises.
        unsafe {
            let live = ssa.add(LEGACY).cast::<u64>().read() & xfrm;
            let before = live_components(frame);
            copy_legacy(ssa, frame, live);
            frame.add(MXCSR).cast::<u32>().write(ssa.add(MXCSR).cast::<u32>().read());
            if !has_extended_state(frame) {
                return;
            }
            frame.add(LEGACY).cast::<u64>().write(before & !xfrm | live);
            for &(bit, offset, size) in self.components.iter().filter(|c| live & 1 << c.0 != 0) {
                debug_assert!(bit > 1);
                ptr::copy_nonoverlapping(ssa.add(offset), frame.add(offset), size);
            }
        }
    }

    /// Puts the components of `xfrm` in a signal frame into their initial configuration, as AEX does. The
    /// protection keys stay: the host gets its own back from the kernel's frame of the next signal only.
    ///
    /// # Safety
    /// `frame` is the `fpstate` of a signal frame.
    pub(crate) unsafe fn initialise(&self, frame: *mut u8, xfrm: u64) {
        // SAFETY: as the caller promises.
        unsafe {
            let before = live_components(frame);
            copy_legacy(frame, frame, 0);
            frame.add(MXCSR).cast::<u32>().write(INITIAL_MXCSR);
            if has_extended_state(frame) {
                frame.add(LEGACY).cast::<u64>().write(before & (!xfrm | PKRU_BIT));
            }
        }
    }

    /// Whether XRSTOR would take an SSA frame's area without #GP.
    ///
    /// # Safety
    /// `ssa` is readable for the legacy region and header.
    pub(crate) unsafe fn check(&self, ssa: *const u8, xfrm: u64) -> bool {
        // SAFETY: as the caller promises.
        unsafe {
            let header = ssa.add(LEGACY).cast::<u64>();
            let reserved = (1..8).any(|i| header.add(i).read() != 0);
            let mxcsr = ssa.add(MXCSR).cast::<u32>().read();
            header.read() & !xfrm == 0 && !reserved && mxcsr & !mxcsr_mask() == 0
        }
    }
}

/// # Safety
/// The CPU has XSAVE enabled.
#[target_feature(enable = "xsave")]
unsafe fn xgetbv0() -> u64 {
    // SAFETY: as the caller promises; register 0 always exists.
    unsafe { _xgetbv(0) }
}

/// Bits of MXCSR that this CPU has.
fn mxcsr_mask() -> u32 {
    static CELL: OnceLock<u32> = OnceLock::new();
    *CELL.get_or_init(|| {
        #[repr(align(16))]
        struct Area([u8; LEGACY]);
        let mut area = Area([0; LEGACY]);
        // SAFETY: FXSAVE writes 512 aligned bytes.
        unsafe { core::arch::x86_64::_fxsave64(area.0.as_mut_ptr()) };
        let mut mask = [0; 4];
        mask.copy_from_slice(&area.0[28..32]);
        // Zero means the default (SDM Vol. 1, "Guidelines for Writing to the MXCSR Register").
        match u32::from_le_bytes(mask) {
            0 => 0xffbf,
            mask => mask,
        }
    })
}

/// # Safety
/// `frame` is the `fpstate` of a signal frame.
unsafe fn has_extended_state(frame: *const u8) -> bool {
    // SAFETY: the software bytes are in the legacy region, which every frame has.
    unsafe { frame.add(SOFTWARE).cast::<u32>().read() == MAGIC }
}

/// # Safety
/// `frame` is the `fpstate` of a signal frame.
unsafe fn live_components(frame: *const u8) -> u64 {
    // SAFETY: a frame with the magic has the header.
    unsafe {
        if has_extended_state(frame) {
            frame.add(LEGACY).cast::<u64>().read()
        } else {
            X87_BIT | SSE_BIT
        }
    }
}

/// Copies x87 and XMM as far as `live` marks them, and initialises the rest. Leaves MXCSR alone.
///
/// # Safety
/// Both are legacy regions; they may be the same one.
unsafe fn copy_legacy(from: *const u8, to: *mut u8, live: u64) {
    // SAFETY: all ranges lie in the 512 bytes.
    unsafe {
        for (offset, size) in X87 {
            if live & X87_BIT != 0 {
                ptr::copy(from.add(offset), to.add(offset), size);
            } else {
                ptr::write_bytes(to.add(offset), 0, size);
            }
        }
        if live & X87_BIT == 0 {
            to.cast::<u16>().write(INITIAL_FCW);
        }
        if live & SSE_BIT != 0 {
            ptr::copy(from.add(XMM.0), to.add(XMM.0), XMM.1);
        } else {
            ptr::write_bytes(to.add(XMM.0), 0, XMM.1);
        }
    }
}
