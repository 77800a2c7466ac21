//! A blob in memory: for tools and tests, which have no host between them and it.

use super::{BLOCK, Blocks, Meta};
use alloc::vec::Vec;

impl Blocks for &[u8] {
    type Block = Vec<u8>;
    type Error = &'static str;

    fn block(&self, index: u64) -> Result<Vec<u8>, Self::Error> {
        let start = usize::try_from(index).ok().and_then(|index| index.checked_mul(BLOCK));
        let bytes = start.and_then(|start| self.get(start..start.checked_add(BLOCK)?));
        bytes.map(<[u8]>::to_vec).ok_or("no such block")
    }
}

/// Reads what there is to read in a blob; a fuzz target calls it.
pub fn fuzz(bytes: &[u8]) {
    let Ok(meta) = Meta::open(bytes, bytes.len() as u64) else { return };
    for number in 0..meta.inodes().min(700) as u32 {
        let Ok(inode) = meta.inode(number) else { continue };
        let _ = meta.symlink_target(&inode);
        let _ = meta.data_path(&inode);
        let _ = meta.xattr_value(&inode, b"user.x");
        let _ = meta.lookup(&inode, b"file-300");
        for index in 0..inode.entries().min(5) {
            let _ = meta.entry(&inode, index);
        }
    }
}
