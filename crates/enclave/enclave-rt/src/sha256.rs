//! SHA-256 by the processor's own instructions, where it has them.
//!
//! Verifying files is hashing, and the SHA extensions do it several times as fast as portable code. Every CPU
//! with SGX2 has them; a machine that runs the emulator may not. CPUID is no way to tell, for an enclave cannot
//! execute it and the host's word for it is worth nothing: so the start executes one of the instructions
//! ([`probe`]) and the exception entry takes a #UD there for the answer. Both ways of hashing are measured,
//! give the same digests, and leave the upper halves of vector registers alone.

use core::arch::naked_asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128,
};

use libos::platform::Sha256;

const BLOCK: usize = 64;
/// Where the length of the message begins in its last block.
const LENGTH_AT: usize = 56;

/// The fastest way to hash on this processor. After the run time is up: a #UD is expected from then on only.
pub(crate) fn fastest() -> Sha256 {
    // SAFETY: on an enclave thread whose exception entry knows the routine.
    if unsafe { probe() } == 1 { by_instructions } else { libos::platform::portable_sha256 }
}

/// 1 where the SHA extensions exist, else 0: the exception entry continues after the instruction.
///
/// # Safety
/// On an enclave thread, with the run time up.
#[unsafe(naked)]
unsafe extern "C" fn probe() -> u32 {
    naked_asm!(
        "xor eax, eax",
        ".globl __rt_probe, __rt_probe_end",
        ".hidden __rt_probe",
        ".hidden __rt_probe_end",
        "__rt_probe:",
        "sha256rnds2 xmm1, xmm2",
        "mov eax, 1",
        "__rt_probe_end:",
        "ret",
    )
}

unsafe extern "C" {
    static __rt_probe: u8;
    static __rt_probe_end: u8;
}

/// The instruction that may not exist.
pub(crate) fn probing() -> u64 {
    (&raw const __rt_probe) as u64
}

/// Where it continues if it does not.
pub(crate) fn probed() -> u64 {
    (&raw const __rt_probe_end) as u64
}

/// SHA-256 (FIPS 180-4) of a message.
fn by_instructions(message: &[u8]) -> [u8; 32] {
    let mut state = INITIAL;
    let whole = message.len() / BLOCK * BLOCK;
    let (blocks, rest) = message.split_at(whole);
    let mut last = [0; 2 * BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let end = if rest.len() < LENGTH_AT { BLOCK } else { 2 * BLOCK };
    let bits = (message.len() as u64).wrapping_mul(8);
    last[end - 8..end].copy_from_slice(&bits.to_be_bytes());
    // SAFETY: this function is chosen where the probe found the SHA extensions; a CPU that has them has
    // SSSE3 and SSE4.1.
    unsafe {
        compress(&mut state, blocks);
        compress(&mut state, &last[..end]);
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// H(0) of FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// K of FIPS 180-4, 4.2.2.
#[rustfmt::skip]
static K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// W(t) to W(t+3) from the sixteen words before them, four in each register.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn next(w0: __m128i, w1: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    _mm_sha256msg2_epu32(sum, w3)
}

/// Hashes whole blocks. One function under its own name, for the check of the program's instructions allows
/// these extensions nowhere else.
///
/// The instructions take the state as two registers, ABEF and CDGH, and do two rounds at a time with the
/// sum of message words and constants in the low half of the third operand (SDM Vol. 2, SHA256RNDS2).
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline(never)]
#[unsafe(export_name = "__rt_sha256_compress")]
unsafe fn compress(state: &mut [u32; 8], blocks: &[u8]) {
    // SAFETY: `state` has room for two unaligned halves.
    let (abcd, efgh) = unsafe {
        let at = state.as_ptr().cast::<__m128i>();
        (_mm_loadu_si128(at), _mm_loadu_si128(at.add(1)))
    };
    let cdab = _mm_shuffle_epi32(abcd, 0xb1);
    let efgh = _mm_shuffle_epi32(efgh, 0x1b);
    let mut abef = _mm_alignr_epi8(cdab, efgh, 8);
    let mut cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    // Message words are big-endian.
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    for block in blocks.chunks_exact(BLOCK) {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let [mut w0, mut w1, mut w2, mut w3] = core::array::from_fn(|index| {
            // SAFETY: a block is four times as long as what is loaded.
            let loaded = unsafe { _mm_loadu_si128(block.as_ptr().add(16 * index).cast()) };
            _mm_shuffle_epi8(loaded, swap)
        });
        // Sixteen rounds with the words there are; with `next` those of the rounds sixteen later.
        for sixteen in K.chunks_exact(16) {
            let is_last = core::ptr::eq(sixteen, &K[48..]);
            let mut four_rounds = |words: __m128i, index: usize| {
                // SAFETY: four of sixteen constants.
                let constants = unsafe { _mm_loadu_si128(sixteen.as_ptr().add(4 * index).cast()) };
                let sum = _mm_add_epi32(words, constants);
                cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
                abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            };
            four_rounds(w0, 0);
            four_rounds(w1, 1);
            four_rounds(w2, 2);
            four_rounds(w3, 3);
            if is_last {
                break;
            }
            w0 = next(w0, w1, w2, w3);
            w1 = next(w1, w2, w3, w0);
            w2 = next(w2, w3, w0, w1);
            w3 = next(w3, w0, w1, w2);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    let feba = _mm_shuffle_epi32(abef, 0x1b);
    let dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    // SAFETY: as at the start.
    unsafe {
        let at = state.as_mut_ptr().cast::<__m128i>();
        _mm_storeu_si128(at, _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128(at.add(1), _mm_alignr_epi8(dchg, feba, 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn both_ways_give_the_same_digests() {
        if !std::is_x86_feature_detected!("sha") {
            std::eprintln!(
                "this processor has no SHA extensions: only the portable way is there to test"
            );
            return;
        }
        let message: Vec<u8> = (0..5000_u32).map(|index| ((index * 7) >> 2) as u8).collect();
        let lengths = (0..300).chain([4095, 4096, 4097, 5000]);
        for length in lengths {
            let part = &message[..length];
            assert_eq!(by_instructions(part), libos::platform::portable_sha256(part), "{length}");
        }
    }
}
