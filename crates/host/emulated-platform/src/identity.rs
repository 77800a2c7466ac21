//! The architectural enclaves that the emulated platform has instead of Intel's.
//!
//! They are software in the host. Their measurements and signer are readable text, which no SHA-256 of an
//! enclave or a key is, so that neither can be taken for an enclave that runs anywhere.

use sgx::attributes::{AttributeFlags, Attributes, Miscselect, Xfrm};
use sgx::einit::Identity;
use sgx::report::Targetinfo;

/// MRSIGNER of both.
pub const MRSIGNER: [u8; 32] = *b"EMULATED SIGNER, NOT INTEL'S\0\0\0\0";
/// MRENCLAVE of the quoting enclave.
pub const QE_MRENCLAVE: [u8; 32] = *b"EMULATED QUOTING ENCLAVE\0\0\0\0\0\0\0\0";
/// MRENCLAVE of the provisioning certification enclave.
pub const PCE_MRENCLAVE: [u8; 32] = *b"EMULATED PROVISIONING ENCLAVE\0\0\0";
/// ISVPRODID of the quoting enclave: that of Intel's.
pub const QE_ISVPRODID: u16 = 1;
/// FMSPC of an emulated platform, "EMULAT" in ASCII: no family and model of a CPU.
pub const FMSPC: [u8; 6] = *b"EMULAT";

/// The quoting enclave with this ISVSVN.
pub(crate) fn quoting_enclave(isvsvn: u16) -> Identity {
    architectural(QE_MRENCLAVE, QE_ISVPRODID, isvsvn)
}

/// The provisioning certification enclave with this ISVSVN, which is the platform's PCESVN.
pub(crate) fn provisioning_enclave(isvsvn: u16) -> Identity {
    architectural(PCE_MRENCLAVE, 0, isvsvn)
}

/// What a report must be made for to be verified by this enclave.
pub(crate) fn target_info(enclave: &Identity) -> Targetinfo {
    Targetinfo {
        measurement: enclave.mrenclave,
        attributes: enclave.attributes,
        cet_attributes: 0,
        configsvn: enclave.configsvn,
        miscselect: enclave.miscselect,
        configid: enclave.configid,
    }
}

fn architectural(mrenclave: [u8; 32], isvprodid: u16, isvsvn: u16) -> Identity {
    Identity {
        mrenclave,
        mrsigner: MRSIGNER,
        attributes: Attributes {
            flags: AttributeFlags::INIT | AttributeFlags::MODE64BIT | AttributeFlags::PROVISIONKEY,
            xfrm: Xfrm::LEGACY,
        },
        miscselect: Miscselect::empty(),
        isvprodid,
        isvsvn,
        isvextprodid: [0; 16],
        isvfamilyid: [0; 16],
        configid: [0; 64],
        configsvn: 0,
    }
}
