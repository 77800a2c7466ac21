//! The certificates of the emulated chain: root, PCK CAs, TCB signer, PCK.
//!
//! They have the extensions that Intel's have and that its verifiers ask for. Their names say what they are.
//! The CRL distribution points name a host that cannot exist: an emulated platform's collateral is wherever
//! it is served, which no certificate can know.

use crate::key::Key;
use crate::pck::PckCa;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName,
    DnType, IsCa, Issuer, KeyUsagePurpose,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

const ORGANISATION: &str = "Inclavare emulator";

/// When a certificate is valid: Unix seconds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

impl Default for Validity {
    /// 2024 to 2049: the emulator's secret ends these certificates, not a date.
    fn default() -> Self {
        Self { from: 1_704_067_200, until: 2_524_607_999 }
    }
}

/// A certificate and the key it is about.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) key: Key,
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
    params: CertificateParams,
}

impl Certified {
    /// A self-signed root.
    pub(crate) fn root(key: Key, validity: Validity) -> Result<Self, rcgen::Error> {
        let mut params = authority("EMULATED SGX Root CA", 1, validity)?;
        params.serial_number = Some(serial(&key));
        let certificate = params.self_signed(&key)?;
        Ok(Self { key, der: certificate.der().to_vec(), pem: certificate.pem(), params })
    }

    /// A CA for PCK certificates.
    pub(crate) fn pck_ca(
        &self,
        key: Key,
        ca: PckCa,
        validity: Validity,
    ) -> Result<Self, rcgen::Error> {
        let name = match ca {
            PckCa::Processor => "EMULATED SGX PCK Processor CA",
            PckCa::Platform => "EMULATED SGX PCK Platform CA",
        };
        self.issue(key, authority(name, 0, validity)?)
    }

    /// The signer of TCB information and enclave identities.
    pub(crate) fn tcb_signer(&self, key: Key, validity: Validity) -> Result<Self, rcgen::Error> {
        self.issue(key, leaf("EMULATED SGX TCB Signing", "rootcacrl", validity)?)
    }

    /// A provisioning certification key. `extension` is Intel's, in DER.
    pub(crate) fn pck(
        &self,
        key: Key,
        ca: PckCa,
        extension: Vec<u8>,
        validity: Validity,
    ) -> Result<Self, rcgen::Error> {
        let crl = format!("pckcrl?ca={}&encoding=der", ca.name());
        let mut params = leaf("EMULATED SGX PCK Certificate", &crl, validity)?;
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(crate::pck::EXTENSION, extension));
        self.issue(key, params)
    }

    /// This certificate as one that signs.
    pub(crate) fn issuer(&self) -> Issuer<'_, &Key> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// The number by which a CRL names this certificate.
    pub(crate) fn serial(&self) -> rcgen::SerialNumber {
        self.params.serial_number.clone().expect("set where parameters are made")
    }

    fn issue(&self, key: Key, mut params: CertificateParams) -> Result<Self, rcgen::Error> {
        params.serial_number = Some(serial(&key));
        let certificate = params.signed_by(&key, &self.issuer())?;
        Ok(Self { key, der: certificate.der().to_vec(), pem: certificate.pem(), params })
    }
}

/// Unix seconds as certificates have them.
pub(crate) fn date(seconds: i64) -> Result<OffsetDateTime, rcgen::Error> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rcgen::Error::Time)
}

/// A CA with at most `below` further CAs under it.
fn authority(name: &str, below: u8, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(name, "rootcacrl", validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(name: &str, crl: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(name, crl, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
    Ok(params)
}

/// No extended key usage: verifiers that ask for one do not take Intel's certificates either.
fn named(name: &str, crl: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.not_before = date(validity.from)?;
    params.not_after = date(validity.until)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec![format!("https://emulated.invalid/sgx/certification/v4/{crl}")],
    }];
    Ok(params)
}

/// 20 bytes that follow from the key, positive and without a leading zero.
fn serial(key: &Key) -> rcgen::SerialNumber {
    let digest: [u8; 32] = Sha256::digest(key.public()).into();
    let mut serial = digest[..20].to_vec();
    serial[0] = b'E';
    serial.into()
}
