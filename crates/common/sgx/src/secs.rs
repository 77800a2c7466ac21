//! SECS: the control structure of an enclave, source of ECREATE.

use crate::attributes::{Attributes, Miscselect};
use crate::layout::layout;

layout! {
    /// SECS (SDM Vol. 3D, "SGX Enclave Control Structure"). The CET fields are not modelled: they count
    /// as reserved, as on a CPU without CET for enclaves.
    pub struct Secs: 4096 {
        /// Size of ELRANGE in bytes; a power of two.
        size: u64 = 0,
        /// Linear address of ELRANGE; a multiple of SIZE.
        baseaddr: u64 = 8,
        /// Pages in one SSA frame.
        ssaframesize: u32 = 16,
        /// Contents of the MISC region of an SSA frame.
        miscselect: Miscselect = 20,
        /// Attributes.
        attributes: Attributes = 48,
        /// Measurement: SHA-256 of the build log. Set by the CPU.
        mrenclave: [u8; 32] = 64,
        /// SHA-256 of the signer's modulus. Set by EINIT.
        mrsigner: [u8; 32] = 128,
        /// Configuration of this start (KSS); set by the host at ECREATE, not measured.
        configid: [u8; 64] = 192,
        /// Product of the signer. Set by EINIT.
        isvprodid: u16 = 256,
        /// Security version. Set by EINIT.
        isvsvn: u16 = 258,
        /// Security version of the configuration (KSS); not measured.
        configsvn: u16 = 260,
    }
}
