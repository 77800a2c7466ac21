//! The root of the emulated chain, and the authorities under it.
//!
//! A host's own root follows from its emulator secret, so every host has another one. A *lab root* is a
//! secret that several hosts have: [`ROOT_FILE`] beside the secret, in the same format. Whoever has it can
//! make any certificate under it; that is what "emulated" means, and why no policy that asks for hardware
//! may name it.

use crate::certificate::{Certified, Validity};
use crate::key::Key;
use crate::pck::{PckCa, PckExtension};
use crate::seed::Seed;
use sha2::{Digest, Sha256};

/// The lab root's file, in the directory of the emulator's secret. Without it the host has its own root.
pub const ROOT_FILE: &str = "root";

/// When the certificates of a chain are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// The root.
    pub root: Validity,
    /// The CAs of PCK certificates.
    pub pck_ca: Validity,
    /// The signer of TCB information and identities.
    pub tcb_signer: Validity,
    /// PCK certificates.
    pub pck: Validity,
}

/// A root, with what it certifies.
#[derive(Clone)]
pub struct Root {
    pub(crate) root: Certified,
    pub(crate) processor_ca: Certified,
    pub(crate) platform_ca: Certified,
    pub(crate) tcb_signer: Certified,
    dates: Dates,
}

impl Root {
    /// The root that follows from a secret: a host's, or a lab's.
    ///
    /// # Errors
    /// A date that no certificate can have.
    pub fn new(secret: &sgx::keys::Platform, dates: Dates) -> Result<Self, rcgen::Error> {
        let seed = Seed::mix("root", &[&secret.root, &secret.seal_fuses, &secret.owner_epoch]);
        let root = Certified::root(seed.key("root key"), dates.root)?;
        let ca = |label, ca| root.pck_ca(seed.key(label), ca, dates.pck_ca);
        Ok(Self {
            processor_ca: ca("processor ca key", PckCa::Processor)?,
            platform_ca: ca("platform ca key", PckCa::Platform)?,
            tcb_signer: root.tcb_signer(seed.key("tcb signer key"), dates.tcb_signer)?,
            root,
            dates,
        })
    }

    /// The root certificate, DER: what a verifier must be told to trust.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.root.der
    }

    /// The root certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.root.pem
    }

    /// SHA-256 of the root certificate: how a policy names it.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.root.der).into()
    }

    /// The certificate of the signer of TCB information and identities, PEM.
    #[must_use]
    pub fn tcb_signer_pem(&self) -> &str {
        &self.tcb_signer.pem
    }

    pub(crate) fn ca(&self, ca: PckCa) -> &Certified {
        match ca {
            PckCa::Processor => &self.processor_ca,
            PckCa::Platform => &self.platform_ca,
        }
    }

    /// Certifies a platform's key. The chain is PEM: leaf, CA, root.
    pub(crate) fn certify(
        &self,
        key: Key,
        ca: PckCa,
        extension: &PckExtension,
    ) -> Result<(Certified, String), rcgen::Error> {
        let issuer = self.ca(ca);
        let pck = issuer.pck(key, ca, extension.to_der(), self.dates.pck)?;
        let chain = [&*pck.pem, &issuer.pem, &self.root.pem].concat();
        Ok((pck, chain))
    }
}

impl core::fmt::Debug for Root {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Never the keys.
        f.debug_struct("Root").field("certificate", &self.root.pem).finish_non_exhaustive()
    }
}
