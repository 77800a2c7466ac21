//! The one generator of the enclave.
//!
//! ChaCha20 with fast key erasure, seeded from RDSEED and RDRAND and never from the host. The first 32 bytes
//! of each request's key stream become the next key, so that a later disclosure tells nothing about earlier
//! output. The sources are health-tested at each seeding: an instruction that keeps failing, or a value that
//! repeats, is an error, and the enclave stops rather than go on without entropy.

use libos::sync::Mutex;

use crate::chacha::{self, BLOCK};

/// Requests between two reseedings.
const RESEED_AFTER: u32 = 4096;
/// Tries of an instruction before it counts as failed (Intel's guide for RDRAND says 10; RDSEED runs dry
/// more often, under load for microseconds).
const TRIES: u32 = 2048;
/// Words of each source in a seed: 256 bits of full entropy from RDSEED alone.
const WORDS: usize = 4;

/// Why there is no entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unhealthy {
    /// The instruction reported no data, every time.
    Dry(&'static str),
    /// The instruction gave the same value twice in a row.
    Stuck(&'static str),
}

/// A source of seed words; `None` is one failure.
pub(crate) trait Source {
    /// Name of the instruction.
    const NAME: &'static str;
    /// One try.
    fn word(&mut self) -> Option<u64>;
}

/// The generator.
pub(crate) struct Generator(Mutex<State>);

struct State {
    key: [u32; 8],
    requests: u32,
}

impl Generator {
    /// A seeded generator.
    ///
    /// # Errors
    /// The sources are not healthy.
    pub(crate) fn new() -> Result<Self, Unhealthy> {
        let mut state = State { key: [0; 8], requests: 0 };
        state.reseed(&mut RdSeed, &mut RdRand)?;
        Ok(Self(Mutex::new(state)))
    }

    /// Fills `into`.
    ///
    /// # Errors
    /// A reseeding was due and the sources are not healthy; `into` is unchanged.
    pub(crate) fn fill(&self, into: &mut [u8]) -> Result<(), Unhealthy> {
        let mut state = self.0.lock();
        if state.requests >= RESEED_AFTER {
            state.reseed(&mut RdSeed, &mut RdRand)?;
        }
        state.fill(into);
        Ok(())
    }
}

impl State {
    fn fill(&mut self, into: &mut [u8]) {
        let first = chacha::block(&self.key, 0);
        let key = self.key;
        self.key = key_from(&first[..32]);
        self.requests += 1;
        // The rest of the first block serves small requests; the key itself is never given out.
        let (small, rest) = into.split_at_mut(into.len().min(BLOCK - 32));
        small.copy_from_slice(&first[32..32 + small.len()]);
        for (counter, chunk) in (1..).zip(rest.chunks_mut(BLOCK)) {
            chunk.copy_from_slice(&chacha::block(&key, counter)[..chunk.len()]);
        }
    }

    /// Mixes fresh words of both sources into the key.
    fn reseed(
        &mut self,
        seed: &mut impl Source,
        random: &mut impl Source,
    ) -> Result<(), Unhealthy> {
        let words = [gather(seed)?, gather(random)?];
        for words in words {
            for (index, word) in words.into_iter().enumerate() {
                self.key[2 * index] ^= word as u32;
                self.key[2 * index + 1] ^= (word >> 32) as u32;
            }
            // One block between the two, so that equal words of the two sources do not cancel.
            self.key = key_from(&chacha::block(&self.key, 0)[..32]);
        }
        self.requests = 0;
        Ok(())
    }
}

fn gather<S: Source>(source: &mut S) -> Result<[u64; WORDS], Unhealthy> {
    let mut words = [0; WORDS];
    let mut last = next(source)?;
    for word in &mut words {
        *word = next(source)?;
        // Repetition count test (NIST SP 800-90B, section 4.4.1): two equal 64-bit words in a row happen once in
        // 2^64 tries of a working source. Known defects give a constant (all ones, all zeros).
        if *word == last {
            return Err(Unhealthy::Stuck(S::NAME));
        }
        last = *word;
    }
    Ok(words)
}

fn next<S: Source>(source: &mut S) -> Result<u64, Unhealthy> {
    for _ in 0..TRIES {
        if let Some(word) = source.word() {
            return Ok(word);
        }
        core::hint::spin_loop();
    }
    Err(Unhealthy::Dry(S::NAME))
}

fn key_from(bytes: &[u8]) -> [u32; 8] {
    let mut key = [0; 8];
    for (word, chunk) in key.iter_mut().zip(bytes.chunks_exact(4)) {
        let mut le = [0; 4];
        le.copy_from_slice(chunk);
        *word = u32::from_le_bytes(le);
    }
    key
}

struct RdSeed;
struct RdRand;

impl Source for RdSeed {
    const NAME: &'static str = "RDSEED";
    fn word(&mut self) -> Option<u64> {
        let (word, ok): (u64, u8);
        // SAFETY: every CPU with SGX2 has RDSEED; it changes its output and flags.
        unsafe {
            core::arch::asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack));
        }
        (ok != 0).then_some(word)
    }
}

impl Source for RdRand {
    const NAME: &'static str = "RDRAND";
    fn word(&mut self) -> Option<u64> {
        let (word, ok): (u64, u8);
        // SAFETY: every CPU with SGX has RDRAND; it changes its output and flags.
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack));
        }
        (ok != 0).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    struct Fake<F>(F);

    impl<F: FnMut() -> Option<u64>> Source for Fake<F> {
        const NAME: &'static str = "fake";
        fn word(&mut self) -> Option<u64> {
            (self.0)()
        }
    }

    fn counting(start: u64) -> Fake<impl FnMut() -> Option<u64>> {
        let mut value = start;
        Fake(move || {
            value += 1;
            Some(value)
        })
    }

    fn seeded() -> State {
        let mut state = State { key: [0; 8], requests: 0 };
        state.reseed(&mut counting(1), &mut counting(100)).expect("healthy");
        state
    }

    #[test]
    fn dry_and_stuck_sources_are_refused() {
        let mut state = State { key: [0; 8], requests: 0 };
        let dry = state.reseed(&mut Fake(|| None), &mut counting(0));
        assert_eq!(dry, Err(Unhealthy::Dry("fake")));
        let stuck = state.reseed(&mut counting(0), &mut Fake(|| Some(u64::MAX)));
        assert_eq!(stuck, Err(Unhealthy::Stuck("fake")));
    }

    #[test]
    fn a_source_that_fails_now_and_then_is_healthy() {
        let mut tries = 0;
        let mut state = State { key: [0; 8], requests: 0 };
        let mut shaky = Fake(move || {
            tries += 1;
            (tries % 7 == 0).then_some(tries)
        });
        assert_eq!(state.reseed(&mut shaky, &mut counting(0)), Ok(()));
    }

    #[test]
    fn both_sources_matter_and_equal_ones_do_not_cancel() {
        let key = |a, b| {
            let mut state = State { key: [0; 8], requests: 0 };
            state.reseed(&mut counting(a), &mut counting(b)).expect("healthy");
            state.key
        };
        assert_ne!(key(1, 100), key(1, 101));
        assert_ne!(key(1, 100), key(2, 100));
        assert_ne!(key(1, 1), [0; 8]);
    }

    #[test]
    fn output_never_repeats_and_every_length_is_filled() {
        let mut state = seeded();
        let mut seen = Vec::new();
        for length in 0..300 {
            let key = state.key;
            let mut bytes = std::vec![0; length];
            state.fill(&mut bytes);
            assert_ne!(state.key, key, "the key is erased");
            if length >= 16 {
                let head = bytes[length - 16..].to_vec();
                assert!(!seen.contains(&head), "length {length}");
                seen.push(head);
            }
        }
    }

    #[test]
    fn this_machines_sources_are_healthy() {
        let generator = Generator::new().expect("RDSEED and RDRAND work here");
        let (mut a, mut b) = ([0; 100], [0; 100]);
        assert_eq!(generator.fill(&mut a), Ok(()));
        assert_eq!(generator.fill(&mut b), Ok(()));
        assert_ne!(a, b);
    }
}
