//! The targets.

use attestation::ear::{TokenPolicy, TokenVerdict};
use attestation::snp::extensions::EndorsementKey;
use attestation::snp::product::Product;
use attestation::snp::report::Report;
use attestation::snp::table::CertificateTable;
use attestation::snp::tcb::Tcb;
use attestation::x509::Certificate;
use attestation::{CheckId, Now};
use hostcall::{BLOCK_SIZE, DATA_SIZE};
use libos::elf;
use libos::patch::{Action, CHUNK_SIZE, Image};
use workload::manifest::Manifest;
use workload::meta::{BLOCK, Blocks, Meta, MetaError};
use workload::request::{Request, admit};

mod container;
mod dcap;
mod session;
mod shelter;

pub use self::container::{
    bus_message, cgroup_mounts, compiled_filter, container_config, container_state, route_answer,
    seccomp_profile,
};
pub(crate) use self::container::{has_cgroups, is_profile, is_state};
pub(crate) use self::shelter::{address, is_saved};
pub use self::shelter::{saved_measurements, shelter_address};
pub use dcap::{certificate, collateral, crl, pck_extension, policy, qe_identity, quote, tcb_info};
pub(crate) use dcap::{is_certificate, is_collateral, is_policy, is_qe_identity, is_tcb_info};
pub(crate) use session::feed;
pub use session::{
    client_hello, compat_evidence, hop_json, hop_reply, legacy_certificate, session_claims,
    session_frames,
};

/// SGXS streams.
pub fn sgxs(bytes: &[u8]) {
    sgx::sgxs::fuzz(bytes);
}

/// SIGSTRUCT.
pub fn sigstruct(bytes: &[u8]) {
    sgx::sigstruct::fuzz(bytes);
}

/// Programs that the library OS loads: headers, then the search for system-call sites.
pub fn elf(bytes: &[u8]) {
    let Ok(program) = elf::parse(bytes) else { return };
    let Ok(image) = Image::open(bytes, &program) else { return };
    for chunk in 0..(bytes.len() as u64).div_ceil(CHUNK_SIZE) {
        let Ok(sites) = image.sites(chunk, bytes) else { continue };
        for site in sites.iter() {
            let at = usize::try_from(site.offset).expect("inside a slice");
            let start = site.extent().start;
            assert!(start >= chunk * CHUNK_SIZE && site.offset + 2 <= (chunk + 1) * CHUNK_SIZE);
            match site.action {
                Action::Cpuid => assert_eq!(bytes[at..at + 2], [0x0f, 0xa2]),
                Action::Syscall(moved) => {
                    assert_eq!(bytes[at..at + 2], [0x0f, 0x05]);
                    assert_eq!(bytes[at - moved.bytes().len()..at], *moved.bytes());
                }
            }
        }
    }
}

/// Where [`enclave_elf`] loads.
pub const ENCLAVE_BASE: u64 = 0xff80_0000;

/// The enclave program that the converter lays out.
pub fn enclave_elf(bytes: &[u8]) {
    let _ = enclave_image::load(bytes, ENCLAVE_BASE);
}

/// The workload manifest. What is read is spelt canonically.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(manifest.to_canonical(), bytes);
    }
}

/// What the host asks to run, held against a manifest.
pub fn request(bytes: &[u8]) {
    let manifest = crate::seeds::a_manifest();
    if let Ok(request) = Request::parse(bytes)
        && let Ok(admitted) = admit(&manifest, &request)
    {
        assert!(!admitted.argv.is_empty(), "admitted without a program");
    }
}

/// Metadata of the root file system, walked from the root.
pub fn metadata(bytes: &[u8]) {
    let Ok(meta) = open_metadata(bytes) else { return };
    let mut budget = 1000;
    for number in 0..meta.inodes().min(100) {
        let Ok(inode) = meta.inode(number as u32) else { continue };
        let _ = meta.symlink_target(&inode);
        let _ = meta.data_path(&inode);
        let _ = meta.lookup(&inode, b"etc");
        for (name, _) in meta.xattrs(&inode).unwrap_or_default() {
            let _ = meta.xattr_value(&inode, &name);
        }
        for index in 0..inode.entries() {
            budget -= 1;
            if budget == 0 {
                return;
            }
            if let Ok(entry) = meta.entry(&inode, index) {
                assert!(!entry.name.is_empty() && !entry.name.contains(&b'/'));
            }
        }
    }
}

/// Blocks of a slice.
pub(crate) struct Slice<'a>(&'a [u8]);

impl Blocks for Slice<'_> {
    type Block = Vec<u8>;
    type Error = ();
    fn block(&self, index: u64) -> Result<Vec<u8>, ()> {
        let start =
            usize::try_from(index).ok().and_then(|index| index.checked_mul(BLOCK)).ok_or(())?;
        let end = start.checked_add(BLOCK).ok_or(())?;
        self.0.get(start..end).map(<[u8]>::to_vec).ok_or(())
    }
}

pub(crate) fn open_metadata(bytes: &[u8]) -> Result<Meta<Slice<'_>>, MetaError<()>> {
    Meta::open(Slice(bytes), bytes.len() as u64)
}

/// tar archives.
pub fn tar(bytes: &[u8]) {
    convert::tar::fuzz(bytes);
}

/// Entries at the start of an archive.
pub(crate) fn entries(bytes: &[u8]) -> usize {
    let mut archive = convert::tar::Archive::new(bytes);
    core::iter::from_fn(|| archive.next().ok().flatten().map(drop)).count()
}

/// Layers of an image.
pub fn layer(bytes: &[u8]) {
    convert::layer::fuzz(bytes);
}

/// The JSON documents of an image.
pub fn image_documents(bytes: &[u8]) {
    convert::image::fuzz(bytes);
}

/// A host-call block as the host finds it.
pub fn hostcall_request(bytes: &[u8]) {
    let mut scratch = Box::new([0; DATA_SIZE]);
    hostcall::fuzz::host_decodes(&mut block(bytes), &mut scratch);
}

/// A host-call block as a hostile host leaves it, for a request that the first byte chooses.
pub fn hostcall_reply(bytes: &[u8]) {
    use hostcall::Request as Call;
    let (choice, bytes) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let call = match choice % 9 {
        0 => Call::NextEvent {},
        1 => Call::SessionRequest { session: 0, offset: 0 },
        2 => Call::FileRead { file: 1, offset: 0, length: 100 },
        3 => Call::QuoteTarget {},
        4 => Call::Quote { report: &[0; hostcall::REPORT_SIZE] },
        5 => Call::NetAccept { stream: 3 },
        6 => Call::NetConnect { high: 0, low: 0, port: 1, is_datagram: false },
        7 => Call::NetError { stream: 3 },
        _ => Call::Park { timeout_ns: 1 },
    };
    let mut into = vec![0; DATA_SIZE];
    hostcall::fuzz::enclave_decodes(&mut block(bytes), &call, &mut into);
}

/// The report that [`host_quote`] is about.
#[must_use]
pub fn a_report() -> [u8; libos::platform::REPORT_SIZE] {
    core::array::from_fn(|at| at as u8)
}

/// A quote as a hostile host gives it. What passes is about the report that was made, and ends where it says.
pub fn host_quote(bytes: &[u8]) {
    let report = a_report();
    if libos::attestation::quote::check(bytes, &report).is_ok() {
        assert_eq!(bytes[48..432], report[..384]);
        assert!(bytes.len() <= libos::attestation::quote::MAX_SIZE);
        let length = u32::from_le_bytes([bytes[432], bytes[433], bytes[434], bytes[435]]);
        assert_eq!(bytes.len(), 436 + length as usize);
    }
}

/// What a program writes to /dev/attestation/bound. What passes ends in the tag, and every byte of it counts.
pub fn bound_record(bytes: &[u8]) {
    use libos::attestation::bound::Record;
    let Ok(record) = Record::parse(bytes) else { return };
    let data = record.report_data(b"claims");
    assert_eq!(data.bytes()[48..], *b"EAA-BOUND-V1\0\0\0\0");
    assert!(libos::attestation::ReportData::user(*data.bytes()).is_err());
    let mut changed = bytes.to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    if let Ok(other) = Record::parse(&changed) {
        assert_ne!(other.report_data(b"claims"), data);
    }
}

/// A block that starts with these bytes.
fn block(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0; BLOCK_SIZE / 8];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(eight);
    }
    words
}

/// SEV-SNP attestation reports. Every field of what is read can be asked for.
pub fn snp_report(bytes: &[u8]) {
    let Ok(report) = Report::parse(bytes) else { return };
    assert_eq!(report.bytes()[..], *bytes);
    assert!((2..=5).contains(&report.version()));
    assert_eq!(report.product().is_some(), report.version() >= 3);
    assert_eq!(report.mitigations().is_some(), report.version() == 5);
    // What is not signed is R, S, or zero.
    let (signed, signature) = (report.signed(), report.signature());
    let mut again = vec![0; bytes.len()];
    again[..signed.len()].copy_from_slice(signed);
    for (scalar, start) in signature.chunks(48).zip([signed.len(), signed.len() + 72]) {
        again[start..start + 48].copy_from_slice(scalar);
        again[start..start + 48].reverse();
    }
    assert_eq!(again, bytes);
    for product in Product::ALL {
        let _ = Tcb::from_bytes(report.reported_tcb(), product).to_string();
    }
    let _ = format!("{report:?}");
}

/// The certificate of a VCEK or VLEK, down to AMD's extensions.
pub fn snp_key(bytes: &[u8]) {
    if let Some(product) = endorsement_key(bytes) {
        assert!(Product::ALL.contains(&product));
    }
}

/// The product of a certificate that has AMD's extensions.
pub(crate) fn endorsement_key(bytes: &[u8]) -> Option<Product> {
    let certificate = Certificate::parse(bytes).ok()?;
    let extensions = certificate.extensions().map(|extension| (extension.oid, extension.value));
    let key = EndorsementKey::parse(extensions).ok()?;
    assert_eq!(key.tcb.fmc.is_some(), key.product == Product::Turin);
    Some(key.product)
}

/// The certificate table of an extended report. What it gives lies in it.
pub fn snp_table(bytes: &[u8]) {
    let Ok(table) = CertificateTable::parse(bytes) else { return };
    for part in [table.ark, table.ask, table.vcek, table.vlek, table.crl].into_iter().flatten() {
        assert!(bytes.as_ptr_range().contains(&part.as_ptr()) || part.is_empty());
        assert!(part.len() <= bytes.len());
    }
}

/// EAR tokens, verified with a key that signed none of them: each check runs, and none is accepted.
pub fn ear_token(bytes: &[u8]) {
    if let Some(verdict) = token(bytes) {
        assert!(verdict.token.is_none() && !verdict.checks.holds(CheckId::TokenSignature));
        for check in &verdict.checks {
            assert!(!check.to_string().is_empty());
        }
    }
}

/// Whether the claims of a token can be read.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    token(bytes).is_some_and(|verdict| verdict.checks.holds(CheckId::TokenClaims))
}

fn token(bytes: &[u8]) -> Option<TokenVerdict> {
    let text = core::str::from_utf8(bytes).ok()?;
    // No point of the curve: nothing verifies.
    let policy = TokenPolicy::new([4; 65]);
    let crypto = attestation::crypto::RustCrypto;
    Some(attestation::ear::verify(text, &policy, Now::given(1_767_225_600), &crypto))
}

/// A request to the quoting service. What is not refused is a success, and every answer fits in a message.
pub fn aesm_request(bytes: &[u8]) {
    use aesm::Message;
    let answer = aesm::server::answer(&FakeQuoting, bytes);
    let response = answer.response.encode_to_vec();
    assert!(response.len() <= aesm::MAX_FRAME);
    assert!(!response.is_empty(), "something is answered");
    if answer.refusal.is_none() {
        assert!(answer.response.unsupported.is_none());
    }
}

/// A stream from a hostile daemon.
pub fn aesm_reply(bytes: &[u8]) {
    aesm::fuzz_reply(bytes);
}

/// A quoting service without a platform: what it takes and gives has the right lengths.
pub(crate) struct FakeQuoting;

impl aesm::server::QuotingService for FakeQuoting {
    type Error = &'static str;

    fn key_id(&self) -> aesm::AttKeyId {
        aesm::AttKeyId::ecdsa_p256(&[9; 32], 1)
    }

    fn public_key_id(&self) -> [u8; 32] {
        [8; 32]
    }

    fn target_info(&self) -> [u8; aesm::TARGETINFO_SIZE] {
        [7; aesm::TARGETINFO_SIZE]
    }

    fn quote_size(&self) -> u32 {
        5000
    }

    fn quote(&self, report: &[u8; aesm::REPORT_SIZE]) -> Result<Vec<u8>, Self::Error> {
        if report[0] == 0 { Err("report.mac") } else { Ok(vec![report[0]; 5000]) }
    }

    fn quote_report(
        &self,
        target: &[u8; aesm::TARGETINFO_SIZE],
        _nonce: &[u8; 16],
        _quote: &[u8],
    ) -> Result<[u8; aesm::REPORT_SIZE], Self::Error> {
        if target[511] == 0 { Ok([6; aesm::REPORT_SIZE]) } else { Err("reserved byte") }
    }
}
