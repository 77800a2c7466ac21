//! Evidence of any kind that is verified, with what each needs to be judged.

use crate::args::Judged;
use crate::failure::Failure;
use crate::files::{self, in_file};
use crate::live::Material;
use crate::mistaken;
use crate::source::Source;
use crate::trusted::Trusted;
use attestation::check::CheckId;
use attestation::quote::{MAX_QUOTE_BYTES, Quote};
use attestation::snp::Endorsements;
use attestation::snp::report::{REPORT_LEN, Report};
use attestation::verify::Examination;
use attestation::{Verifier, crypto, x509};
use collateral::clock::Clock;
use collateral::object::Wanted;
use std::path::{Path, PathBuf};

/// Most bytes of a certificate or CRL of AMD's.
const MOST_ENDORSEMENT: u64 = 2 << 20;

/// A file of evidence that could be read. What cannot be read is no evidence, and is not judged.
enum Kind {
    /// An SGX or TDX quote.
    Quote,
    /// A SEV-SNP report.
    Snp,
}

impl Kind {
    /// Quotes have the type of their key, 2, where a report's version is still zero.
    fn of(path: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.len() == REPORT_LEN && bytes[2..4] == [0, 0] {
            Report::parse(bytes).map_err(in_file(path))?;
            return Ok(Self::Snp);
        }
        match Quote::parse(bytes) {
            Ok(_) => Ok(Self::Quote),
            Err(error) => {
                let expected = "evidence: an SGX or TDX quote, or a SEV-SNP report of 1184 bytes";
                Err(mistaken::instead(path, bytes, expected, error))
            }
        }
    }
}

/// Reads the evidence and what is needed to judge it, and hands the examination to `judge`.
pub(crate) fn examine<T>(
    path: &Path,
    arguments: &Judged,
    trusted: &Trusted,
    judge: impl FnOnce(Examination<'_>, Material) -> T,
) -> Result<T, Failure> {
    let now = trusted.time.now();
    let bytes = files::read(path, MAX_QUOTE_BYTES as u64)?;
    let kind = Kind::of(path, &bytes)?;
    let verifier = Verifier::new(crypto::Default::default(), trusted.anchor.clone());
    match kind {
        Kind::Quote => {
            if arguments.endorsements.is_given() {
                let message =
                    "expected --collateral, --cache or --url for a quote, got endorsements";
                return Err(in_file(path)(message));
            }
            let source = Source::of(&arguments.trust.source, verifier.anchor(), trusted.time)?;
            let quote = Quote::parse(&bytes).map_err(in_file(path))?;
            let document = source.document(|| Wanted::of(&quote).map_err(in_file(path)))?;
            let examination = verifier.examine(&bytes, &document, now);
            let material = Material {
                evidence: bytes.clone(),
                collateral: Some(document),
                ..Material::default()
            };
            Ok(judge(examination, material))
        }
        Kind::Snp => {
            if arguments.trust.source.is_given() {
                let message = "expected --endorsement-key, --authority and --crl for a SEV-SNP report, got \
                               collateral of quotes";
                return Err(in_file(path)(message));
            }
            let given = &arguments.endorsements;
            let need = |name: &str, file: &Option<PathBuf>| {
                let missing = || format!("expected --{name} for a SEV-SNP report, got none");
                file.clone().ok_or_else(|| in_file(path)(missing()))
            };
            let key = certificate(&need("endorsement-key", &given.endorsement_key)?)?;
            let authority = certificate(&need("authority", &given.authority)?)?;
            let crl_path = need("crl", &given.crl)?;
            let crl = files::read(&crl_path, MOST_ENDORSEMENT)?;
            let endorsements = Endorsements { key: &key, authority: &authority, crl: &crl };
            let examination = verifier.examine_snp(&bytes, &endorsements, now);
            // A file that is no CRL is like one that is no certificate: nothing was judged.
            match examination.checks().find(CheckId::RootCrlFormat) {
                Some(check) if !check.ok => Err(in_file(&crl_path)(check)),
                _ => {
                    let evidence = bytes.clone();
                    Ok(judge(examination, Material { evidence, ..Material::default() }))
                }
            }
        }
    }
}

/// The one certificate in a file, DER or PEM, as DER.
pub(crate) fn certificate(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = files::read(path, MOST_ENDORSEMENT)?;
    const EXPECTED: &str = "a certificate, DER or PEM";
    let failed = |error: &dyn std::fmt::Display| mistaken::instead(path, &bytes, EXPECTED, error);
    let der = x509::one(bytes.clone()).map_err(|error| failed(&error))?;
    x509::Certificate::parse(&der).map_err(|error| failed(&error))?;
    Ok(der)
}
