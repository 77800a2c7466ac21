//! Reading a stream page by page, and measuring it.

use super::{Ecreate, Field, Page, Read, SgxsError, UNMEASRD, check_eadd, check_ecreate};
use crate::hash::Sha256;
use crate::measure::{CHUNK_SIZE, CHUNKS, EADD, ECREATE, EEXTEND, Measurement, RECORD_SIZE};
use crate::page::{PAGE_SIZE, Secinfo};

/// Reads a stream.
pub struct Reader<R> {
    input: R,
    ecreate: Ecreate,
    /// Bytes taken from `input`.
    position: u64,
    /// The record that ended the page before.
    pending: Option<[u8; RECORD_SIZE]>,
    /// Lowest offset that the next page may have.
    next_offset: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the record of ECREATE.
    ///
    /// # Errors
    /// The stream is empty, does not start with that record, or it has a value that ECREATE refuses.
    pub fn new(input: R) -> Result<Self, SgxsError<R::Error>> {
        let ecreate = Ecreate { ssaframesize_pages: 0, size: 0 };
        let mut reader = Self { input, ecreate, position: 0, pending: None, next_offset: 0 };
        let Some(record) = reader.record()? else {
            return Err(SgxsError::Truncated { at: 0, expected: RECORD_SIZE, got: 0 });
        };
        expect_tag(&record, ECREATE, "ECREATE", 0)?;
        expect_zero(&record, 20, 0)?;
        reader.ecreate = Ecreate {
            ssaframesize_pages: u32::from_le_bytes(part(&record, 8)),
            size: u64::from_le_bytes(part(&record, 12)),
        };
        check_ecreate(0, &reader.ecreate)?;
        Ok(reader)
    }

    /// The parameters of ECREATE.
    #[must_use]
    pub fn ecreate(&self) -> Ecreate {
        self.ecreate
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// The stream is not canonical, is truncated, or cannot be read. Nothing can be read after an error.
    pub fn next_page(&mut self) -> Result<Option<Page>, SgxsError<R::Error>> {
        let Some(record) = (match self.pending.take() {
            Some(record) => Some(record),
            None => self.record()?,
        }) else {
            return Ok(None);
        };
        let at = self.position - RECORD_SIZE as u64;
        expect_tag(&record, EADD, "EADD", at)?;
        let mut secinfo = [0; Secinfo::SIZE];
        secinfo[..48].copy_from_slice(&record[16..]);
        expect_zero(&record, 24, at)?;
        let mut page = Page {
            offset: u64::from_le_bytes(part(&record, 8)),
            secinfo: Secinfo::from_bytes(&secinfo),
            measured: 0,
            present: 0,
            data: [0; PAGE_SIZE],
        };
        check_eadd(at, &self.ecreate, self.next_offset, page.offset, &page.secinfo)?;
        // Cannot overflow: the offset is below SIZE, which is a power of two and at most 2^63.
        self.next_offset = page.offset + PAGE_SIZE as u64;
        self.chunks(&mut page)?;
        Ok(Some(page))
    }

    /// Reads the chunks of a page, up to and including the record that starts something else.
    fn chunks(&mut self, page: &mut Page) -> Result<(), SgxsError<R::Error>> {
        let mut next = 0;
        while let Some(record) = self.record()? {
            let measured = match part(&record, 0) {
                EEXTEND => true,
                UNMEASRD => false,
                _ => {
                    self.pending = Some(record);
                    break;
                }
            };
            let at = self.position - RECORD_SIZE as u64;
            expect_zero(&record, 16, at)?;
            let offset = u64::from_le_bytes(part(&record, 8));
            let index = offset
                .checked_sub(page.offset)
                .filter(|in_page| in_page.is_multiple_of(CHUNK_SIZE as u64))
                .and_then(|in_page| usize::try_from(in_page / CHUNK_SIZE as u64).ok())
                .filter(|&index| index < CHUNKS)
                .ok_or(SgxsError::field(at, Field::ChunkRange, offset))?;
            if index < next {
                return Err(SgxsError::field(at, Field::ChunkOrder, offset));
            }
            next = index + 1;
            page.present |= 1 << index;
            page.measured |= u16::from(measured) << index;
            let chunk = &mut page.data[index * CHUNK_SIZE..(index + 1) * CHUNK_SIZE];
            let at = self.position;
            let got = fill(&mut self.input, chunk).map_err(SgxsError::Io)?;
            self.position += got as u64;
            if got < CHUNK_SIZE {
                return Err(SgxsError::Truncated { at, expected: CHUNK_SIZE, got });
            }
        }
        Ok(())
    }

    /// The next record; `None` at the end of the stream.
    fn record(&mut self) -> Result<Option<[u8; RECORD_SIZE]>, SgxsError<R::Error>> {
        let mut record = [0; RECORD_SIZE];
        let at = self.position;
        let got = fill(&mut self.input, &mut record).map_err(SgxsError::Io)?;
        self.position += got as u64;
        match got {
            0 => Ok(None),
            RECORD_SIZE => Ok(Some(record)),
            _ => Err(SgxsError::Truncated { at, expected: RECORD_SIZE, got }),
        }
    }
}

/// MRENCLAVE of a stream: what the CPU computes when it is loaded.
///
/// # Errors
/// As [`Reader`].
pub fn mrenclave<H: Sha256, R: Read>(input: R) -> Result<[u8; 32], SgxsError<R::Error>> {
    let mut reader = Reader::new(input)?;
    let Ecreate { ssaframesize_pages, size } = reader.ecreate();
    let mut measurement = Measurement::<H>::ecreate(ssaframesize_pages, size);
    while let Some(page) = reader.next_page()? {
        if page.measured == u16::MAX {
            measurement.add_page(page.offset, &page.secinfo, &page.data, true);
            continue;
        }
        measurement.eadd(page.offset, &page.secinfo);
        for (index, chunk) in page.data.chunks_exact(CHUNK_SIZE).enumerate() {
            if page.measured & 1 << index != 0 {
                let chunk = chunk.try_into().expect("chunks are exact");
                measurement.eextend(page.offset + (index * CHUNK_SIZE) as u64, chunk);
            }
        }
    }
    Ok(measurement.finish())
}

/// For fuzzing: reads `bytes` as a stream; if it is one, writing its pages again must give the same bytes.
///
/// # Panics
/// If that does not hold.
pub fn fuzz(bytes: &[u8]) {
    /// Compares instead of storing.
    struct Same<'a>(&'a [u8]);
    impl super::Write for Same<'_> {
        type Error = core::convert::Infallible;
        fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
            assert!(self.0.starts_with(bytes), "written stream differs from the one read");
            self.0 = &self.0[bytes.len()..];
            Ok(())
        }
    }
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let mut writer = super::Writer::new(Same(bytes), reader.ecreate()).expect("read so");
    loop {
        match reader.next_page() {
            Ok(Some(page)) => writer.page(&page).expect("a page that was read can be written"),
            Ok(None) => break assert!(writer.into_inner().0.is_empty(), "bytes were skipped"),
            Err(_) => break,
        }
    }
}

fn expect_tag<E>(
    record: &[u8; RECORD_SIZE],
    tag: [u8; 8],
    expected: &'static str,
    at: u64,
) -> Result<(), SgxsError<E>> {
    let got = part(record, 0);
    if got == tag { Ok(()) } else { Err(SgxsError::Tag { at, expected, got }) }
}

/// Refuses anything but zero from `start` to the record's end.
fn expect_zero<E>(record: &[u8; RECORD_SIZE], start: usize, at: u64) -> Result<(), SgxsError<E>> {
    match record[start..].iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(i) => Err(SgxsError::Reserved { at: at + (start + i) as u64, got: record[start + i] }),
    }
}

fn part<const N: usize>(record: &[u8; RECORD_SIZE], start: usize) -> [u8; N] {
    record[start..start + N].try_into().expect("the slice has that length")
}

/// Reads until `buffer` is full or the input ends; says how much.
fn fill<R: Read>(input: &mut R, buffer: &mut [u8]) -> Result<usize, R::Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        // A source that claims more than it was asked for gets no more than that.
        match input.read(&mut buffer[filled..])?.min(buffer.len() - filled) {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
