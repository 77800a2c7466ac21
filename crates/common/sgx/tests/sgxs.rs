//! SGXS streams and MRENCLAVE: against the crate sgxs, and every refusal.

mod support;

use sgx::hash::{Portable, Sha256};
use sgx::measure::Measurement;
use sgx::sgxs::{Ecreate, Field, Hashing, Io, Reader, SgxsError, Writer, mrenclave};
use sgx::{Secinfo, SecinfoFlags};
use support::{Random, random_enclave, random_page, write};

/// The oracle's idea of a hash, made of ours.
struct OracleHash(Portable);

impl sgxs::crypto::SgxHashOps for OracleHash {
    fn new() -> Self {
        Self(Portable::new())
    }
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
    fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

fn oracle(stream: &[u8]) -> [u8; 32] {
    sgxs::sigstruct::EnclaveHash::from_stream::<_, OracleHash>(&mut &stream[..])
        .expect("the oracle reads our stream")
        .hash()
}

#[test]
fn mrenclave_is_what_the_crate_sgxs_computes() {
    for seed in 0..100 {
        let (_, _, stream) = random_enclave(seed);
        assert_eq!(mrenclave::<Portable, _>(&stream[..]), Ok(oracle(&stream)), "seed {seed}");
    }
}

#[test]
fn the_oracle_finds_our_streams_canonical() {
    use sgxs::sgxs::{CanonicalSgxsReader, SgxsRead};
    for seed in 0..50 {
        let (_, _, stream) = random_enclave(seed);
        let mut input = &stream[..];
        let mut reader = CanonicalSgxsReader::new(&mut input);
        while reader.read_meas().expect("canonical").is_some() {}
    }
}

#[test]
fn the_fast_hash_measures_the_same() {
    for seed in 0..10 {
        let (_, _, stream) = random_enclave(seed);
        assert_eq!(
            mrenclave::<sgx::hash::Fast, _>(&stream[..]),
            mrenclave::<Portable, _>(&stream[..])
        );
    }
}

#[test]
fn pages_come_back_as_written() {
    for seed in 0..50 {
        let (ecreate, pages, stream) = random_enclave(seed);
        let mut reader = Reader::new(Io(&stream[..])).unwrap();
        assert_eq!(reader.ecreate(), ecreate);
        for page in pages {
            assert_eq!(reader.next_page().unwrap(), Some(page));
        }
        assert_eq!(reader.next_page().unwrap(), None);
        assert_eq!(reader.next_page().unwrap(), None, "the end stays the end");
    }
}

/// A file whose every page is measured is the hashed stream: its SHA-256 is MRENCLAVE.
#[test]
fn a_fully_measured_file_hashes_to_its_mrenclave() {
    let ecreate = Ecreate { ssaframesize_pages: 1, size: 0x10000 };
    let mut writer = Writer::new(Hashing::<_, Portable>::new(Io(Vec::new())), ecreate).unwrap();
    let mut measurement = Measurement::<Portable>::ecreate(1, 0x10000);
    let mut random = Random(7);
    for offset in [0, 0x1000, 0x5000] {
        let secinfo = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X);
        let data = random.bytes();
        writer.measured(offset, &secinfo, &data).unwrap();
        measurement.add_page(offset, &secinfo, &data, true);
    }
    let (Io(stream), digest) = writer.into_inner().finish();
    assert_eq!(digest, measurement.finish());
    assert_eq!(digest, oracle(&stream));
}

/// Toy enclave of fixed bytes: code, TCS, two SSA frames, each page measured. The value was computed by the
/// program sgxs-sign 0.10.0 (ENCLAVEHASH of `tests/sgxs_sign.rs`'s signature of the same stream).
#[test]
fn golden_toy_enclave() {
    let stream =
        support::write(Ecreate { ssaframesize_pages: 1, size: 0x10000 }, &support::toy_pages());
    let digest: String =
        mrenclave::<Portable, _>(&stream[..]).unwrap().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digest, support::TOY_MRENCLAVE);
}

#[test]
fn partly_measured_pages_are_told_apart() {
    let mut page = random_page(&mut Random(1), 0x2000);
    for (mask, whole) in [(0, Ok(false)), (u16::MAX, Ok(true))] {
        page.measured = mask;
        assert_eq!(page.is_measured::<()>(), whole);
    }
    page.measured = 0x7fff;
    assert_eq!(
        page.is_measured::<()>(),
        Err(SgxsError::PartlyMeasured { page: 0x2000, mask: 0x7fff })
    );
}

/// A stream of one page at 0x1000: read-only, chunk 0 measured, chunk 1 loaded.
/// ECREATE at 0, EADD at 64, EEXTEND at 128, UNMEASRD at 448; 768 bytes.
fn small() -> Vec<u8> {
    let mut page = random_page(&mut Random(3), 0x1000);
    page.secinfo = Secinfo::reg(SecinfoFlags::R);
    (page.present, page.measured) = (3, 1);
    let stream = write(Ecreate { ssaframesize_pages: 1, size: 0x10000 }, &[page]);
    assert_eq!(stream.len(), 768);
    stream
}

type Outcome = Result<[u8; 32], SgxsError<core::convert::Infallible>>;

/// The outcome of the small stream with `bytes` at `at`.
fn with(at: usize, bytes: &[u8]) -> Outcome {
    let mut stream = small();
    stream[at..at + bytes.len()].copy_from_slice(bytes);
    mrenclave::<Portable, _>(&stream[..])
}

fn field(at: u64, field: Field, got: u64) -> Outcome {
    Err(SgxsError::Field { at, field, got })
}

#[test]
fn a_stream_may_end_only_between_records() {
    let stream = small();
    for length in 0..stream.len() {
        let outcome = mrenclave::<Portable, _>(&stream[..length]);
        if matches!(length, 64 | 128 | 448) {
            assert!(outcome.is_ok(), "{length}");
        } else {
            assert!(matches!(outcome, Err(SgxsError::Truncated { .. })), "{length}: {outcome:?}");
        }
    }
    let expected = Err(SgxsError::Truncated { at: 512, expected: 256, got: 255 });
    assert_eq!(mrenclave::<Portable, _>(&stream[..767]), expected);
}

#[test]
fn unknown_and_misplaced_records_are_refused() {
    let tag = |at, expected, got: &[u8; 8]| Err(SgxsError::Tag { at, expected, got: *got });
    assert_eq!(with(0, b"UNSIZED\0"), tag(0, "ECREATE", b"UNSIZED\0"));
    assert_eq!(with(64, b"ECREATE\0"), tag(64, "EADD", b"ECREATE\0"));
    assert_eq!(with(64, b"EEXTEND\0"), tag(64, "EADD", b"EEXTEND\0"));
    assert_eq!(with(448, b"EEXTENDX"), tag(448, "EADD", b"EEXTENDX"));
}

#[test]
fn reserved_bytes_are_refused() {
    for at in [20, 63, 88, 127, 144, 191, 464, 511] {
        assert_eq!(with(at, &[9]), Err(SgxsError::Reserved { at: at as u64, got: 9 }));
    }
}

#[test]
fn absurd_enclaves_are_refused() {
    for size in [0u64, 0x1000, 0x3000, 0x10001, u64::MAX] {
        assert_eq!(with(12, &size.to_le_bytes()), field(0, Field::Size, size));
    }
    assert!(with(12, &(1u64 << 63).to_le_bytes()).is_ok());
    assert_eq!(with(8, &[0]), field(0, Field::Ssaframesize, 0));
}

#[test]
fn pages_out_of_place_are_refused() {
    for (offset, broken) in [
        (0x1001u64, Field::PageAlignment),
        (0x10000, Field::PageRange),
        (0xffff_ffff_ffff_f000, Field::PageRange),
    ] {
        assert_eq!(with(72, &offset.to_le_bytes()), field(64, broken, offset));
    }
    // The same page twice, and one below.
    for second in [0x1000u64, 0] {
        let mut stream = small();
        stream.extend_from_within(64..128);
        let at = stream.len() - 64;
        stream[at + 8..at + 16].copy_from_slice(&second.to_le_bytes());
        assert_eq!(
            mrenclave::<Portable, _>(&stream[..]),
            field(at as u64, Field::PageOrder, second)
        );
    }
}

#[test]
fn page_flags_that_eadd_refuses_are_refused() {
    // W without R; PENDING; MODIFIED; PR; TCS with R; SECS, VA, TRIM; unknown type; unknown bit.
    for flags in [0x202u64, 0x209, 0x211, 0x221, 0x101, 0x001, 0x301, 0x401, 0x701, 0x1_0201] {
        assert_eq!(with(80, &flags.to_le_bytes()), field(64, Field::SecinfoFlags, flags));
    }
    for flags in [0x200u64, 0x201, 0x203, 0x204, 0x205, 0x207, 0x100] {
        assert!(with(80, &flags.to_le_bytes()).is_ok(), "{flags:#x}");
    }
}

#[test]
fn chunks_out_of_place_are_refused() {
    for offset in [0x0f00u64, 0x1001, 0x2000, u64::MAX] {
        assert_eq!(with(136, &offset.to_le_bytes()), field(128, Field::ChunkRange, offset));
    }
    for offset in [0x1000u64, 0x1001] {
        let broken = if offset == 0x1000 { Field::ChunkOrder } else { Field::ChunkRange };
        assert_eq!(with(456, &offset.to_le_bytes()), field(448, broken, offset));
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let ecreate = Ecreate { ssaframesize_pages: 1, size: 0x10000 };
    let mut writer = Writer::new((), ecreate).unwrap();
    let r = Secinfo::reg(SecinfoFlags::R);
    let mut refusal = |offset, secinfo: &Secinfo| match writer.unmeasured_zero(offset, secinfo) {
        Err(SgxsError::Field { field, .. }) => Some(field),
        Err(other) => panic!("{other:?}"),
        Ok(()) => None,
    };
    assert_eq!(refusal(0x2000, &r), None);
    assert_eq!(refusal(0x2000, &r), Some(Field::PageOrder));
    assert_eq!(refusal(0x3010, &r), Some(Field::PageAlignment));
    assert_eq!(refusal(0x10000, &r), Some(Field::PageRange));
    assert_eq!(refusal(0x3000, &Secinfo::reg(SecinfoFlags::W)), Some(Field::SecinfoFlags));
    assert_eq!(refusal(0x3000, &r), None, "a refusal changes nothing");
    assert!(Writer::new((), Ecreate { size: 0x3000, ..ecreate }).is_err());
}

/// Mutated streams neither panic nor read as something that would be written otherwise.
#[test]
fn mutations_are_read_totally() {
    let mut random = Random(11);
    for seed in 0..20 {
        let (_, _, stream) = random_enclave(seed);
        sgx::sgxs::fuzz(&stream);
        for _ in 0..200 {
            let mut mutated = stream.clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(mutated.len() as u64) as usize;
                mutated[at] = random.next() as u8;
            }
            mutated.truncate(random.below(mutated.len() as u64 * 2).max(1) as usize);
            sgx::sgxs::fuzz(&mutated);
        }
    }
}
