//! SEV-SNP: a platform with its whole chain, and reports of versions 2 to 5.
//!
//! Start from [`Setup::vcek`] or [`Setup::vlek`], change what the test is about, and [`Setup::make`] it.

use crate::der;
use crate::key::Key;
use crate::x509::{self, Certificate, Crl, Extension};

/// A moment at which everything made by default is valid: 2026-01-01.
pub const NOW: u64 = 1_767_225_600;
/// Around it.
const VALIDITY: (u64, u64) = (NOW - 86_400, NOW + 86_400);

/// Bytes of a report that are signed.
pub const SIGNED_LEN: usize = 0x2a0;

/// AMD's arc, 1.3.6.1.4.1.3704.1.
const AMD: [u64; 8] = [1, 3, 6, 1, 4, 1, 3704, 1];

/// Fields of a report; what is not here is zero.
#[derive(Clone)]
pub struct Report {
    /// VERSION.
    pub version: u32,
    /// GUEST_SVN.
    pub guest_svn: u32,
    /// POLICY.
    pub policy: u64,
    /// VMPL.
    pub vmpl: u32,
    /// PLATFORM_INFO.
    pub platform_info: u64,
    /// Key information: AUTHOR_KEY_EN, MASK_CHIP_KEY, SIGNING_KEY.
    pub key_info: u32,
    /// CURRENT_TCB, COMMITTED_TCB and LAUNCH_TCB.
    pub current_tcb: [u8; 8],
    /// COMMITTED_TCB.
    pub committed_tcb: [u8; 8],
    /// LAUNCH_TCB.
    pub launch_tcb: [u8; 8],
    /// REPORTED_TCB.
    pub reported_tcb: [u8; 8],
    /// REPORT_DATA.
    pub report_data: [u8; 64],
    /// MEASUREMENT.
    pub measurement: [u8; 48],
    /// HOST_DATA.
    pub host_data: [u8; 32],
    /// ID_KEY_DIGEST.
    pub id_key_digest: [u8; 48],
    /// AUTHOR_KEY_DIGEST.
    pub author_key_digest: [u8; 48],
    /// Family, model and stepping; written from version 3 on.
    pub cpuid: [u8; 3],
    /// CHIP_ID.
    pub chip_id: [u8; 64],
    /// LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR; written in version 5.
    pub mitigations: [u64; 2],
}

impl Report {
    /// The report, its signature still zero.
    #[must_use]
    pub fn unsigned(&self) -> Vec<u8> {
        let mut bytes = vec![0; 1184];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0x00, &self.version.to_le_bytes());
        put(0x04, &self.guest_svn.to_le_bytes());
        put(0x08, &self.policy.to_le_bytes());
        put(0x30, &self.vmpl.to_le_bytes());
        put(0x34, &1_u32.to_le_bytes());
        put(0x38, &self.current_tcb);
        put(0x40, &self.platform_info.to_le_bytes());
        put(0x48, &self.key_info.to_le_bytes());
        put(0x50, &self.report_data);
        put(0x90, &self.measurement);
        put(0xc0, &self.host_data);
        put(0xe0, &self.id_key_digest);
        put(0x110, &self.author_key_digest);
        put(0x160, &[0xff; 32]);
        put(0x180, &self.reported_tcb);
        if self.version >= 3 {
            put(0x188, &self.cpuid);
        }
        put(0x1a0, &self.chip_id);
        put(0x1e0, &self.committed_tcb);
        put(0x1e8, &[1, 55, 1]);
        put(0x1ec, &[1, 55, 1]);
        put(0x1f0, &self.launch_tcb);
        if self.version >= 5 {
            put(0x1f8, &self.mitigations[0].to_le_bytes());
            put(0x200, &self.mitigations[1].to_le_bytes());
        }
        bytes
    }
}

/// Signs a report: R and S little-endian, 72 bytes each.
pub fn sign_report(report: &mut [u8], key: &Key) {
    let mut signature = key.sign_fixed(&report[..SIGNED_LEN]);
    let (r, s) = signature.split_at_mut(48);
    r.reverse();
    s.reverse();
    report[0x2a0..0x2d0].copy_from_slice(r);
    report[0x2e8..0x318].copy_from_slice(s);
}

/// Which key of the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// AMD's root.
    Ark,
    /// Signs VCEKs.
    Ask,
    /// Signs VLEKs.
    Asvk,
    /// The root of somebody else.
    OtherArk,
}

impl Signer {
    fn key(self) -> Key {
        match self {
            Self::Ark => Key::ark(),
            Self::Ask => Key::ask(),
            Self::Asvk => Key::asvk(),
            Self::OtherArk => Key::other_ark(),
        }
    }
}

/// What to make, each choice open.
#[derive(Clone)]
pub struct Setup {
    /// Product in the names of the authorities: `Milan`, `Genoa`, `Turin`.
    pub product: &'static str,
    /// productName of the endorsement key.
    pub product_name: &'static str,
    /// The report.
    pub report: Report,
    /// Whether a VLEK, not a VCEK, signs it.
    pub is_vlek: bool,
    /// The TCB in the endorsement key's certificate.
    pub key_tcb: [u8; 8],
    /// hwID of a VCEK.
    pub hardware_id: Vec<u8>,
    /// cspID of a VLEK.
    pub csp_id: &'static str,
    /// Who signs the root: itself, unless a test says otherwise.
    pub root: Signer,
    /// Who signs the endorsement key.
    pub key_signer: Signer,
    /// Name of the authority between, if not the usual one.
    pub authority_name: Option<&'static str>,
    /// Its serial number.
    pub authority_serial: u64,
    /// Dates of the root, of the authority between, of the endorsement key.
    pub validity: [(u64, u64); 3],
    /// Extensions to add to the endorsement key's.
    pub extra: Vec<Extension>,
    /// Serial numbers that the CRL lists.
    pub revoked: Vec<u64>,
    /// thisUpdate and nextUpdate of the CRL.
    pub crl_updates: (u64, u64),
    /// Who signs the CRL.
    pub crl_signer: Signer,
}

/// What was made: DER, and the report.
#[derive(Clone)]
pub struct Made {
    /// The root.
    pub ark: Vec<u8>,
    /// The authority between: ASK or ASVK.
    pub ask: Vec<u8>,
    /// The endorsement key.
    pub vek: Vec<u8>,
    /// The root's CRL.
    pub crl: Vec<u8>,
    /// The signed report.
    pub report: Vec<u8>,
}

impl Setup {
    /// A chip of this product (`Milan`, `Genoa` or `Turin`) that answers with a report of this version.
    ///
    /// # Panics
    /// For another product.
    #[must_use]
    pub fn vcek(product: &'static str, version: u32) -> Self {
        let (cpuid, tcb, chip_id_len) = match product {
            "Milan" => ([0x19, 0x01, 1], [4, 0, 0, 0, 0, 0, 24, 219], 64),
            "Genoa" => ([0x19, 0x11, 1], [10, 0, 0, 0, 0, 0, 27, 84], 64),
            "Turin" => ([0x1a, 0x02, 1], [1, 2, 3, 4, 0, 0, 0, 73], 8),
            other => panic!("no product {other}"),
        };
        let mut chip_id = [0; 64];
        chip_id[..chip_id_len].fill(0xc1);
        let report = Report {
            version,
            guest_svn: 3,
            policy: 0x30000,
            vmpl: 0,
            platform_info: 0x25,
            key_info: 0,
            current_tcb: tcb,
            committed_tcb: tcb,
            launch_tcb: tcb,
            reported_tcb: tcb,
            report_data: [0x5d; 64],
            measurement: [0x3e; 48],
            host_data: [0; 32],
            id_key_digest: [0; 48],
            author_key_digest: [0; 48],
            cpuid,
            chip_id,
            mitigations: [1, 3],
        };
        Self {
            product,
            product_name: product,
            report,
            is_vlek: false,
            key_tcb: tcb,
            hardware_id: chip_id[..chip_id_len].to_vec(),
            csp_id: "made here",
            root: Signer::Ark,
            key_signer: Signer::Ask,
            authority_name: None,
            authority_serial: 0x1_0001,
            validity: [VALIDITY; 3],
            extra: Vec::new(),
            revoked: Vec::new(),
            crl_updates: VALIDITY,
            crl_signer: Signer::Ark,
        }
    }

    /// The same, signed with a provider's key.
    #[must_use]
    pub fn vlek(product: &'static str, version: u32) -> Self {
        let mut setup = Self::vcek(product, version);
        setup.is_vlek = true;
        setup.key_signer = Signer::Asvk;
        setup.report.key_info = 1 << 2;
        setup
    }

    /// Makes the chain, the CRL and the report.
    #[must_use]
    pub fn make(&self) -> Made {
        let key = Key::p384();
        let mut report = self.report.unsigned();
        sign_report(&mut report, &key);
        let Chain { ark, ask, vek } = self.chain(&key);
        Made { ark, ask, vek, crl: self.crl(), report }
    }

    fn root_name(&self) -> String {
        format!("ARK-{}", self.product)
    }

    fn chain(&self, key: &Key) -> Chain {
        let root_name = self.root_name();
        let usual = if self.is_vlek { "SEV-VLEK" } else { "SEV" };
        let usual = format!("{usual}-{}", self.product);
        let authority_name = self.authority_name.unwrap_or(&usual);
        let (root, between) = (self.root.key(), self.key_signer.key());
        let [root_validity, authority_validity, key_validity] = self.validity;
        let ark = Certificate {
            subject: &root_name,
            issuer: &root_name,
            serial: 1,
            validity: root_validity,
            spki: root.spki(),
            extensions: x509::authority(1),
        };
        let ask = Certificate {
            subject: authority_name,
            issuer: &root_name,
            serial: self.authority_serial,
            validity: authority_validity,
            spki: between.spki(),
            extensions: x509::authority(0),
        };
        let vek = Certificate {
            subject: if self.is_vlek { "SEV-VLEK" } else { "SEV-VCEK" },
            issuer: authority_name,
            serial: 0,
            validity: key_validity,
            spki: key.spki(),
            extensions: self.key_extensions(),
        };
        Chain { ark: ark.sign(&root), ask: ask.sign(&root), vek: vek.sign(&between) }
    }

    fn key_extensions(&self) -> Vec<Extension> {
        let amd = |rest: &[u64], value| ([&AMD, rest].concat(), false, value);
        let level = |number, level: u8| amd(&[3, number], der::number(level.into()));
        let is_turin = self.product_name.starts_with("Turin");
        let [a, b, c, d, e, f, g, h] = self.key_tcb;
        let mut extensions = vec![
            amd(&[1], der::number(is_turin.into())),
            amd(&[2], der::ia5_string(self.product_name)),
        ];
        extensions.extend(if is_turin {
            [(9, a), (1, b), (2, c), (3, d), (5, e), (6, f), (7, g), (8, h)]
                .map(|(number, value)| level(number, value))
        } else {
            [(1, a), (2, b), (4, c), (5, d), (6, e), (7, f), (3, g), (8, h)]
                .map(|(number, value)| level(number, value))
        });
        extensions.push(if self.is_vlek {
            amd(&[5], der::ia5_string(self.csp_id))
        } else {
            // Bare, as in AMD's certificates.
            amd(&[4], self.hardware_id.clone())
        });
        extensions.extend(self.extra.iter().cloned());
        extensions
    }

    fn crl(&self) -> Vec<u8> {
        let crl = Crl {
            issuer: &self.root_name(),
            updates: self.crl_updates,
            revoked: self.revoked.clone(),
            number: 1,
        };
        crl.sign(&self.crl_signer.key())
    }
}

struct Chain {
    ark: Vec<u8>,
    ask: Vec<u8>,
    vek: Vec<u8>,
}
