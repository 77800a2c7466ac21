//! REPORT and TARGETINFO: local attestation.

use crate::attributes::{Attributes, Miscselect};
use crate::layout::layout;

/// CPUSVN of the emulator, which no CPU has: each byte of a CPU's is a small component version.
///
/// An enclave that finds it in its own REPORT runs emulated. That is a hint and no proof: a host can
/// emulate an emulator that lies. A verifier is told apart by the root of the evidence, not by this.
pub const EMULATED_CPUSVN: [u8; 16] = *b"EMULATED\0\0\0\0\0\0\0\0";

layout! {
    /// TARGETINFO: who shall be able to verify a REPORT. 512-byte aligned as an operand.
    pub struct Targetinfo: 512 {
        /// MRENCLAVE of the target.
        measurement: [u8; 32] = 0,
        /// ATTRIBUTES of the target.
        attributes: Attributes = 32,
        /// CET attributes of the target.
        cet_attributes: u8 = 48,
        /// CONFIGSVN of the target.
        configsvn: u16 = 50,
        /// MISCSELECT of the target.
        miscselect: Miscselect = 52,
        /// CONFIGID of the target.
        configid: [u8; 64] = 64,
    }
}

layout! {
    /// The part of a REPORT that its MAC covers; also the report body in a quote.
    pub struct ReportBody: 384 {
        /// Security version of the CPU.
        cpusvn: [u8; 16] = 0,
        /// MISCSELECT.
        miscselect: Miscselect = 16,
        /// CET attributes.
        cet_attributes: u8 = 20,
        /// Extended product id (KSS).
        isvextprodid: [u8; 16] = 32,
        /// Attributes.
        attributes: Attributes = 48,
        /// Measurement.
        mrenclave: [u8; 32] = 64,
        /// Signer.
        mrsigner: [u8; 32] = 128,
        /// Configuration (KSS).
        configid: [u8; 64] = 192,
        /// Product.
        isvprodid: u16 = 256,
        /// Security version.
        isvsvn: u16 = 258,
        /// Security version of the configuration (KSS).
        configsvn: u16 = 260,
        /// Product family (KSS).
        isvfamilyid: [u8; 16] = 304,
        /// What the enclave said. 128-byte aligned as an operand of EREPORT.
        reportdata: [u8; 64] = 320,
    }
}

layout! {
    /// REPORT. 512-byte aligned as an operand.
    pub struct Report: 432 {
        /// What is attested.
        body: ReportBody = 0,
        /// Goes into the derivation of the report key.
        keyid: [u8; 32] = 384,
        /// AES-CMAC of the body under the target's report key.
        mac: [u8; 16] = 416,
    }
}
