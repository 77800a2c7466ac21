//! A bounded cache of verified blocks.
//!
//! Keys are (file, block); the file is a number of the caller's. Second chance: a block that was used since
//! the hand last passed stays for one more round.

use crate::sync::Mutex;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use hashbrown::HashMap;
use workload::verity::BLOCK;

/// A verified block, zeros past the end of the file.
pub(super) type Block = Arc<[u8; BLOCK]>;

type Key = (u64, u64);

/// Verified blocks of all files.
pub struct BlockCache {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Default)]
struct State {
    blocks: HashMap<Key, Entry>,
    /// Keys in the order in which the hand passes.
    ring: VecDeque<Key>,
}

struct Entry {
    block: Block,
    is_used: bool,
}

impl BlockCache {
    /// Keeps up to `limit` blocks of 4096 bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::default()), limit: limit.max(1) })
    }

    pub(super) fn get(&self, key: Key) -> Option<Block> {
        let mut state = self.state.lock();
        let entry = state.blocks.get_mut(&key)?;
        entry.is_used = true;
        Some(entry.block.clone())
    }

    pub(super) fn put(&self, key: Key, block: Block) {
        let mut state = self.state.lock();
        if state.blocks.contains_key(&key) {
            return;
        }
        while state.blocks.len() >= self.limit {
            let Some(oldest) = state.ring.pop_front() else { break };
            match state.blocks.get_mut(&oldest) {
                Some(entry) if entry.is_used => {
                    entry.is_used = false;
                    state.ring.push_back(oldest);
                }
                _ => drop(state.blocks.remove(&oldest)),
            }
        }
        state.blocks.insert(key, Entry { block, is_used: false });
        state.ring.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_is_used() {
        let cache = BlockCache::new(4);
        for index in 0..100 {
            cache.put((1, index), Arc::new([index as u8; BLOCK]));
            assert_eq!(cache.get((1, 0)).unwrap()[0], 0, "used in every round");
        }
        let state = cache.state.lock();
        assert_eq!((state.blocks.len(), state.ring.len()), (4, 4));
    }
}
