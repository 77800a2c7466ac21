//! Mappings of one process.

use super::image::MappedImage;
use crate::fs::file::PageSource;
use crate::platform::Access;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

/// What fills a mapping's pages.
#[derive(Clone)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// Private pages of a file.
    File {
        /// The file.
        source: Arc<dyn PageSource>,
        /// Offset in the file of the mapping's start, in bytes.
        offset: u64,
        /// Where the file's system calls go; None where it is not executable or not decoded.
        image: Option<Arc<MappedImage>>,
    },
    /// Pages of a shared object, at the one place the object has.
    Shared {
        /// The object.
        object: Arc<super::shared::SharedObject>,
        /// Offset in the object of the mapping's start, in bytes.
        offset: u64,
    },
}

/// What a mapping is called in /proc/PID/maps and how it behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Made by mmap(2) or the loader.
    #[default]
    Plain,
    /// The heap (brk).
    Heap,
    /// The main thread's stack.
    Stack,
}

/// One mapping.
#[derive(Clone)]
pub struct Vma {
    /// Its first address after the end.
    pub end: u64,
    /// What the program may do.
    pub access: Access,
    /// What fills it.
    pub backing: Backing,
    /// Its role.
    pub role: Role,
    /// The file's path for /proc/PID/maps; empty for none.
    pub path: Arc<[u8]>,
}

impl Vma {
    /// The part of this mapping from `delta` bytes after its start.
    fn part_from(&self, delta: u64) -> Self {
        let mut part = self.clone();
        if let Backing::File { offset, .. } | Backing::Shared { offset, .. } = &mut part.backing {
            *offset += delta;
        }
        part
    }

    /// Whether it is shared between processes.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.backing, Backing::Shared { .. })
    }
}

/// Counts the changes of something that others keep what they know of.
#[derive(Clone, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    /// Changes so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Whether both count the same changes.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What was known before is out of date.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// All mappings by start; disjoint, page-aligned.
#[derive(Default)]
pub struct Vmas {
    map: BTreeMap<u64, Vma>,
    /// Noted at each change.
    changes: Changes,
}

impl Clone for Vmas {
    /// The same mappings; those who know about this one's changes do not about the copy's.
    fn clone(&self) -> Self {
        Self { map: self.map.clone(), changes: Changes::default() }
    }
}

impl Vmas {
    /// Where changes are counted.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The mapping that holds `address`, with its start.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<(u64, &Vma)> {
        self.map
            .range(..=address)
            .next_back()
            .filter(|(_, vma)| address < vma.end)
            .map(|(start, vma)| (*start, vma))
    }

    /// Mappings that touch `range`, ascending, uncut.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Vma)> {
        let first = self.find(range.start).map_or(range.start, |(start, _)| start);
        self.map.range(first..range.end.max(first)).map(|(start, vma)| (*start, vma))
    }

    /// All, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Vma)> {
        self.map.iter().map(|(start, vma)| (*start, vma))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Total bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(start, vma)| vma.end - start).sum()
    }

    /// Whether every address of `range` is mapped.
    #[must_use]
    pub fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for (start, vma) in self.overlapping(range.clone()) {
            if start > at {
                return false;
            }
            at = vma.end;
        }
        at >= range.end
    }

    /// Adds a mapping where nothing is mapped, joined with anonymous neighbours of the same kind.
    pub fn insert(&mut self, start: u64, vma: Vma) {
        self.changes.note();
        let (mut start, mut vma) = (start, vma);
        if let Some((before, neighbour)) = self.map.range(..start).next_back()
            && neighbour.end == start
            && is_joinable(neighbour, &vma)
        {
            start = *before;
        }
        if let Some(after) = self.map.get(&vma.end)
            && is_joinable(&vma, after)
        {
            let end = after.end;
            self.map.remove(&vma.end);
            vma.end = end;
        }
        self.map.insert(start, vma);
    }

    /// Removes what is mapped in `range`; gives the parts back.
    pub fn remove(&mut self, range: Range<u64>) -> Vec<(u64, Vma)> {
        self.changes.note();
        self.split(range.start);
        self.split(range.end);
        let starts: Vec<u64> = self.map.range(range).map(|(start, _)| *start).collect();
        starts.into_iter().filter_map(|start| Some((start, self.map.remove(&start)?))).collect()
    }

    /// Changes the mappings in `range`, cut at its ends.
    pub fn update(&mut self, range: Range<u64>, change: impl Fn(&mut Vma)) {
        for (start, mut vma) in self.remove(range) {
            change(&mut vma);
            self.insert(start, vma);
        }
    }

    fn split(&mut self, at: u64) {
        let Some((start, vma)) = self.find(at) else { return };
        if start == at {
            return;
        }
        let upper = vma.part_from(at - start);
        self.map.get_mut(&start).expect("found above").end = at;
        self.map.insert(at, upper);
    }
}

fn is_joinable(low: &Vma, high: &Vma) -> bool {
    matches!((&low.backing, &high.backing), (Backing::Anonymous, Backing::Anonymous))
        && low.access == high.access
        && low.role == high.role
        && low.path == high.path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymous(end: u64, write: bool) -> Vma {
        Vma {
            end,
            access: Access { read: true, write, execute: false },
            backing: Backing::Anonymous,
            role: Role::Plain,
            path: Arc::from([]),
        }
    }

    #[test]
    fn neighbours_join_and_split_again() {
        let mut vmas = Vmas::default();
        vmas.insert(0x1000, anonymous(0x2000, true));
        vmas.insert(0x3000, anonymous(0x4000, true));
        vmas.insert(0x2000, anonymous(0x3000, true));
        assert_eq!(vmas.len(), 1);
        vmas.update(0x2000..0x3000, |vma| vma.access.write = false);
        assert_eq!(vmas.len(), 3);
        assert!(vmas.covers(0x1000..0x4000));
        assert!(!vmas.find(0x2fff).unwrap().1.access.write);
        let known = vmas.changes().clone();
        let before = known.count();
        assert_eq!(vmas.clone().remove(0x1000..0x2000).len(), 1);
        assert_eq!(known.count(), before, "a copy's changes are its own");
        assert_eq!(vmas.remove(0x1800..0x1801).len(), 1);
        assert_ne!(known.count(), before);
        assert!(!vmas.covers(0x1000..0x4000));
        assert!(vmas.find(0x1800).is_none());
    }
}
