//! The ChaCha20 block function (RFC 8439, section 2.3).

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;

/// One block of key stream for a key, a block counter and a nonce of zero.
pub(crate) fn block(key: &[u32; 8], counter: u64) -> [u8; BLOCK] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let initial = [
        0x6170_7865,
        0x3320_646e,
        0x7962_2d32,
        0x6b20_6574, // "expand 32-byte k"
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        k6,
        k7,
        counter as u32,
        (counter >> 32) as u32,
        0,
        0,
    ];
    finish(initial)
}

fn finish(initial: [u32; 16]) -> [u8; BLOCK] {
    let mut state = initial;
    for _ in 0..10 {
        quarter(&mut state, 0, 4, 8, 12);
        quarter(&mut state, 1, 5, 9, 13);
        quarter(&mut state, 2, 6, 10, 14);
        quarter(&mut state, 3, 7, 11, 15);
        quarter(&mut state, 0, 5, 10, 15);
        quarter(&mut state, 1, 6, 11, 12);
        quarter(&mut state, 2, 7, 8, 13);
        quarter(&mut state, 3, 4, 9, 14);
    }
    let mut bytes = [0; BLOCK];
    for ((out, word), start) in bytes.chunks_exact_mut(4).zip(state).zip(initial) {
        out.copy_from_slice(&word.wrapping_add(start).to_le_bytes());
    }
    bytes
}

fn quarter(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for (rotation_d, rotation_b) in [(16, 12), (8, 7)] {
        state[a] = state[a].wrapping_add(state[b]);
        state[d] = (state[d] ^ state[a]).rotate_left(rotation_d);
        state[c] = state[c].wrapping_add(state[d]);
        state[b] = (state[b] ^ state[c]).rotate_left(rotation_b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2.
    #[test]
    fn the_block_of_the_standard() {
        let word = |at: u32| u32::from_le_bytes([0, 1, 2, 3].map(|byte| (at * 4 + byte) as u8));
        let mut state = [0; 16];
        state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        for at in 0..8 {
            state[4 + at as usize] = word(at);
        }
        state[12..].copy_from_slice(&[1, 0x0900_0000, 0x4a00_0000, 0]);
        let block = finish(state);
        assert_eq!(
            block[..16],
            [
                0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20,
                0x71, 0xc4,
            ]
        );
        assert_eq!(block[60..], [0xa2, 0x50, 0x3c, 0x4e]);
    }

    /// RFC 8439, appendix A.1, test vector 1: all-zero key.
    #[test]
    fn the_key_stream_of_the_zero_key() {
        let block = block(&[0; 8], 0);
        assert_eq!(block[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }
}
