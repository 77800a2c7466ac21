//! The exception entry: what an asynchronous exit means and what happens then.
//!
//! The host chooses when to enter here and with what registers; the CPU alone writes SSA\[0\]. So the
//! decision ([`decide`], a pure function) uses SSA\[0\].EXITINFO, EXINFO and the interrupted RIP, the
//! thread's own phase, and the run time's own record of user pages. A forged exception, that is an entry with
//! EXITINFO invalid, is at most a kick: it makes a user thread leave user mode once, and does nothing to any
//! other. A page fault where the record says that the access is permitted is the host's doing: it is tried
//! again, and after [`MAX_HOST_FAULTS`] in a row the enclave stops; the program never sees it.

use core::ops::Range;
use core::sync::atomic::Ordering;

use hostcall::ExitReason;
use libos::platform::{UserExit, XSTATE_SIZE};
use sgx::{Exinfo, Exitinfo, Gprsgx};

use crate::layout::{PAGE, slot};
use crate::runtime;
use crate::sha256;
use crate::thread::{Thread, phase, vectors};
use crate::user::{self, back};
use crate::usercopy;
use crate::xstate::{INITIAL, MXCSR_CONTROL, MXCSR_DEFAULT};

/// Faults in a row on permitted pages that are taken for bad luck (reclaim, a permission being changed by
/// another thread) before they are taken for an attack.
pub(crate) const MAX_HOST_FAULTS: u32 = 1000;

const DEBUG: u8 = 1;
const INVALID_OPCODE: u8 = 6;
const PAGE_FAULT: u8 = 14;

/// What the CPU reports about the interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The exception, or `None` for an interrupt and for a forged entry, which look the same.
    exception: Option<Fault>,
    /// Interrupted instruction.
    rip: u64,
}

/// An exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    vector: u8,
    error_code: u32,
    address: u64,
}

/// Where the interrupted instruction lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// User space.
    User,
    /// On the way to user mode: nothing of the user's has changed yet.
    Entering,
    /// On the way out by a patched system call.
    Leaving,
    /// On the way back from one that was answered: only RIP is not the user's yet.
    Returning,
    /// Copying to or from user memory.
    Copying,
    /// The instruction that the processor may not have.
    Probing,
    /// Anywhere else.
    Elsewhere,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Continue where it was.
    Resume,
    /// Remember the kick and continue.
    Note,
    /// Clear TF and continue: the user's single-stepping reached our code.
    ClearTrap,
    /// Continue and see whether the host gives the page back.
    Retry,
    /// The user state in the SSA is complete: leave user mode with it.
    Deliver(UserExit),
    /// Likewise, once RIP is what it was about to become: that of the program after its system call.
    RollForward,
    /// Leave user mode with the context as it was before [`user::enter`].
    RollBack,
    /// The copy fails.
    FailCopy,
    /// The processor does not have the instruction.
    FailProbe,
    /// Stop the enclave.
    Stop,
}

/// The ranges of our code that [`place`] tells apart.
struct Map {
    user: Range<u64>,
    entering: Range<u64>,
    leaving: Range<u64>,
    returning: Range<u64>,
    copying: Range<u64>,
    probing: u64,
}

impl Map {
    fn place(&self, rip: u64) -> Place {
        if self.user.contains(&rip) {
            Place::User
        } else if self.entering.contains(&rip) {
            Place::Entering
        } else if self.leaving.contains(&rip) {
            Place::Leaving
        } else if self.returning.contains(&rip) {
            Place::Returning
        } else if self.copying.contains(&rip) {
            Place::Copying
        } else if self.probing == rip {
            Place::Probing
        } else {
            Place::Elsewhere
        }
    }
}

/// The decision. `is_permitted` says whether the record of user pages permits the access that faulted.
fn decide(
    phase: u32,
    place: Place,
    cause: Option<Fault>,
    is_permitted: impl FnOnce(Fault) -> bool,
) -> Action {
    let is_user = phase == phase::USER;
    match (is_user, place, cause) {
        (true, Place::User, None) => Action::Deliver(UserExit::Interrupted),
        (true, Place::Entering, None) => Action::RollBack,
        (true, Place::Returning, None) => Action::RollForward,
        // A program that jumped into our code is not interrupted there: its state could not be resumed.
        (true, Place::Elsewhere | Place::Copying | Place::Probing, None) => Action::Resume,
        (_, _, None) => Action::Note,
        (true, Place::User | Place::Elsewhere | Place::Copying | Place::Probing, Some(fault)) => {
            if place == Place::User && fault.vector == PAGE_FAULT && is_permitted(fault) {
                return Action::Retry;
            }
            let Fault { vector, error_code, address } = fault;
            Action::Deliver(UserExit::Exception { vector, error_code, address })
        }
        (_, _, Some(Fault { vector: DEBUG, .. })) => Action::ClearTrap,
        (false, Place::Copying, Some(Fault { vector: PAGE_FAULT, .. })) => Action::FailCopy,
        (false, Place::Probing, Some(Fault { vector: INVALID_OPCODE, .. })) => Action::FailProbe,
        (_, _, Some(Fault { vector: PAGE_FAULT, .. })) => Action::Retry,
        (_, _, Some(_)) => Action::Stop,
    }
}

/// RDI and RSI at EEXIT.
#[repr(C)]
pub(crate) struct Answer {
    reason: u64,
    detail: u64,
}

/// Called by the entry code with CSSA 1, on the exception stack.
pub(crate) extern "C" fn entry(tcs: u64) -> Answer {
    let thread = Thread::current();
    // SAFETY: EENTER put the address of this thread's TCS in RBX; its SSA array follows it. CSSA is 1, so
    // frame 0 is not in use by the CPU until ERESUME.
    let frame = unsafe { &mut *((tcs + slot::SSA) as *mut Frame) };
    let mut gpr = frame.gprsgx();
    let cause = cause(&gpr, &frame.exinfo());
    let phase = thread.phase.load(Ordering::Relaxed);
    let Some(runtime) = runtime::get() else {
        // Before the start is complete there are no user pages, and no fault is expected.
        return match cause.exception {
            None => note(thread),
            Some(fault) => stop(fault, cause.rip),
        };
    };
    let map = Map {
        user: runtime.layout.user(),
        entering: user::entering(),
        leaving: user::leaving(),
        returning: user::returning(),
        copying: usercopy::instructions(),
        probing: sha256::probing(),
    };
    let action = decide(phase, map.place(cause.rip), cause.exception, |fault| {
        runtime.pages.permits(fault.address, fault.error_code)
    });
    match action {
        Action::Resume => {}
        Action::Note => return note(thread),
        Action::ClearTrap => gpr.rflags &= !0x100,
        Action::Retry => {
            let faults = thread.host_faults.get() + 1;
            thread.host_faults.set(faults);
            if let (true, Some(fault)) = (faults > MAX_HOST_FAULTS, cause.exception) {
                return stop(fault, cause.rip);
            }
        }
        Action::FailCopy => {
            gpr.rip = usercopy::failed();
        }
        Action::FailProbe => {
            gpr.rip = sha256::probed();
        }
        Action::Stop => {
            let fault = cause.exception.unwrap_or(Fault { vector: 0, error_code: 0, address: 0 });
            return stop(fault, cause.rip);
        }
        Action::Deliver(exit) => {
            deliver(thread, frame, &gpr);
            thread.exit.set(Some(exit));
            to_kernel(thread, frame, &mut gpr, back::EXIT, false);
        }
        Action::RollForward => {
            gpr.rip = gpr.rcx;
            deliver(thread, frame, &gpr);
            thread.exit.set(Some(UserExit::Interrupted));
            to_kernel(thread, frame, &mut gpr, back::EXIT, false);
        }
        Action::RollBack => {
            let is_live = thread.vectors.get() == vectors::LIVE;
            to_kernel(thread, frame, &mut gpr, back::INTERRUPTED, is_live);
        }
    }
    // The exception is dealt with: a further entry before ERESUME finds none.
    gpr.exitinfo = Exitinfo(0);
    frame.set_gprsgx(&gpr);
    Answer { reason: ExitReason::Resume as u64, detail: 0 }
}

fn note(thread: &Thread) -> Answer {
    thread.kick.store(1, Ordering::Relaxed);
    Answer { reason: ExitReason::Resume as u64, detail: 0 }
}

/// The host learns the vector and the place in the measured image, which it could find out anyway.
fn stop(fault: Fault, rip: u64) -> Answer {
    Answer {
        reason: ExitReason::Fatal as u64,
        detail: u64::from(fault.vector) << 56 | rip & ((1 << 56) - 1),
    }
}

fn cause(gpr: &Gprsgx, exinfo: &Exinfo) -> Cause {
    let exception = gpr.exitinfo.vector().filter(|_| is_known_type(gpr.exitinfo)).map(|vector| {
        let has_details = matches!(vector, 13 | PAGE_FAULT);
        Fault {
            vector,
            error_code: if has_details { exinfo.errcd } else { 0 },
            address: if vector == PAGE_FAULT { exinfo.maddr & !(PAGE - 1) } else { 0 },
        }
    });
    Cause { exception, rip: gpr.rip }
}

fn is_known_type(exitinfo: Exitinfo) -> bool {
    matches!(exitinfo.exit_type(), Exitinfo::HARDWARE_EXCEPTION | Exitinfo::SOFTWARE_EXCEPTION)
}

/// Copies the user's state from the SSA into the context.
fn deliver(thread: &Thread, frame: &Frame, gpr: &Gprsgx) {
    // SAFETY: the phase is User, so `user::enter` is on the thread's stack and keeps its context borrowed.
    let context = unsafe { &mut *thread.context.get() };
    let regs = &mut context.regs;
    regs.rax = gpr.rax;
    regs.rcx = gpr.rcx;
    regs.rdx = gpr.rdx;
    regs.rbx = gpr.rbx;
    regs.rsp = gpr.rsp;
    regs.rbp = gpr.rbp;
    regs.rsi = gpr.rsi;
    regs.rdi = gpr.rdi;
    regs.r8 = gpr.r8;
    regs.r9 = gpr.r9;
    regs.r10 = gpr.r10;
    regs.r11 = gpr.r11;
    regs.r12 = gpr.r12;
    regs.r13 = gpr.r13;
    regs.r14 = gpr.r14;
    regs.r15 = gpr.r15;
    regs.rip = gpr.rip;
    regs.rflags = gpr.rflags;
    regs.fs_base = gpr.fsbase;
    context.xstate.0.copy_from_slice(&frame.xsave);
    context.xstate_is_full = true;
    thread.vectors.set(vectors::NONE);
}

/// Makes ERESUME return from [`user::enter`] with `answer`. Unless `keeps_vectors`, the extended state is
/// the initial one there; else only MXCSR is made the library OS's.
fn to_kernel(
    thread: &Thread,
    frame: &mut Frame,
    gpr: &mut Gprsgx,
    answer: u64,
    keeps_vectors: bool,
) {
    // Whoever kicked is answered by any way out: the library OS looks at what was stored before the kick.
    thread.kick.store(0, Ordering::Relaxed);
    thread.fs_live.set(gpr.fsbase);
    thread.phase.store(phase::RUNNING, Ordering::Relaxed);
    gpr.rip = user::user_return as *const () as u64;
    gpr.rsp = thread.user_frame.get();
    gpr.rax = answer;
    gpr.rflags = 2;
    gpr.gsbase = thread.this.get();
    if keeps_vectors {
        frame.xsave[24..28].copy_from_slice(&MXCSR_DEFAULT.to_le_bytes());
        let is_default = thread.user_mxcsr.get() & MXCSR_CONTROL == MXCSR_DEFAULT;
        thread.mxcsr_replaced.set(u32::from(!is_default));
    } else {
        frame.xsave[..576].copy_from_slice(&INITIAL.0[..576]);
    }
}

/// An SSA frame of one page.
#[repr(C, align(4096))]
struct Frame {
    xsave: [u8; XSTATE_SIZE],
    unused: [u8; PAGE as usize - XSTATE_SIZE - Exinfo::SIZE - Gprsgx::SIZE],
    exinfo: [u8; Exinfo::SIZE],
    gprsgx: [u8; Gprsgx::SIZE],
}

impl Frame {
    fn gprsgx(&self) -> Gprsgx {
        Gprsgx::from_bytes(&self.gprsgx)
    }

    fn set_gprsgx(&mut self, gpr: &Gprsgx) {
        self.gprsgx = gpr.to_bytes();
    }

    fn exinfo(&self) -> Exinfo {
        Exinfo::from_bytes(&self.exinfo)
    }
}

const _: () = assert!(size_of::<Frame>() == PAGE as usize);

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_USER: [u32; 5] =
        [phase::FRESH, phase::RUNNING, phase::IN_HOST_CALL, phase::ARMED, phase::ENDED];
    const PLACES: [Place; 7] = [
        Place::User,
        Place::Entering,
        Place::Leaving,
        Place::Returning,
        Place::Copying,
        Place::Probing,
        Place::Elsewhere,
    ];

    fn fault(vector: u8) -> Option<Fault> {
        Some(Fault { vector, error_code: 6, address: 0x40_0000 })
    }

    fn unasked(_: Fault) -> bool {
        panic!("the record of user pages is not asked")
    }

    /// SmashEx: an entry without an exception, at any instruction of the host-call return path, the start, or
    /// the library OS, changes the kick flag and nothing else.
    #[test]
    fn a_forged_exception_outside_user_mode_changes_nothing_but_the_kick_flag() {
        for phase in NOT_USER {
            for place in PLACES {
                assert_eq!(decide(phase, place, None, unasked), Action::Note, "{phase} {place:?}");
            }
        }
    }

    #[test]
    fn a_real_exception_outside_user_mode_never_delivers_to_the_program() {
        for phase in NOT_USER {
            for place in PLACES {
                for vector in 0..32 {
                    let action = decide(phase, place, fault(vector), unasked);
                    let is_right = match (vector, place) {
                        (DEBUG, _) => action == Action::ClearTrap,
                        (PAGE_FAULT, Place::Copying) => action == Action::FailCopy,
                        (INVALID_OPCODE, Place::Probing) => action == Action::FailProbe,
                        (PAGE_FAULT, _) => action == Action::Retry,
                        _ => action == Action::Stop,
                    };
                    assert!(is_right, "{phase} {place:?} {vector}: {action:?}");
                }
            }
        }
    }

    #[test]
    fn a_kick_in_user_mode_interrupts_on_the_way_rolls_back_or_forward() {
        let kick = |place| decide(phase::USER, place, None, unasked);
        assert_eq!(kick(Place::User), Action::Deliver(UserExit::Interrupted));
        assert_eq!(kick(Place::Entering), Action::RollBack);
        assert_eq!(kick(Place::Leaving), Action::Note);
        assert_eq!(kick(Place::Returning), Action::RollForward);
        assert_eq!(kick(Place::Elsewhere), Action::Resume);
        assert_eq!(kick(Place::Copying), Action::Resume);
        assert_eq!(kick(Place::Probing), Action::Resume);
    }

    #[test]
    fn a_page_fault_on_a_permitted_page_is_never_the_programs() {
        let delivered =
            Action::Deliver(UserExit::Exception { vector: 14, error_code: 6, address: 0x40_0000 });
        assert_eq!(decide(phase::USER, Place::User, fault(14), |_| true), Action::Retry);
        assert_eq!(decide(phase::USER, Place::User, fault(14), |_| false), delivered);
        // A fetch outside user space cannot be permitted.
        assert_eq!(decide(phase::USER, Place::Elsewhere, fault(14), unasked), delivered);
    }

    #[test]
    fn other_exceptions_of_a_program_are_delivered() {
        for vector in [0, 3, 6, 13, 16, 17, 19] {
            let exit = UserExit::Exception { vector, error_code: 6, address: 0x40_0000 };
            assert_eq!(
                decide(phase::USER, Place::User, fault(vector), unasked),
                Action::Deliver(exit)
            );
        }
    }

    #[test]
    fn single_stepping_ends_where_our_code_starts() {
        for place in [Place::Entering, Place::Leaving, Place::Returning] {
            assert_eq!(decide(phase::USER, place, fault(DEBUG), unasked), Action::ClearTrap);
        }
    }

    #[test]
    fn only_exceptions_that_the_cpu_reports_count() {
        let gpr = |exitinfo| Gprsgx { exitinfo: Exitinfo(exitinfo), rip: 1, ..Gprsgx::default() };
        let exinfo = Exinfo { maddr: 0x40_0123, errcd: 7 };
        let exception = |exitinfo| cause(&gpr(exitinfo), &exinfo).exception;
        assert_eq!(exception(0), None);
        assert_eq!(exception(0x0000_030e), None, "not valid");
        assert_eq!(exception(0x8000_000e), None, "no known type");
        let page_fault = Fault { vector: 14, error_code: 7, address: 0x40_0000 };
        assert_eq!(exception(0x8000_030e), Some(page_fault));
        let illegal = Fault { vector: 6, error_code: 0, address: 0 };
        assert_eq!(exception(0x8000_0306), Some(illegal), "EXINFO is stale for other vectors");
    }
}
