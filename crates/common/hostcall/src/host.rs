//! The host's half: decodes a request, writes the reply.

use crate::layout::{
    ARGUMENTS, ARGUMENTS_AT, BLOCK_SIZE, CALL_AT, DATA_LENGTH_AT, DATA_SIZE, LENGTH_AT, MAGIC,
    MAGIC_AT, REPLY_LENGTH_AT, REPLY_SEQUENCE_AT, SEQUENCE_AT, STATUS_AT, VALUES, VALUES_AT,
    VERSION,
};
use crate::{BadRequest, Memory, Request, Wire};

/// One thread's end of its block.
#[derive(Debug)]
pub struct Server<M> {
    block: M,
}

impl<M: Memory> Server<M> {
    /// Writes the header of a fresh block.
    pub fn new(block: M) -> Self {
        block.set_word(MAGIC_AT, MAGIC);
        block.set_word(LENGTH_AT, BLOCK_SIZE as u64);
        Self { block }
    }

    /// The block.
    pub fn block(&self) -> &M {
        &self.block
    }

    /// Decodes the request in the block. Its data is copied to the start of `scratch` first, so that a change
    /// by the enclave while the call is served is without effect.
    ///
    /// # Errors
    /// What is wrong with it. There is no reply to such a request: the enclave is stopped.
    pub fn receive<'a>(&self, scratch: &'a mut [u8; DATA_SIZE]) -> Result<Request<'a>, BadRequest> {
        let word = self.block.word(CALL_AT);
        let (version, call) = ((word >> 32) as u32, word as u32);
        if version != VERSION {
            return Err(BadRequest::Version { got: version });
        }
        let mut arguments = [0; ARGUMENTS];
        for (index, argument) in arguments.iter_mut().enumerate() {
            *argument = self.block.word(ARGUMENTS_AT + index * 8);
        }
        let got = self.block.word(DATA_LENGTH_AT);
        let data = usize::try_from(got).ok().and_then(|length| scratch.get_mut(..length));
        let data = data.ok_or(BadRequest::DataLength { call, got })?;
        self.block.copy_out(data);
        Request::from_wire(&Wire { call, arguments, data })
    }

    /// Replies with values and data.
    pub fn reply(&self, values: [u64; VALUES], data: &[u8]) {
        self.block.copy_in(data);
        self.reply_in_place(values, data.len());
    }

    /// Replies with values and `length` bytes that are in the data area already, at most [`DATA_SIZE`].
    pub fn reply_in_place(&self, values: [u64; VALUES], length: usize) {
        for (index, value) in values.into_iter().enumerate() {
            self.block.set_word(VALUES_AT + index * 8, value);
        }
        self.finish(0, length.min(DATA_SIZE));
    }

    /// Replies with an error number; anything outside 1..=4095 becomes EIO (5).
    pub fn fail(&self, errno: i32) {
        let errno = if (1..=4095).contains(&errno) { errno as u64 } else { 5 };
        self.finish(errno, 0);
    }

    fn finish(&self, status: u64, length: usize) {
        self.block.set_word(STATUS_AT, status);
        self.block.set_word(REPLY_LENGTH_AT, length as u64);
        self.block.set_word(REPLY_SEQUENCE_AT, self.block.word(SEQUENCE_AT));
    }
}
