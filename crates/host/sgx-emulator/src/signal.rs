//! Signals: which ones the emulator takes, and what each means to enclave code.
//!
//! SIGSYS (Syscall User Dispatch), SIGILL, SIGSEGV, SIGBUS, SIGTRAP and SIGFPE are the CPU's exceptions;
//! SIGSTKFLT, which Linux on x86 never sends, is the kick. A signal that finds its thread in host code is
//! passed to the handler that was there before (a kick is dropped). While a handler runs, every signal is
//! blocked: a fault in it ends the process.

use crate::aex;
use crate::block::{Block, Event};
use crate::enclave::Shared;
use crate::gates::{self, Stop};
use crate::leaf::{self, Operands};
use crate::patch;
use crate::space::{Access, Resolution, error_code};
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::Ordering;
use libc::{REG_CR2, REG_EFL, REG_ERR, REG_RBX, REG_RCX, REG_RDX, REG_RIP, REG_RSP, REG_TRAPNO};
use libc::{siginfo_t, ucontext_t};
use sgx::driver::DriverError;
use std::sync::OnceLock;

/// The signal that [`kick`](sgx::driver::Enclave::kick) sends.
pub(crate) const KICK: i32 = libc::SIGSTKFLT;
pub(crate) const TAKEN: [i32; 7] =
    [libc::SIGSYS, libc::SIGILL, libc::SIGSEGV, libc::SIGBUS, libc::SIGTRAP, libc::SIGFPE, KICK];
const SYS_USER_DISPATCH: i32 = 2;
const SA_RESTORER: u64 = 0x0400_0000;

const BREAKPOINT: u8 = 3;
const UNDEFINED: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

/// Ends the process: going on would break what the emulator promises.
pub(crate) fn fatal(message: &str) -> ! {
    let parts = ["sgx-emulator: ", message, "\n"];
    for part in parts {
        // SAFETY: the buffer is valid; the result does not matter any more.
        unsafe { libc::write(2, part.as_ptr().cast::<c_void>(), part.len()) };
    }
    std::process::abort()
}

/// A signal frame.
pub(crate) struct Frame<'a>(&'a mut ucontext_t);

impl Frame<'_> {
    pub(crate) fn register(&self, index: i32) -> u64 {
        self.0.uc_mcontext.gregs[index as usize] as u64
    }
    pub(crate) fn set_register(&mut self, index: i32, value: u64) {
        self.0.uc_mcontext.gregs[index as usize] = value as i64;
    }
    pub(crate) fn rip(&self) -> u64 {
        self.register(REG_RIP)
    }
    pub(crate) fn set_rip(&mut self, rip: u64) {
        self.set_register(REG_RIP, rip);
    }
    pub(crate) fn rflags(&self) -> u64 {
        self.register(REG_EFL)
    }
    pub(crate) fn set_rflags(&mut self, rflags: u64) {
        self.set_register(REG_EFL, rflags);
    }
    pub(crate) fn extended_state(&self) -> *const u8 {
        // The kernel's pointer stands behind the registers (asm/sigcontext.h); not every C library names it.
        let behind = (&raw const self.0.uc_mcontext.gregs).wrapping_add(1);
        // SAFETY: the frame is the kernel's, so the pointer lies there, within `uc_mcontext`.
        unsafe { behind.cast::<*const u8>().read() }
    }
    pub(crate) fn extended_state_mut(&mut self) -> *mut u8 {
        self.extended_state().cast_mut()
    }

    /// Takes the registers that a leaf gate saved.
    fn load_gate_registers(&mut self, block: *mut Block) {
        // SAFETY: the block is the interrupted thread's, which is this one.
        let (gate, gate_fs) = unsafe { ((*block).gate, (*block).gate_fs) };
        let general = [
            (libc::REG_RAX, gate.rax),
            (REG_RCX, gate.rcx),
            (REG_RDX, gate.rdx),
            (REG_RBX, gate.rbx),
            (REG_RSP, gate.rsp),
            (libc::REG_RBP, gate.rbp),
            (libc::REG_RSI, gate.rsi),
            (libc::REG_RDI, gate.rdi),
            (libc::REG_R8, gate.r8),
            (libc::REG_R9, gate.r9),
            (libc::REG_R10, gate.r10),
            (libc::REG_R11, gate.r11),
            (libc::REG_R12, gate.r12),
            (libc::REG_R13, gate.r13),
            (libc::REG_R14, gate.r14),
            (libc::REG_R15, gate.r15),
            (REG_EFL, gate.rflags),
            (REG_RIP, gate.rip),
        ];
        for (register, value) in general {
            self.set_register(register, value);
        }
        // SAFETY: as above.
        unsafe { (*block).signal_fs = gate_fs };
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct KernelSigaction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

static PREVIOUS: OnceLock<Result<[KernelSigaction; TAKEN.len()], i32>> = OnceLock::new();

/// Installs the handlers, once per process.
pub(crate) fn install() -> Result<(), DriverError> {
    let installed = PREVIOUS.get_or_init(|| {
        let (handler, restorer) = gates::signal_entry();
        let flags = libc::SA_SIGINFO as u64 | libc::SA_ONSTACK as u64 | SA_RESTORER;
        let action = KernelSigaction { handler, flags, restorer, mask: u64::MAX };
        let mut previous = [KernelSigaction { handler: 0, flags: 0, restorer: 0, mask: 0 }; 7];
        for (signal, previous) in TAKEN.into_iter().zip(&mut previous) {
            // The C library's wrapper would put its own restorer in place of ours.
            // SAFETY: both structures have the kernel's layout, and the mask has 8 bytes.
            let result = unsafe {
                libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, previous, 8)
            };
            if result != 0 {
                return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
            }
        }
        Ok(previous)
    });
    match installed {
        Ok(_) => Ok(()),
        &Err(errno) => Err(DriverError::Os { operation: "rt_sigaction", errno }),
    }
}

/// A signal in host code.
pub(crate) unsafe extern "C" fn on_host_signal(
    signal: i32,
    info: *mut siginfo_t,
    context: *mut c_void,
) {
    if signal == KICK {
        return; // the thread left the enclave before the kick came
    }
    // SAFETY: the kernel passed a ucontext.
    let frame = &mut Frame(unsafe { &mut *context.cast::<ucontext_t>() });
    if signal == libc::SIGSYS && patch::answer_probe(frame) {
        return;
    }
    let index = TAKEN.iter().position(|&taken| taken == signal);
    let previous = index.and_then(|index| Some(PREVIOUS.get()?.as_ref().ok()?[index]));
    match previous {
        Some(previous) if previous.handler > libc::SIG_IGN as u64 => {
            // SAFETY: it is the handler that was installed for this signal; with SA_SIGINFO it takes
            // three arguments, without it looks at the first only.
            let handler: unsafe extern "C" fn(i32, *mut siginfo_t, *mut c_void) =
                unsafe { core::mem::transmute(previous.handler as *const ()) };
            // SAFETY: as above.
            unsafe { handler(signal, info, context) }
        }
        _ => {
            let default = KernelSigaction { handler: 0, flags: 0, restorer: 0, mask: 0 };
            // SAFETY: the structure has the kernel's layout. The signal is blocked here, so that it
            // takes effect when the handler returns.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    &raw const default,
                    ptr::null_mut::<c_void>(),
                    8,
                );
                libc::syscall(
                    libc::SYS_tgkill,
                    libc::getpid(),
                    libc::syscall(libc::SYS_gettid),
                    signal,
                );
            }
        }
    }
}

/// A signal while the thread is logically in the enclave. FS and GS are the host's; on return they become
/// the block's `signal_fs` and `signal_gs`.
pub(crate) unsafe extern "C" fn on_enclave_signal(
    signal: i32,
    info: *mut siginfo_t,
    context: *mut c_void,
    block: *mut Block,
) {
    // SAFETY: the kernel passed a ucontext and a siginfo; the assembly passed the block of this thread,
    // which is in an enclave.
    unsafe {
        let frame = &mut Frame(&mut *context.cast::<ucontext_t>());
        let (shared, _) = aex::context(block);
        if signal == KICK {
            return on_kick(block, shared, frame);
        }
        let in_enclave = frame.rip() < shared.space.size();
        match (signal, gates::stop_at(frame.rip())) {
            (libc::SIGILL, Some(stop)) => on_stop(block, frame, stop),
            (libc::SIGILL, None) if in_enclave && is_enclu(shared, frame.rip()) => {
                let next = frame.rip() + 3;
                enclu(block, frame, next);
            }
            (libc::SIGSYS, _) if in_enclave && (*info).si_code == SYS_USER_DISPATCH => {
                // The instruction is 0F 05 or CD 80; RIP is after it.
                frame.set_rip(frame.rip() - 2);
                exception(block, frame, UNDEFINED, 0, 0);
            }
            (libc::SIGSEGV | libc::SIGBUS, _) if is_page_fault(frame) => {
                on_page_fault(block, shared, frame, in_enclave);
            }
            _ if in_enclave || is_stray_fetch(frame) => on_exception(block, frame),
            _ => fatal("an exception in the emulator itself"),
        }
        // An interrupt that a gate put off, if that gate led back into the enclave through here.
        if (*block).state.load(Ordering::Relaxed) != crate::block::HOST
            && frame.rip() < shared.space.size()
            && (*block).pending.swap(0, Ordering::Relaxed) != 0
        {
            aex::asynchronous_exit(block, frame, Event::Interrupt);
        }
    }
}

/// # Safety
/// As [`on_enclave_signal`].
unsafe fn on_kick(block: *mut Block, shared: &Shared, frame: &mut Frame<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        if gates::is_leaf_tail(frame.rip()) {
            frame.load_gate_registers(block);
        }
        let (_, tcs) = aex::context(block);
        let in_enclave = frame.rip() < shared.space.size();
        // With the last SSA frame in use nobody could enter: the host would only resume, as AEP code does. A
        // thread that far in has its interruption before it anyway.
        if in_enclave && tcs.cssa.load(Ordering::Relaxed) + 1 >= tcs.nssa {
            return;
        }
        if in_enclave {
            aex::asynchronous_exit(block, frame, Event::Interrupt);
        } else if gates::is_resuming(frame.rip()) {
            aex::abandon_resume(block, frame);
        } else {
            (*block).pending.store(1, Ordering::Relaxed);
        }
    }
}

/// # Safety
/// As [`on_enclave_signal`].
unsafe fn on_stop(block: *mut Block, frame: &mut Frame<'_>, stop: Stop) {
    /// From the return address of a patched site back to its first byte.
    const CALL: u64 = 5;
    // SAFETY: as the caller promises. At `Gate` the call's return address is on the enclave's stack,
    // which the call itself has just written.
    unsafe {
        match stop {
            Stop::Gate => {
                let rsp = frame.register(REG_RSP);
                let next = (rsp as *const u64).read();
                frame.set_register(REG_RSP, rsp + 8);
                frame.set_rip(next - CALL);
                enclu(block, frame, next);
            }
            Stop::Leaf => {
                frame.load_gate_registers(block);
                let next = frame.rip();
                frame.set_rip(next - CALL);
                enclu(block, frame, next);
            }
            Stop::LeafPending => frame.load_gate_registers(block),
            Stop::ResumePending => {
                (*block).pending.store(0, Ordering::Relaxed);
                aex::abandon_resume(block, frame);
            }
        }
    }
}

/// ENCLU at `frame.rip()`, going on at `next`.
///
/// # Safety
/// As [`on_enclave_signal`].
unsafe fn enclu(block: *mut Block, frame: &mut Frame<'_>, next: u64) {
    const EEXIT: u32 = sgx::Enclu::Eexit as u32;
    let leaf = frame.register(libc::REG_RAX) as u32;
    // SAFETY: as the caller promises.
    unsafe {
        if leaf == EEXIT {
            return aex::synchronous_exit(block, frame);
        }
        let (shared, _) = aex::context(block);
        let operands = Operands {
            rbx: frame.register(REG_RBX),
            rcx: frame.register(REG_RCX),
            rdx: frame.register(REG_RDX),
        };
        match leaf::execute(shared, leaf, operands) {
            Ok(done) => {
                frame.set_rip(next);
                if let Some(result) = done.result {
                    frame.set_register(libc::REG_RAX, result.into());
                    frame.set_rflags(leaf::flags_after(frame.rflags(), result));
                }
            }
            Err(leaf::Fault::GeneralProtection) => {
                exception(block, frame, GENERAL_PROTECTION, 0, 0)
            }
            Err(leaf::Fault::Page(fault)) => {
                exception(block, frame, PAGE_FAULT, fault.error_code, fault.address);
            }
        }
    }
}

/// A fault-class exception at `frame.rip()`.
///
/// # Safety
/// As [`on_enclave_signal`].
unsafe fn exception(
    block: *mut Block,
    frame: &mut Frame<'_>,
    vector: u8,
    error_code: u32,
    address: u64,
) {
    // A fault is saved with RF set; one that was found out in software comes without.
    const RF: u64 = 1 << 16;
    frame.set_rflags(frame.rflags() | RF);
    // SAFETY: as the caller promises.
    unsafe {
        aex::asynchronous_exit(block, frame, Event::Exception { vector, error_code, address });
    }
}

fn is_page_fault(frame: &Frame<'_>) -> bool {
    frame.register(REG_TRAPNO) == u64::from(PAGE_FAULT)
}

/// Enclave code jumped out of ELRANGE to where nothing can be executed.
fn is_stray_fetch(frame: &Frame<'_>) -> bool {
    is_page_fault(frame)
        && frame.register(REG_ERR) as u32 & error_code::FETCH != 0
        && frame.register(REG_CR2) == frame.rip()
}

/// # Safety
/// As [`on_enclave_signal`].
unsafe fn on_page_fault(
    block: *mut Block,
    shared: &Shared,
    frame: &mut Frame<'_>,
    in_enclave: bool,
) {
    let address = frame.register(REG_CR2);
    let code = frame.register(REG_ERR) as u32;
    let is_key_fault = code & error_code::PROTECTION_KEY != 0;
    if address < shared.space.size() && !is_key_fault {
        match shared.space.lock().resolve(address, Access::from_error_code(code)) {
            Resolution::Retry => return,
            Resolution::Fault(fault) if in_enclave => {
                // What is accepted next answers this fault and will be used at once.
                shared.last_accepted.store(0, Ordering::Relaxed);
                // SAFETY: as the caller promises.
                return unsafe {
                    exception(block, frame, PAGE_FAULT, fault.error_code, fault.address)
                };
            }
            Resolution::Fault(_) => {}
        }
    }
    // SAFETY: as the caller promises.
    unsafe {
        if in_enclave {
            exception(block, frame, PAGE_FAULT, code, address);
        } else if is_stray_fetch(frame) {
            // A code fetch outside ELRANGE is #GP, whatever is there.
            exception(block, frame, GENERAL_PROTECTION, 0, 0);
        } else {
            fatal("a gate or a leaf could not reach enclave memory that was accessible before");
        }
    }
}

/// Any other exception, by its vector.
///
/// # Safety
/// As [`on_enclave_signal`].
unsafe fn on_exception(block: *mut Block, frame: &mut Frame<'_>) {
    let vector = frame.register(REG_TRAPNO) as u8;
    if vector == BREAKPOINT {
        // Inside an enclave INT3 is a fault: RIP stays at it (SDM Vol. 3D, "INT3 Consideration").
        frame.set_rip(frame.rip() - 1);
    }
    let error_code = frame.register(REG_ERR) as u32;
    let event = Event::Exception { vector, error_code, address: 0 };
    // SAFETY: as the caller promises.
    unsafe { aex::asynchronous_exit(block, frame, event) }
}

/// Whether ENCLU stands at `rip`.
fn is_enclu(shared: &Shared, rip: u64) -> bool {
    const ENCLU: [u8; 3] = [0x0f, 0x01, 0xd7];
    if rip + 3 > shared.space.size() || shared.space.touch(rip, 3, Access::Fetch).is_err() {
        return false;
    }
    // SAFETY: the three bytes are executable, which the space maps readable too.
    unsafe { (rip as *const [u8; 3]).read() == ENCLU }
}
