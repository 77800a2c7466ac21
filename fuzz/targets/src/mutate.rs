//! Mutations that know nothing of a format. Reproducible: a failure is named by its seed and number.

/// A source of mutations.
pub struct Mutator {
    state: u64,
}

/// Numbers at which length and range checks break.
const INTERESTING: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0xfff,
    0x1000,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_f000,
    u64::MAX,
];

impl Mutator {
    /// The mutations of this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self { state: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Changes one to four places of `input`, of which the first bytes are likelier.
    pub fn mutate(&mut self, input: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            if input.is_empty() {
                input.push(self.next() as u8);
                continue;
            }
            let end = if self.below(2) == 0 { input.len().min(512) } else { input.len() };
            let at = self.below(end);
            match self.below(7) {
                0 => input[at] ^= 1 << self.below(8),
                1 => input[at] = self.next() as u8,
                2 => self.overwrite_number(input, at),
                3 => input.truncate(at),
                4 => self.copy_within(input, at),
                5 => {
                    input.insert(at, self.next() as u8);
                }
                _ => {
                    let length = self.below(64).min(input.len() - at);
                    input.drain(at..at + length);
                }
            }
        }
    }

    fn overwrite_number(&mut self, input: &mut [u8], at: usize) {
        let number = INTERESTING[self.below(INTERESTING.len())];
        let length = (1 << self.below(4)).min(input.len() - at);
        let bytes = if self.below(4) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
        input[at..at + length].copy_from_slice(&bytes[..length]);
    }

    fn copy_within(&mut self, input: &mut [u8], at: usize) {
        let from = self.below(input.len());
        let length = self.below(256).min(input.len() - at.max(from));
        input.copy_within(from..from + length, at);
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// xorshift64*.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
