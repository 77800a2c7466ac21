//! Verifying single blocks against a digest.

use super::{BLOCK, FANOUT, HASH, Layout, digest, leaf_hash, sha256};
use crate::digest::{Digest, Hex};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// Where nodes come from; not trusted.
pub trait Nodes {
    /// Why reading failed.
    type Error;

    /// Reads the node at `offset` bytes from the start of the file's tree.
    ///
    /// # Errors
    /// The source cannot give the whole node.
    fn read(&self, offset: u64, into: &mut [u8; BLOCK]) -> Result<(), Self::Error>;
}

/// Why a block is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerityError<E> {
    /// The node source failed.
    Nodes(E),
    /// The hash of a tree node is not the one the level above holds.
    Node {
        /// Its level, 0 the lowest.
        level: usize,
        /// Its index in the level.
        index: u64,
        /// Its measured hash; of the highest level the measured digest of the file.
        expected: Digest,
        /// The hash, or the file digest that it leads to, of what the source gave.
        got: Digest,
    },
    /// The hash of a data block is not the one the tree holds.
    Data {
        /// Its index.
        index: u64,
        /// Its measured hash; of a file of one block the measured digest of the file.
        expected: Digest,
        /// The hash, or the file digest that it leads to, of what was given.
        got: Digest,
    },
    /// A data block has another length than the file's size gives it.
    Length {
        /// Its index.
        index: u64,
        /// Bytes it has by the size of the file; 0 past the end.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
}

impl<E: fmt::Display> fmt::Display for VerityError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(error) => write!(f, "merkle tree: {error}"),
            Self::Node { level, index, expected, got } => {
                write!(
                    f,
                    "merkle tree node {index} of level {level}: expected {expected}, got {got}"
                )
            }
            Self::Data { index, expected, got } => {
                write!(f, "data block {index}: expected {expected}, got {got}")
            }
            Self::Length { index, expected, got } => {
                write!(f, "data block {index}: expected {expected} bytes, got {got}")
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for VerityError<E> {}

/// Verifies blocks of one file. Keeps a few verified nodes, so that reading in order costs one hash per
/// block and one more per 128.
#[derive(Debug)]
pub struct Verifier {
    layout: Layout,
    digest: Digest,
    cache: Vec<Cached>,
    capacity: usize,
    clock: u64,
    hash: fn(&[u8]) -> [u8; HASH],
}

#[derive(Debug)]
struct Cached {
    level: usize,
    index: u64,
    used: u64,
    node: Box<[u8; BLOCK]>,
}

/// Fewest verified nodes kept: one path.
pub const MIN_CACHE: usize = super::MAX_LEVELS;

impl Verifier {
    /// A verifier for a file of `size` bytes with this digest. It reads nothing yet: a wrong size shows with
    /// the first block, except for an empty file, which has none ([`Self::check_empty`]).
    #[must_use]
    pub fn new(size: u64, digest: Digest) -> Self {
        Self::with_cache(size, digest, MIN_CACHE)
    }

    /// Likewise, keeping up to `nodes` verified nodes of 4 KiB each, at least [`MIN_CACHE`].
    #[must_use]
    pub fn with_cache(size: u64, digest: Digest, nodes: usize) -> Self {
        Self {
            layout: Layout::of(size),
            digest,
            cache: Vec::new(),
            capacity: nodes.max(MIN_CACHE),
            clock: 0,
            hash: sha256,
        }
    }

    /// Likewise, with the caller's SHA-256, which knows its processor.
    #[must_use]
    pub fn hashing_with(self, hash: fn(&[u8]) -> [u8; HASH]) -> Self {
        Self { hash, ..self }
    }

    /// The file's shape.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the digest is that of an empty file, for a file of size 0.
    #[must_use]
    pub fn check_empty(&self) -> bool {
        self.layout.size() == 0 && self.digest == super::empty()
    }

    /// Verifies data block `index`. `data` has exactly the block's bytes, fewer than [`BLOCK`] only at the
    /// end of the file.
    ///
    /// # Errors
    /// The block, or a node between it and the digest, is not the measured one, or cannot be read.
    pub fn verify<N: Nodes>(
        &mut self,
        index: u64,
        data: &[u8],
        nodes: &N,
    ) -> Result<(), VerityError<N::Error>> {
        let expected = self.layout.block_length(index);
        if data.len() != expected || expected == 0 {
            return Err(VerityError::Length { index, expected, got: data.len() });
        }
        let hash = leaf_hash(data, self.hash);
        let (expected, got) = if self.layout.levels() == 0 {
            (self.digest, digest(self.layout.size(), &hash))
        } else {
            (Hex(self.hash_of(0, index, nodes)?), Hex(hash))
        };
        if expected == got { Ok(()) } else { Err(VerityError::Data { index, expected, got }) }
    }

    /// The verified hash of child `child` of `level` (a data block for level 0).
    fn hash_of<N: Nodes>(
        &mut self,
        level: usize,
        child: u64,
        nodes: &N,
    ) -> Result<[u8; HASH], VerityError<N::Error>> {
        let index = child / FANOUT;
        let slot = (child % FANOUT) as usize * HASH;
        self.clock += 1;
        if let Some(cached) =
            self.cache.iter_mut().find(|cached| cached.level == level && cached.index == index)
        {
            cached.used = self.clock;
            return Ok(hash_at(&cached.node, slot));
        }
        let mut node = Box::new([0; BLOCK]);
        let offset = self.layout.node_offset(level, index);
        nodes.read(offset, &mut node).map_err(VerityError::Nodes)?;
        let hash = (self.hash)(&*node);
        let (expected, got) = if level + 1 == self.layout.levels() {
            (self.digest, digest(self.layout.size(), &hash))
        } else {
            // At most MAX_LEVELS deep.
            (Hex(self.hash_of(level + 1, index, nodes)?), Hex(hash))
        };
        if expected != got {
            return Err(VerityError::Node { level, index, expected, got });
        }
        let hash = hash_at(&node, slot);
        self.keep(level, index, node);
        Ok(hash)
    }

    fn keep(&mut self, level: usize, index: u64, node: Box<[u8; BLOCK]>) {
        let entry = Cached { level, index, used: self.clock, node };
        if self.cache.len() < self.capacity {
            self.cache.push(entry);
        } else if let Some(oldest) = self.cache.iter_mut().min_by_key(|cached| cached.used) {
            *oldest = entry;
        }
    }
}

fn hash_at(node: &[u8; BLOCK], slot: usize) -> [u8; HASH] {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&node[slot..slot + HASH]);
    hash
}

#[cfg(test)]
mod tests {
    use super::super::Tree;
    use super::*;
    use alloc::vec;
    use core::cell::Cell;

    struct Counting<'a>(&'a [u8], Cell<usize>);

    impl Nodes for Counting<'_> {
        type Error = &'static str;
        fn read(&self, offset: u64, into: &mut [u8; BLOCK]) -> Result<(), Self::Error> {
            self.1.set(self.1.get() + 1);
            let start = usize::try_from(offset).map_err(|_| "offset")?;
            let node = self.0.get(start..start + BLOCK).ok_or("cut short")?;
            into.copy_from_slice(node);
            Ok(())
        }
    }

    fn file(size: usize) -> (Vec<u8>, Tree) {
        let data: Vec<u8> = (0..size).map(|i| (i * 7 % 253) as u8).collect();
        let tree = Tree::of(&data);
        (data, tree)
    }

    #[test]
    fn every_block_of_a_file_verifies_with_few_reads() {
        for size in [1, 4095, 4096, 4097, 128 * 4096, 128 * 4096 + 5, 300 * 4096] {
            let (data, tree) = file(size);
            let nodes = Counting(&tree.nodes, Cell::new(0));
            let mut verifier = Verifier::new(size as u64, tree.digest);
            for (index, block) in data.chunks(BLOCK).enumerate() {
                assert_eq!(verifier.verify(index as u64, block, &nodes), Ok(()), "{size}/{index}");
            }
            assert_eq!(nodes.1.get() * BLOCK, tree.nodes.len(), "each node once, size {size}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let size = 129 * 4096 + 17;
        let (data, tree) = file(size);
        for at in [0, 5000, size - 1] {
            let mut changed = data.clone();
            changed[at] ^= 1;
            let nodes = Counting(&tree.nodes, Cell::new(0));
            let mut verifier = Verifier::new(size as u64, tree.digest);
            for (index, block) in changed.chunks(BLOCK).enumerate() {
                let result = verifier.verify(index as u64, block, &nodes);
                if index != at / BLOCK {
                    assert_eq!(result, Ok(()));
                    continue;
                }
                let right = &data[index * BLOCK..][..block.len()];
                let expected = Hex(leaf_hash(right, sha256));
                let got = Hex(leaf_hash(block, sha256));
                let index = index as u64;
                assert_eq!(result, Err(VerityError::Data { index, expected, got }));
            }
        }
        for (at, level, index) in [(0, 1, 0), (4096, 0, 0), (2 * 4096 + 33, 0, 1)] {
            let mut changed = tree.nodes.clone();
            changed[at] ^= 0x80;
            let nodes = Counting(&changed, Cell::new(0));
            let mut verifier = Verifier::new(size as u64, tree.digest);
            let block = index * 128;
            let length = Layout::of(size as u64).block_length(block);
            let start = block as usize * BLOCK;
            let result = verifier.verify(block, &data[start..start + length], &nodes);
            let Err(VerityError::Node { level: l, index: i, expected, got }) = result else {
                panic!("{result:?}");
            };
            assert_eq!((l, i), (level, index));
            assert_eq!(expected == tree.digest, level == 1);
            assert_ne!(expected, got);
        }
    }

    #[test]
    fn another_size_is_found() {
        let (data, tree) = file(5000);
        let nodes = Counting(&tree.nodes, Cell::new(0));
        let mut longer = Verifier::new(5001, tree.digest);
        assert_eq!(
            longer.verify(1, &data[4096..], &nodes),
            Err(VerityError::Length { index: 1, expected: 905, got: 904 })
        );
        let result = longer.verify(0, &data[..4096], &nodes);
        assert!(matches!(result, Err(VerityError::Node { level: 0, index: 0, .. })), "{result:?}");
        assert_eq!(
            longer.verify(2, &[], &nodes),
            Err(VerityError::Length { index: 2, expected: 0, got: 0 })
        );
        assert!(!Verifier::new(0, tree.digest).check_empty());
        assert!(Verifier::new(0, super::super::empty()).check_empty());
    }

    #[test]
    fn a_tree_cut_short_is_an_error_of_the_source() {
        let (data, tree) = file(5000);
        let nodes = Counting(&tree.nodes[..100], Cell::new(0));
        let mut verifier = Verifier::new(5000, tree.digest);
        assert_eq!(verifier.verify(0, &data[..4096], &nodes), Err(VerityError::Nodes("cut short")));
        assert_eq!(vec![0u8; 0], verifier.cache.iter().map(|_| 0).collect::<Vec<u8>>());
    }

    #[test]
    fn a_small_cache_still_verifies_random_access() {
        let size = 128 * 130 * 4096;
        let (data, tree) = file(size);
        let nodes = Counting(&tree.nodes, Cell::new(0));
        let mut verifier = Verifier::new(size as u64, tree.digest);
        for step in 0..2000u64 {
            let index = step * 7919 % (128 * 130);
            let start = index as usize * BLOCK;
            assert_eq!(verifier.verify(index, &data[start..start + BLOCK], &nodes), Ok(()));
        }
        assert!(verifier.cache.len() <= MIN_CACHE);
    }
}
