//! Who uses which user addresses.
//!
//! All processes share one range of addresses. A mapping without a fixed address gets addresses nobody
//! has, so that programs run in parallel; a collision group (see [`super::group`]) owns what its
//! members map. Reservations cost no memory.

use crate::platform::PAGE_SIZE;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// A collision group's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u64);

/// The reservations. Ranges are page-aligned, disjoint, and keyed by their start.
#[derive(Debug)]
pub struct Addresses {
    limits: Range<u64>,
    taken: BTreeMap<u64, (u64, GroupId)>,
}

impl Addresses {
    /// Nothing reserved in `limits`.
    #[must_use]
    pub fn new(limits: Range<u64>) -> Self {
        Self { limits, taken: BTreeMap::new() }
    }

    /// All addresses that programs may use.
    #[must_use]
    pub fn limits(&self) -> Range<u64> {
        self.limits.clone()
    }

    /// Reserves `length` bytes for `group`: at `hint` if that is free, else the highest free place.
    pub fn allocate(&mut self, length: u64, hint: Option<u64>, group: GroupId) -> Option<u64> {
        let start = hint
            .filter(|at| *at >= self.limits.start && at.is_multiple_of(PAGE_SIZE))
            .filter(|at| at.checked_add(length).is_some_and(|end| self.is_free(*at..end)))
            .or_else(|| self.highest_gap(length))?;
        self.insert(start..start + length, group);
        Some(start)
    }

    /// Reserves `length` bytes such that everything in them is less than `distance` from all of `near`: the
    /// highest such place, for low addresses are where fixed programs lie.
    pub fn allocate_near(
        &mut self,
        length: u64,
        near: Range<u64>,
        distance: u64,
        group: GroupId,
    ) -> Option<u64> {
        let lowest = near.end.saturating_sub(distance).max(self.limits.start);
        let mut end = near.start.saturating_add(distance).min(self.limits.end);
        while let Some(start) = end.checked_sub(length).filter(|start| *start >= lowest) {
            let taken = self.overlapping(start..end).next();
            match taken {
                None => {
                    self.insert(start..end, group);
                    return Some(start);
                }
                Some((taken, _)) => end = taken.start,
            }
        }
        None
    }

    /// Reserves exactly `range`. Parts that `group` has already stay its own; where other groups have
    /// parts nothing changes and they are named: the caller merges with them and asks again.
    ///
    /// # Errors
    /// The other groups; empty where `range` is outside the limits.
    pub fn reserve(&mut self, range: Range<u64>, group: GroupId) -> Result<(), Vec<GroupId>> {
        if range.start < self.limits.start || range.end > self.limits.end {
            return Err(Vec::new());
        }
        let mut others: Vec<_> =
            self.overlapping(range.clone()).map(|(_, g)| g).filter(|g| *g != group).collect();
        others.sort_unstable();
        others.dedup();
        if !others.is_empty() {
            return Err(others);
        }
        self.release(range.clone());
        self.insert(range, group);
        Ok(())
    }

    /// Whether nobody has any of `range`, and it is within the limits.
    #[must_use]
    pub fn is_free(&self, range: Range<u64>) -> bool {
        range.start >= self.limits.start
            && range.end <= self.limits.end
            && self.overlapping(range).next().is_none()
    }

    /// Gives addresses back.
    pub fn release(&mut self, range: Range<u64>) {
        let hit: Vec<_> = self.overlapping(range.clone()).collect();
        for (taken, group) in hit {
            self.taken.remove(&taken.start);
            if taken.start < range.start {
                self.taken.insert(taken.start, (range.start, group));
            }
            if taken.end > range.end {
                self.taken.insert(range.end, (taken.end, group));
            }
        }
    }

    /// Reserved parts of `range`, cut to it, with whose they are.
    #[must_use]
    pub fn parts(&self, range: Range<u64>) -> Vec<(Range<u64>, GroupId)> {
        let cut = |(taken, group): (Range<u64>, GroupId)| {
            (taken.start.max(range.start)..taken.end.min(range.end), group)
        };
        self.overlapping(range.clone()).map(cut).collect()
    }

    /// All that was `from`'s is now `to`'s.
    pub fn transfer(&mut self, from: GroupId, to: GroupId) {
        for (_, group) in self.taken.values_mut() {
            if *group == from {
                *group = to;
            }
        }
    }

    /// Reserved parts that touch `range`, ascending.
    fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, GroupId)> + '_ {
        let first = self.taken.range(..=range.start).next_back().map_or(range.start, |(s, _)| *s);
        self.taken
            .range(first..range.end.max(first))
            .map(|(start, (end, group))| (*start..*end, *group))
            .filter(move |(taken, _)| taken.end > range.start && taken.start < range.end)
    }

    fn highest_gap(&self, length: u64) -> Option<u64> {
        let mut end = self.limits.end;
        for (start, (taken_end, _)) in self.taken.iter().rev() {
            if end.checked_sub(length).is_some_and(|at| at >= *taken_end) {
                return Some(end - length);
            }
            end = end.min(*start);
        }
        end.checked_sub(length).filter(|at| *at >= self.limits.start)
    }

    /// Inserts a free range, joined with neighbours of the same group: mappings are many, gaps few.
    fn insert(&mut self, range: Range<u64>, group: GroupId) {
        let (mut start, mut end) = (range.start, range.end);
        if let Some((s, (e, g))) = self.taken.range(..start).next_back()
            && *e == start
            && *g == group
        {
            start = *s;
        }
        if let Some((e, g)) = self.taken.get(&end).copied()
            && g == group
        {
            self.taken.remove(&end);
            end = e;
        }
        self.taken.insert(start, (end, group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GroupId = GroupId(1);
    const B: GroupId = GroupId(2);

    fn addresses() -> Addresses {
        Addresses::new(0x10000..0x100_0000)
    }

    #[test]
    fn allocations_come_from_the_top_and_are_disjoint() {
        let mut va = addresses();
        let first = va.allocate(0x3000, None, A).unwrap();
        let second = va.allocate(0x1000, None, B).unwrap();
        assert_eq!((first, second), (0xff_d000, 0xff_c000));
        va.release(first..first + 0x3000);
        assert_eq!(va.allocate(0x2000, None, B), Some(0xff_e000));
    }

    #[test]
    fn a_hint_is_taken_only_where_free() {
        let mut va = addresses();
        assert_eq!(va.allocate(0x1000, Some(0x40_0000), A), Some(0x40_0000));
        assert_ne!(va.allocate(0x1000, Some(0x40_0000), B), Some(0x40_0000));
        assert_ne!(va.allocate(0x1000, Some(0), B), Some(0));
        assert_ne!(va.allocate(0x1000, Some(u64::MAX - 0xfff), B), Some(u64::MAX - 0xfff));
    }

    #[test]
    fn a_fixed_range_names_the_groups_in_its_way() {
        let mut va = addresses();
        va.reserve(0x40_0000..0x50_0000, A).unwrap();
        assert_eq!(va.reserve(0x4f_f000..0x51_0000, B), Err(alloc::vec![A]));
        assert_eq!(va.reserve(0x4f_f000..0x51_0000, A), Ok(()));
        assert_eq!(va.reserve(0..0x1000, A), Err(Vec::new()));
        va.transfer(A, B);
        assert_eq!(va.reserve(0x40_0000..0x40_1000, B), Ok(()));
    }

    #[test]
    fn near_means_within_the_distance_of_both_ends() {
        let mut va = addresses();
        let image = 0x40_0000..0x50_0000;
        va.reserve(image.clone(), A).unwrap();
        assert_eq!(va.allocate_near(0x2000, image.clone(), 0x20_0000, A), Some(0x5f_e000));
        va.reserve(0x50_0000..0x5f_e000, B).unwrap();
        assert_eq!(va.allocate_near(0x2000, image.clone(), 0x20_0000, A), Some(0x3f_e000));
        assert_eq!(va.allocate_near(0x40_0000, image, 0x20_0000, A), None);
    }

    #[test]
    fn exhaustion_is_an_answer() {
        let mut va = addresses();
        assert_eq!(va.allocate(0x1000_0000, None, A), None);
        assert_eq!(va.allocate(u64::MAX, Some(0x10000), A), None);
    }
}
