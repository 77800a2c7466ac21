//! Building a tree.

use super::{BLOCK, HASH, Layout, digest, sha256};
use crate::digest::Digest;
use alloc::vec;
use alloc::vec::Vec;

/// A file's Merkle tree and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The nodes, highest level first; empty for a file of at most one block.
    pub nodes: Vec<u8>,
    /// The digest.
    pub digest: Digest,
}

impl Tree {
    /// The tree of a file in memory.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        let leaves: Vec<[u8; HASH]> =
            data.chunks(BLOCK).map(|block| leaf_hash(block, sha256)).collect();
        Self::from_leaves(data.len() as u64, &leaves, sha256)
    }

    /// The tree over the hashes of a file's blocks ([`leaf_hash`]), which the caller may have computed in
    /// parallel. `hash` is SHA-256.
    ///
    /// # Panics
    /// If there is not one leaf per block of a file of `size` bytes.
    #[must_use]
    pub fn from_leaves(
        size: u64,
        leaves: &[[u8; HASH]],
        hash: impl Fn(&[u8]) -> [u8; HASH],
    ) -> Self {
        let layout = Layout::of(size);
        assert_eq!(leaves.len() as u64, layout.blocks(), "one leaf per block");
        let mut nodes = vec![0; layout.tree_length() as usize];
        let mut hashes = leaves.to_vec();
        for level in 0..layout.levels() {
            let start = layout.node_offset(level, 0) as usize;
            for (slot, hash) in nodes[start..].chunks_exact_mut(HASH).zip(&hashes) {
                slot.copy_from_slice(hash);
            }
            let length = layout.nodes(level) as usize * BLOCK;
            let level = &nodes[start..start + length];
            hashes = level.chunks_exact(BLOCK).map(&hash).collect();
        }
        let root_hash = hashes.first().copied().unwrap_or([0; HASH]);
        Self { nodes, digest: digest(size, &root_hash) }
    }
}

/// The hash of a data block of at most [`BLOCK`] bytes, padded with zeros. `hash` is SHA-256.
///
/// # Panics
/// If the block is longer.
#[must_use]
pub fn leaf_hash(block: &[u8], hash: impl Fn(&[u8]) -> [u8; HASH]) -> [u8; HASH] {
    if block.len() == BLOCK {
        return hash(block);
    }
    let mut padded = [0; BLOCK];
    padded[..block.len()].copy_from_slice(block);
    hash(&padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verity::empty;
    use std::string::ToString;

    /// Digests that `fsverity digest` of fsverity-utils 1.5 (Debian 12) prints for `size` bytes, where byte
    /// i is i % 251.
    const GOLDEN: &[(usize, &str)] = &[
        (0, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"),
        (1, "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551"),
        (4095, "5f4953aad672b0188023d6cd6fbce9d09508eb7dad165b6298ce0086bc1e72db"),
        (4096, "13e9b8848ae484a36acb3f3cac0ceb2f7601e96633d15c92f9bd3dd44e492157"),
        (4097, "b0d074abef4d544404facfab6ba242f6a8ccbde90f1325cd286f3c8aa8d0f8aa"),
        (100_000, "f582acdb8f0ae0d159b650c0b967c2770f2bc994a416f80db8780a70b256714b"),
        (524_288, "d82861203d50ae9b60948504a704f35f5118bd229aeb1a22d6dae47b1767c4c4"),
        (524_289, "4dc6905041c9c4ee73e13b53f63f5d289c46da359b664a965ead7f8cc4d799d4"),
        (3_000_000, "806637cc95983f0e50918d26413ef0a35b7cd8ed7c16e2c5ff140ea87bdc8f58"),
    ];

    pub(crate) fn pattern(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn digests_are_those_of_fsverity_utils() {
        for (size, digest) in GOLDEN {
            assert_eq!(Tree::of(&pattern(*size)).digest.to_string(), *digest, "{size}");
        }
        assert_eq!(Tree::of(&[]).digest, empty());
    }

    #[test]
    fn sizes_on_both_sides_of_each_level_have_the_expected_shape() {
        let block = BLOCK as u64;
        for (size, levels, nodes) in [
            (0, 0, 0),
            (1, 0, 0),
            (block, 0, 0),
            (block + 1, 1, 1),
            (block * 128, 1, 1),
            (block * 128 + 1, 2, 3),
            (block * 128 * 128, 2, 129),
            (block * 128 * 128 + 1, 3, 129 + 1 + 2),
            (u64::MAX, 8, 35_461_414_388_745),
        ] {
            let layout = Layout::of(size);
            assert_eq!(layout.levels(), levels, "{size}");
            assert_eq!(layout.tree_length(), nodes * block, "{size}");
        }
        let layout = Layout::of(block * 128 * 128);
        assert_eq!(layout.node_offset(1, 0), 0, "the highest level is first");
        assert_eq!(layout.node_offset(0, 0), block);
        assert_eq!(layout.node_offset(0, 127), 128 * block);
    }
}
