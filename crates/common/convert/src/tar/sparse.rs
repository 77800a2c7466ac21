//! Sparse files: which ranges of a file the archive holds.

use super::TarError;

/// The ranges of a file that hold data, ascending; the rest reads as zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    /// Offset and length.
    ranges: Vec<(u64, u64)>,
}

/// Most ranges of one file.
const MAX_RANGES: usize = 1 << 18;

impl Map {
    /// Adds a range.
    pub(super) fn push(&mut self, offset: u64, length: u64) -> Result<(), TarError> {
        let end = self.ranges.last().map_or(0, |last| last.0 + last.1);
        if offset < end || offset.checked_add(length).is_none() {
            let got = format!("{length} bytes at {offset} after {end}");
            let expected = "ascending ranges";
            return Err(TarError::Field { field: "sparse map", expected, got });
        }
        if self.ranges.len() == MAX_RANGES {
            let (field, got) = ("sparse map", MAX_RANGES as u64 + 1);
            return Err(TarError::TooLarge { field, expected_at_most: MAX_RANGES as u64, got });
        }
        if length > 0 {
            self.ranges.push((offset, length));
        }
        Ok(())
    }

    /// Adds ranges given as offset, length, offset, length and so on.
    pub(super) fn extend(&mut self, numbers: &[u64]) -> Result<(), TarError> {
        if !numbers.len().is_multiple_of(2) {
            let got = format!("{} numbers", numbers.len());
            let expected = "pairs of offset and length";
            return Err(TarError::Field { field: "sparse map", expected, got });
        }
        numbers.chunks_exact(2).try_for_each(|pair| self.push(pair[0], pair[1]))
    }

    /// Checks that the ranges lie in a file of `size` bytes and are as long as the `stored` data.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Vec<(u64, u64)>, TarError> {
        let end = self.ranges.last().map_or(0, |last| last.0 + last.1);
        let total: u64 = self.ranges.iter().map(|range| range.1).sum();
        if end > size || total != stored {
            let got = format!("{total} bytes up to {end}, of {stored} in a file of {size}");
            let expected = "ranges inside the file, of all stored data";
            return Err(TarError::Field { field: "sparse map", expected, got });
        }
        Ok(self.ranges)
    }
}
