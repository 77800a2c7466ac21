//! What ECREATE checks of a SECS.

use crate::space::{FIRST_PAGE, PAGE};
use crate::xstate::Xstate;
use sgx::driver::DriverError;
use sgx::{AttributeFlags, LayoutError, Miscselect, Secs, Xfrm, ssa};

/// The largest ELRANGE, as CPUID leaf 0x12 would enumerate it. It keeps ELRANGE well below where Linux puts
/// a position-independent program (0x55..., 0x7f...).
pub(crate) const MAX_SIZE: u64 = 1 << 40;
/// Attributes that this CPU has: no CET, no AEX-Notify.
const ATTRIBUTES: AttributeFlags = AttributeFlags::DEBUG
    .union(AttributeFlags::MODE64BIT)
    .union(AttributeFlags::PROVISIONKEY)
    .union(AttributeFlags::EINITTOKENKEY)
    .union(AttributeFlags::KSS);

const fn refused(field: &'static str, expected: u64, got: u64) -> DriverError {
    DriverError::Refused { operation: "ECREATE", field, expected, got }
}

/// Checks a SECS as ECREATE does, on a CPU with the emulator's features and this host's XCR0.
pub(crate) fn check(bytes: &[u8; 4096], xstate: &Xstate) -> Result<Secs, DriverError> {
    let secs = Secs::parse(bytes).map_err(|error| match error {
        LayoutError::Reserved { got, .. } => refused("SECS reserved byte", 0, got.into()),
        LayoutError::Length { expected, got, .. } => {
            refused("SECS length", expected as u64, got as u64)
        }
    })?;
    if !secs.size.is_power_of_two() {
        return Err(refused(
            "SECS.SIZE",
            secs.size.checked_next_power_of_two().unwrap_or(0),
            secs.size,
        ));
    }
    if secs.size <= FIRST_PAGE * PAGE {
        return Err(refused("SECS.SIZE", 2 * FIRST_PAGE * PAGE, secs.size));
    }
    if secs.size > MAX_SIZE {
        return Err(refused("SECS.SIZE", MAX_SIZE, secs.size));
    }
    // The emulator's own rule: one enclave per process, at 0, because non-PIE programs need low addresses.
    if secs.baseaddr != 0 {
        return Err(refused("SECS.BASEADDR", 0, secs.baseaddr));
    }
    let flags = secs.attributes.flags;
    if !flags.contains(AttributeFlags::MODE64BIT) {
        let expected = flags.union(AttributeFlags::MODE64BIT);
        return Err(refused("SECS.ATTRIBUTES", expected.bits(), flags.bits()));
    }
    if !ATTRIBUTES.contains(flags) {
        return Err(refused(
            "SECS.ATTRIBUTES",
            flags.intersection(ATTRIBUTES).bits(),
            flags.bits(),
        ));
    }
    let xfrm = secs.attributes.xfrm;
    let possible = Xfrm::from_bits_retain(xstate.xcr0);
    if !xfrm.is_consistent() || !possible.contains(xfrm) {
        let expected = xfrm.union(Xfrm::LEGACY).intersection(possible);
        return Err(refused("SECS.ATTRIBUTES.XFRM", expected.bits(), xfrm.bits()));
    }
    if !Miscselect::EXINFO.contains(secs.miscselect) {
        let expected = secs.miscselect.intersection(Miscselect::EXINFO);
        return Err(refused(
            "SECS.MISCSELECT",
            expected.bits().into(),
            secs.miscselect.bits().into(),
        ));
    }
    let needed = xstate.area(xfrm.bits()) + ssa::misc_bytes(secs.miscselect) + sgx::Gprsgx::SIZE;
    let pages =
        ssa::ssaframesize_pages(xfrm, secs.miscselect).max(needed.div_ceil(sgx::PAGE_SIZE) as u32);
    if secs.ssaframesize < pages {
        return Err(refused("SECS.SSAFRAMESIZE", pages.into(), secs.ssaframesize.into()));
    }
    let has_configuration = secs.configid != [0; 64] || secs.configsvn != 0;
    if has_configuration && !flags.contains(AttributeFlags::KSS) {
        let expected = flags.union(AttributeFlags::KSS);
        return Err(refused(
            "SECS.ATTRIBUTES (CONFIGID without KSS)",
            expected.bits(),
            flags.bits(),
        ));
    }
    Ok(secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sgx::Attributes;

    fn sound() -> Secs {
        Secs {
            size: 64 << 20,
            ssaframesize: 1,
            attributes: Attributes { flags: AttributeFlags::MODE64BIT, xfrm: Xfrm::LEGACY },
            ..Secs::default()
        }
    }

    fn field(secs: &Secs) -> Option<&'static str> {
        match check(&secs.to_bytes(), Xstate::get().expect("XSAVE is enabled")) {
            Ok(_) => None,
            Err(DriverError::Refused { field, .. }) => Some(field),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn every_rule_of_ecreate_is_checked() {
        assert_eq!(field(&sound()), None);
        type Change = fn(&mut Secs);
        let cases: [(&str, Change); 10] = [
            ("SECS.SIZE", |s| s.size += 4096),
            ("SECS.SIZE", |s| s.size = 0x10000),
            ("SECS.SIZE", |s| s.size = MAX_SIZE * 2),
            ("SECS.BASEADDR", |s| s.baseaddr = s.size),
            ("SECS.ATTRIBUTES", |s| s.attributes.flags = AttributeFlags::empty()),
            ("SECS.ATTRIBUTES", |s| s.attributes.flags |= AttributeFlags::INIT),
            ("SECS.ATTRIBUTES.XFRM", |s| s.attributes.xfrm = Xfrm::X87),
            ("SECS.MISCSELECT", |s| s.miscselect = Miscselect::CPINFO),
            ("SECS.SSAFRAMESIZE", |s| s.ssaframesize = 0),
            ("SECS.ATTRIBUTES (CONFIGID without KSS)", |s| s.configid[3] = 1),
        ];
        for (expected, change) in cases {
            let mut secs = sound();
            change(&mut secs);
            assert_eq!(field(&secs), Some(expected));
        }
        let mut bytes = sound().to_bytes();
        bytes[4000] = 1;
        assert!(check(&bytes, Xstate::get().expect("XSAVE is enabled")).is_err());
    }
}
