//! Accepted evidence as the verification callback sees it.

use crate::abi::{Claim, Evidence, EvidenceBody, HashedData, SgxEvidence, TdxEvidence};
pub(crate) use crate::border::Callback;
use attestation::quote::{Body, Quote};
use core::ptr::null;
use rats_tls::{Accepted, Appraiser, Format, Received, Refusal};
use std::ffi::CString;
use std::sync::Arc;

/// Asks the program once the policy has accepted; it can refuse, and accept nothing that the policy refused.
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn Appraiser>,
    pub(crate) callback: Callback,
}

impl Appraiser for Watched {
    fn appraise(&self, received: &Received) -> Result<Accepted, Box<Refusal>> {
        let accepted = self.inner.appraise(received)?;
        if show(received, &accepted, self.callback) {
            return Ok(accepted);
        }
        Err(Box::new(Refusal::Denied {
            field: "verification callback".into(),
            expected: "a value other than 0".into(),
            got: "0".into(),
        }))
    }

    fn formats(&self) -> Vec<Format> {
        self.inner.formats()
    }

    fn generation(&self) -> u64 {
        self.inner.generation()
    }
}

fn show(received: &Received, accepted: &Accepted, callback: Callback) -> bool {
    let offered = &received.offered;
    let Ok(quote) = Quote::parse(&offered.evidence) else { return false };
    // A name with a zero in it would reach C as another name.
    let names = accepted.claims.custom.keys().map(|name| CString::new(name.as_str()));
    let Ok(names) = names.collect::<Result<Vec<_>, _>>() else { return false };
    let values = accepted.claims.custom.values();
    let claims: Vec<Claim> = names
        .iter()
        .zip(values)
        .map(|(name, value)| Claim {
            name: name.as_ptr().cast_mut(),
            value: value.as_ptr().cast_mut(),
            value_size: value.len(),
        })
        .collect();
    let (kind, body) = match &quote.body {
        Body::Sgx(report) => {
            let sgx = SgxEvidence {
                mr_enclave: report.mrenclave.as_ptr(),
                mr_signer: report.mrsigner.as_ptr(),
                product_id: report.isvprodid.into(),
                security_version: report.isvsvn.into(),
                // Header, then the report body, where they lie at 48.
                attributes: quote.signed[48 + 48..].as_ptr(),
                collateral_size: offered.endorsements.len(),
                collateral: offered.endorsements.as_ptr().cast(),
            };
            (1, EvidenceBody { sgx })
        }
        Body::Tdx(report) => {
            let tdx = TdxEvidence {
                mrseam: report.mrseam.as_ptr(),
                mrseamsigner: report.mrsignerseam.as_ptr(),
                tcb_svns: report.tee_tcb_svn.as_ptr(),
                cpu_svn: null(),
                mrtd: report.mrtd.as_ptr(),
                rtmr: report.rtmr.as_ptr().cast(),
                tdel_info: null(),
                tdel_info_sz: 0,
                tdel_data: null(),
                tdel_data_sz: 0,
            };
            (2, EvidenceBody { tdx })
        }
    };
    let mut evidence = Evidence {
        kind,
        custom_claims: claims.as_ptr(),
        custom_claims_length: claims.len(),
        ehd: HashedData {
            public_key: null(),
            user_data_size: 0,
            user_data: null(),
            unhashed_size: 0,
            unhashed: null(),
        },
        // A quote that was read has at most 64 KiB.
        quote_size: offered.evidence.len() as i32,
        quote: offered.evidence.as_ptr().cast(),
        body,
    };
    callback.accepts(&mut evidence)
}
