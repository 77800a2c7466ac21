//! Verified contents of a regular file.
//!
//! A file is opened at the host when a block of it is needed, and stays open among the [`MAX_OPEN`] last
//! used ones together with the tree nodes that were verified. A reader in order gets [`AHEAD`] blocks per
//! host call; any other gets just the block it needs, since every block costs a hash.

use super::cache::Block;
use super::{Shared, TreeNodes};
use crate::errno::Errno;
use crate::fs::memfs::LowerFile;
use crate::host::HostFile;
use crate::platform::Platform;
use crate::sync::Mutex;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use workload::digest::{Digest, Hex};
use workload::meta::Inode;
use workload::verity::{BLOCK, Layout, Verifier};

/// Files that the host keeps open for us.
const MAX_OPEN: usize = 64;

/// Blocks read at once by a reader in order: 64 KiB.
const AHEAD: u64 = 16;

pub(super) struct VerifiedFile {
    shared: Arc<Shared>,
    id: u64,
    /// Where the host has the data.
    path: Vec<u8>,
    digest: Digest,
    tree: u64,
    layout: Layout,
    /// Block that a reader in order asks for next.
    next: AtomicU64,
}

/// A file that the host has open, and what of its tree is verified.
struct Open {
    platform: &'static dyn Platform,
    file: HostFile,
    verifier: Mutex<Verifier>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.platform.host().close(self.file);
    }
}

/// The files that are open, the last used at the end.
pub(super) struct OpenFiles(Mutex<Vec<(u64, Arc<Open>)>>);

impl OpenFiles {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn get(&self, file: &VerifiedFile) -> Result<Arc<Open>, String> {
        let mut open = self.0.lock();
        if let Some(at) = open.iter().position(|(id, _)| *id == file.id) {
            let entry = open.remove(at);
            let found = entry.1.clone();
            open.push(entry);
            return Ok(found);
        }
        drop(open);
        let platform = file.shared.platform;
        let handle = platform.host().open(&file.path);
        let handle = handle.map_err(|errno| format!("open: host: {errno:?}"))?;
        let verifier = Verifier::new(file.layout.size(), file.digest);
        let verifier = Mutex::new(verifier.hashing_with(platform.sha256()));
        let new = Arc::new(Open { platform, file: handle, verifier });
        let mut open = self.0.lock();
        // Dropped after the lock: closing is a host call.
        let oldest = (open.len() >= MAX_OPEN).then(|| open.remove(0));
        open.push((file.id, new.clone()));
        drop(open);
        drop(oldest);
        Ok(new)
    }
}

impl VerifiedFile {
    pub(super) fn new(shared: Arc<Shared>, id: u64, path: Vec<u8>, inode: &Inode) -> Self {
        Self {
            shared,
            id,
            path,
            digest: inode.digest,
            tree: inode.tree_offset(),
            layout: Layout::of(inode.size),
            next: AtomicU64::new(0),
        }
    }

    /// Reads and verifies `count` blocks from `first`; gives the first one.
    fn fetch(&self, first: u64, count: u64) -> Result<Block, String> {
        let open = self.shared.open.get(self)?;
        let start = first * BLOCK as u64;
        let length = (self.layout.size() - start).min(count * BLOCK as u64) as usize;
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let rest = &mut bytes[done..];
            let wanted = rest.len();
            let read = self.shared.platform.host().read_at(open.file, start + done as u64, rest);
            match read.map_err(|errno| format!("block {first}: host: {errno:?}"))? {
                0 => break,
                got if got > wanted => {
                    return Err(format!("block {first}: expected {wanted} bytes, got {got}"));
                }
                got => done += got,
            }
        }
        // What is missing at the end of a shorter file fails below as a block of the wrong length.
        bytes.truncate(done);
        let nodes = TreeNodes { platform: self.shared.platform, start: self.tree };
        let mut wanted = None;
        for index in first..first + count {
            let from = ((index - first) as usize * BLOCK).min(bytes.len());
            let piece = &bytes[from..bytes.len().min(from + BLOCK)];
            let verified = open.verifier.lock().verify(index, piece, &nodes);
            match verified {
                Ok(()) => {}
                // Only what was asked for is an error; the rest was a guess.
                Err(_) if index > first => break,
                Err(error) => return Err(format!("{error}")),
            }
            let mut block = Arc::new([0; BLOCK]);
            Arc::make_mut(&mut block)[..piece.len()].copy_from_slice(piece);
            if index == first {
                wanted = Some(block.clone());
            }
            self.shared.cache.put((self.id, index), block);
        }
        wanted.ok_or_else(|| format!("block {first}: expected at least one block"))
    }
}

impl LowerFile for VerifiedFile {
    fn block(&self, index: u64) -> Result<Block, Errno> {
        let is_in_order = self.next.swap(index + 1, Ordering::Relaxed) == index;
        if let Some(block) = self.shared.cache.get((self.id, index)) {
            return Ok(block);
        }
        let left = self.layout.blocks().checked_sub(index).filter(|left| *left > 0);
        let left = left.ok_or(Errno::EIO)?;
        let count = if is_in_order { left.min(AHEAD) } else { 1 };
        self.fetch(index, count).map_err(|error| {
            let path = String::from_utf8_lossy(&self.path);
            self.shared.refused(&format_args!("{path}: {error}"))
        })
    }

    fn digest(&self) -> [u8; 32] {
        let Hex(digest) = self.digest;
        digest
    }
}
