//! Verified blocks of the metadata blob.

use super::cache::{Block, BlockCache};
use super::{TreeNodes, read_side};
use crate::host::SideData;
use crate::platform::Platform;
use crate::sync::Mutex;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use workload::digest::Digest;
use workload::meta::Blocks;
use workload::verity::{BLOCK, Layout, Verifier};

/// Number of the blob among the files of the cache; inodes start at 1.
const METADATA: u64 = 0;

/// Verified tree nodes of the blob kept at once: with 128 blocks each, 8 MiB of metadata at hand.
const NODES: usize = 16;

pub(super) struct MetaBlocks {
    platform: &'static dyn Platform,
    layout: Layout,
    verifier: Mutex<Verifier>,
    cache: Arc<BlockCache>,
}

impl MetaBlocks {
    pub(super) fn new(
        platform: &'static dyn Platform,
        digest: Digest,
        size: u64,
        cache: Arc<BlockCache>,
    ) -> Self {
        let verifier = Verifier::with_cache(size, digest, NODES).hashing_with(platform.sha256());
        let verifier = Mutex::new(verifier);
        Self { platform, layout: Layout::of(size), verifier, cache }
    }
}

impl Blocks for MetaBlocks {
    type Block = Wrapped;
    type Error = String;

    fn block(&self, index: u64) -> Result<Wrapped, String> {
        if let Some(block) = self.cache.get((METADATA, index)) {
            return Ok(Wrapped(block));
        }
        let length = self.layout.block_length(index);
        let mut block = Arc::new([0; BLOCK]);
        let bytes = &mut Arc::make_mut(&mut block)[..length];
        read_side(self.platform, SideData::Metadata, index * BLOCK as u64, bytes)?;
        let nodes = TreeNodes { platform: self.platform, start: 0 };
        let verified = self.verifier.lock().verify(index, bytes, &nodes);
        verified.map_err(|error| format!("{error}"))?;
        self.cache.put((METADATA, index), block.clone());
        Ok(Wrapped(block))
    }
}

/// A block as bytes.
pub(super) struct Wrapped(Block);

impl AsRef<[u8]> for Wrapped {
    fn as_ref(&self) -> &[u8] {
        &self.0[..]
    }
}
