//! The page behind GS: what the run time knows about one thread.
//!
//! The entry code in `entry` and `user` reads and writes the leading fields by their offsets from the GS
//! base. GS always points here while the thread is in the enclave: EENTER sets it from the TCS, and each
//! return to the library OS from an exception sets it again.

use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use hostcall::RawBlock;
use hostcall::enclave::Caller;
use libos::platform::{SystemCalls, UserContext, UserExit, XState};

/// What the thread is doing; decides what an entry may do. The table of moves is in `entry`'s module doc.
pub(crate) mod phase {
    /// Never entered. Only the initial slot has this state: its page is measured as zeros.
    pub(crate) const FRESH: u32 = 0;
    /// Runs the library OS, or the run time.
    pub(crate) const RUNNING: u32 = 1;
    /// Left for a host call; the next entry returns from it.
    pub(crate) const IN_HOST_CALL: u32 = 2;
    /// In user mode, or in the few instructions on the way in or out.
    pub(crate) const USER: u32 = 3;
    /// A thread waits to be started in this slot.
    pub(crate) const ARMED: u32 = 4;
    /// The thread ended; an entry is refused until the slot is armed again.
    pub(crate) const ENDED: u32 = 5;
}

/// Where the user's vector registers are while the library OS runs after a patched system call. (After
/// other exits they are in the context, and nowhere else.)
pub(crate) mod vectors {
    /// Nothing of the user's is in the processor.
    pub(crate) const NONE: u32 = 0;
    /// In the processor, except that the low halves are in the context.
    pub(crate) const LIVE: u32 = 1;
    /// In [`Thread::spill`](super::Thread::spill): a host call was made since.
    pub(crate) const SPILLED: u32 = 2;
}

/// A thread's own page.
#[repr(C, align(4096))]
pub(crate) struct Thread {
    /// Address of this page; 0 before the first entry.
    pub(crate) this: Cell<u64>,
    /// What a trampoline jumps through.
    pub(crate) syscall_entry: Cell<u64>,
    /// One of [`phase`].
    pub(crate) phase: AtomicU32,
    /// Not 0: a kick came that the thread has not seen.
    pub(crate) kick: AtomicU32,
    /// Stack pointer inside `user::enter`, for the way back.
    pub(crate) user_frame: Cell<u64>,
    /// The context that `user::enter` works on.
    pub(crate) context: Cell<*mut UserContext>,
    /// Operand of the jump to user mode.
    pub(crate) user_rip: Cell<u64>,
    /// FS base as the library OS knows it to be in the processor.
    pub(crate) fs_live: Cell<u64>,
    /// One of [`vectors`].
    pub(crate) vectors: Cell<u32>,
    /// MXCSR at the last patched system call.
    pub(crate) user_mxcsr: Cell<u32>,
    /// Whether the processor's MXCSR was set to the default since.
    pub(crate) mxcsr_replaced: Cell<u32>,
    /// FS base at the last patched system call, unless [`vectors::LIVE`]: then it is in the processor.
    pub(crate) user_fs: Cell<u64>,
    /// Who answers patched system calls, while in `user::enter`.
    pub(crate) calls: Cell<Option<NonNull<dyn SystemCalls>>>,
    /// Addresses of programs.
    pub(crate) user: Cell<Span>,

    /// RCX, RSP, RBP of the last EENTER with CSSA 0: where EEXIT goes and what the vDSO wants back.
    pub(crate) host_return: Cell<u64>,
    /// See `host_return`.
    pub(crate) host_rsp: Cell<u64>,
    /// See `host_return`.
    pub(crate) host_rbp: Cell<u64>,
    /// Stack pointer during a host call.
    pub(crate) call_frame: Cell<u64>,
    /// As `host_return` for the last EENTER with CSSA 1.
    pub(crate) exception_return: Cell<u64>,
    /// As `host_rsp`.
    pub(crate) exception_rsp: Cell<u64>,
    /// As `host_rbp`.
    pub(crate) exception_rbp: Cell<u64>,

    /// What happened, when `user::enter` returns by the exception entry.
    pub(crate) exit: Cell<Option<UserExit>>,
    /// Faults in a row that only the host can have caused.
    pub(crate) host_faults: Cell<u32>,
    /// Address of the TCS.
    pub(crate) tcs: Cell<u64>,
    /// Index of the slot.
    pub(crate) id: Cell<u32>,
    /// A park must return at once.
    pub(crate) token: AtomicU32,
    /// The thread is in, or about to make, a Park call.
    pub(crate) parked: AtomicU32,
    /// This thread's end of its host-call block.
    pub(crate) caller: UnsafeCell<Option<Caller<RawBlock>>>,
    /// What to run when the slot is entered.
    pub(crate) body: UnsafeCell<Option<Body>>,
    /// The user's extended state, while [`vectors::SPILLED`].
    pub(crate) spill: UnsafeCell<XState>,
}

/// A range of addresses that can be copied.
#[derive(Clone, Copy, Default)]
pub(crate) struct Span {
    start: u64,
    length: u64,
}

impl Span {
    pub(crate) fn contains(self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.length
    }
}

impl From<Range<u64>> for Span {
    fn from(range: Range<u64>) -> Self {
        Self { start: range.start, length: range.end.saturating_sub(range.start) }
    }
}

/// What a thread runs.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

const _: () = assert!(size_of::<Thread>() == 4096, "a thread's state fits its page");

// SAFETY: the fields that other threads touch are atomics. The rest belongs to the thread whose page it is:
// it is the only one to reach them, through `current`, except for `body`, which a spawning thread writes
// before it publishes `ARMED` with release ordering and the thread takes after it has seen that.
unsafe impl Sync for Thread {}

impl Thread {
    /// The calling thread's page.
    pub(crate) fn current() -> &'static Self {
        let this: *const Self;
        // SAFETY: GS points to the thread's page whenever enclave code runs (module doc), and `this` holds its
        // address since the first entry. The page lives as long as the enclave.
        unsafe {
            core::arch::asm!("mov {}, gs:[{offset}]", out(reg) this, offset = const THIS,
                options(nostack, preserves_flags, readonly, pure));
            &*this
        }
    }

    /// Whether the slot may be armed: its thread is past its last access to this page.
    pub(crate) fn is_ended(&self) -> bool {
        self.phase.load(Ordering::Acquire) == phase::ENDED
    }
}

/// Offsets for the entry code.
pub(crate) const THIS: usize = offset_of!(Thread, this);
pub(crate) const SYSCALL_ENTRY: usize = offset_of!(Thread, syscall_entry);
pub(crate) const PHASE: usize = offset_of!(Thread, phase);
pub(crate) const KICK: usize = offset_of!(Thread, kick);
pub(crate) const USER_FRAME: usize = offset_of!(Thread, user_frame);
pub(crate) const CONTEXT: usize = offset_of!(Thread, context);
pub(crate) const USER_RIP: usize = offset_of!(Thread, user_rip);
pub(crate) const FS_LIVE: usize = offset_of!(Thread, fs_live);
pub(crate) const VECTORS: usize = offset_of!(Thread, vectors);
pub(crate) const USER_MXCSR: usize = offset_of!(Thread, user_mxcsr);
pub(crate) const MXCSR_REPLACED: usize = offset_of!(Thread, mxcsr_replaced);
pub(crate) const USER_FS: usize = offset_of!(Thread, user_fs);
pub(crate) const HOST_RETURN: usize = offset_of!(Thread, host_return);
pub(crate) const HOST_RSP: usize = offset_of!(Thread, host_rsp);
pub(crate) const HOST_RBP: usize = offset_of!(Thread, host_rbp);
pub(crate) const CALL_FRAME: usize = offset_of!(Thread, call_frame);
pub(crate) const EXCEPTION_RETURN: usize = offset_of!(Thread, exception_return);
pub(crate) const EXCEPTION_RSP: usize = offset_of!(Thread, exception_rsp);
pub(crate) const EXCEPTION_RBP: usize = offset_of!(Thread, exception_rbp);
