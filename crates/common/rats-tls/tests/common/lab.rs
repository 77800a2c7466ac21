//! Genuine quotes from emulated platforms, without enclaves around them: reports as EREPORT makes them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file and the benchmark use their own part"
)]

use attestation::crypto::Default as Crypto;
use attestation::policy::NOTHING_FREE;
use attestation::{Collateral, Now, Policy, TrustAnchor, Verifier};
use emulated_platform::{CollateralSettings, Dates, Issued, Platform, Root, Settings};
use rats_tls::binding::Binding;
use rats_tls::claims::Claims;
use rats_tls::frame::Format;
use rats_tls::{AttestError, Attester, FromPeer, Offered, Party, PolicyAppraiser};
use sgx::attributes::{AttributeFlags, Attributes, Miscselect, Xfrm};
use sgx::einit::Identity;
use sgx::report::{EMULATED_CPUSVN, Report, Targetinfo};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn cpu(number: u8) -> sgx::keys::Platform {
    sgx::keys::Platform {
        root: [number; 16],
        seal_fuses: [number; 16],
        owner_epoch: [number; 16],
        cpusvn: EMULATED_CPUSVN,
    }
}

/// One root for every platform.
fn root() -> Root {
    Root::new(&cpu(1), Dates::default()).expect("dates are in range")
}

pub fn anchor() -> TrustAnchor {
    TrustAnchor::from_der(root().certificate(), &Crypto::default()).expect("a root")
}

/// An enclave on an emulated platform, as its attester is.
#[derive(Clone)]
pub struct Enclave {
    cpu: u8,
    platform: Arc<Platform>,
    pub identity: Identity,
    pub claims: Claims,
    collateral: Vec<u8>,
}

impl Enclave {
    /// On this CPU, with this measurement.
    pub fn new(number: u8, mrenclave: u8) -> Self {
        Self::on(number, mrenclave, Settings::default(), &CollateralSettings::default())
    }

    pub fn on(
        number: u8,
        mrenclave: u8,
        settings: Settings,
        collateral: &CollateralSettings,
    ) -> Self {
        let ca = settings.ca;
        let platform = Platform::new(cpu(number), root(), settings).expect("in range");
        let issued = Issued::at(now().cast_signed());
        let mut settings = collateral.clone();
        // A platform is revoked by the serial number of its certificate.
        if settings.revoked_pcks.iter().any(Vec::is_empty) {
            settings.revoked_pcks = vec![platform.pck_serial()];
        }
        let issue = emulated_platform::Collateral::issue(&root(), ca, &settings, issued);
        let collateral = serde_json::to_vec(&issue.expect("in range")).expect("serialises");
        let identity = Identity {
            mrenclave: [mrenclave; 32],
            mrsigner: [0x22; 32],
            attributes: Attributes {
                flags: AttributeFlags::INIT | AttributeFlags::MODE64BIT,
                xfrm: Xfrm::LEGACY,
            },
            miscselect: Miscselect::EXINFO,
            isvprodid: 7,
            isvsvn: 8,
            isvextprodid: [0; 16],
            isvfamilyid: [0; 16],
            configid: [0; 64],
            configsvn: 0,
        };
        let claims = Claims {
            instance_id: [number; 16],
            config_digest: NOTHING_FREE,
            runtime_version: "0.1.0".into(),
            custom: [("service".to_owned(), b"billing".to_vec())].into(),
        };
        Self { cpu: number, platform: Arc::new(platform), identity, claims, collateral }
    }

    pub fn ppid(&self) -> [u8; 16] {
        self.platform.ppid()
    }

    pub fn collateral(&self) -> Collateral {
        Collateral::from_json(&self.collateral).expect("our own")
    }

    pub fn quote(&self, data: &[u8; 64]) -> Vec<u8> {
        let target = Targetinfo::from_bytes(&self.platform.target_info());
        let report = self.report(&target, data);
        self.platform.quote(&report.to_bytes()).expect("a report of its own CPU")
    }

    pub fn report(&self, target: &Targetinfo, data: &[u8; 64]) -> Report {
        cpu(self.cpu).ereport(&self.identity, target, data, &[0x44; 32])
    }

    pub fn party(self) -> Party {
        Party::attester(Arc::new(self)).expect("a key")
    }
}

impl Attester for Enclave {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        if !formats.contains(&(Format::Sgx as u16)) {
            return Err(AttestError::Format { expected: Format::Sgx, got: formats.to_vec() });
        }
        let claims = self.claims.encode();
        let evidence = self.quote(&binding.report_data(&claims));
        let endorsements = self.collateral.clone();
        Ok(Offered { format: Format::Sgx, evidence, claims, endorsements })
    }
}

/// A policy that accepts emulated enclaves of this measurement, and what is added to it.
pub fn policy(mrenclave: u8, more: &str) -> Policy {
    let root = attestation::hex::Hex(anchor().sha256()).to_string();
    let mrenclave = attestation::hex::Hex(&[mrenclave; 32]).to_string();
    let text = format!("roots = ['{root}']\ntee = 'emulated'\nmrenclave = ['{mrenclave}']\n{more}");
    Policy::from_toml(&text).expect("a policy")
}

/// Takes the peer's collateral, as the policy says.
pub fn appraiser(policy: Policy) -> PolicyAppraiser<FromPeer> {
    let verifier = Verifier::new(Crypto::default(), anchor());
    PolicyAppraiser::new(verifier, policy, FromPeer::default(), Box::new(|| Now::host(now())))
}
