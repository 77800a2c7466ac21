//! SSA frames: what the CPU saves of an interrupted enclave thread.
//!
//! A frame is SSAFRAMESIZE pages: the XSAVE area at its start, GPRSGX at its very end, and below GPRSGX
//! the MISC region that MISCSELECT asks for.

use crate::attributes::{Miscselect, Xfrm};
use crate::layout::{Field, layout};
use crate::page::PAGE_SIZE;
use crate::xsave;

layout! {
    /// GPRSGX (SDM Vol. 3D, "GPRSGX Region"): the last 184 bytes of an SSA frame.
    pub struct Gprsgx: 184 {
        /// RAX.
        rax: u64 = 0,
        /// RCX.
        rcx: u64 = 8,
        /// RDX.
        rdx: u64 = 16,
        /// RBX.
        rbx: u64 = 24,
        /// RSP.
        rsp: u64 = 32,
        /// RBP.
        rbp: u64 = 40,
        /// RSI.
        rsi: u64 = 48,
        /// RDI.
        rdi: u64 = 56,
        /// R8.
        r8: u64 = 64,
        /// R9.
        r9: u64 = 72,
        /// R10.
        r10: u64 = 80,
        /// R11.
        r11: u64 = 88,
        /// R12.
        r12: u64 = 96,
        /// R13.
        r13: u64 = 104,
        /// R14.
        r14: u64 = 112,
        /// R15.
        r15: u64 = 120,
        /// RFLAGS.
        rflags: u64 = 128,
        /// RIP.
        rip: u64 = 136,
        /// The host's RSP at EENTER.
        ursp: u64 = 144,
        /// The host's RBP at EENTER.
        urbp: u64 = 152,
        /// Why the enclave was left.
        exitinfo: Exitinfo = 160,
        /// AEX-Notify for this frame.
        aexnotify: u8 = 167,
        /// FS base.
        fsbase: u64 = 168,
        /// GS base.
        gsbase: u64 = 176,
    }
}

layout! {
    /// EXINFO: details of #PF and #GP, with MISCSELECT.EXINFO.
    pub struct Exinfo: 16 {
        /// Faulting address of #PF (#GP: 0).
        maddr: u64 = 0,
        /// Error code.
        errcd: u32 = 8,
    }
}

/// EXITINFO: the exception that caused an AEX, or nothing if it was an interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exitinfo(pub u32);

impl Exitinfo {
    /// Type of a hardware exception.
    pub const HARDWARE_EXCEPTION: u8 = 3;
    /// Type of a software exception (#BP by INT3).
    pub const SOFTWARE_EXCEPTION: u8 = 6;
    const VALID: u32 = 1 << 31;

    /// What the CPU stores for this vector: valid with the manual's type if it is among the exceptions
    /// that EXITINFO reports (SDM Vol. 3D, "Exception Vectors"), and 0 otherwise. #PF and #GP are reported
    /// only with MISCSELECT.EXINFO.
    #[must_use]
    pub const fn for_vector(vector: u8, miscselect: Miscselect) -> Self {
        let exit_type = match vector {
            // #DE, #DB, #BR, #UD, #MF, #AC, #XM.
            0 | 1 | 5 | 6 | 16 | 17 | 19 => Self::HARDWARE_EXCEPTION,
            3 => Self::SOFTWARE_EXCEPTION,
            13 | 14 if miscselect.contains(Miscselect::EXINFO) => Self::HARDWARE_EXCEPTION,
            21 if miscselect.contains(Miscselect::CPINFO) => Self::HARDWARE_EXCEPTION,
            _ => return Self(0),
        };
        Self(Self::VALID | (exit_type as u32) << 8 | vector as u32)
    }

    /// Whether it reports an exception.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    /// Vector of the exception, if it reports one.
    #[must_use]
    pub const fn vector(self) -> Option<u8> {
        if self.is_valid() { Some(self.0 as u8) } else { None }
    }

    /// Type of the exception: [`HARDWARE_EXCEPTION`](Self::HARDWARE_EXCEPTION) or
    /// [`SOFTWARE_EXCEPTION`](Self::SOFTWARE_EXCEPTION).
    #[must_use]
    pub const fn exit_type(self) -> u8 {
        (self.0 >> 8) as u8 & 7
    }
}

impl Field for Exitinfo {
    const SIZE: usize = 4;
    fn store(&self, out: &mut [u8]) {
        self.0.store(out);
    }
    fn load(bytes: &[u8]) -> Self {
        Self(u32::load(bytes))
    }
}

/// Bytes of the MISC region: 16 for each structure that MISCSELECT asks for.
#[must_use]
pub const fn misc_bytes(miscselect: Miscselect) -> usize {
    Exinfo::SIZE * miscselect.bits().count_ones() as usize
}

/// Offset of GPRSGX in a frame of this many pages.
#[must_use]
pub const fn gprsgx_offset(ssaframesize_pages: u32) -> usize {
    ssaframesize_pages as usize * PAGE_SIZE - Gprsgx::SIZE
}

/// Offset of EXINFO in a frame of this many pages; it exists with MISCSELECT.EXINFO. It is the first
/// structure below GPRSGX.
#[must_use]
pub const fn exinfo_offset(ssaframesize_pages: u32) -> usize {
    gprsgx_offset(ssaframesize_pages) - Exinfo::SIZE
}

/// The smallest SSAFRAMESIZE that ECREATE takes on Intel CPUs, in pages.
#[must_use]
pub const fn ssaframesize_pages(xfrm: Xfrm, miscselect: Miscselect) -> u32 {
    let bytes = xsave::area_bytes(xfrm) + misc_bytes(miscselect) + Gprsgx::SIZE;
    bytes.div_ceil(PAGE_SIZE) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exitinfo_of_an_illegal_instruction() {
        let exitinfo = Exitinfo::for_vector(6, Miscselect::empty());
        assert_eq!(exitinfo.0, 0x8000_0306);
        assert_eq!(exitinfo.vector(), Some(6));
        assert_eq!(Exitinfo::for_vector(3, Miscselect::empty()).0, 0x8000_0603);
    }

    #[test]
    fn page_faults_are_reported_only_with_exinfo() {
        assert_eq!(Exitinfo::for_vector(14, Miscselect::empty()), Exitinfo(0));
        assert_eq!(Exitinfo::for_vector(14, Miscselect::EXINFO).0, 0x8000_030e);
        assert_eq!(Exitinfo::for_vector(13, Miscselect::EXINFO).0, 0x8000_030d);
        // An NMI or an interrupt is never told to the enclave.
        assert_eq!(Exitinfo::for_vector(2, Miscselect::all()).vector(), None);
        assert_eq!(Exitinfo::for_vector(32, Miscselect::all()).vector(), None);
    }

    #[test]
    fn frames() {
        assert_eq!(gprsgx_offset(1), 4096 - 184);
        assert_eq!(exinfo_offset(1), 4096 - 184 - 16);
        let avx512 = Xfrm::LEGACY | Xfrm::AVX | Xfrm::AVX512 | Xfrm::PKRU;
        assert_eq!(ssaframesize_pages(avx512, Miscselect::EXINFO), 1);
        let amx = avx512 | Xfrm::TILECFG | Xfrm::TILEDATA;
        assert_eq!(ssaframesize_pages(amx, Miscselect::EXINFO), 3);
    }
}
