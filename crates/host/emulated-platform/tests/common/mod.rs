//! A CPU with known keys, and reports that EREPORT would make on it.
#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses a part")]

use emulated_platform::{Dates, Platform, Root, Settings};
use sgx::attributes::{AttributeFlags, Attributes, Miscselect, Xfrm};
use sgx::einit::Identity;
use sgx::report::{EMULATED_CPUSVN, Report, Targetinfo};

/// The keys of the CPU with this number.
pub fn cpu(number: u8) -> sgx::keys::Platform {
    sgx::keys::Platform {
        root: [number; 16],
        seal_fuses: [number.wrapping_add(1); 16],
        owner_epoch: [number.wrapping_add(2); 16],
        cpusvn: EMULATED_CPUSVN,
    }
}

/// The enclave that asks.
pub fn enclave() -> Identity {
    Identity {
        mrenclave: [0x11; 32],
        mrsigner: [0x22; 32],
        attributes: Attributes {
            flags: AttributeFlags::INIT | AttributeFlags::MODE64BIT,
            xfrm: Xfrm::LEGACY,
        },
        miscselect: Miscselect::EXINFO,
        isvprodid: 7,
        isvsvn: 8,
        isvextprodid: [0; 16],
        isvfamilyid: [0; 16],
        configid: [0; 64],
        configsvn: 0,
    }
}

/// The root that follows from CPU 1.
pub fn root(dates: Dates) -> Root {
    Root::new(&cpu(1), dates).expect("dates are in range")
}

/// CPU `number` under its own root.
pub fn platform(number: u8) -> Platform {
    let root = Root::new(&cpu(number), Dates::default()).expect("dates are in range");
    Platform::new(cpu(number), root, Settings::default()).expect("dates are in range")
}

/// The enclave's report for `target`, on CPU `number`.
pub fn report(target: &[u8; Targetinfo::SIZE], number: u8) -> [u8; Report::SIZE] {
    let target = Targetinfo::from_bytes(target);
    cpu(number).ereport(&enclave(), &target, &[0x33; 64], &[0x44; 32]).to_bytes()
}
