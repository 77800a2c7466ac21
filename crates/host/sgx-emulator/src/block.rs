//! The block of a host thread: everything that signal handlers and gates must find without thread-local
//! storage, because FS and GS belong to the enclave while they run.
//!
//! A block is the lower end of a 64 KiB slot, aligned to 64 KiB; the rest of the slot is the thread's
//! signal stack. A handler finds it as `rsp & -64K`, a gate by the GS base (see [`crate::gates`]). All
//! slots come from one arena, so that a handler can tell whether its stack is one.

use crate::enclave::Shared;
use crate::tcs::Tcs;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sgx::driver::{DriverError, PassedRegisters};
use std::sync::{Mutex, OnceLock, PoisonError};

pub(crate) const SLOT: usize = 64 * 1024;
/// Where the signal stack starts in a slot.
pub(crate) const STACK: usize = 16 * 1024;
const SLOTS: usize = 4096;
pub(crate) const ARENA: usize = SLOT * SLOTS;
/// Room for the extended state that the leaf gate saves (no AMX: host code has no use for it).
pub(crate) const XSAVE: usize = 8 * 1024;

/// `Block::state`: the thread runs host code, and FS is the host's.
pub(crate) const HOST: u32 = 0;
/// `Block::state`: the thread is logically in the enclave, also while a gate works for it.
pub(crate) const ENCLAVE: u32 = 1;

/// `Block::exit`: the enclave executed EEXIT; `Block::passed` holds its registers.
pub(crate) const EXIT_EEXIT: u32 = 1;
/// `Block::exit`: an asynchronous exit; `Block::exit_event` says which.
pub(crate) const EXIT_ASYNCHRONOUS: u32 = 2;

/// General registers as a leaf gate saves them, in GPRSGX order.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct GateRegisters {
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rbx: u64,
    pub(crate) rsp: u64,
    pub(crate) rbp: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) r8: u64,
    pub(crate) r9: u64,
    pub(crate) r10: u64,
    pub(crate) r11: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) rflags: u64,
    pub(crate) rip: u64,
}

/// An exit that is not an EEXIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An interrupt: EXITINFO.VALID is 0.
    Interrupt,
    /// An exception.
    Exception {
        /// Vector.
        vector: u8,
        /// Error code.
        error_code: u32,
        /// For #PF the linear address.
        address: u64,
    },
    /// The enclave did what ends it here: EEXIT to somewhere else than where it was entered from.
    BadExit {
        /// RBX at EEXIT.
        target: u64,
    },
}

/// See the module. Offsets are used by the assembly.
#[repr(C, align(4096))]
pub(crate) struct Block {
    /// [`HOST`] or [`ENCLAVE`].
    pub(crate) state: AtomicU32,
    /// An interrupt came while a gate worked for the enclave; delivered when the gate is done.
    pub(crate) pending: AtomicU32,
    /// Entries of the exception handler that fast mode made itself and that have not ended.
    pub(crate) depth: u32,
    /// How the enclave was left.
    pub(crate) exit: u32,
    pub(crate) host_fs: u64,
    pub(crate) host_gs: u64,
    /// FS base that the signal handler found and will leave.
    pub(crate) signal_fs: u64,
    /// GS base that the signal handler found and will leave.
    pub(crate) signal_gs: u64,
    /// FS base that a leaf gate found.
    pub(crate) gate_fs: u64,
    pub(crate) host_rsp: u64,
    pub(crate) mxcsr: u32,
    pub(crate) fcw: u32,
    /// RDI, RSI, RDX, R8, R9 into and out of the enclave.
    pub(crate) passed: PassedRegisters,
    pub(crate) tcs: *const Tcs,
    /// Linear address of the TCS, OENTRY, the FS and the GS base it gives.
    pub(crate) tcs_address: u64,
    pub(crate) entry: u64,
    pub(crate) entry_fs: u64,
    pub(crate) entry_gs: u64,
    /// RFLAGS that the host leaves at EENTER; 0: as they are.
    pub(crate) entry_flags: u64,
    /// CSSA that EENTER returns in RAX.
    pub(crate) cssa: u64,
    /// SSA frame (XSAVE area) that is current at EENTER, or is resumed from.
    pub(crate) ssa: u64,
    /// GPRSGX in that frame.
    pub(crate) gprsgx: u64,
    pub(crate) xfrm: u64,
    /// Components that the leaf gate saves and restores.
    pub(crate) host_components: u64,
    /// Set by a leaf gate.
    pub(crate) gate: GateRegisters,
    /// RIP, CS, RFLAGS, RSP, SS for the IRETQ of ERESUME.
    pub(crate) iret: [u64; 5],
    pub(crate) shared: *const Shared,
    pub(crate) exit_event: Event,
    /// [`Shared::id`] of the enclave that `tcs` belongs to and for which Syscall User Dispatch is set up on
    /// this thread; 0 for none.
    pub(crate) enclave_id: u64,
    /// Kernel's id of the thread.
    pub(crate) thread_id: i32,
    pub(crate) xsave: Xsave,
}

/// Storage for XSAVE; its header's second half must stay zero.
#[repr(C, align(64))]
pub(crate) struct Xsave([u8; XSAVE]);

const _: () = assert!(size_of::<Block>() <= STACK);

/// Base of the arena, for the signal entry; 0 (which contains no stack) before the first slot is made.
pub(crate) static ARENA_BASE: AtomicU64 = AtomicU64::new(0);

struct Arena {
    base: usize,
    free: Mutex<Vec<usize>>,
}

fn arena() -> Result<&'static Arena, DriverError> {
    static CELL: OnceLock<Result<Arena, i32>> = OnceLock::new();
    CELL.get_or_init(|| {
        // SAFETY: a fresh anonymous mapping; one slot too long, so that an aligned arena fits.
        let mapped = unsafe {
            libc::mmap(
                ptr::null_mut(),
                ARENA + SLOT,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOMEM));
        }
        let base = (mapped as usize).next_multiple_of(SLOT);
        ARENA_BASE.store(base as u64, Ordering::Release);
        Ok(Arena { base, free: Mutex::new((0..SLOTS).rev().collect()) })
    })
    .as_ref()
    .map_err(|&errno| DriverError::Os { operation: "mmap of signal stacks", errno })
}

/// A slot, given back when dropped.
pub(crate) struct Slot {
    block: *mut Block,
}

impl Slot {
    pub(crate) fn take() -> Result<Self, DriverError> {
        let arena = arena()?;
        let index = arena.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let index = index.ok_or(DriverError::Refused {
            operation: "EENTER",
            field: "host threads that have entered an enclave",
            expected: SLOTS as u64,
            got: SLOTS as u64 + 1,
        })?;
        let block = (arena.base + index * SLOT) as *mut Block;
        // SAFETY: the slot is mapped, aligned, big enough (asserted above) and was free, so nobody else
        // has a pointer into it.
        unsafe {
            block.write(Block {
                state: AtomicU32::new(HOST),
                pending: AtomicU32::new(0),
                depth: 0,
                exit: 0,
                host_fs: 0,
                host_gs: 0,
                signal_fs: 0,
                signal_gs: 0,
                gate_fs: 0,
                host_rsp: 0,
                mxcsr: 0,
                fcw: 0,
                passed: PassedRegisters::default(),
                tcs: ptr::null(),
                tcs_address: u64::MAX,
                entry: 0,
                entry_fs: 0,
                entry_gs: 0,
                entry_flags: 0,
                cssa: 0,
                ssa: 0,
                gprsgx: 0,
                xfrm: 0,
                host_components: 0,
                gate: GateRegisters::default(),
                iret: [0; 5],
                shared: ptr::null(),
                exit_event: Event::Interrupt,
                enclave_id: 0,
                thread_id: 0,
                xsave: Xsave([0; XSAVE]),
            });
        }
        Ok(Self { block })
    }

    pub(crate) const fn block(&self) -> *mut Block {
        self.block
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Ok(arena) = arena() {
            let index = (self.block as usize - arena.base) / SLOT;
            arena.free.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        }
    }
}
