//! Pages on their way to EADD: the kernel takes many in one ioctl, the driver boundary one at a time.

/// Most bytes in one ioctl.
const MAX_BYTES: usize = 1 << 20;
const PAGE: usize = 4096;

/// Pages one after the other with the same SECINFO, all measured or none.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) offset: u64,
    pub(super) secinfo: [u8; 64],
    pub(super) is_measured: bool,
    pub(super) bytes: Vec<u8>,
}

impl Batch {
    pub(super) fn new(
        offset: u64,
        secinfo: &[u8; 64],
        is_measured: bool,
        page: &[u8; PAGE],
    ) -> Self {
        Self { offset, secinfo: *secinfo, is_measured, bytes: page.to_vec() }
    }

    /// Takes a page that continues the batch; says whether it does.
    pub(super) fn extend(
        &mut self,
        offset: u64,
        secinfo: &[u8; 64],
        is_measured: bool,
        page: &[u8; PAGE],
    ) -> bool {
        let continues = offset == self.offset + self.bytes.len() as u64
            && *secinfo == self.secinfo
            && is_measured == self.is_measured
            && self.bytes.len() < MAX_BYTES;
        if continues {
            self.bytes.extend_from_slice(page);
        }
        continues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_continues_is_taken() {
        let (rw, rx, page) = ([3; 64], [5; 64], [7; PAGE]);
        let mut batch = Batch::new(0x1_0000, &rw, true, &page);
        assert!(batch.extend(0x1_1000, &rw, true, &page));
        assert!(!batch.extend(0x1_3000, &rw, true, &page), "a gap");
        assert!(!batch.extend(0x1_2000, &rx, true, &page), "other permissions");
        assert!(!batch.extend(0x1_2000, &rw, false, &page), "not measured");
        assert_eq!(batch.bytes.len(), 2 * PAGE);
        for i in 2..MAX_BYTES / PAGE {
            assert!(batch.extend(0x1_0000 + (i * PAGE) as u64, &rw, true, &page));
        }
        assert!(!batch.extend(0x1_0000 + MAX_BYTES as u64, &rw, true, &page), "full");
    }
}
