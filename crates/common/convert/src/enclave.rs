//! The enclave file: manifest, first thread and program, page by page.
//!
//! S is the manifest's enclave size. ELRANGE starts at 0.
//!
//! | from | holds | rights | measured |
//! |---|---|---|---|
//! | S − 16 MiB | u64 length of the manifest, little-endian, and its bytes | R | yes |
//! | S − 12 MiB | TCS | | yes |
//! | + 4 KiB | three SSA frames | RW | no |
//! | + 16 KiB | the thread's block, to which GS and FS point | RW | yes, zeros |
//! | + 24 KiB | stack, 128 KiB, after a gap of one page | RW | no |
//! | S − 8 MiB | the program, linked for this address | RX, R, RW | yes |
//!
//! "No" means that the place and the rights are measured and the contents (zeros) are not.

use crate::error::Error;
use enclave_image::{Rights, Segments};
use sgx::hash::{Fast, Sha256};
use sgx::measure::Measurement;
use sgx::sgxs::{Ecreate, Io, Reader, Writer};
use sgx::sigstruct::{Body, Sigstruct};
use sgx::{
    AttributeFlags, Attributes, Miscselect, PAGE_SIZE, PageType, Secinfo, SecinfoFlags, Tcs, Xfrm,
};
use std::io::Read;
use workload::digest::{Digest, Hex};
use workload::manifest::Manifest;

/// Version of the enclave program, which the manifest names.
pub const RUNTIME_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes below the end of ELRANGE at which the manifest, the first thread and the program lie.
pub const MANIFEST_BELOW_END: u64 = 16 << 20;
/// See [`MANIFEST_BELOW_END`].
pub const THREAD_BELOW_END: u64 = 12 << 20;
/// See [`MANIFEST_BELOW_END`].
pub const PROGRAM_BELOW_END: u64 = 8 << 20;

/// SSA frames per thread: a program, its exception, and one more that is refused.
pub const SSA_FRAMES: u32 = 3;
/// Bytes of a thread's stack.
pub const STACK: u64 = 128 << 10;

const PAGE: u64 = PAGE_SIZE as u64;
const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// State components that a processor may have and an enclave may use.
fn optional_xfrm() -> Xfrm {
    Xfrm::AVX | Xfrm::AVX512 | Xfrm::PKRU
}

/// An enclave file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnclaveFile {
    /// The SGXS stream.
    pub sgxs: Vec<u8>,
    /// What SGX measures when it is loaded.
    pub mrenclave: Digest,
}

impl EnclaveFile {
    /// Lays out a manifest and a program.
    ///
    /// # Errors
    /// The manifest is not allowed, or a part does not fit.
    pub fn build(manifest: &Manifest, program: &[u8]) -> Result<Self, Error> {
        manifest.validate().map_err(workload::manifest::ManifestError::from)?;
        let size = manifest.enclave.size;
        let program_base = size - PROGRAM_BELOW_END;
        let program = enclave_image::load(program, program_base)?;
        let frame =
            sgx::ssa::ssaframesize_pages(Xfrm::LEGACY | optional_xfrm(), Miscselect::EXINFO);
        let mut pages = Pages::start(size, frame)?;
        pages.manifest(size - MANIFEST_BELOW_END, &manifest.to_canonical())?;
        let entry = program_base + program.entry;
        pages.thread(size - THREAD_BELOW_END, entry, frame)?;
        pages.program(program_base, &program)?;
        Ok(pages.finish())
    }
}

/// The SIGSTRUCT that an enclave needs, not signed yet. `date` is the day in binary-coded decimals.
#[must_use]
pub fn sigstruct(manifest: &Manifest, mrenclave: Digest, date: u32) -> Sigstruct {
    let identity = &manifest.identity;
    let mut flags = AttributeFlags::MODE64BIT;
    flags.set(AttributeFlags::DEBUG, manifest.debug);
    flags.set(AttributeFlags::KSS, identity.kss.is_some());
    let kss = identity.kss.clone().unwrap_or_default();
    Sigstruct::unsigned(&Body {
        enclavehash: mrenclave.0,
        attributes: Attributes { flags, xfrm: Xfrm::LEGACY },
        // Every flag is fixed, DEBUG above all; of the state components only those a processor may lack
        // are left to it.
        attributemask: Attributes {
            flags: AttributeFlags::from_bits_retain(u64::MAX),
            xfrm: Xfrm::from_bits_retain(u64::MAX).difference(optional_xfrm()),
        },
        miscselect: Miscselect::EXINFO,
        miscmask: Miscselect::from_bits_retain(u32::MAX),
        isvprodid: identity.isv_prod_id,
        isvsvn: identity.isv_svn,
        isvextprodid: kss.ext_prod_id.0,
        isvfamilyid: kss.family_id.0,
        date,
        swdefined: 0,
    })
}

/// The parts of an enclave file that a reader can find again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// MRENCLAVE of the stream.
    pub mrenclave: Digest,
    /// SECS.SIZE.
    pub size: u64,
    /// SECS.SSAFRAMESIZE in pages.
    pub ssaframesize: u32,
    /// The measured manifest's bytes.
    pub manifest: Vec<u8>,
    /// Pages: all, measured, and TCSs.
    pub pages: (u64, u64, u64),
    /// Runs of pages of the same kind: start, end, rights (or `TCS`), whether the contents are measured.
    pub runs: Vec<(u64, u64, String, bool)>,
}

impl Contents {
    /// Reads and measures a stream.
    ///
    /// # Errors
    /// It is damaged, or holds no manifest.
    pub fn read(stream: impl Read) -> Result<Self, Error> {
        let sgxs = |error: sgx::sgxs::SgxsError<std::io::Error>| Error::Sgxs(error.to_string());
        let mut reader = Reader::new(Io(stream)).map_err(sgxs)?;
        let Ecreate { size, ssaframesize_pages } = reader.ecreate();
        let mut measurement = Measurement::<Fast>::ecreate(ssaframesize_pages, size);
        let base = size.saturating_sub(MANIFEST_BELOW_END);
        let mut contents = Self {
            mrenclave: Hex::default(),
            size,
            ssaframesize: ssaframesize_pages,
            manifest: Vec::new(),
            pages: (0, 0, 0),
            runs: Vec::new(),
        };
        let mut blob = Vec::new();
        while let Some(page) = reader.next_page().map_err(sgxs)? {
            let is_measured = page.is_measured().map_err(sgxs)?;
            measurement.add_page(page.offset, &page.secinfo, &page.data, is_measured);
            if page.offset == base + blob.len() as u64 && is_measured {
                blob.extend_from_slice(&page.data);
            }
            contents.count(page.offset, page.secinfo.flags, is_measured);
        }
        contents.mrenclave = Hex(measurement.finish());
        let length = blob.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let manifest = length
            .and_then(|length| usize::try_from(length).ok()?.checked_add(8))
            .and_then(|end| blob.get(8..end));
        contents.manifest = manifest
            .ok_or_else(|| Error::Sgxs(format!("expected a manifest at {base:#x}, got none")))?
            .to_vec();
        Ok(contents)
    }

    fn count(&mut self, offset: u64, flags: SecinfoFlags, is_measured: bool) {
        let rights = if flags.page_type() == Some(PageType::Tcs) {
            self.pages.2 += 1;
            "TCS".to_string()
        } else {
            let letter = |flag, letter| if flags.contains(flag) { letter } else { '-' };
            [
                letter(SecinfoFlags::R, 'r'),
                letter(SecinfoFlags::W, 'w'),
                letter(SecinfoFlags::X, 'x'),
            ]
            .iter()
            .collect()
        };
        self.pages.0 += 1;
        self.pages.1 += u64::from(is_measured);
        match self.runs.last_mut() {
            Some(run) if run.1 == offset && run.2 == rights && run.3 == is_measured => {
                run.1 += PAGE;
            }
            _ => self.runs.push((offset, offset + PAGE, rights, is_measured)),
        }
    }
}

/// A stream in the making.
struct Pages(Writer<Io<Vec<u8>>>);

fn written(error: sgx::sgxs::SgxsError<std::io::Error>) -> Error {
    Error::Sgxs(error.to_string())
}

impl Pages {
    fn start(size: u64, ssaframesize_pages: u32) -> Result<Self, Error> {
        let output = Io(Vec::with_capacity(8 << 20));
        Writer::new(output, Ecreate { ssaframesize_pages, size }).map(Self).map_err(written)
    }

    fn manifest(&mut self, base: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut blob = (bytes.len() as u64).to_le_bytes().to_vec();
        blob.extend_from_slice(bytes);
        blob.resize(blob.len().next_multiple_of(PAGE_SIZE), 0);
        let room = MANIFEST_BELOW_END - THREAD_BELOW_END;
        if blob.len() as u64 > room {
            let expected = format!("at most {room} bytes with its length");
            let got = blob.len().to_string();
            return Err(Error::Policy { field: "manifest".into(), expected, got });
        }
        self.measured(base, SecinfoFlags::R, &blob)
    }

    fn thread(&mut self, base: u64, entry: u64, frame: u32) -> Result<(), Error> {
        let read_write = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::W);
        let frames = u64::from(SSA_FRAMES * frame) * PAGE;
        let block = base + PAGE + frames;
        let tcs = Tcs {
            ossa: base + PAGE,
            nssa: SSA_FRAMES,
            oentry: entry,
            ofsbase: block,
            ogsbase: block,
            fslimit: u32::MAX,
            gslimit: u32::MAX,
            ..Tcs::from_bytes(&ZEROS)
        };
        self.0.measured(base, &Secinfo::tcs(), &tcs.to_bytes()).map_err(written)?;
        for offset in (base + PAGE..block).step_by(PAGE_SIZE) {
            self.0.unmeasured_zero(offset, &read_write).map_err(written)?;
        }
        self.0.measured(block, &read_write, &ZEROS).map_err(written)?;
        let stack = block + 2 * PAGE;
        for offset in (stack..stack + STACK).step_by(PAGE_SIZE) {
            self.0.unmeasured_zero(offset, &read_write).map_err(written)?;
        }
        Ok(())
    }

    fn program(&mut self, base: u64, program: &Segments) -> Result<(), Error> {
        for segment in &program.segments {
            let rights = match segment.rights {
                Rights::Read => SecinfoFlags::R,
                Rights::ReadExecute => SecinfoFlags::R | SecinfoFlags::X,
                Rights::ReadWrite => SecinfoFlags::R | SecinfoFlags::W,
            };
            self.measured(base + segment.offset, rights, &segment.bytes)?;
        }
        Ok(())
    }

    fn measured(&mut self, base: u64, rights: SecinfoFlags, bytes: &[u8]) -> Result<(), Error> {
        let secinfo = Secinfo::reg(rights);
        for (page, offset) in bytes.as_chunks().0.iter().zip((base..).step_by(PAGE_SIZE)) {
            self.0.measured(offset, &secinfo, page).map_err(written)?;
        }
        Ok(())
    }

    fn finish(self) -> EnclaveFile {
        let Io(sgxs) = self.0.into_inner();
        // Every record of the stream is measured, so its hash is MRENCLAVE.
        let mrenclave = Hex(Fast::digest(&sgxs));
        EnclaveFile { sgxs, mrenclave }
    }
}
