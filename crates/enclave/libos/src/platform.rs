//! What the library OS needs from what lies below it.
//!
//! `enclave-rt` implements [`Platform`] inside an enclave; unit tests implement it in an ordinary process.
//! Implementations keep every method safe to call with any argument: an address outside
//! [`Platform::user_range`] is refused, never dereferenced, so that the library OS needs no `unsafe`.

use crate::attestation::ReportData;
use crate::host::Host;
use crate::syscall::Args;
use alloc::boxed::Box;
use core::ops::Range;
use zeroize::Zeroizing;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

/// Bytes of the extended state kept per thread: XSAVE standard format for x87 to AVX-512 and PKRU
/// (SDM Vol. 1, XSAVE area), rounded up to a multiple of 64.
pub const XSTATE_SIZE: usize = 2752;

/// User registers while the thread is not in user mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)] // the names are the manual's
pub struct Registers {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub fs_base: u64,
}

/// Extended state in XSAVE standard format.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct XState(pub [u8; XSTATE_SIZE]);

/// State of a user thread, all that [`Platform::run_user`] loads and stores.
///
/// After an exit by a patched system call only the low 128 bits of each vector register are here
/// (`xmm`) and the rest is still live in the processor, untouched by the library OS, which is compiled for
/// SSE2 only; [`Platform::capture_xstate`] completes it. `xstate_is_full` says that `xstate` holds
/// everything and is what the next [`Platform::run_user`] loads.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct UserContext {
    /// XMM0-15, valid when `xstate_is_full` is false.
    pub xmm: [[u8; 16]; 16],
    /// Everything, valid when `xstate_is_full` is true.
    pub xstate: XState,
    /// General registers.
    pub regs: Registers,
    /// Which of `xmm` and `xstate` is valid.
    pub xstate_is_full: bool,
}

/// Why user mode was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserExit {
    /// A patched system call that [`SystemCalls`] declined: `regs.rax` is the number, `regs.rip` is after the
    /// instruction.
    Syscall,
    /// A patched system call that [`SystemCalls`] answered: `regs.rax` is the result, `regs.rip` is after the
    /// instruction.
    Called,
    /// An exception. An unpatched SYSCALL or CPUID is vector 6 with `regs.rip` at the instruction.
    Exception {
        /// Vector (SDM Vol. 3A).
        vector: u8,
        /// Error code; for #PF the architectural bits (present, write, user, fetch, PK).
        error_code: u32,
        /// For #PF the address, with the low 12 bits as far as the hardware reports them (clear).
        address: u64,
    },
    /// [`Platform::kick`] or the host interrupted it. `regs` is an arbitrary user state.
    Interrupted,
}

/// A thread of the platform: one TCS in an enclave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(pub u32);

/// Access rights of user pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
}

/// No more enclave memory or threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

/// An address range is not (wholly) user memory that is committed and accessible to the library OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

/// Bytes of a TARGETINFO (SDM Vol. 3D).
pub const TARGETINFO_SIZE: usize = 512;

/// Bytes of a REPORT (SDM Vol. 3D).
pub const REPORT_SIZE: usize = 432;

/// A TARGETINFO that EREPORT does not take: a reserved byte is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTarget {
    /// The byte.
    pub got: u8,
}

/// Whose a seal key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealTo {
    /// This enclave's and no other's: KEYPOLICY MRENCLAVE.
    Enclave,
    /// Every enclave's of the same signer *and* the same workload identity: KEYPOLICY MRSIGNER, ISVEXTPRODID
    /// and ISVFAMILYID. So it survives an upgrade of the image.
    Workload,
}

/// Which seal key. DEBUG and INIT are in the attribute mask of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealRequest {
    /// Whose.
    pub to: SealTo,
    /// KEYID: what it is for.
    pub key_id: [u8; 32],
    /// Versions that it is bound to; those of what runs if None.
    pub versions: Option<Versions>,
}

/// Versions of a seal key, at most those of what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// ISVSVN.
    pub isvsvn: u16,
    /// CPUSVN.
    pub cpusvn: [u8; 16],
}

/// Why there is no seal key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The enclave has no workload identity: without it a key would be every enclave's of the signer.
    NoIdentity,
    /// A version is beyond what runs.
    Version,
}

/// SHA-256 of a message.
pub type Sha256 = fn(&[u8]) -> [u8; 32];

/// [`Sha256`] on any processor.
#[must_use]
pub fn portable_sha256(message: &[u8]) -> [u8; 32] {
    let workload::digest::Hex(digest) = workload::digest::Digest::of(message);
    digest
}

/// What becomes of a system call that was answered in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The result; the program goes on.
    Stay(u64),
    /// The result; the thread leaves user mode ([`UserExit::Called`]), for something comes before the
    /// program goes on.
    Leave(u64),
    /// Nothing was done: the call needs the thread's registers ([`UserExit::Syscall`]).
    Decline,
}

/// Who answers the patched system calls of a thread while it is in [`Platform::run_user`].
///
/// Most calls need their arguments and nothing else of the program's state, and give a result. Answering
/// them from within `run_user` leaves that state where it is instead of copying it out and in.
pub trait SystemCalls {
    /// Answers a system call. It may wait and make host calls.
    fn call(&self, number: u64, args: &Args) -> Answer;
}

/// The machine below the library OS.
pub trait Platform: Send + Sync + 'static {
    /// Runs the current thread's user code until it leaves user mode. `calls` is asked about every patched
    /// system call whose flags and MXCSR are those that the library OS may run with; the others leave user
    /// mode.
    fn run_user(&self, context: &mut UserContext, calls: &dyn SystemCalls) -> UserExit;

    /// Completes `context.xstate` from the processor after an exit by a patched system call. Only the thread
    /// whose context it is may call it, before it runs user code again.
    fn capture_xstate(&self, context: &mut UserContext);

    /// The initial extended state of a new program (all components in their initial configuration).
    fn initial_xstate(&self) -> XState;

    /// Offset from the GS base of the 8-byte address of the system-call entry. A patched site's trampoline
    /// does `lea rcx, [return site]; jmp qword ptr gs:[offset]`.
    fn syscall_entry_gs_offset(&self) -> u32;

    /// Makes `thread` leave user mode soon with [`UserExit::Interrupted`]. Nothing happens if it is not in
    /// user mode; a caller that needs the thread to notice something stores it before the call, and the
    /// thread looks before each return to user mode. A kick between that look and user mode is not lost.
    fn kick(&self, thread: ThreadId);

    /// Starts a thread; it ends when `body` returns.
    ///
    /// # Errors
    /// [`Exhausted`] when the manifest's thread maximum or the host's limit is reached.
    fn spawn(&self, body: Box<dyn FnOnce() + Send>) -> Result<ThreadId, Exhausted>;

    /// The calling thread.
    fn current(&self) -> ThreadId;

    /// Blocks the calling thread until [`unpark`](Self::unpark), the deadline (monotonic nanoseconds), or for
    /// no reason. An unpark before the park makes the park return at once.
    fn park(&self, deadline_ns: Option<u64>);

    /// Wakes `thread`, or its next park.
    fn unpark(&self, thread: ThreadId);

    /// Gives up the processor for a moment; a spinning lock calls it.
    fn yield_now(&self);

    /// Addresses that programs may use: `[0x10000, start of the library OS)`.
    fn user_range(&self) -> Range<u64>;

    /// Makes user pages present, zero-filled, readable and writable for the library OS, and gives the user
    /// `access`. Pages already present keep their contents and get `access`.
    ///
    /// # Errors
    /// [`Exhausted`] when the enclave has no more memory.
    fn commit(&self, pages: Range<u64>, access: Access) -> Result<(), Exhausted>;

    /// Gives user pages back; their contents are gone. Absent pages are skipped.
    fn release(&self, pages: Range<u64>);

    /// Changes the page-table rights of present user pages. While a page is not writable or readable to
    /// the user the library OS reaches it through [`read`](Self::read) and [`write`](Self::write) all the
    /// same: the implementation lifts the right for the length of the call where it must.
    fn protect(&self, pages: Range<u64>, access: Access);

    /// Copies committed user memory into `into`.
    ///
    /// # Errors
    /// [`BadAddress`] if the range is not user memory.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress>;

    /// Copies `from` into committed user memory.
    ///
    /// # Errors
    /// [`BadAddress`] if the range is not user memory.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress>;

    /// Fills committed user memory with `byte`.
    ///
    /// # Errors
    /// [`BadAddress`] if the range is not user memory.
    fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), BadAddress>;

    /// As [`read`](Self::read), only where the user could read at this moment: no right is lifted.
    ///
    /// # Errors
    /// [`BadAddress`] where not; some of `into` may have been changed.
    fn read_open(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress>;

    /// As [`write`](Self::write), only where the user could write at this moment: no right is lifted.
    ///
    /// # Errors
    /// [`BadAddress`] where not; some of the memory may have been changed.
    fn write_open(&self, address: u64, from: &[u8]) -> Result<(), BadAddress>;

    /// As [`fill`](Self::fill), only where the user could write at this moment: no right is lifted.
    ///
    /// # Errors
    /// As [`write_open`](Self::write_open).
    fn fill_open(&self, address: u64, length: u64, byte: u8) -> Result<(), BadAddress>;

    /// Loads an aligned word of committed user memory with acquire ordering.
    ///
    /// # Errors
    /// [`BadAddress`] if it is not user memory or not aligned to 4.
    fn load_u32(&self, address: u64) -> Result<u32, BadAddress>;

    /// Compare-and-exchange of an aligned word of committed user memory; gives the value found.
    ///
    /// # Errors
    /// [`BadAddress`] if it is not user memory or not aligned to 4.
    fn compare_exchange_u32(&self, address: u64, current: u32, new: u32)
    -> Result<u32, BadAddress>;

    /// Fills `into` from the in-enclave generator.
    fn random(&self, into: &mut [u8]);

    /// CLOCK_MONOTONIC in nanoseconds: never backwards.
    fn monotonic_ns(&self) -> u64;

    /// CLOCK_REALTIME in nanoseconds since 1970: the host's word, bounded in rate.
    fn realtime_ns(&self) -> u64;

    /// The fastest SHA-256 of this machine: files are verified with it.
    fn sha256(&self) -> Sha256 {
        portable_sha256
    }

    /// Extended-feature request mask of this enclave (SECS.ATTRIBUTES.XFRM), by its own report.
    fn xfrm(&self) -> u64;

    /// Whether the report of this enclave says that it runs on the emulator's key, shown in /proc/version.
    fn is_emulated(&self) -> bool;

    /// What another enclave needs to make a REPORT for this one: a TARGETINFO.
    fn own_target(&self) -> [u8; TARGETINFO_SIZE];

    /// A REPORT of this enclave for the one that `target` names.
    ///
    /// # Errors
    /// [`BadTarget`].
    fn report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
        data: &ReportData,
    ) -> Result<[u8; REPORT_SIZE], BadTarget>;

    /// A seal key.
    ///
    /// # Errors
    /// Why there is none.
    fn seal_key(&self, request: &SealRequest) -> Result<Zeroizing<[u8; 16]>, NoKey>;

    /// The untrusted host.
    fn host(&self) -> &dyn Host;
}
