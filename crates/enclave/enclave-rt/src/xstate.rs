//! Extended state: the initial image, and the user's while the library OS runs.
//!
//! The enclave is compiled for SSE2, so that after a patched system call everything but the low halves of
//! the vector registers stays in the processor, untouched, and the fast path neither saves nor restores it.
//! It is saved when somebody asks ([`capture`]) or when the thread is about to leave the enclave
//! ([`before_host_call`]), for the host may do to the registers what it likes.

use core::sync::atomic::{AtomicU64, Ordering};

use libos::platform::{UserContext, XSTATE_SIZE, XState};

use crate::thread::{Thread, vectors};

/// MXCSR after reset: all exceptions masked, round to nearest.
pub(crate) const MXCSR_DEFAULT: u32 = 0x1f80;
/// Control and mask bits of MXCSR; the rest are sticky exception flags.
pub(crate) const MXCSR_CONTROL: u32 = 0xffc0;

const MXCSR: usize = 24;
const XMM: usize = 160;
const HEADER: usize = 512;
const HEADER_END: usize = 576;
/// Bit of SSE in XSTATE_BV.
const SSE: u64 = 2;
/// Bit of PKRU in XSTATE_BV.
const PKRU: u64 = 1 << 9;

/// Every component in its initial configuration: XSTATE_BV is 0, MXCSR the default.
pub(crate) static INITIAL: XState = {
    let mut bytes = [0; XSTATE_SIZE];
    let mxcsr = MXCSR_DEFAULT.to_le_bytes();
    bytes[MXCSR] = mxcsr[0];
    bytes[MXCSR + 1] = mxcsr[1];
    XState(bytes)
};

/// The components that this enclave may use: x87 and SSE until the report was read.
static XFRM: AtomicU64 = AtomicU64::new(3);

/// Takes XFRM from the enclave's own report.
pub(crate) fn set_xfrm(xfrm: u64) {
    XFRM.store(xfrm, Ordering::Relaxed);
}

/// The components that this enclave may use.
pub(crate) fn xfrm() -> u64 {
    XFRM.load(Ordering::Relaxed)
}

/// Makes a state loadable whatever it contains: XRSTOR faults on components outside XFRM, on a compacted
/// format, on reserved header bytes and reserved bits of MXCSR. PKRU is always the initial value, which
/// permits everything: there are no protection keys for programs, and a state that denies key 0 would deny
/// the library OS its own memory.
pub(crate) fn sanitise(state: &mut XState, xfrm: u64) {
    let bytes = &mut state.0;
    let components = read_u64(bytes, HEADER) & xfrm & !PKRU;
    bytes[HEADER..HEADER + 8].copy_from_slice(&components.to_le_bytes());
    bytes[HEADER + 8..HEADER_END].fill(0);
    bytes[MXCSR + 2..MXCSR + 4].fill(0);
}

/// Puts the halves that the system-call entry saved, and the user's MXCSR, over a state saved later.
fn overlay(state: &mut XState, xmm: &[[u8; 16]; 16], mxcsr: Option<u32>) {
    for (slot, register) in state.0[XMM..XMM + 256].chunks_exact_mut(16).zip(xmm) {
        slot.copy_from_slice(register);
    }
    if let Some(mxcsr) = mxcsr {
        state.0[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
    }
    let components = read_u64(&state.0, HEADER) | SSE;
    state.0[HEADER..HEADER + 8].copy_from_slice(&components.to_le_bytes());
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Completes `context.xstate` after a patched system call.
pub(crate) fn capture(thread: &Thread, context: &mut UserContext) {
    if context.xstate_is_full {
        return;
    }
    match thread.vectors.replace(vectors::NONE) {
        vectors::LIVE => save(&mut context.xstate),
        // SAFETY: only the thread itself reaches its spill area, and nothing else borrows it now.
        vectors::SPILLED => context.xstate.0.copy_from_slice(unsafe { &(*thread.spill.get()).0 }),
        _ => context.xstate.0.copy_from_slice(&INITIAL.0),
    }
    overlay(&mut context.xstate, &context.xmm, Some(thread.user_mxcsr.get()));
    context.xstate_is_full = true;
}

/// Moves live user state out of the processor before the host gets hold of it.
pub(crate) fn before_host_call(thread: &Thread) {
    if thread.vectors.get() == vectors::LIVE {
        // SAFETY: only the thread itself reaches its spill area, and nothing else borrows it now.
        let spill = unsafe { &mut *thread.spill.get() };
        save(spill);
        spill.0[MXCSR..MXCSR + 4].copy_from_slice(&thread.user_mxcsr.get().to_le_bytes());
        thread.user_fs.set(fs_base());
        thread.vectors.set(vectors::SPILLED);
    }
}

/// FS base in the processor.
fn fs_base() -> u64 {
    let base: u64;
    // SAFETY: reads a register; the enclave needs a CPU with FSGSBASE (SDM Vol. 3D, EENTER sets FS base).
    unsafe {
        core::arch::asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags));
    }
    base
}

/// XSAVE of every component in XFRM.
fn save(into: &mut XState) {
    into.0[HEADER..HEADER_END].fill(0);
    let mask = xfrm();
    // SAFETY: the area is 64-byte aligned and as long as the components up to PKRU need; XFRM names no
    // later one (`report` refuses AMX). The header's reserved bytes are zero.
    unsafe {
        core::arch::asm!("xsave64 [{}]", in(reg) into.0.as_mut_ptr(), in("eax") mask as u32,
            in("edx") (mask >> 32) as u32, options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisoned_state_becomes_loadable() {
        let mut state = XState([0xff; XSTATE_SIZE]);
        sanitise(&mut state, 0x2e7);
        assert_eq!(read_u64(&state.0, HEADER), 0xe7, "not PKRU");
        assert!(state.0[HEADER + 8..HEADER_END].iter().all(|byte| *byte == 0));
        assert_eq!(&state.0[MXCSR..MXCSR + 4], [0xff, 0xff, 0, 0]);
    }

    #[test]
    fn the_initial_state_loads_and_initialises() {
        let mut after = XState([0; XSTATE_SIZE]);
        // SAFETY: INITIAL is aligned and loadable; the compiler keeps nothing in vector registers across.
        unsafe {
            core::arch::asm!("xrstor64 [{}]", in(reg) INITIAL.0.as_ptr(), in("eax") -1, in("edx") -1,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _,
                out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack));
        }
        save(&mut after);
        assert_eq!(&after.0[MXCSR..MXCSR + 4], MXCSR_DEFAULT.to_le_bytes());
        assert_eq!(&after.0[..2], 0x37f_u16.to_le_bytes(), "x87 control word");
    }

    #[test]
    fn captured_state_has_the_saved_halves_and_the_users_mxcsr() {
        let mut state = XState([0; XSTATE_SIZE]);
        let mut xmm = [[0; 16]; 16];
        xmm[15] = [0x5a; 16];
        overlay(&mut state, &xmm, Some(0x9fc0));
        assert_eq!(state.0[XMM + 240..XMM + 256], [0x5a; 16]);
        assert_eq!(&state.0[MXCSR..MXCSR + 4], 0x9fc0_u32.to_le_bytes());
        assert_eq!(read_u64(&state.0, HEADER) & SSE, SSE);
    }
}
