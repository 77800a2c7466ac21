//! A quote: asked for, and held against what was asked.

use super::ReportData;
use crate::errno::Errno;
use crate::host::Level;
use crate::platform::{Platform, REPORT_SIZE};
use alloc::format;
use alloc::vec::Vec;
use core::fmt;

/// Most bytes of a quote.
pub const MAX_SIZE: usize = 65536;

const HEADER: usize = 48;
const BODY: usize = 384;
/// Header, report body, length of the signature data.
const FIXED: usize = HEADER + BODY + 4;
/// Quote version of SGX ECDSA attestation, and its key type (Intel SGX DCAP ECDSA quote library reference).
const VERSION: u16 = 3;
const ECDSA_P256: u16 = 2;

/// Has the host's quoting enclave make a quote with this report data.
///
/// # Errors
/// ENODEV where the host has no quoting service, EIO where it failed or what it gave is not about this report.
/// The operator's log says which.
pub fn quote(platform: &dyn Platform, data: &ReportData) -> Result<Vec<u8>, Errno> {
    let host = platform.host();
    let wrong = |line: fmt::Arguments<'_>| {
        host.log(Level::Error, format!("quote: {line}"));
        Errno::EIO
    };
    let failed = |call: &str, errno| match errno {
        Errno::ENODEV => errno,
        errno => wrong(format_args!("{call}: expected success, got {errno:?}")),
    };
    let target = host.quote_target().map_err(|errno| failed("target of the host", errno))?;
    let report = platform.report(&target, data).map_err(|error| {
        wrong(format_args!("target of the host: expected reserved bytes 0, got {}", error.got))
    })?;
    let quote = host.quote(&report).map_err(|errno| failed("the host", errno))?;
    check(&quote, &report).map_err(|flaw| wrong(format_args!("{flaw}")))?;
    Ok(quote)
}

/// Whether a quote is one of `report`: its shape, its report body to the bit.
///
/// # Errors
/// The field that differs.
pub fn check(quote: &[u8], report: &[u8; REPORT_SIZE]) -> Result<(), Flaw> {
    let flaw = |field, expected: usize, got: usize| {
        Err(Flaw { field, expected: expected as u64, got: got as u64 })
    };
    let Some((fixed, signature)) = quote.split_first_chunk::<FIXED>() else {
        return flaw("length", FIXED + 1, quote.len());
    };
    if quote.len() > MAX_SIZE {
        return flaw("length", MAX_SIZE, quote.len());
    }
    let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    for (field, at, expected) in [("version", 0, VERSION), ("attestation key type", 2, ECDSA_P256)]
    {
        if short(at) != expected {
            return flaw(field, expected.into(), short(at).into());
        }
    }
    let body = &fixed[HEADER..HEADER + BODY];
    if let Some(at) = (0..BODY).find(|at| body[*at] != report[*at]) {
        return Err(Flaw {
            field: BODY_FIELDS.iter().rev().find(|(from, _)| *from <= at).map_or("", |f| f.1),
            expected: report[at].into(),
            got: body[at].into(),
        });
    }
    let mut length = [0; 4];
    length.copy_from_slice(&fixed[HEADER + BODY..]);
    let length = u32::from_le_bytes(length) as usize;
    if length != signature.len() || signature.is_empty() {
        return flaw("length of the signature data", signature.len().max(1), length);
    }
    Ok(())
}

/// Where the fields of a report body start (SDM Vol. 3D, "REPORT"), for people.
const BODY_FIELDS: &[(usize, &str)] = &[
    (0, "a byte of CPUSVN"),
    (16, "a byte of MISCSELECT"),
    (32, "a byte of ISVEXTPRODID"),
    (48, "a byte of ATTRIBUTES"),
    (64, "a byte of MRENCLAVE"),
    (96, "a reserved byte"),
    (128, "a byte of MRSIGNER"),
    (160, "a reserved byte"),
    (192, "a byte of CONFIGID"),
    (256, "a byte of ISVPRODID, ISVSVN or CONFIGSVN"),
    (304, "a byte of ISVFAMILYID"),
    (320, "a byte of the report data"),
];

/// A quote that is not what was asked for. The host is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Field.
    pub field: &'static str,
    /// What it must be; of a field of bytes, the first that differs.
    pub expected: u64,
    /// What came.
    pub got: u64,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, expected, got } = self;
        write!(f, "{field} of the host's quote: expected {expected}, got {got}")
    }
}

impl core::error::Error for Flaw {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A quote of the right shape, signed by nobody.
    pub(crate) fn unsigned(report: &[u8; REPORT_SIZE]) -> Vec<u8> {
        let mut quote = vec![0; HEADER];
        quote[0] = 3;
        quote[2] = 2;
        quote.extend(&report[..BODY]);
        quote.extend(100_u32.to_le_bytes());
        quote.extend([0x5a; 100]);
        quote
    }

    fn refused(change: impl FnOnce(&mut Vec<u8>)) -> &'static str {
        let report = core::array::from_fn(|at| at as u8);
        let mut quote = unsigned(&report);
        assert_eq!(check(&quote, &report), Ok(()));
        change(&mut quote);
        check(&quote, &report).unwrap_err().field
    }

    #[test]
    fn a_quote_of_another_shape_is_refused_by_field() {
        assert_eq!(refused(Vec::clear), "length");
        assert_eq!(refused(|quote| quote.truncate(435)), "length");
        assert_eq!(refused(|quote| quote.truncate(436)), "length of the signature data");
        assert_eq!(refused(|quote| quote.push(0)), "length of the signature data");
        assert_eq!(refused(|quote| quote.resize(65537, 0)), "length");
        assert_eq!(refused(|quote| quote[0] = 4), "version");
        assert_eq!(refused(|quote| quote[3] = 1), "attestation key type");
        assert_eq!(refused(|quote| quote.fill(0xff)), "version");
    }

    #[test]
    fn a_quote_of_another_report_is_refused_by_field() {
        assert_eq!(refused(|quote| quote[48 + 64] ^= 1), "a byte of MRENCLAVE");
        assert_eq!(refused(|quote| quote[48 + 48] ^= 2), "a byte of ATTRIBUTES");
        assert_eq!(refused(|quote| quote[48 + 320] ^= 1), "a byte of the report data");
        assert_eq!(refused(|quote| quote[48 + 383] ^= 1), "a byte of the report data");
        for at in 48..432 {
            refused(|quote| quote[at] ^= 0x80);
        }
    }
}
