//! Entry points for fuzzing and property tests: each feeds arbitrary bytes to one decoder and asserts what
//! the decoder promises about whatever passes it.

use crate::enclave::Caller;
use crate::host::Server;
use crate::layout::{BLOCK_SIZE, DATA_OFFSET, DATA_SIZE, MAGIC_AT, REPLY_SEQUENCE_AT};
use crate::{Event, MAGIC, Memory, Request, SliceBlock};

/// What the host decodes from a block of any contents. A request that passes encodes to the same words.
///
/// # Panics
/// If a decoded request encodes to other words.
pub fn host_decodes(words: &mut [u64], scratch: &mut [u8; DATA_SIZE]) {
    let server = Server::new(SliceBlock::new(words));
    if let Ok(request) = server.receive(scratch) {
        let wire = request.to_wire();
        assert_eq!(Request::from_wire(&wire), Ok(request));
        assert!(wire.data.len() <= DATA_SIZE);
    }
}

/// What the enclave makes of a reply of any contents to `request`: `words` is the block as the hostile host
/// leaves it. A reply that passes has no more data than `into`.
///
/// # Panics
/// If more bytes of `into` change than the reply says.
pub fn enclave_decodes(words: &mut [u64], request: &Request<'_>, into: &mut [u8]) {
    let block = SliceBlock::new(words);
    block.set_word(MAGIC_AT, MAGIC);
    block.set_word(8, BLOCK_SIZE as u64);
    let Ok(mut caller) = Caller::new(&block) else { return };
    let before = block.word(DATA_OFFSET);
    if caller.begin(request).is_err() {
        return;
    }
    block.set_word(DATA_OFFSET, before);
    block.set_word(REPLY_SEQUENCE_AT, 1);
    into.fill(0xa5);
    if let Ok(reply) = caller.finish(request, into) {
        assert!(into[reply.length..].iter().all(|byte| *byte == 0xa5));
        if let Request::NextEvent {} = request {
            let _ = Event::decode(&into[..reply.length]);
        }
    }
}
