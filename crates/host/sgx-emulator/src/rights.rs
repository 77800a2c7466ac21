//! Page-table rights of ELRANGE, by runs of pages: what `mprotect(2)` made of the enclave's mapping.

use sgx::driver::Protection;
use std::collections::BTreeMap;
use std::ops::Range;

/// A map from page number to rights. It starts with all rights everywhere.
#[derive(Default)]
pub(crate) struct RightsMap {
    /// First page of a run to the run's rights. What lies before the first run has all rights.
    runs: BTreeMap<u64, Protection>,
}

impl RightsMap {
    pub(crate) fn get(&self, page: u64) -> Protection {
        self.runs.range(..=page).next_back().map_or(Protection::ALL, |(_, &rights)| rights)
    }

    /// Sets the rights of a range; an empty range changes nothing.
    pub(crate) fn set(&mut self, pages: Range<u64>, rights: Protection) {
        if pages.is_empty() {
            return;
        }
        let after = self.get(pages.end);
        let covered: Vec<u64> = self.runs.range(pages.clone()).map(|(&start, _)| start).collect();
        for start in covered {
            self.runs.remove(&start);
        }
        if pages.start.checked_sub(1).map_or(Protection::ALL, |page| self.get(page)) != rights {
            self.runs.insert(pages.start, rights);
        }
        if after == rights {
            self.runs.remove(&pages.end);
        } else {
            self.runs.insert(pages.end, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the obvious model, an array, under a few thousand arbitrary changes.
    #[test]
    fn runs_equal_an_array() {
        let mut model = [Protection::ALL; 64];
        let mut map = RightsMap::default();
        let mut state = 1_u64;
        for _ in 0..5000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (a, b) = ((state >> 33) % 64, (state >> 43) % 64);
            let rights = Protection((state >> 55) as u8 & 7);
            let pages = a.min(b)..a.max(b);
            map.set(pages.clone(), rights);
            model[pages.start as usize..pages.end as usize].fill(rights);
            for (page, &expected) in model.iter().enumerate() {
                assert_eq!(map.get(page as u64), expected, "page {page} after {pages:?}");
            }
        }
        assert!(map.runs.len() <= 64);
    }
}
