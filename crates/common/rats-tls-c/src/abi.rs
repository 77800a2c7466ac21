//! Structures and numbers as C sees them, x86-64 System V. `include/` declares the same; a test compares both.
//!
//! Members that C calls `bool` or an enumeration are integers here: C may put any value into them.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_ulonglong, c_void};

/// The one version of both interfaces.
pub(crate) const API_VERSION: c_uint = 1;

/// Flags of RATS-TLS.
pub(crate) mod rats_flags {
    use core::ffi::c_ulong;
    pub(crate) const MUTUAL: c_ulong = 1;
    pub(crate) const SERVER: c_ulong = 1 << 1;
    pub(crate) const PROVIDE_ENDORSEMENTS: c_ulong = 1 << 2;
    pub(crate) const ATTESTER_ENFORCED: c_ulong = 1 << 32;
    pub(crate) const VERIFIER_ENFORCED: c_ulong = 1 << 33;
}

/// Flags of Enclave-TLS.
pub(crate) mod enclave_flags {
    use core::ffi::c_ulong;
    pub(crate) const MUTUAL: c_ulong = 1;
    pub(crate) const SERVER: c_ulong = 1 << 32;
    pub(crate) const VERIFIER_ENFORCED: c_ulong = 1 << 33;
}

/// `cert_algo` of a P-256 key; the library makes no other.
pub(crate) const ECC_256_SHA256: c_uint = 1;
/// `cert_algo` that leaves the choice to the library.
pub(crate) const CERT_ALGO_DEFAULT: c_uint = 3;

/// Longest instance name, with its terminator.
pub(crate) const NAME_SIZE: usize = 32;

/// `claim_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
pub struct Claim {
    /// Text with a terminator.
    pub name: *mut c_char,
    /// `value_size` bytes.
    pub value: *mut u8,
    /// In bytes.
    pub value_size: usize,
}

/// `quote_sgx_epid` of both configurations.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Epid {
    /// bool.
    pub valid: u8,
    /// Of the retired service.
    pub spid: [u8; 16],
    /// bool.
    pub linkable: u8,
}

/// `quote_sgx_ecdsa` of both configurations.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct EnclaveEcdsa {
    /// bool.
    pub valid: u8,
    /// Kind of certification data; quotes carry their own.
    pub cert_type: u8,
}

/// `rats_tls_conf_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RatsConf {
    /// 1.
    pub api_version: c_uint,
    /// `RATS_TLS_CONF_FLAGS_*`.
    pub flags: c_ulong,
    /// `rats_tls_log_level_t`.
    pub log_level: c_uint,
    /// Text with a terminator.
    pub tls_type: [c_char; NAME_SIZE],
    /// Text with a terminator.
    pub attester_type: [c_char; NAME_SIZE],
    /// Text with a terminator.
    pub verifier_type: [c_char; NAME_SIZE],
    /// Text with a terminator.
    pub crypto_type: [c_char; NAME_SIZE],
    /// `rats_tls_cert_algo_t`.
    pub cert_algo: c_uint,
    /// `custom_claims_length` claims.
    pub custom_claims: *const Claim,
    /// How many.
    pub custom_claims_length: usize,
    /// Retired.
    pub quote_sgx_epid: Epid,
    /// Has no effect: every quote is such a one.
    pub quote_sgx_ecdsa: EnclaveEcdsa,
}

/// `enclave_tls_conf_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct EnclaveConf {
    /// 1.
    pub api_version: c_uint,
    /// `ENCLAVE_TLS_CONF_FLAGS_*`.
    pub flags: c_ulong,
    /// `enclave_tls_log_level_t`.
    pub log_level: c_uint,
    /// Text with a terminator.
    pub tls_type: [c_char; NAME_SIZE],
    /// Text with a terminator.
    pub attester_type: [c_char; NAME_SIZE],
    /// Text with a terminator.
    pub verifier_type: [c_char; NAME_SIZE],
    /// Text with a terminator.
    pub crypto_type: [c_char; NAME_SIZE],
    /// `enclave_tls_cert_algo_t`.
    pub cert_algo: c_uint,
    /// Of an enclave beside this process; 0.
    pub enclave_id: c_ulonglong,
    /// Retired.
    pub quote_sgx_epid: Epid,
    /// Has no effect: every quote is such a one.
    pub quote_sgx_ecdsa: EnclaveEcdsa,
}

/// `rtls_sgx_evidence_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SgxEvidence {
    /// 32 bytes.
    pub mr_enclave: *const u8,
    /// 32 bytes.
    pub mr_signer: *const u8,
    /// ISVPRODID.
    pub product_id: u32,
    /// ISVSVN.
    pub security_version: u32,
    /// 16 bytes.
    pub attributes: *const u8,
    /// In bytes.
    pub collateral_size: usize,
    /// What the peer sent with its evidence.
    pub collateral: *const c_char,
}

/// `rtls_tdx_evidence_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TdxEvidence {
    /// 48 bytes.
    pub mrseam: *const u8,
    /// 48 bytes.
    pub mrseamsigner: *const u8,
    /// 16 bytes.
    pub tcb_svns: *const u8,
    /// NULL: a TDX quote has none.
    pub cpu_svn: *const u8,
    /// 48 bytes.
    pub mrtd: *const u8,
    /// Four times 48 bytes.
    pub rtmr: *const u8,
    /// NULL: no event log is carried.
    pub tdel_info: *const u8,
    /// 0.
    pub tdel_info_sz: u32,
    /// NULL.
    pub tdel_data: *const u8,
    /// 0.
    pub tdel_data_sz: u32,
}

/// `rtls_csv_evidence_t`; for its size, no session carries such evidence.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CsvEvidence {
    members: [(*const u8, u32); 4],
}

/// The union in `rtls_evidence_t`.
#[derive(Clone, Copy)]
#[repr(C)]
pub union EvidenceBody {
    /// Type 1.
    pub sgx: SgxEvidence,
    /// Type 2.
    pub tdx: TdxEvidence,
    /// Type 3.
    pub csv: CsvEvidence,
}

/// `ehd_t`: what the older certificates hash beside the key. All zero: bound evidence hashes the session.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HashedData {
    /// NULL.
    pub public_key: *const c_void,
    /// 0.
    pub user_data_size: c_int,
    /// NULL.
    pub user_data: *const c_char,
    /// 0.
    pub unhashed_size: c_int,
    /// NULL.
    pub unhashed: *const c_char,
}

/// `rtls_evidence_t`, for the verification callback. It and all it points to live for the call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Evidence {
    /// `enclave_evidence_type_t`: 1 SGX, 2 TDX.
    pub kind: c_uint,
    /// The peer's own claims.
    pub custom_claims: *const Claim,
    /// How many.
    pub custom_claims_length: usize,
    /// Zeros.
    pub ehd: HashedData,
    /// In bytes.
    pub quote_size: c_int,
    /// The quote.
    pub quote: *const c_char,
    /// By `kind`.
    pub body: EvidenceBody,
}
