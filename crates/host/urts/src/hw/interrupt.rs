//! Kicks and breakpoints: signals that find a thread inside the enclave.
//!
//! The CPU has left the enclave when the handler runs: the thread stands at the vDSO's ENCLU with ERESUME in
//! RAX. The handler enters the TCS again (the exception entry) by a second call of the vDSO function, and
//! returns to the ERESUME.
//!
//! A thread that stands there because the host asked for ERESUME looks the same, but for R9, which the host's
//! call sets to [`FIRST_RESUME`] and an asynchronous exit clears. Its SSA frame still says why it was left
//! before, so it must not be entered: the kick is tried again when it has gone in. `kick` waits for the
//! handler's word on this, so that no kick is lost.

use super::call::{self, Call};
use super::uapi::{Run, os};
use super::vdso;
use sgx::driver::{DriverError, PassedRegisters};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The kick: Linux on x86 never sends it.
const KICK: i32 = libc::SIGSTKFLT;
/// R9 at an ERESUME that the host asked for.
pub(super) const FIRST_RESUME: u64 = 0x5347_5845_5245_5355;
/// RDI at the EEXIT of an exception entry: go on with ERESUME.
const RESUME_REASON: u64 = 3;
const EENTER: u32 = 2;
const ERESUME: u64 = 3;
const EEXIT: u32 = 4;
const ENCLU: [u8; 3] = [0x0f, 0x01, 0xd7];
/// A leaf that no CPU has: ENCLU with it is #GP, which the vDSO reports to the interrupted call.
const NO_LEAF: u64 = 0xffff;

/// `Seat::kick`: nothing asked.
const IDLE: u32 = 0;
/// A kicker waits.
const ASKED: u32 = 1;
/// The handler saw the kick and will do, or need not do, what it asks for.
const SEEN: u32 = 2;
/// The thread was about to resume; ask again.
const AGAIN: u32 = 3;

/// A TCS and the host thread that is in on it. Lives as long as its enclave.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Thread id; 0 for nobody.
    pub(super) owner: AtomicI32,
    kick: AtomicU32,
}

/// What the interrupted call is about, and what the handler tells it.
#[derive(Clone, Copy)]
struct Visit {
    seat: *const Seat,
    tcs: u64,
    /// Registers of an EEXIT in the handler that did not ask for ERESUME.
    ended: Option<PassedRegisters>,
}

thread_local! {
    // No destructor and no lazy value: the handler may use it at any time.
    static VISIT: Cell<Option<Visit>> = const { Cell::new(None) };
}

/// Says that the calling thread is in on `tcs` while `body` runs; gives what a handler ended it with, if one did.
pub(super) fn visiting<T>(
    seat: &Seat,
    tcs: u64,
    body: impl FnOnce() -> T,
) -> (T, Option<PassedRegisters>) {
    VISIT.set(Some(Visit { seat, tcs, ended: None }));
    // SAFETY: the call has no arguments.
    seat.owner.swap(unsafe { libc::gettid() }, Ordering::SeqCst);
    let result = body();
    seat.owner.store(0, Ordering::SeqCst);
    let ended = VISIT.take().and_then(|visit| visit.ended);
    (result, ended)
}

impl Seat {
    /// Interrupts whoever is in.
    pub(super) fn kick(&self) {
        loop {
            let owner = self.owner.load(Ordering::SeqCst);
            if owner == 0 {
                return;
            }
            self.kick.store(ASKED, Ordering::SeqCst);
            // SAFETY: the call touches no memory. A thread that is not in any more ignores the signal.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), owner, KICK) };
            while self.kick.load(Ordering::SeqCst) == ASKED
                && self.owner.load(Ordering::SeqCst) == owner
            {
                std::thread::yield_now();
            }
            if self.kick.swap(IDLE, Ordering::SeqCst) != AGAIN {
                return;
            }
        }
    }
}

/// Installs the handlers once per process, and unblocks the signals on this thread.
pub(super) fn set_up_thread() -> Result<(), DriverError> {
    static INSTALLED: OnceLock<Result<(), DriverError>> = OnceLock::new();
    thread_local!(static IS_SET_UP: Cell<bool> = const { Cell::new(false) });
    if IS_SET_UP.get() {
        return Ok(());
    }
    INSTALLED.get_or_init(install).clone()?;
    // SAFETY: the set is initialised before use.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, KICK);
        libc::sigaddset(&raw mut set, libc::SIGTRAP);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
    IS_SET_UP.set(true);
    Ok(())
}

fn install() -> Result<(), DriverError> {
    for signal in [KICK, libc::SIGTRAP] {
        // SAFETY: zero is a valid sigaction, whose fields are then set; the handler is async-signal-safe: it
        // uses a thread-local cell, atomics, and the vDSO.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigfillset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(os("sigaction"));
        }
    }
    Ok(())
}

/// Where the interrupted thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At ERESUME after an asynchronous exit.
    Interrupted,
    /// At an ERESUME that the host asked for.
    Resuming,
    /// In host code, or at EENTER.
    Outside,
}

const fn place(instruction: [u8; 3], rax: u64, r9: u64) -> Place {
    let [a, b, c] = instruction;
    if a != ENCLU[0] || b != ENCLU[1] || c != ENCLU[2] || rax != ERESUME {
        Place::Outside
    } else if r9 == FIRST_RESUME {
        Place::Resuming
    } else {
        Place::Interrupted
    }
}

extern "C" fn on_signal(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(visit) = VISIT.get() else { return unexpected(signal) };
    // SAFETY: the kernel passed a ucontext; RIP is an address that this thread was executing, so three bytes
    // there can be read unless it is the very end of a mapping, where no ENCLU of the vDSO is.
    let (registers, seat) = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        (&mut context.uc_mcontext.gregs, &*visit.seat)
    };
    let register = |index: i32| registers[index as usize] as u64;
    // SAFETY: as above.
    let instruction = unsafe { (register(libc::REG_RIP) as *const [u8; 3]).read() };
    match place(instruction, register(libc::REG_RAX), register(libc::REG_R9)) {
        Place::Interrupted => {
            acknowledge(seat, signal, SEEN);
            if let Some(ended) = exception_entry(visit.tcs) {
                VISIT.set(Some(Visit { ended: Some(ended), ..visit }));
                registers[libc::REG_RAX as usize] = NO_LEAF as i64;
            }
        }
        Place::Resuming => acknowledge(seat, signal, AGAIN),
        Place::Outside if signal == KICK => acknowledge(seat, signal, SEEN),
        Place::Outside => unexpected(signal),
    }
}

fn acknowledge(seat: &Seat, signal: i32, word: u32) {
    if signal == KICK {
        // Nobody may wait any more, or a stranger may have sent the signal.
        let _ = seat.kick.compare_exchange(ASKED, word, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A breakpoint of the host itself has its usual effect.
fn unexpected(signal: i32) {
    if signal == libc::SIGTRAP {
        // SAFETY: resetting a signal to its default and raising it touches no memory.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

/// Enters the exception entry of the interrupted TCS. Gives the registers of an EEXIT that does not ask for
/// ERESUME; an exception in the exception entry leaves the next one to the interrupted call, as refused.
fn exception_entry(tcs: u64) -> Option<PassedRegisters> {
    let function = vdso::enter_enclave().ok()?;
    // SAFETY: every field may be zero.
    let mut run: Run = unsafe { std::mem::zeroed() };
    run.tcs = tcs;
    let mut call = Call {
        function,
        run: &raw mut run,
        registers: PassedRegisters::default(),
        leaf: EENTER,
        result: 0,
    };
    // SAFETY: the interrupted call was made by someone willing to run this enclave.
    unsafe { call::enter(&raw mut call) };
    if call.result == 0 && run.function == EEXIT {
        return (call.registers.rdi != RESUME_REASON).then_some(call.registers);
    }
    // There is no one to handle it: the run loop takes an unknown reason for the end of the enclave.
    Some(PassedRegisters { rdi: u64::MAX, ..PassedRegisters::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn places_are_told_apart() {
        assert_eq!(place(ENCLU, ERESUME, 0), Place::Interrupted);
        assert_eq!(place(ENCLU, ERESUME, FIRST_RESUME), Place::Resuming);
        assert_eq!(place(ENCLU, 2, 0), Place::Outside, "EENTER has not happened");
        assert_eq!(place([0x0f, 0x05, 0xc3], ERESUME, 0), Place::Outside);
    }

    #[test]
    fn a_kick_of_a_thread_outside_the_enclave_is_answered_and_ignored() {
        let seat = Arc::new(Seat::default());
        seat.kick();
        let (inside, ready) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn({
            let seat = Arc::clone(&seat);
            move || {
                set_up_thread().expect("handlers");
                visiting(&seat, 0x1000, || {
                    inside.send(()).expect("the test waits");
                    wait.recv().expect("the test tells");
                    7
                })
            }
        });
        ready.recv().expect("the thread starts");
        for _ in 0..100 {
            seat.kick();
        }
        done.send(()).expect("the thread waits");
        let (value, ended) = thread.join().expect("no panic");
        assert_eq!((value, ended), (7, None));
        seat.kick();
    }
}
