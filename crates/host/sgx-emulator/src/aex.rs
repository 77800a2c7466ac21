//! Asynchronous exits, and the way back: SSA frames written and read.
//!
//! An AEX happens only in a signal handler that interrupted enclave code. It leaves the thread either in
//! the host, at the landing, or (fast mode) at the enclave's entry point again with the next CSSA, as if the
//! host had executed EENTER with the passed registers zero. The SSA frame is written by the same code in
//! both cases.

use crate::block::{Block, EXIT_ASYNCHRONOUS, EXIT_EEXIT, Event, HOST};
use crate::enclave::Shared;
use crate::gates;
use crate::signal::Frame;
use crate::space::{Access, PAGE};
use crate::tcs::Tcs;
use crate::{Mode, RESUME_REASON};
use core::ptr;
use core::sync::atomic::Ordering;
use libc::{
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
    REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP,
};
use sgx::ssa::{exinfo_offset, gprsgx_offset};
use sgx::{Exinfo, Exitinfo, Gprsgx};

const PAGE_FAULT: u8 = 14;
const GENERAL_PROTECTION: u8 = 13;
/// RFLAGS that ERESUME takes from the frame: the arithmetic flags, DF, RF, AC, ID. TF is cleared, because
/// the entry was not opted in to debugging.
const RESUMED_FLAGS: u64 = 0x0025_0cd5;
/// Bit 1 is always set; IF is what user code runs with.
const FIXED_FLAGS: u64 = 0x202;

/// RAX to R15 in the order of GPRSGX.
const GENERAL: [i32; 16] = [
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
    REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
];

/// Address of the frame with this index.
pub(crate) fn frame_address(shared: &Shared, tcs: &Tcs, index: u32) -> u64 {
    tcs.ossa + u64::from(index) * u64::from(shared.ssaframesize) * PAGE
}

pub(crate) fn gprsgx_address(shared: &Shared, frame: u64) -> u64 {
    frame + gprsgx_offset(shared.ssaframesize) as u64
}

/// Whether a frame can be written; the fault if not.
pub(crate) fn touch_frame(shared: &Shared, frame: u64) -> Result<(), crate::space::PageFault> {
    shared.space.touch(frame, u64::from(shared.ssaframesize) * PAGE, Access::Write)
}

/// The thread's enclave and TCS.
///
/// # Safety
/// The block's thread is in an enclave, so both pointers are live.
pub(crate) unsafe fn context<'a>(block: *const Block) -> (&'a Shared, &'a Tcs) {
    // SAFETY: `Enclave::enter` set both to objects that outlive the entry.
    unsafe { (&*(*block).shared, &*(*block).tcs) }
}

/// AEX out of enclave code whose state is in `signal`.
///
/// # Safety
/// In the signal handler of the block's thread, which is in the enclave; `signal` is its frame and the
/// block's `signal_fs` and `signal_gs` are what enclave code had.
pub(crate) unsafe fn asynchronous_exit(block: *mut Block, signal: &mut Frame<'_>, event: Event) {
    // SAFETY: as the caller promises.
    let (shared, tcs) = unsafe { context(block) };
    let cssa = tcs.cssa.load(Ordering::Relaxed);
    let frame = frame_address(shared, tcs, cssa);
    if touch_frame(shared, frame).is_err() {
        crate::signal::fatal(
            "the SSA frame of a thread went away while the thread was in the enclave",
        );
    }
    // SAFETY: the frame was made writable just above, and it is this thread's own.
    unsafe { write_frame(block, shared, frame, signal, event) };
    tcs.cssa.store(cssa + 1, Ordering::Relaxed);
    // SAFETY: as the caller promises; the state is saved.
    unsafe { leave_or_reenter(block, signal, event) }
}

/// An interrupt before an ERESUME that has not touched anything but CSSA: the frame is what the AEX would
/// have saved again, but for EXITINFO.
///
/// # Safety
/// As [`asynchronous_exit`], in an ERESUME of this block's frame.
pub(crate) unsafe fn abandon_resume(block: *mut Block, signal: &mut Frame<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        let (_, tcs) = context(block);
        let exitinfo = (*block).gprsgx + Gprsgx::offset("exitinfo") as u64;
        (exitinfo as *mut u32).write(0);
        tcs.cssa.store((*block).cssa as u32, Ordering::Relaxed);
        leave_or_reenter(block, signal, Event::Interrupt);
    }
}

/// # Safety
/// `frame` is writable and this thread's; the rest as [`asynchronous_exit`].
unsafe fn write_frame(
    block: *const Block,
    shared: &Shared,
    frame: u64,
    signal: &Frame<'_>,
    event: Event,
) {
    let (vector, error_code, address) = match event {
        Event::Exception { vector, error_code, address } => (Some(vector), error_code, address),
        Event::Interrupt | Event::BadExit { .. } => (None, 0, 0),
    };
    let exitinfo =
        vector.map_or(Exitinfo(0), |vector| Exitinfo::for_vector(vector, shared.miscselect));
    let gprsgx = gprsgx_address(shared, frame) as *mut u8;
    let field = |name| Gprsgx::offset(name);
    // SAFETY: GPRSGX and EXINFO lie in the frame; fields are 8-byte aligned (EXITINFO: 4).
    unsafe {
        for (i, &register) in GENERAL.iter().enumerate() {
            gprsgx.add(8 * i).cast::<u64>().write(signal.register(register));
        }
        gprsgx.add(field("rflags")).cast::<u64>().write(signal.rflags());
        gprsgx.add(field("rip")).cast::<u64>().write(signal.rip());
        gprsgx.add(field("exitinfo")).cast::<u64>().write(u64::from(exitinfo.0));
        gprsgx.add(field("fsbase")).cast::<u64>().write((*block).signal_fs);
        gprsgx.add(field("gsbase")).cast::<u64>().write((*block).signal_gs);
        if exitinfo.is_valid()
            && let Some(PAGE_FAULT | GENERAL_PROTECTION) = vector
        {
            let maddr = if vector == Some(PAGE_FAULT) { address & !(PAGE - 1) } else { 0 };
            let exinfo = Exinfo { maddr, errcd: error_code }.to_bytes();
            let at = (frame as usize + exinfo_offset(shared.ssaframesize)) as *mut u8;
            ptr::copy_nonoverlapping(exinfo.as_ptr(), at, exinfo.len());
        }
        shared.xstate.save(signal.extended_state(), frame as *mut u8, shared.xfrm);
    }
}

/// After the state is saved: on to the host, or (fast mode) straight to the exception entry.
///
/// # Safety
/// As [`asynchronous_exit`].
unsafe fn leave_or_reenter(block: *mut Block, signal: &mut Frame<'_>, event: Event) {
    // SAFETY: as the caller promises.
    unsafe {
        let (shared, tcs) = context(block);
        shared.xstate.initialise(signal.extended_state_mut(), shared.xfrm);
        let cssa = tcs.cssa.load(Ordering::Relaxed);
        let next = frame_address(shared, tcs, cssa);
        if shared.mode == Mode::Fast && cssa < tcs.nssa && touch_frame(shared, next).is_ok() {
            reenter(block, signal, shared, tcs, next);
        } else {
            leave(block, signal, EXIT_ASYNCHRONOUS, event);
        }
    }
}

/// EENTER from within the signal handler.
///
/// # Safety
/// As [`asynchronous_exit`]; `frame` is writable.
unsafe fn reenter(
    block: *mut Block,
    signal: &mut Frame<'_>,
    shared: &Shared,
    tcs: &Tcs,
    frame: u64,
) {
    for register in GENERAL {
        signal.set_register(register, 0);
    }
    signal.set_register(REG_RAX, tcs.cssa.load(Ordering::Relaxed).into());
    signal.set_register(REG_RBX, tcs.address);
    signal.set_register(REG_RCX, gates::landing());
    signal.set_rflags(FIXED_FLAGS);
    signal.set_rip(tcs.oentry);
    // SAFETY: as the caller promises; URSP and URBP lie in the frame.
    unsafe {
        signal.set_register(REG_RSP, (*block).host_rsp);
        let gprsgx = gprsgx_address(shared, frame) as *mut u8;
        gprsgx.add(Gprsgx::offset("ursp")).cast::<u64>().write((*block).host_rsp);
        gprsgx.add(Gprsgx::offset("urbp")).cast::<u64>().write(0);
        (*block).signal_fs = tcs.ofsbase;
        (*block).signal_gs = tcs.ogsbase;
        (*block).depth += 1;
        (*block).pending.store(0, Ordering::Relaxed);
    }
}

/// Makes the signal handler return to the host, at the landing.
///
/// # Safety
/// As [`asynchronous_exit`].
pub(crate) unsafe fn leave(block: *mut Block, signal: &mut Frame<'_>, exit: u32, event: Event) {
    for register in GENERAL {
        signal.set_register(register, 0);
    }
    signal.set_register(REG_RCX, block as u64);
    signal.set_rflags(FIXED_FLAGS);
    signal.set_rip(gates::landing());
    // SAFETY: as the caller promises.
    unsafe {
        signal.set_register(REG_RSP, (*block).host_rsp);
        (*block).exit = exit;
        (*block).exit_event = event;
        (*block).signal_fs = (*block).host_fs;
        (*block).signal_gs = (*block).host_gs;
        release(block);
    }
}

/// The thread is no longer in the enclave; another may take the TCS.
///
/// # Safety
/// The block's thread is in an enclave.
unsafe fn release(block: *mut Block) {
    // SAFETY: as the caller promises.
    unsafe {
        let (_, tcs) = context(block);
        (*block).state.store(HOST, Ordering::Release);
        tcs.owner.store(0, Ordering::Release);
        tcs.busy.store(0, Ordering::Release);
    }
}

/// EEXIT that trapped.
///
/// # Safety
/// As [`asynchronous_exit`].
pub(crate) unsafe fn synchronous_exit(block: *mut Block, signal: &mut Frame<'_>) {
    let target = signal.register(REG_RBX);
    // SAFETY: as the caller promises.
    unsafe {
        if target != gates::landing() {
            return leave(block, signal, EXIT_ASYNCHRONOUS, Event::BadExit { target });
        }
        let (shared, tcs) = context(block);
        (*block).passed.rdi = signal.register(REG_RDI);
        (*block).passed.rsi = signal.register(REG_RSI);
        (*block).passed.rdx = signal.register(REG_RDX);
        (*block).passed.r8 = signal.register(REG_R8);
        (*block).passed.r9 = signal.register(REG_R9);
        if (*block).depth == 0 || (*block).passed.rdi != RESUME_REASON {
            return leave(block, signal, EXIT_EEXIT, Event::Interrupt);
        }
        (*block).depth -= 1;
        match prepare_resume(block, shared, tcs) {
            Ok(()) => resume_in_signal(block, signal, shared),
            Err(event) => leave(block, signal, EXIT_ASYNCHRONOUS, event),
        }
    }
}

/// ERESUME by return from the signal handler.
///
/// # Safety
/// As [`asynchronous_exit`]; [`prepare_resume`] agreed.
unsafe fn resume_in_signal(block: *mut Block, signal: &mut Frame<'_>, shared: &Shared) {
    // SAFETY: as the caller promises: the frame is readable and sound.
    unsafe {
        let gprsgx = (*block).gprsgx as *const u8;
        for (i, &register) in GENERAL.iter().enumerate() {
            signal.set_register(register, gprsgx.add(8 * i).cast::<u64>().read());
        }
        signal.set_rip((*block).iret[0]);
        signal.set_rflags((*block).iret[2]);
        (*block).signal_fs = gprsgx.add(Gprsgx::offset("fsbase")).cast::<u64>().read();
        (*block).signal_gs = gprsgx.add(Gprsgx::offset("gsbase")).cast::<u64>().read();
        shared.xstate.load((*block).ssa as *const u8, signal.extended_state_mut(), shared.xfrm);
    }
}

const fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

/// The checks of ERESUME; on success CSSA is one less and the block says where to load from.
///
/// # Safety
/// The block is the calling thread's, which owns `tcs`.
pub(crate) unsafe fn prepare_resume(
    block: *mut Block,
    shared: &Shared,
    tcs: &Tcs,
) -> Result<(), Event> {
    let refused = Event::Exception { vector: GENERAL_PROTECTION, error_code: 0, address: 0 };
    let cssa = tcs.cssa.load(Ordering::Relaxed);
    let index = cssa.checked_sub(1).ok_or(refused)?;
    let frame = frame_address(shared, tcs, index);
    touch_frame(shared, frame).map_err(|fault| Event::Exception {
        vector: PAGE_FAULT,
        error_code: fault.error_code,
        address: fault.address,
    })?;
    let gprsgx = gprsgx_address(shared, frame);
    // SAFETY: the frame is accessible, and GPRSGX lies in it.
    let [rip, rsp, rflags, fs, gs] = ["rip", "rsp", "rflags", "fsbase", "gsbase"]
        .map(|name| unsafe { ((gprsgx + Gprsgx::offset(name) as u64) as *const u64).read() });
    // RIP must lie in ELRANGE too: fetching outside is #GP, which the emulator sees only here.
    // SAFETY: the frame is accessible.
    let is_sound = unsafe { shared.xstate.check(frame as *const u8, shared.xfrm) };
    if !is_sound || rip >= shared.space.size() || !is_canonical(fs) || !is_canonical(gs) {
        return Err(refused);
    }
    let (code, stack) = segments();
    // SAFETY: the block is this thread's.
    unsafe {
        (*block).cssa = cssa.into();
        (*block).ssa = frame;
        (*block).gprsgx = gprsgx;
        (*block).iret = [rip, code, rflags & RESUMED_FLAGS | FIXED_FLAGS, rsp, stack];
    }
    tcs.cssa.store(index, Ordering::Relaxed);
    Ok(())
}

/// Called by the EEXIT gate: ends an exception entry that fast mode made. Gives 1 to go on with ERESUME,
/// 0 if the enclave is left, with the exit noted.
///
/// # Safety
/// `block` is the calling thread's, which is in the enclave.
pub(crate) unsafe extern "C" fn resume_nested(block: *mut Block) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        let (shared, tcs) = context(block);
        (*block).depth -= 1;
        match prepare_resume(block, shared, tcs) {
            Ok(()) => 1,
            Err(event) => {
                (*block).exit = EXIT_ASYNCHRONOUS;
                (*block).exit_event = event;
                0
            }
        }
    }
}

fn segments() -> (u64, u64) {
    let (code, stack): (u64, u64);
    // SAFETY: reading the selectors has no effect.
    unsafe {
        core::arch::asm!("mov {}, cs", "mov {}, ss", out(reg) code, out(reg) stack, options(nomem, nostack));
    }
    (code, stack)
}
