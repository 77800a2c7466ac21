//! Reading a file of any size by offset.

use crate::errno::Errno;
use crate::fs::file::PageSource;

/// Bytes that can be read at any offset.
pub trait Bytes {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` from `offset`; fewer bytes only at the end.
    ///
    /// # Errors
    /// EIO where the file fails verification.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;
}

impl Bytes for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(<[u8]>::len(self));
        let count = into.len().min(<[u8]>::len(self) - start);
        into[..count].copy_from_slice(&self[start..start + count]);
        Ok(count)
    }
}

/// A mappable file's pages as bytes.
pub struct FileBytes<'a>(pub &'a dyn PageSource);

impl Bytes for FileBytes<'_> {
    fn len(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let available = self.0.size().saturating_sub(offset);
        let wanted = into.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let mut page = [0; 4096];
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let within = (at % 4096) as usize;
            let count = (4096 - within).min(wanted - done);
            self.0.read_page(at / 4096, &mut page)?;
            into[done..done + count].copy_from_slice(&page[within..within + count]);
            done += count;
        }
        Ok(wanted)
    }
}
