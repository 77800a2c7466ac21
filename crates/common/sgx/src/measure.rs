//! MRENCLAVE: what ECREATE, EADD and EEXTEND hash (SDM Vol. 3D, their operation sections).
//!
//! Each instruction appends a 64-byte record, EEXTEND also the 256 bytes it covers, to one serial SHA-256.
//! [`Measurement`] computes what the CPU would, given calls that the CPU would accept; whether it would is
//! for the caller to check ([`crate::sgxs`] and the drivers do).
//!
//! A whole page is hashed in one call: a call for each 64-byte record costs a third of the throughput.

use crate::hash::Sha256;
use crate::page::{PAGE_SIZE, PageType, Secinfo, SecinfoFlags};

/// Bytes that one EEXTEND covers.
pub const CHUNK_SIZE: usize = 256;
/// Chunks in a page.
pub const CHUNKS: usize = PAGE_SIZE / CHUNK_SIZE;
/// Bytes of a record.
pub const RECORD_SIZE: usize = 64;
/// What one fully extended page adds: its EADD record and sixteen times record and chunk.
pub const PAGE_STREAM_SIZE: usize = RECORD_SIZE + CHUNKS * (RECORD_SIZE + CHUNK_SIZE);

/// Tag of the record of ECREATE.
pub const ECREATE: [u8; 8] = *b"ECREATE\0";
/// Tag of the record of EADD.
pub const EADD: [u8; 8] = *b"EADD\0\0\0\0";
/// Tag of the record of EEXTEND.
pub const EEXTEND: [u8; 8] = *b"EEXTEND\0";

/// The record of ECREATE. `size` is that of ELRANGE in bytes.
#[must_use]
pub fn ecreate_record(ssaframesize_pages: u32, size: u64) -> [u8; RECORD_SIZE] {
    let mut record = [0; RECORD_SIZE];
    record[..8].copy_from_slice(&ECREATE);
    record[8..12].copy_from_slice(&ssaframesize_pages.to_le_bytes());
    record[12..20].copy_from_slice(&size.to_le_bytes());
    record
}

/// The record of EADD: 48 bytes of SECINFO. `offset` is from the ELRANGE base, in bytes.
///
/// The CPU clears the permissions of a TCS before it measures; so does this.
#[must_use]
pub fn eadd_record(offset: u64, secinfo: &Secinfo) -> [u8; RECORD_SIZE] {
    let mut secinfo = *secinfo;
    if secinfo.flags.page_type() == Some(PageType::Tcs) {
        secinfo.flags.remove(SecinfoFlags::RWX);
    }
    let mut record = [0; RECORD_SIZE];
    record[..8].copy_from_slice(&EADD);
    record[8..16].copy_from_slice(&offset.to_le_bytes());
    record[16..].copy_from_slice(&secinfo.to_bytes()[..48]);
    record
}

/// The record of EEXTEND; the chunk follows it. `offset` is that of the chunk.
#[must_use]
pub fn eextend_record(offset: u64) -> [u8; RECORD_SIZE] {
    let mut record = [0; RECORD_SIZE];
    record[..8].copy_from_slice(&EEXTEND);
    record[8..16].copy_from_slice(&offset.to_le_bytes());
    record
}

/// An MRENCLAVE in the making.
#[derive(Clone)]
pub struct Measurement<H> {
    hash: H,
}

impl<H: Sha256> Measurement<H> {
    /// ECREATE.
    #[must_use]
    pub fn ecreate(ssaframesize_pages: u32, size: u64) -> Self {
        let mut hash = H::new();
        hash.update(&ecreate_record(ssaframesize_pages, size));
        Self { hash }
    }

    /// EADD. `offset` is from the ELRANGE base, in bytes.
    pub fn eadd(&mut self, offset: u64, secinfo: &Secinfo) {
        self.hash.update(&eadd_record(offset, secinfo));
    }

    /// EEXTEND of one chunk at `offset`.
    pub fn eextend(&mut self, offset: u64, chunk: &[u8; CHUNK_SIZE]) {
        let mut both = [0; RECORD_SIZE + CHUNK_SIZE];
        both[..RECORD_SIZE].copy_from_slice(&eextend_record(offset));
        both[RECORD_SIZE..].copy_from_slice(chunk);
        self.hash.update(&both);
    }

    /// EADD of a page, and EEXTEND of all of it if `extended`.
    pub fn add_page(
        &mut self,
        offset: u64,
        secinfo: &Secinfo,
        page: &[u8; PAGE_SIZE],
        extended: bool,
    ) {
        if !extended {
            return self.eadd(offset, secinfo);
        }
        let mut stream = [0; PAGE_STREAM_SIZE];
        write_page_stream(offset, secinfo, page, &mut stream);
        self.hash.update(&stream);
    }

    /// MRENCLAVE, in the byte order of the SECS and of SIGSTRUCT.ENCLAVEHASH.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.hash.finish()
    }
}

/// Writes what a fully extended page adds to the hashed stream.
pub(crate) fn write_page_stream(
    offset: u64,
    secinfo: &Secinfo,
    page: &[u8; PAGE_SIZE],
    stream: &mut [u8; PAGE_STREAM_SIZE],
) {
    let (eadd, chunks) = stream.split_at_mut(RECORD_SIZE);
    eadd.copy_from_slice(&eadd_record(offset, secinfo));
    let mut at = offset;
    for (out, chunk) in
        chunks.chunks_exact_mut(RECORD_SIZE + CHUNK_SIZE).zip(page.chunks_exact(CHUNK_SIZE))
    {
        out[..RECORD_SIZE].copy_from_slice(&eextend_record(at));
        out[RECORD_SIZE..].copy_from_slice(chunk);
        at = at.wrapping_add(CHUNK_SIZE as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Portable;

    #[test]
    fn a_whole_page_measures_as_its_chunks() {
        let mut page = [0; PAGE_SIZE];
        for (i, byte) in page.iter_mut().enumerate() {
            *byte = (i / 3) as u8;
        }
        let secinfo = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X);
        let mut whole = Measurement::<Portable>::ecreate(1, 0x10000);
        let mut chunked = whole.clone();
        whole.add_page(0x3000, &secinfo, &page, true);
        chunked.eadd(0x3000, &secinfo);
        for (i, chunk) in page.chunks_exact(CHUNK_SIZE).enumerate() {
            let chunk = chunk.try_into().expect("chunks are exact");
            chunked.eextend(0x3000 + (i * CHUNK_SIZE) as u64, chunk);
        }
        assert_eq!(whole.finish(), chunked.finish());
    }

    #[test]
    fn permissions_of_a_tcs_are_not_measured_those_of_a_page_are() {
        let tcs = Secinfo::tcs();
        let with_rw = Secinfo { flags: tcs.flags | SecinfoFlags::R | SecinfoFlags::W };
        assert_eq!(eadd_record(0, &tcs), eadd_record(0, &with_rw));
        let r = Secinfo::reg(SecinfoFlags::R);
        assert_ne!(eadd_record(0, &r), eadd_record(0, &Secinfo::reg(SecinfoFlags::RWX)));
    }

    #[test]
    fn an_unextended_page_measures_its_place_and_not_its_content() {
        let secinfo = Secinfo::reg(SecinfoFlags::R);
        let measure = |offset, byte| {
            let mut measurement = Measurement::<Portable>::ecreate(1, 0x10000);
            measurement.add_page(offset, &secinfo, &[byte; PAGE_SIZE], false);
            measurement.finish()
        };
        assert_eq!(measure(0x1000, 0), measure(0x1000, 1));
        assert_ne!(measure(0x1000, 0), measure(0x2000, 0));
    }
}
