//! Evidence by `/dev/attestation/bound`, for programs inside an Inclavare enclave.
//!
//! The program hands over the fields of its session; the library OS adds the platform's claims, hashes and tags
//! them, and gives the quote (`docs/spec/attestation-devices.md`). Outside, a Unix socket may stand in its place.

use crate::binding::Binding;
use crate::claims::{Custom, encode_custom};
use crate::frame::Format;
use crate::party::{AttestError, Attester};
use crate::session::Offered;
use attestation::quote::MAX_QUOTE_BYTES;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"EAABND01";

/// The enclave's own attestation device.
#[derive(Clone, Debug)]
pub struct Device {
    directory: PathBuf,
    custom: Vec<u8>,
    endorsements: Vec<u8>,
}

impl Device {
    /// In `/dev/attestation`, with the program's own claims.
    #[must_use]
    pub fn new(custom: &Custom) -> Self {
        Self::at(Path::new("/dev/attestation"), custom)
    }

    /// In another directory.
    #[must_use]
    pub fn at(directory: &Path, custom: &Custom) -> Self {
        let (directory, endorsements) = (directory.to_owned(), Vec::new());
        Self { directory, custom: encode_custom(custom), endorsements }
    }

    /// Sends this collateral (QuoteCollateralV3, JSON) with its quotes.
    #[must_use]
    pub fn endorsements(mut self, json: Vec<u8>) -> Self {
        self.endorsements = json;
        self
    }

    fn quote(&self, binding: &Binding) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut claims = std::fs::read(self.directory.join("claims"))?;
        claims.extend(&self.custom);
        let quote = exchange(&self.directory.join("bound"), &record(binding, &self.custom))?;
        Ok((quote, claims))
    }
}

impl Attester for Device {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        let format = Format::Sgx;
        if !formats.contains(&(format as u16)) {
            return Err(AttestError::Format { expected: format, got: formats.to_vec() });
        }
        let (evidence, claims) = self.quote(binding).map_err(AttestError::Device)?;
        Ok(Offered { format, evidence, claims, endorsements: self.endorsements.clone() })
    }
}

/// Hands over a record for a quote.
fn exchange(bound: &Path, record: &[u8]) -> io::Result<Vec<u8>> {
    let mut quote = Vec::new();
    if std::fs::metadata(bound)?.file_type().is_socket() {
        let mut device = UnixStream::connect(bound)?;
        device.write_all(record)?;
        device.shutdown(Shutdown::Write)?;
        device.take(MAX_QUOTE_BYTES as u64).read_to_end(&mut quote)?;
    } else {
        let mut device = File::options().read(true).write(true).open(bound)?;
        // One write is one record.
        device.write_all(record)?;
        device.take(MAX_QUOTE_BYTES as u64).read_to_end(&mut quote)?;
    }
    if quote.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the device gave no quote"));
    }
    Ok(quote)
}

/// The record of the device's specification.
fn record(binding: &Binding, custom: &[u8]) -> Vec<u8> {
    let mut record = MAGIC.to_vec();
    record.extend([binding.role as u8, 0, 0, 0]);
    record.extend(binding.epoch.to_be_bytes());
    for digest in [&binding.own_key, &binding.peer_key, &binding.transcript, &binding.binder] {
        record.extend(digest);
    }
    record.extend(custom);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Role;

    fn binding() -> Binding {
        Binding {
            role: Role::Server,
            epoch: 0x102,
            own_key: [0x11; 48],
            peer_key: [0x22; 48],
            transcript: [0x33; 48],
            binder: [0x44; 48],
        }
    }

    /// The offsets of the device's specification.
    #[test]
    fn the_record_is_the_specified_one() {
        let record = record(&binding(), b"more");
        assert_eq!(record.len(), 208 + 4);
        assert_eq!(&record[..16], b"EAABND01\x02\0\0\0\0\0\x01\x02");
        for (at, fill) in [(16, 0x11), (64, 0x22), (112, 0x33), (160, 0x44)] {
            assert_eq!(record[at..at + 48], [fill; 48]);
        }
        assert_eq!(&record[208..], b"more");
    }

    #[test]
    fn a_machine_without_the_device_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let device = Device::at(directory.path(), &Custom::new());
        let error = device.attest(&binding(), &[1]).unwrap_err();
        assert!(matches!(error, AttestError::Device(_)), "{error}");
        let error = device.attest(&binding(), &[3]).unwrap_err();
        assert!(matches!(error, AttestError::Format { .. }), "{error}");
    }
}
