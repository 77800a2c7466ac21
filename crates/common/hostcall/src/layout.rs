//! Offsets and constants of the block, as `README.md` specifies them.

/// Bytes of a block: one header page, then the data area.
pub const BLOCK_SIZE: usize = DATA_OFFSET + DATA_SIZE;
/// Offset of the data area.
pub const DATA_OFFSET: usize = 4096;
/// Bytes of the data area.
pub const DATA_SIZE: usize = 65536;
/// First word of the block, written by the host: the bytes `INCLHC01`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"INCLHC01");
/// Version in the upper half of the call word of each request.
pub const VERSION: u32 = 1;
/// Largest session request (`workload::Request` as JSON) in bytes.
pub const MAX_REQUEST: u64 = 1 << 20;
/// Bytes of a TARGETINFO.
pub const TARGETINFO_SIZE: usize = 512;
/// Bytes of a REPORT.
pub const REPORT_SIZE: usize = 432;
/// The timeout of [`Request::Park`](crate::Request::Park) that never ends.
pub const NO_DEADLINE: u64 = u64::MAX;

pub(crate) const MAGIC_AT: usize = 0x00;
pub(crate) const LENGTH_AT: usize = 0x08;
pub(crate) const SEQUENCE_AT: usize = 0x10;
pub(crate) const CALL_AT: usize = 0x18;
pub(crate) const ARGUMENTS_AT: usize = 0x20;
pub(crate) const DATA_LENGTH_AT: usize = 0x50;
pub(crate) const REPLY_SEQUENCE_AT: usize = 0x58;
pub(crate) const STATUS_AT: usize = 0x60;
pub(crate) const VALUES_AT: usize = 0x68;
pub(crate) const REPLY_LENGTH_AT: usize = 0x88;

/// Arguments of a request.
pub(crate) const ARGUMENTS: usize = 6;
/// Values of a reply.
pub(crate) const VALUES: usize = 4;

/// What RDI holds at EEXIT: why the enclave left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ExitReason {
    /// A request is in the block; re-enter (CSSA 0) when its reply is.
    Call = 1,
    /// The thread ended; the TCS may be entered afresh.
    ThreadEnded = 2,
    /// An exception was handled: ERESUME.
    Resume = 3,
    /// The exception cannot be handled: the enclave stops.
    Fatal = 4,
}

impl ExitReason {
    /// From RDI; `None` for anything that this version does not define.
    #[must_use]
    pub const fn from_register(rdi: u64) -> Option<Self> {
        Some(match rdi {
            1 => Self::Call,
            2 => Self::ThreadEnded,
            3 => Self::Resume,
            4 => Self::Fatal,
            _ => return None,
        })
    }
}
