//! fs-verity: the digest of a file, its Merkle tree, and verification of single blocks.
//!
//! Digests are those of the Linux kernel and of fsverity-utils with SHA-256, 4096-byte blocks and no salt
//! (Documentation/filesystems/fsverity.rst, "Merkle tree" and "fs-verity descriptor"): level 0 holds the
//! hashes of the file's blocks, level n+1 those of level n's blocks, each block padded with zeros, up to a
//! level of one block, whose hash is the root hash. The digest is the hash of a descriptor that holds the
//! root hash and the file's size, so that size is verified too.
//!
//! A tree is stored as the kernel stores it: highest level first. A file of at most one block has no tree.
//! Trees are *not* measured: [`Verifier`] takes them from anywhere and believes a node only once its hash
//! is the one that the verified node above it holds.

mod tree;
mod verifier;

pub use tree::{Tree, leaf_hash};
pub use verifier::{MIN_CACHE, Nodes, Verifier, VerityError};

use crate::digest::{Digest, Hex};

/// Bytes of a data block and of a tree node.
pub const BLOCK: usize = 4096;

/// Bytes of a hash.
pub const HASH: usize = 32;

/// Hashes in a node.
pub const FANOUT: u64 = (BLOCK / HASH) as u64;

/// Most levels of a tree: 2^52 blocks, 7 bits a level.
pub const MAX_LEVELS: usize = 8;

/// The shape of the tree of a file of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    size: u64,
    /// Nodes per level, lowest level first.
    nodes: [u64; MAX_LEVELS],
    levels: usize,
}

impl Layout {
    /// The tree of a file of `size` bytes.
    #[must_use]
    pub fn of(size: u64) -> Self {
        let mut layout = Self { size, nodes: [0; MAX_LEVELS], levels: 0 };
        let mut below = layout.blocks();
        while below > 1 {
            below = below.div_ceil(FANOUT);
            layout.nodes[layout.levels] = below;
            layout.levels += 1;
        }
        layout
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Data blocks of the file.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(BLOCK as u64)
    }

    /// Bytes of data block `index`; 0 past the end.
    #[must_use]
    pub fn block_length(&self, index: u64) -> usize {
        let start = index.saturating_mul(BLOCK as u64);
        self.size.saturating_sub(start).min(BLOCK as u64) as usize
    }

    /// Levels of the tree.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// Nodes of a level, 0 the lowest.
    #[must_use]
    pub fn nodes(&self, level: usize) -> u64 {
        self.nodes.get(level).copied().unwrap_or(0)
    }

    /// Bytes of the tree.
    #[must_use]
    pub fn tree_length(&self) -> u64 {
        self.nodes.iter().sum::<u64>() * BLOCK as u64
    }

    /// Offset of a node from the start of the tree.
    #[must_use]
    pub fn node_offset(&self, level: usize, index: u64) -> u64 {
        let above: u64 = self.nodes.iter().skip(level + 1).sum();
        (above + index) * BLOCK as u64
    }
}

/// The digest of a file from its size and root hash (zeros for an empty file).
#[must_use]
pub fn digest(size: u64, root_hash: &[u8; HASH]) -> Digest {
    Digest::of(&descriptor(size, root_hash))
}

/// struct fsverity_descriptor, with which the kernel and fsverity-utils compute the file digest.
fn descriptor(size: u64, root_hash: &[u8; HASH]) -> [u8; 256] {
    let mut descriptor = [0; 256];
    descriptor[0] = 1; // version
    descriptor[1] = 1; // FS_VERITY_HASH_ALG_SHA256
    descriptor[2] = 12; // log2 of the block size
    descriptor[8..16].copy_from_slice(&size.to_le_bytes());
    descriptor[16..48].copy_from_slice(root_hash); // of 64 bytes; salt and reserved are zero
    descriptor
}

/// The digest of an empty file.
#[must_use]
pub fn empty() -> Digest {
    digest(0, &[0; HASH])
}

/// SHA-256 as this crate computes it where the caller has nothing faster.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; HASH] {
    let Hex(hash) = Digest::of(bytes);
    hash
}
