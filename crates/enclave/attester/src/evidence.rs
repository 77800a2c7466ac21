//! Where evidence comes from.
//!
//! In an Inclavare enclave the device hashes the fields of the session itself
//! (`docs/spec/attestation-devices.md`). Other runtimes quote any 64 bytes that a program of the enclave wants:
//! there every program in it must be trusted not to quote somebody else's session.

use crate::args::{Arguments, EvidenceKind};
use attestation::quote::MAX_QUOTE_BYTES;
use rats_tls::binding::Binding;
use rats_tls::claims::{Claims, Custom};
use rats_tls::{AttestError, Attester, Device, Format, Offered};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What makes evidence, as the command line says.
///
/// # Errors
/// No random instance-id.
pub fn attester(arguments: &Arguments, endorsements: Vec<u8>) -> io::Result<Arc<dyn Attester>> {
    let Arguments { device, claims, .. } = arguments;
    match arguments.evidence {
        EvidenceKind::BoundDevice => {
            Ok(Arc::new(Device::at(device, claims).endorsements(endorsements)))
        }
        EvidenceKind::UserReportData => {
            Ok(Arc::new(UserReportData::new(device, claims, endorsements)?))
        }
    }
}

/// `user_report_data` and `quote`, under the names that Gramine gave them.
pub struct UserReportData {
    device: ReportDevice,
    claims: Vec<u8>,
    endorsements: Vec<u8>,
}

impl UserReportData {
    /// With claims that this program makes itself: nothing vouches for them but the program.
    ///
    /// # Errors
    /// No randomness.
    pub fn new(directory: &Path, custom: &Custom, endorsements: Vec<u8>) -> io::Result<Self> {
        let mut instance_id = [0; 16];
        let filled = SystemRandom::new().fill(&mut instance_id);
        filled.map_err(|_| io::Error::other("no random instance-id"))?;
        let claims = Claims {
            instance_id,
            // Such a runtime says nothing of what it admitted.
            config_digest: [0; 32],
            runtime_version: "user-report-data".into(),
            custom: custom.clone(),
        };
        Ok(Self { device: ReportDevice::at(directory), claims: claims.encode(), endorsements })
    }
}

impl Attester for UserReportData {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        let format = Format::Sgx;
        if !formats.contains(&(format as u16)) {
            return Err(AttestError::Format { expected: format, got: formats.to_vec() });
        }
        let evidence = self.device.quote(&binding.report_data(&self.claims));
        Ok(Offered {
            format,
            evidence: evidence.map_err(AttestError::Device)?,
            claims: self.claims.clone(),
            endorsements: self.endorsements.clone(),
        })
    }
}

/// The two files.
pub struct ReportDevice {
    directory: PathBuf,
    /// The report data are the process's, so that threads take turns.
    turn: Mutex<()>,
}

impl ReportDevice {
    /// In this directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.into(), turn: Mutex::new(()) }
    }

    /// A quote over these report data.
    ///
    /// # Errors
    /// The files'.
    pub fn quote(&self, report_data: &[u8; 64]) -> io::Result<Vec<u8>> {
        // Nothing is left half done that the next write would not replace.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        fs::write(self.directory.join("user_report_data"), report_data)?;
        let mut quote = Vec::new();
        let device = fs::File::open(self.directory.join("quote"))?;
        device.take(MAX_QUOTE_BYTES as u64).read_to_end(&mut quote)?;
        Ok(quote)
    }
}

/// Too much to do: what it answers with is Close 2.
pub struct Busy;

impl Attester for Busy {
    fn attest(&self, _binding: &Binding, _formats: &[u16]) -> Result<Offered, AttestError> {
        Err(AttestError::Busy)
    }
}
