//! One emulated platform: its quoting enclave, its provisioning chain, and what it quotes.

use crate::certificate::Certified;
use crate::error::{PlatformError, QuoteError};
use crate::identity::{self, FMSPC};
use crate::key::Key;
use crate::pck::{PckCa, PckExtension};
use crate::quote;
use crate::root::{Dates, ROOT_FILE, Root};
use crate::seed::Seed;
use p256::elliptic_curve::subtle::ConstantTimeEq;
use sgx::attributes::{AttributeFlags, Attributes};
use sgx::einit::Identity;
use sgx::keyrequest::{KeyName, KeyPolicy, Keyrequest};
use sgx::keys::report_mac;
use sgx::report::{EMULATED_CPUSVN, Report, ReportBody, Targetinfo};
use sgx_emulator::{Emulator, Mode, SecretOrigin};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The directory of a host's emulated platform: its secret and, if it has one, its lab root.
pub const DEFAULT_DIRECTORY: &str = "/var/lib/inclavare/emulator";
const SECRET_FILE: &str = "secret";

/// PCEID of every platform there is so far.
pub(crate) const PCEID: [u8; 2] = [0, 0];

/// What the platform says about itself; tests change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// CPUSVN in the PCK certificate, one byte for each component, and in the quoting enclave's report.
    pub cpusvn: [u8; 16],
    /// ISVSVN of the provisioning certification enclave.
    pub pcesvn: u16,
    /// ISVSVN of the quoting enclave.
    pub qe_isvsvn: u16,
    /// FMSPC in the PCK certificate.
    pub fmspc: [u8; 6],
    /// Who certifies the platform.
    pub ca: PckCa,
}

/// PCESVN and the quoting enclave's ISVSVN of an up-to-date platform.
pub(crate) const CURRENT_SVN: u16 = 2;

impl Default for Settings {
    /// An up-to-date platform.
    fn default() -> Self {
        Self {
            cpusvn: EMULATED_CPUSVN,
            pcesvn: CURRENT_SVN,
            qe_isvsvn: CURRENT_SVN,
            fmspc: FMSPC,
            ca: PckCa::default(),
        }
    }
}

/// A quoting service for the emulated enclaves of one host.
///
/// It is in memory: once made it needs no file, so that a process can quote after its root directory became
/// a container's.
#[derive(Clone)]
pub struct Platform {
    keys: sgx::keys::Platform,
    settings: Settings,
    qe: Identity,
    ppid: [u8; 16],
    attestation_key: Key,
    pck: Certified,
    /// Everything of a quote that does not depend on the report.
    template: quote::Template,
    report_keyid: [u8; 32],
    root: Root,
}

impl Platform {
    /// The platform of the host whose emulator has its secret in `directory`, made there if there is none.
    /// If the directory has a lab root it is under that, otherwise under the host's own.
    ///
    /// # Errors
    /// A secret that is damaged, that others may read, or that cannot be stored.
    pub fn open(directory: &Path) -> Result<Self, PlatformError> {
        Self::open_with(directory, Settings::default())
    }

    /// The same, saying something else about itself.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(directory: &Path, settings: Settings) -> Result<Self, PlatformError> {
        let keys = stored_secret(&directory.join(SECRET_FILE))?;
        Self::new(keys, Root::open(directory)?, settings)
    }

    /// The platform whose CPU has these keys.
    ///
    /// # Errors
    /// A date that no certificate can have.
    pub fn new(
        keys: sgx::keys::Platform,
        root: Root,
        settings: Settings,
    ) -> Result<Self, PlatformError> {
        let qe = identity::quoting_enclave(settings.qe_isvsvn);
        let pce = identity::provisioning_enclave(settings.pcesvn);
        let qe_seed = enclave_seed(&keys, &qe, KeyName::Seal);
        let pce_seed = enclave_seed(&keys, &pce, KeyName::Provision);
        // The identity of the platform must not change with its security versions.
        let lasting = enclave_seed(&keys, &identity::provisioning_enclave(0), KeyName::Provision);
        let ppid = first_16(&lasting.bytes("ppid"));

        let extension = PckExtension {
            ppid,
            cpusvn: settings.cpusvn,
            pcesvn: settings.pcesvn,
            pceid: PCEID,
            fmspc: settings.fmspc,
            platform_instance_id: (settings.ca == PckCa::Platform)
                .then(|| first_16(&lasting.bytes("platform instance id"))),
        };
        // As on hardware, another CPUSVN is another key.
        let pck_key = Seed::mix("pck", &[&pce_seed.bytes("pck"), &settings.cpusvn]).key("pck key");
        let (pck, chain) = root.certify(pck_key, settings.ca, &extension)?;

        let attestation_key = qe_seed.key("attestation key");
        let qe_report = ReportBody {
            reportdata: quote::qe_report_data(&attestation_key),
            ..body_of(&qe, &settings.cpusvn)
        };
        let template = quote::Template {
            qe_svn: settings.qe_isvsvn,
            pce_svn: settings.pcesvn,
            qe_id: first_16(&lasting.bytes("qe id")),
            qe_report_signature: pck.key.sign(&qe_report.to_bytes()),
            qe_report,
            attestation_key: attestation_key.public(),
            chain,
        };
        let report_keyid = qe_seed.bytes("report keyid");
        Ok(Self { keys, settings, qe, ppid, attestation_key, pck, template, report_keyid, root })
    }

    /// What an enclave must make its report for (EREPORT) to have it quoted here.
    #[must_use]
    pub fn target_info(&self) -> [u8; Targetinfo::SIZE] {
        identity::target_info(&self.qe).to_bytes()
    }

    /// A DCAP quote (version 3, ECDSA P-256) of a report that an enclave of this host made for
    /// [`target_info`](Self::target_info).
    ///
    /// # Errors
    /// A report with reserved bytes, or whose MAC is not this host's for this target.
    pub fn quote(&self, report: &[u8; Report::SIZE]) -> Result<Vec<u8>, QuoteError> {
        let report = self.verify_report(report)?;
        let signed = self.template.signed_part(&report.body);
        let signature = self.attestation_key.sign(&signed);
        Ok(self.template.complete(signed, &signature))
    }

    /// Length in bytes of every quote of this platform.
    #[must_use]
    pub fn quote_size(&self) -> usize {
        self.template.size()
    }

    /// The quoting enclave's own report for `target`, so that the enclave that asked can tell who answered.
    /// Its report data are SHA-256(`nonce` ‖ `quote`) and zeros.
    ///
    /// # Errors
    /// A TARGETINFO with reserved bytes.
    pub fn quote_report(
        &self,
        target: &[u8; Targetinfo::SIZE],
        nonce: &[u8; 16],
        quote: &[u8],
    ) -> Result<[u8; Report::SIZE], QuoteError> {
        let target = Targetinfo::parse(target).map_err(QuoteError::Target)?;
        let mut reportdata = [0; 64];
        reportdata[..32]
            .copy_from_slice(&Sha256::new().chain_update(nonce).chain_update(quote).finalize());
        Ok(self.keys.ereport(&self.qe, &target, &reportdata, &self.report_keyid).to_bytes())
    }

    /// SHA-256 of the attestation key: what AESM calls its public key id.
    #[must_use]
    pub fn attestation_key_id(&self) -> [u8; 32] {
        Sha256::digest(self.attestation_key.public()).into()
    }

    /// The root above this platform.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Platform provisioning id: which platform this is, whatever its security versions.
    #[must_use]
    pub fn ppid(&self) -> [u8; 16] {
        self.ppid
    }

    /// The PCK certificate, DER.
    #[must_use]
    pub fn pck_certificate(&self) -> &[u8] {
        &self.pck.der
    }

    /// Serial number of the PCK certificate: how a CRL names it.
    #[must_use]
    pub fn pck_serial(&self) -> Vec<u8> {
        self.pck.serial().to_bytes()
    }

    /// What the platform says about itself.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn verify_report(&self, report: &[u8; Report::SIZE]) -> Result<Report, QuoteError> {
        let report = parse_report(report)?;
        let request = Keyrequest {
            keyname: KeyName::Report as u16,
            keyid: report.keyid,
            ..Keyrequest::default()
        };
        let key = self
            .keys
            .egetkey(&self.qe, &request.to_bytes())
            .expect("a report key is given to every enclave");
        if bool::from(report_mac(&key, &report.body).ct_eq(&report.mac)) {
            Ok(report)
        } else {
            Err(QuoteError::Mac { mrenclave: report.body.mrenclave, got: report.mac })
        }
    }
}

impl core::fmt::Debug for Platform {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Never the keys.
        f.debug_struct("Platform").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Root {
    /// The root of the platforms of `directory`: the lab's if its file is there, otherwise the host's own.
    ///
    /// # Errors
    /// A secret that is damaged, that others may read, or that cannot be stored.
    pub fn open(directory: &Path) -> Result<Self, PlatformError> {
        let lab = directory.join(ROOT_FILE);
        let has_lab = lab
            .try_exists()
            .map_err(|source| PlatformError::Io { path: lab.clone(), kind: source.kind() })?;
        let file = if has_lab { lab } else { directory.join(SECRET_FILE) };
        Ok(Self::new(&stored_secret(&file)?, Dates::default())?)
    }
}

fn stored_secret(file: &Path) -> Result<sgx::keys::Platform, PlatformError> {
    let emulator = Emulator::new(Mode::default()).with_secret_file(file);
    match emulator.platform()? {
        (keys, SecretOrigin::File(_)) => Ok(keys),
        // Another process's enclaves would have other keys.
        (_, SecretOrigin::Memory { reason }) => {
            Err(PlatformError::NotStored { path: file.to_path_buf(), reason })
        }
    }
}

/// The report as a structure. MAC and KEYID have no reserved bytes.
fn parse_report(bytes: &[u8; Report::SIZE]) -> Result<Report, QuoteError> {
    ReportBody::parse(&bytes[..ReportBody::SIZE]).map_err(QuoteError::Report)?;
    Report::parse(bytes).map_err(QuoteError::Report)
}

/// What an architectural enclave derives its own keys from, by EGETKEY.
fn enclave_seed(keys: &sgx::keys::Platform, enclave: &Identity, name: KeyName) -> Seed {
    let request = Keyrequest {
        keyname: name as u16,
        keypolicy: if name == KeyName::Seal { KeyPolicy::MRSIGNER } else { KeyPolicy::empty() },
        isvsvn: enclave.isvsvn,
        attributemask: Attributes { flags: AttributeFlags::all(), ..Attributes::default() },
        ..Keyrequest::default()
    };
    let key = keys
        .egetkey(enclave, &request.to_bytes())
        .expect("the architectural enclaves may have provisioning and seal keys");
    Seed::mix("enclave", &[&key])
}

fn body_of(enclave: &Identity, cpusvn: &[u8; 16]) -> ReportBody {
    ReportBody {
        cpusvn: *cpusvn,
        miscselect: enclave.miscselect,
        attributes: enclave.attributes,
        mrenclave: enclave.mrenclave,
        mrsigner: enclave.mrsigner,
        isvprodid: enclave.isvprodid,
        isvsvn: enclave.isvsvn,
        ..ReportBody::default()
    }
}

fn first_16(bytes: &[u8; 32]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&bytes[..16]);
    first
}
