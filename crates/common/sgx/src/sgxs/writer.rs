//! Writing a canonical stream.

use super::{Ecreate, Page, SgxsError, UNMEASRD, Write, check_eadd, check_ecreate};
use crate::measure::{
    CHUNK_SIZE, PAGE_STREAM_SIZE, RECORD_SIZE, eadd_record, ecreate_record, eextend_record,
    write_page_stream,
};
use crate::page::{PAGE_SIZE, Secinfo};

/// Writes a stream: pages by ascending offset.
pub struct Writer<W> {
    output: W,
    ecreate: Ecreate,
    next_offset: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the record of ECREATE.
    ///
    /// # Errors
    /// A value that ECREATE refuses, or the output's.
    pub fn new(mut output: W, ecreate: Ecreate) -> Result<Self, SgxsError<W::Error>> {
        check_ecreate(0, &ecreate)?;
        let record = ecreate_record(ecreate.ssaframesize_pages, ecreate.size);
        output.write_all(&record).map_err(SgxsError::Io)?;
        Ok(Self { output, ecreate, next_offset: 0 })
    }

    /// A page that is measured with its content.
    ///
    /// # Errors
    /// An offset or SECINFO that is not canonical, or the output's.
    pub fn measured(
        &mut self,
        offset: u64,
        secinfo: &Secinfo,
        data: &[u8; PAGE_SIZE],
    ) -> Result<(), SgxsError<W::Error>> {
        self.eadd(offset, secinfo)?;
        let mut stream = [0; PAGE_STREAM_SIZE];
        write_page_stream(offset, secinfo, data, &mut stream);
        self.output.write_all(&stream).map_err(SgxsError::Io)
    }

    /// A page of zeros of which only place and permissions are measured.
    ///
    /// # Errors
    /// As [`measured`](Self::measured).
    pub fn unmeasured_zero(
        &mut self,
        offset: u64,
        secinfo: &Secinfo,
    ) -> Result<(), SgxsError<W::Error>> {
        self.eadd(offset, secinfo)?;
        self.output.write_all(&eadd_record(offset, secinfo)).map_err(SgxsError::Io)
    }

    /// Any page.
    ///
    /// # Errors
    /// As [`measured`](Self::measured).
    pub fn page(&mut self, page: &Page) -> Result<(), SgxsError<W::Error>> {
        if page.measured == u16::MAX {
            return self.measured(page.offset, &page.secinfo, &page.data);
        }
        self.unmeasured_zero(page.offset, &page.secinfo)?;
        for (index, chunk) in page.data.chunks_exact(CHUNK_SIZE).enumerate() {
            if (page.present | page.measured) & 1 << index == 0 {
                continue;
            }
            let mut both = [0; RECORD_SIZE + CHUNK_SIZE];
            let offset = page.offset + (index * CHUNK_SIZE) as u64;
            both[..RECORD_SIZE].copy_from_slice(&eextend_record(offset));
            if page.measured & 1 << index == 0 {
                both[..UNMEASRD.len()].copy_from_slice(&UNMEASRD);
            }
            both[RECORD_SIZE..].copy_from_slice(chunk);
            self.output.write_all(&both).map_err(SgxsError::Io)?;
        }
        Ok(())
    }

    /// The output. Nothing is left to write: a stream has no end mark.
    pub fn into_inner(self) -> W {
        self.output
    }

    fn eadd(&mut self, offset: u64, secinfo: &Secinfo) -> Result<(), SgxsError<W::Error>> {
        check_eadd(0, &self.ecreate, self.next_offset, offset, secinfo)?;
        self.next_offset = offset + PAGE_SIZE as u64;
        Ok(())
    }
}
