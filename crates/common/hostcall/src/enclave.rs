//! The enclave's half: encodes a request, checks the reply.

use crate::layout::{
    ARGUMENTS_AT, BLOCK_SIZE, CALL_AT, DATA_LENGTH_AT, DATA_SIZE, LENGTH_AT, MAGIC, MAGIC_AT,
    REPLY_LENGTH_AT, REPLY_SEQUENCE_AT, SEQUENCE_AT, STATUS_AT, VALUES, VALUES_AT, VERSION,
};
pub use crate::plausible::Implausible;
use crate::{Memory, Request, plausible};

/// One thread's end of its block.
#[derive(Debug)]
pub struct Caller<M> {
    block: M,
    sequence: u64,
}

impl<M: Memory> Caller<M> {
    /// Takes a block into use at the first entry of a thread.
    ///
    /// # Errors
    /// A block of another version or length.
    pub fn new(block: M) -> Result<Self, CallError> {
        let expect = |field, at, expected| {
            let got = block.word(at);
            if got == expected { Ok(()) } else { Err(CallError::Block { field, expected, got }) }
        };
        expect("magic", MAGIC_AT, MAGIC)?;
        expect("length", LENGTH_AT, BLOCK_SIZE as u64)?;
        Ok(Self { block, sequence: 0 })
    }

    /// Makes a call: writes `request`, runs `leave` (EEXIT with reason 1; it returns at re-entry), checks the
    /// reply and copies its data to the start of `into`. Data that `into` has no room for makes the reply
    /// implausible, so `into` is at least as long as what was asked for.
    ///
    /// # Errors
    /// The host's error number, or why its reply cannot be true.
    pub fn call(
        &mut self,
        request: &Request<'_>,
        into: &mut [u8],
        leave: impl FnOnce(),
    ) -> Result<Reply, CallError> {
        self.begin(request)?;
        leave();
        self.finish(request, into)
    }

    /// The first part of [`call`](Self::call).
    ///
    /// # Errors
    /// [`CallError::DataLength`] if the data does not fit; nothing was written then.
    pub fn begin(&mut self, request: &Request<'_>) -> Result<(), CallError> {
        let wire = request.to_wire();
        if wire.data.len() > DATA_SIZE {
            return Err(CallError::DataLength { at_most: DATA_SIZE, got: wire.data.len() });
        }
        self.sequence += 1;
        self.block.set_word(SEQUENCE_AT, self.sequence);
        self.block.set_word(CALL_AT, u64::from(VERSION) << 32 | u64::from(wire.call));
        for (index, argument) in wire.arguments.into_iter().enumerate() {
            self.block.set_word(ARGUMENTS_AT + index * 8, argument);
        }
        self.block.set_word(DATA_LENGTH_AT, wire.data.len() as u64);
        self.block.copy_in(wire.data);
        Ok(())
    }

    /// The last part of [`call`](Self::call), after re-entry; `request` is what [`begin`](Self::begin) wrote.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn finish(&mut self, request: &Request<'_>, into: &mut [u8]) -> Result<Reply, CallError> {
        let got = self.block.word(REPLY_SEQUENCE_AT);
        if got != self.sequence {
            return Err(CallError::Sequence { expected: self.sequence, got });
        }
        match self.block.word(STATUS_AT) {
            0 => {}
            errno @ 1..=4095 => return Err(CallError::Errno(errno as u16)),
            got => {
                let call = request.name();
                return Err(Implausible { call, field: "status", at_most: 4095, got }.into());
            }
        }
        let mut values = [0; VALUES];
        for (index, value) in values.iter_mut().enumerate() {
            *value = self.block.word(VALUES_AT + index * 8);
        }
        let length = self.block.word(REPLY_LENGTH_AT);
        plausible::check(request, &values, length)?;
        let room = into.len() as u64;
        let Some(into) = usize::try_from(length).ok().and_then(|length| into.get_mut(..length))
        else {
            let call = request.name();
            return Err(
                Implausible { call, field: "data length", at_most: room, got: length }.into()
            );
        };
        self.block.copy_out(into);
        Ok(Reply { values, length: into.len() })
    }
}

/// A reply that passed the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Values, as `README.md` gives them for the call.
    pub values: [u64; VALUES],
    /// Bytes of data copied out.
    pub length: usize,
}

/// Why a call gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The host could not do it: an error number in 1..=4095.
    Errno(u16),
    /// The host answered what cannot be true.
    Implausible(Implausible),
    /// The reply is not to this request.
    Sequence {
        /// Number of this request.
        expected: u64,
        /// What the host wrote.
        got: u64,
    },
    /// The block is not of this version.
    Block {
        /// Field of the header.
        field: &'static str,
        /// What this version has there.
        expected: u64,
        /// What the host wrote.
        got: u64,
    },
    /// The caller's data is longer than the data area; the enclave itself is at fault.
    DataLength {
        /// Bytes of the data area.
        at_most: usize,
        /// Bytes given.
        got: usize,
    },
}

impl From<Implausible> for CallError {
    fn from(reason: Implausible) -> Self {
        Self::Implausible(reason)
    }
}

impl core::fmt::Display for CallError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Errno(number) => write!(f, "the host answered errno {number}"),
            Self::Implausible(reason) => reason.fmt(f),
            Self::Sequence { expected, got } => {
                write!(f, "sequence of the host's reply: expected {expected}, got {got}")
            }
            Self::Block { field, expected, got } => {
                write!(f, "{field} of the host-call block: expected {expected:#x}, got {got:#x}")
            }
            Self::DataLength { at_most, got } => {
                write!(f, "data of a host call: expected at most {at_most} bytes, got {got}")
            }
        }
    }
}

impl core::error::Error for CallError {}
