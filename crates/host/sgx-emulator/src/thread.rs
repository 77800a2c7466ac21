//! Host threads that enter an enclave: signal stack, signal mask, Syscall User Dispatch.
//!
//! A thread is set up at its first entry and stays so: every signal but the emulator's own is blocked on it
//! from then on, because a handler that expects the host's FS would run with the enclave's. Signals to the
//! process are taken by threads that never enter an enclave; a program needs one.

use crate::block::{Block, SLOT, STACK, Slot};
use crate::enclave::Shared;
use crate::patch::GatePage;
use crate::signal;
use crate::xstate::Xstate;
use core::cell::RefCell;
use core::ffi::c_void;
use sgx::driver::DriverError;

const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;
const PR_SYS_DISPATCH_EXCLUSIVE_ON: i32 = 1;
const PR_SYS_DISPATCH_INCLUSIVE_ON: i32 = 2;
const PR_SYS_DISPATCH_OFF: i32 = 0;
/// `SYSCALL_DISPATCH_FILTER_BLOCK`; never changed.
static SELECTOR: u8 = 1;
/// End of user addresses.
const USER_END: u64 = 1 << 47;

struct Thread {
    slot: Slot,
}

impl Drop for Thread {
    fn drop(&mut self) {
        // The slot goes to another thread, so neither signals nor dispatch may use it any more.
        let off =
            libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: no handler is running on the stack: this is a destructor of the thread.
        unsafe {
            libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0_u64, 0_u64, 0_u64);
            libc::sigaltstack(&raw const off, core::ptr::null_mut());
        }
    }
}

thread_local! {
    static THREAD: RefCell<Option<Thread>> = const { RefCell::new(None) };
}

fn os(operation: &'static str) -> DriverError {
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    DriverError::Os { operation, errno }
}

/// The calling thread's block, set up for this enclave.
pub(crate) fn current(shared: &Shared, gate_page: &GatePage) -> Result<*mut Block, DriverError> {
    THREAD.with_borrow_mut(|thread| {
        if thread.is_none() {
            *thread = Some(Thread { slot: set_up(shared.xstate)? });
        }
        let block = thread.as_ref().expect("set just above").slot.block();
        // SAFETY: the block is this thread's, and the thread is in host code.
        unsafe {
            if (*block).enclave_id != shared.id {
                dispatch_system_calls(gate_page)?;
                (*block).enclave_id = shared.id;
                (*block).shared = shared;
                (*block).tcs_address = u64::MAX;
            }
        }
        Ok(block)
    })
}

fn set_up(xstate: &Xstate) -> Result<Slot, DriverError> {
    signal::install()?;
    let slot = Slot::take()?;
    let block = slot.block();
    let stack = libc::stack_t {
        ss_sp: (block as usize + STACK) as *mut c_void,
        ss_flags: 0,
        ss_size: SLOT - STACK,
    };
    // SAFETY: reading the bases needs FSGSBASE, which `create` checked; the block is ours.
    unsafe {
        core::arch::asm!("rdfsbase {}", out(reg)(*block).host_fs, options(nomem, nostack));
        core::arch::asm!("rdgsbase {}", out(reg)(*block).host_gs, options(nomem, nostack));
        (*block).host_components = xstate.host_components();
        (*block).thread_id = libc::gettid();
    }
    // SAFETY: the stack lies in the slot, which lives until the thread disables it.
    if unsafe { libc::sigaltstack(&raw const stack, core::ptr::null_mut()) } != 0 {
        return Err(os("sigaltstack"));
    }
    // SAFETY: the set is initialised before use.
    let result = unsafe {
        let mut set = core::mem::zeroed();
        libc::sigfillset(&raw mut set);
        for signal in signal::TAKEN {
            libc::sigdelset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, core::ptr::null_mut())
    };
    if result != 0 {
        return Err(DriverError::Os { operation: "pthread_sigmask", errno: result });
    }
    Ok(slot)
}

/// Makes system calls from ELRANGE trap on this thread, and checks that they do.
fn dispatch_system_calls(gate_page: &GatePage) -> Result<(), DriverError> {
    let end = gate_page.end();
    let selector = &raw const SELECTOR;
    // SAFETY: the selector is a static; the call changes only how system calls of this thread are made.
    let result = unsafe {
        let result = libc::prctl(
            PR_SET_SYSCALL_USER_DISPATCH,
            PR_SYS_DISPATCH_INCLUSIVE_ON,
            0_u64,
            end,
            selector,
        );
        if result == 0 {
            0
        } else {
            // An older kernel: one range from which system calls are allowed.
            libc::prctl(
                PR_SET_SYSCALL_USER_DISPATCH,
                PR_SYS_DISPATCH_EXCLUSIVE_ON,
                end,
                USER_END - end,
                selector,
            )
        }
    };
    if result != 0 {
        return Err(os("prctl(PR_SET_SYSCALL_USER_DISPATCH)"));
    }
    if gate_page.probe() {
        return Ok(());
    }
    Err(DriverError::Refused {
        operation: "EENTER",
        field: "a system call from ELRANGE traps",
        expected: 1,
        got: 0,
    })
}
