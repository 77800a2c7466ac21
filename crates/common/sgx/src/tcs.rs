//! TCS: one entry point and thread of an enclave.

use bitflags::bitflags;

use crate::layout::{flags_field, layout};

bitflags! {
    /// TCS.FLAGS.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct TcsFlags: u64 {
        /// A debugger may single-step; cleared by EADD.
        const DBGOPTIN = 1 << 0;
        /// AEX-Notify is allowed on this thread.
        const AEXNOTIFY = 1 << 1;
    }
}
flags_field!(TcsFlags, u64);

layout! {
    /// TCS (SDM Vol. 3D, "Thread Control Structure"). Offsets are from the ELRANGE base.
    /// The CET fields are not modelled: they count as reserved.
    pub struct Tcs: 4096 {
        /// Busy or not; the CPU's. Software sees and gives 0.
        state: u64 = 0,
        /// Flags.
        flags: TcsFlags = 8,
        /// Offset of the SSA array; page-aligned.
        ossa: u64 = 16,
        /// Current SSA frame: the number of AEXes not resumed. Set to 0 by EADD.
        cssa: u32 = 24,
        /// Number of SSA frames.
        nssa: u32 = 28,
        /// Offset of the entry point.
        oentry: u64 = 32,
        /// Asynchronous exit pointer; the CPU's.
        aep: u64 = 40,
        /// Offset that becomes the FS base.
        ofsbase: u64 = 48,
        /// Offset that becomes the GS base.
        ogsbase: u64 = 56,
        /// FS limit outside 64-bit mode; the low 12 bits are set.
        fslimit: u32 = 64,
        /// GS limit outside 64-bit mode; the low 12 bits are set.
        gslimit: u32 = 68,
    }
}
