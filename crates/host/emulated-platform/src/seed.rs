//! Keys that follow from a secret: the same secret gives the same certificates, so nothing else is stored.

use crate::key::Key;
use p256::elliptic_curve::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

/// 32 secret bytes. Everything else follows from them by name.
#[derive(Clone)]
pub(crate) struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Takes 32 bytes that are as secret as the keys shall be.
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From secrets of any number and length.
    pub(crate) fn mix(label: &str, secrets: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in [label.as_bytes()].iter().chain(secrets) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self::new(hash.finalize().into())
    }

    /// The bytes for one purpose. Whoever has them learns nothing about those for another.
    pub(crate) fn bytes(&self, label: &str) -> [u8; 32] {
        *Self::mix(label, &[&self.0[..]]).0
    }

    /// The key for one purpose.
    pub(crate) fn key(&self, label: &str) -> Key {
        // One in 2^32 candidates is not below the order of the curve.
        (0_u32..)
            .find_map(|counter| {
                let candidate = Self::mix(label, &[&self.0[..], &counter.to_be_bytes()]);
                Key::from_scalar(&candidate.0)
            })
            .expect("a hash is below the order sooner or later")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_seeds_separate() {
        let [a, b] = [Seed::new([1; 32]), Seed::new([2; 32])];
        assert_eq!(a.bytes("x"), Seed::new([1; 32]).bytes("x"));
        assert_ne!(a.bytes("x"), a.bytes("y"));
        assert_ne!(a.bytes("x"), b.bytes("x"));
        assert_eq!(a.key("x").public(), a.key("x").public());
        assert_ne!(a.key("x").public(), a.key("y").public());
        assert_ne!(a.key("x").public(), b.key("x").public());
        // Where one part ends counts.
        assert_ne!(*Seed::mix("x", &[b"ab", b"c"]).0, *Seed::mix("x", &[b"a", b"bc"]).0);
    }
}
