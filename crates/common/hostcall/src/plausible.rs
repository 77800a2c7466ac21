//! What a reply may be: the checks an enclave makes before it believes a word of the host.

use crate::Request;
use crate::layout::{DATA_SIZE, MAX_REQUEST, TARGETINFO_SIZE, VALUES};

/// `poll(2)` bits that the ABI carries: IN, OUT, ERR, HUP, RDHUP.
pub const READINESS: u16 = 0x001 | 0x004 | 0x008 | 0x010 | 0x2000;

/// A field of a reply that cannot be true, whatever the host's state. The host is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implausible {
    /// Call it answers.
    pub call: &'static str,
    /// Field of the reply.
    pub field: &'static str,
    /// Largest value that the call allows.
    pub at_most: u64,
    /// What came.
    pub got: u64,
}

impl core::fmt::Display for Implausible {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { call, field, at_most, got } = self;
        write!(f, "{field} of the host's reply to {call}: expected at most {at_most}, got {got}")
    }
}

impl core::error::Error for Implausible {}

/// Checks the values and the data length of a successful reply to `request`.
pub(crate) fn check(
    request: &Request<'_>,
    values: &[u64; VALUES],
    length: u64,
) -> Result<(), Implausible> {
    let call = request.name();
    let at_most = |field, at_most: u64, got: u64| {
        if got <= at_most { Ok(()) } else { Err(Implausible { call, field, at_most, got }) }
    };
    let exactly = |field, expected: u64, got: u64| {
        if got == expected {
            Ok(())
        } else {
            Err(Implausible { call, field, at_most: expected, got })
        }
    };
    // Largest first value, largest data length; the other values are zero but for the clock's.
    let (value, data) = match *request {
        Request::SessionRequest { offset, .. } => {
            at_most("total length", MAX_REQUEST, values[0])?;
            let left = values[0].saturating_sub(offset);
            exactly("data length", left.min(DATA_SIZE as u64), length)?;
            (MAX_REQUEST, DATA_SIZE as u64)
        }
        Request::FileOpen { .. } => (u64::from(u32::MAX), 0),
        Request::FileRead { length, .. }
        | Request::ReadSideData { length, .. }
        | Request::StreamRead { length, .. } => (0, u64::from(length)),
        Request::StreamWrite { bytes, .. } => {
            if values[0] == 0 && !bytes.is_empty() {
                // A success that wrote nothing would let the host spin the program for ever.
                return Err(Implausible { call, field: "bytes written", at_most: 1, got: 0 });
            }
            (bytes.len() as u64, 0)
        }
        Request::StreamPoll { .. } => {
            exactly("readiness", values[0] & u64::from(READINESS), values[0])?;
            (u64::from(READINESS), 0)
        }
        Request::StreamIsTerminal { .. } => (1, 0),
        Request::StreamIoctl { argument, .. } => {
            exactly("data length", argument.len() as u64, length)?;
            (0, argument.len() as u64)
        }
        Request::NextEvent {} | Request::Quote { .. } => (0, DATA_SIZE as u64),
        Request::QuoteTarget {} | Request::ReportTarget { .. } => (0, TARGETINFO_SIZE as u64),
        Request::NetListen { .. } | Request::NetConnect { .. } => (u64::from(u32::MAX), 0),
        Request::NetError { .. } => (4095, 0),
        Request::NetAccept { .. } | Request::NetName { .. } => {
            let is_accept = matches!(request, Request::NetAccept { .. });
            at_most("stream", if is_accept { u32::MAX.into() } else { 0 }, values[0])?;
            at_most("port", u16::MAX.into(), values[1])?;
            if values[1] == 0 {
                return Err(Implausible { call, field: "port", at_most: u16::MAX.into(), got: 0 });
            }
            // The other two are an address, whatever they are.
            return at_most("data length", 0, length);
        }
        Request::Clock {} => {
            at_most("monotonic_ns", i64::MAX as u64, values[1])?;
            at_most("realtime_ns", i64::MAX as u64, values[2])?;
            at_most("tsc_khz", 20_000_000, values[3])?;
            return at_most("data length", 0, length);
        }
        _ => (0, 0),
    };
    at_most("value", value, values[0])?;
    for extra in &values[1..] {
        at_most("unused value", 0, *extra)?;
    }
    at_most("data length", data.min(DATA_SIZE as u64), length)
}
