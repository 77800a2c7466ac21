//! The boundary below which an enclave is hardware or emulation.
//!
//! It is the Linux UAPI (`<asm/sgx.h>`): create, add pages, init, the EDMM calls, and the run contract of
//! the vDSO function `__vdso_sgx_enter_enclave`, plus [`Enclave::kick`]. A driver promises to behave as
//! the CPU and kernel do, refusals included; it promises no protection: that is the CPU's.

use core::ops::Range;

use crate::einit::Refusal;
use crate::leaf::ErrorCode;
use crate::sigstruct::Hex;

/// Page-table permissions, as `mprotect(2)` takes them. The effective right of an enclave page is the
/// intersection with its EPCM permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protection(pub u8);

impl Protection {
    /// No access.
    pub const NONE: Self = Self(0);
    /// `PROT_READ`.
    pub const READ: Self = Self(1);
    /// `PROT_WRITE`.
    pub const WRITE: Self = Self(2);
    /// `PROT_EXEC`.
    pub const EXEC: Self = Self(4);
    /// Read, write and execute.
    pub const ALL: Self = Self(7);

    /// Whether every right of `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for Protection {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The general registers that the vDSO function passes through in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PassedRegisters {
    /// RDI.
    pub rdi: u64,
    /// RSI.
    pub rsi: u64,
    /// RDX.
    pub rdx: u64,
    /// R8.
    pub r8: u64,
    /// R9.
    pub r9: u64,
}

/// How to go in: the ENCLU leaf number in EAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EntryLeaf {
    /// EENTER.
    Enter = 2,
    /// ERESUME.
    Resume = 3,
}

/// Why the enclave was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The enclave executed EEXIT; these are the registers it left.
    Eexit(PassedRegisters),
    /// An asynchronous exit by an exception in the enclave, or by EENTER/ERESUME itself (as the kernel
    /// reports in `struct sgx_enclave_run`).
    Exception {
        /// Leaf at which the AEP or the failing entry stood: EENTER (2) or ERESUME (3).
        leaf: u32,
        /// Vector number (SDM Vol. 3A, table of exceptions).
        vector: u16,
        /// Error code pushed by the exception.
        error_code: u16,
        /// Faulting address for #PF, page-aligned; 0 otherwise.
        address: u64,
    },
    /// The thread was interrupted ([`Enclave::kick`] or any host signal) and the driver left the enclave
    /// asynchronously without an exception. The host re-enters (CSSA 1) and then resumes.
    Interrupted,
}

/// What a page is for, in `SGX_IOC_ENCLAVE_MODIFY_TYPES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ModifiedType {
    /// PT_TCS (1).
    Tcs = 1,
    /// PT_TRIM (4).
    Trim = 4,
}

/// Makes enclaves.
pub trait Driver {
    /// The enclaves it makes.
    type Enclave: Enclave;

    /// Whether what this driver runs is emulated. Every output for people and every piece of evidence
    /// repeats it.
    const EMULATED: bool;

    /// ECREATE. `secs` is the 4096-byte source page; its BASEADDR is set by the driver's caller to the
    /// linear address where ELRANGE starts (0 in this project).
    ///
    /// # Errors
    /// What the CPU or kernel refuses, with the field.
    fn create(&self, secs: &[u8; 4096]) -> Result<Self::Enclave, DriverError>;
}

/// One enclave.
///
/// Offsets are from the ELRANGE base, page-aligned, in bytes. Methods take `&self`: several threads act on
/// one enclave at once.
pub trait Enclave: Send + Sync {
    /// EADD of one page, and EEXTEND of all its sixteen 256-byte chunks if `measured`.
    ///
    /// # Errors
    /// What the CPU refuses: wrong SECINFO, page present, enclave initialised.
    fn add_page(
        &self,
        offset: u64,
        secinfo: &[u8; 64],
        source: &[u8; 4096],
        measured: bool,
    ) -> Result<(), DriverError>;

    /// EINIT with the 1808-byte SIGSTRUCT.
    ///
    /// # Errors
    /// What EINIT refuses, by its error code, with the field.
    fn init(&self, sigstruct: &[u8; 1808]) -> Result<(), DriverError>;

    /// Page-table permissions of a range: `mprotect(2)` on the enclave's mapping.
    ///
    /// A page that was added starts with those of its SECINFO (a TCS with read and write), and never gets
    /// more. Every other page of ELRANGE from 64 KiB up starts with all.
    ///
    /// # Errors
    /// A range outside ELRANGE or rights that the kernel refuses.
    fn protect(&self, pages: Range<u64>, protection: Protection) -> Result<(), DriverError>;

    /// EMODPR on each page (`SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS`); the enclave must EACCEPT.
    ///
    /// # Errors
    /// As the ioctl.
    fn restrict(&self, pages: Range<u64>, permissions: Protection) -> Result<(), DriverError>;

    /// EMODT on each page (`SGX_IOC_ENCLAVE_MODIFY_TYPES`); the enclave must EACCEPT.
    ///
    /// # Errors
    /// As the ioctl.
    fn modify_type(&self, pages: Range<u64>, page_type: ModifiedType) -> Result<(), DriverError>;

    /// EREMOVE of trimmed and accepted pages (`SGX_IOC_ENCLAVE_REMOVE_PAGES`).
    ///
    /// # Errors
    /// As the ioctl: a page that was not trimmed and accepted.
    fn remove(&self, pages: Range<u64>) -> Result<(), DriverError>;

    /// Enters the enclave on the TCS at linear address `tcs` and returns when it is left. A page that is
    /// absent in ELRANGE and accessed or accepted inside is augmented (EAUG) on the way, as the kernel
    /// does; the caller sees an exception only where the enclave must act.
    ///
    /// The calling thread may have every asynchronous signal blocked: a driver that kicks by a signal
    /// unblocks it on each thread that enters.
    ///
    /// # Errors
    /// What cannot be reported as an [`Exit`]: the driver itself failed.
    ///
    /// # Safety
    /// The code of the enclave runs in this process with this process's memory in reach. The caller must
    /// have loaded an enclave that it is willing to run, and must not hold locks that the enclave's host
    /// calls need.
    unsafe fn enter(
        &self,
        tcs: u64,
        leaf: EntryLeaf,
        registers: PassedRegisters,
    ) -> Result<Exit, DriverError>;

    /// Interrupts the thread that is in the enclave on this TCS; nothing happens if none is. The interrupted
    /// thread's [`enter`](Self::enter) returns [`Exit::Interrupted`], or a driver in fast mode re-enters the
    /// TCS's exception entry itself and resumes, with the same SSA contents.
    fn kick(&self, tcs: u64);
}

/// A refusal by the driver, the kernel or the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverError {
    /// A field of a structure is not what the operation takes.
    Refused {
        /// Operation, by its SDM or ioctl name.
        operation: &'static str,
        /// Field of the structure, as the manual spells it.
        field: &'static str,
        /// What the operation takes.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// EINIT refused, and the driver knows why (an emulator does; a CPU tells only a code).
    Einit(Refusal),
    /// A 256-bit value (a measurement or a signer) is not the expected one.
    Mismatch {
        /// Operation, by its SDM or ioctl name.
        operation: &'static str,
        /// Field of the structure, as the manual spells it.
        field: &'static str,
        /// What the operation takes.
        expected: [u8; 32],
        /// What came.
        got: [u8; 32],
    },
    /// A system call on the device or the process failed.
    Os {
        /// Operation, by its SDM or ioctl name.
        operation: &'static str,
        /// `errno`.
        errno: i32,
    },
    /// An SGX instruction returned an error code in EAX (SDM Vol. 3D, error codes of SGX instructions).
    Leaf {
        /// Leaf name.
        operation: &'static str,
        /// Error code.
        code: u32,
    },
}

impl From<Refusal> for DriverError {
    fn from(refusal: Refusal) -> Self {
        Self::Einit(refusal)
    }
}

impl core::fmt::Display for DriverError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused { operation, field, expected, got } => {
                write!(f, "{operation}: {field}: expected {expected:#x}, got {got:#x}")
            }
            Self::Einit(refusal) => write!(f, "EINIT: {refusal}"),
            Self::Mismatch { operation, field, expected, got } => {
                write!(f, "{operation}: {field}: expected {}, got {}", Hex(expected), Hex(got))
            }
            Self::Os { operation, errno } => write!(f, "{operation}: errno {errno}"),
            Self::Leaf { operation, code } => match ErrorCode::from_number(*code) {
                Some(name) => write!(f, "{operation}: {name} ({code})"),
                None => write!(f, "{operation}: error code {code}"),
            },
        }
    }
}

impl core::error::Error for DriverError {}
