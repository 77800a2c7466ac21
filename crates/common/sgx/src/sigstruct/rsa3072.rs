//! Whole numbers of 3072 bits: the little that q1 and q2 need.
//!
//! Public values only: nothing here is constant-time.

use core::cmp::Ordering;

/// Bytes of a number.
pub(crate) const BYTES: usize = 384;
const LIMBS: usize = BYTES / 8;

/// A number below 2^3072; the least significant limb first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number([u64; LIMBS]);

/// A product of two numbers.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    low: Number,
    high: Number,
}

impl Number {
    pub(crate) const ZERO: Self = Self([0; LIMBS]);

    pub(crate) fn from_le_bytes(bytes: &[u8; BYTES]) -> Self {
        let mut limbs = [0; LIMBS];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = u64::from_le_bytes(bytes.try_into().expect("chunks are exact"));
        }
        Self(limbs)
    }

    pub(crate) fn to_le_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (bytes, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn multiply(&self, other: &Self) -> Product {
        let mut wide = [0u64; 2 * LIMBS];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (j, &b) in other.0.iter().enumerate() {
                // At most (2^64-1)^2 + 2 * (2^64-1) = 2^128 - 1.
                let sum = u128::from(a) * u128::from(b) + u128::from(wide[i + j]) + carry;
                wide[i + j] = sum as u64;
                carry = sum >> 64;
            }
            wide[i + LIMBS] = carry as u64;
        }
        let (mut low, mut high) = (Self::ZERO, Self::ZERO);
        low.0.copy_from_slice(&wide[..LIMBS]);
        high.0.copy_from_slice(&wide[LIMBS..]);
        Product { low, high }
    }

    /// Subtracts; says whether it had to borrow.
    fn subtract(&mut self, other: &Self, mut borrow: bool) -> bool {
        for (a, &b) in self.0.iter_mut().zip(&other.0) {
            let (once, first) = a.overflowing_sub(b);
            let (twice, second) = once.overflowing_sub(u64::from(borrow));
            *a = twice;
            borrow = first | second;
        }
        borrow
    }

    /// Doubles and adds a bit; gives the bit that falls out.
    fn shift_in(&mut self, bit: bool) -> bool {
        let mut carry = u64::from(bit);
        for limb in &mut self.0 {
            (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
        }
        carry != 0
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Product {
    /// `self - quotient * modulus` if that is in `0..modulus`: what a CPU does in place of a division.
    pub(crate) fn remainder(&self, quotient: &Number, modulus: &Number) -> Option<Number> {
        let subtrahend = quotient.multiply(modulus);
        let (mut low, mut high) = (self.low, self.high);
        let borrow = low.subtract(&subtrahend.low, false);
        let negative = high.subtract(&subtrahend.high, borrow);
        (!negative && high == Number::ZERO && low < *modulus).then_some(low)
    }

    /// Quotient and remainder, if the quotient is a [`Number`].
    pub(crate) fn divide(&self, modulus: &Number) -> Option<(Number, Number)> {
        let mut remainder = self.high;
        if remainder >= *modulus {
            return None;
        }
        let mut quotient = Number::ZERO;
        for i in (0..LIMBS * 64).rev() {
            let carry = remainder.shift_in(self.low.0[i / 64] >> (i % 64) & 1 != 0);
            if carry || remainder >= *modulus {
                // With a carry the borrow cancels it: the value is below twice the modulus.
                remainder.subtract(modulus, false);
                quotient.0[i / 64] |= 1 << (i % 64);
            }
        }
        Some((quotient, remainder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(seed: u64) -> Number {
        let mut state = seed;
        Number(core::array::from_fn(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        }))
    }

    #[test]
    fn division_undoes_multiplication() {
        for seed in 1..20 {
            let (mut a, mut n) = (number(seed), number(seed + 100));
            n.0[LIMBS - 1] |= 1 << 63;
            a.0[LIMBS - 1] >>= 1;
            let product = a.multiply(&n);
            let (quotient, remainder) = product.divide(&n).unwrap();
            assert!(quotient == a && remainder == Number::ZERO);
            let square = a.multiply(&a);
            let (quotient, remainder) = square.divide(&n).unwrap();
            assert!(square.remainder(&quotient, &n) == Some(remainder));
            // One more or less is out of range.
            let mut other = quotient;
            other.0[0] = other.0[0].wrapping_add(1);
            assert!(square.remainder(&other, &n).is_none());
            other.0[0] = other.0[0].wrapping_sub(2);
            assert!(square.remainder(&other, &n).is_none());
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let max = Number([u64::MAX; LIMBS]);
        let square = max.multiply(&max);
        // (b-1)^2 = (b-2) * b + 1.
        let mut high = max;
        high.0[0] -= 1;
        let mut one = Number::ZERO;
        one.0[0] = 1;
        assert!(square.high == high && square.low == one);
        let (quotient, remainder) = square.divide(&max).unwrap();
        assert!(quotient == max && remainder == Number::ZERO);
        assert!(max.multiply(&max).divide(&one).is_none(), "quotient too large");
        assert!(square.divide(&Number::ZERO).is_none());
    }

    #[test]
    fn order_looks_at_the_highest_limb_first() {
        let (mut small, mut large) = (Number::ZERO, Number::ZERO);
        small.0[0] = u64::MAX;
        large.0[1] = 1;
        assert!(small < large);
    }
}
