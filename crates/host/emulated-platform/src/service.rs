//! The platform as the quoting service behind an AESM socket.

use crate::error::QuoteError;
use crate::identity::{MRSIGNER, QE_ISVPRODID};
use crate::platform::Platform;
use aesm::server::QuotingService;
use aesm::{AttKeyId, REPORT_SIZE, TARGETINFO_SIZE};

impl QuotingService for Platform {
    type Error = QuoteError;

    fn key_id(&self) -> AttKeyId {
        AttKeyId::ecdsa_p256(&MRSIGNER, QE_ISVPRODID)
    }

    fn public_key_id(&self) -> [u8; 32] {
        self.attestation_key_id()
    }

    fn target_info(&self) -> [u8; TARGETINFO_SIZE] {
        Platform::target_info(self)
    }

    fn quote_size(&self) -> u32 {
        u32::try_from(Platform::quote_size(self)).expect("a quote has a few thousand bytes")
    }

    fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, QuoteError> {
        Platform::quote(self, report)
    }

    fn quote_report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
        nonce: &[u8; 16],
        quote: &[u8],
    ) -> Result<[u8; REPORT_SIZE], QuoteError> {
        Platform::quote_report(self, target, nonce, quote)
    }
}
