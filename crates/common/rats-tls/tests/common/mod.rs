//! Parties whose evidence is the report data itself, so that tests of the session need no platform.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use attestation::{Checks, Decision, TimeSource, Verdict};
use rats_tls::binding::Binding;
use rats_tls::claims::Claims;
use rats_tls::frame::Format;
use rats_tls::{Accepted, Appraiser, AttestError, Attester, Offered, Party, Received, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub fn claims() -> Claims {
    Claims {
        instance_id: [2; 16],
        config_digest: [1; 32],
        runtime_version: "0.1.0".into(),
        custom: Default::default(),
    }
}

/// Makes report data for evidence.
pub struct Plain;

impl Attester for Plain {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        if !formats.contains(&(Format::Sgx as u16)) {
            return Err(AttestError::Format { expected: Format::Sgx, got: formats.to_vec() });
        }
        let claims = claims().encode();
        let evidence = binding.report_data(&claims).to_vec();
        Ok(Offered { format: Format::Sgx, evidence, claims, endorsements: vec![] })
    }
}

/// Accepts what has the expected report data.
#[derive(Default)]
pub struct Exact {
    pub generation: AtomicU64,
    pub count: AtomicU64,
}

impl Appraiser for Exact {
    fn appraise(&self, received: &Received) -> Result<Accepted, Box<Refusal>> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let expected = received.expected_report_data();
        if received.offered.evidence != expected {
            return Err(Box::new(Refusal::Denied {
                field: "report data".into(),
                expected: format!("{expected:02x?}"),
                got: format!("{:02x?}", received.offered.evidence),
            }));
        }
        let claims = Claims::decode(&received.offered.claims).map_err(Refusal::Claims)?;
        let verdict = Box::new(Verdict {
            verdict: Decision::Accepted,
            emulated: true,
            tee: None,
            tcb_status: None,
            advisories: vec![],
            measurement: None,
            platform: None,
            time_source: TimeSource::Given,
            time: 0,
            checks: Checks::new(),
        });
        Ok(Accepted { verdict, claims })
    }

    fn formats(&self) -> Vec<Format> {
        vec![Format::Sgx]
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
}

pub fn attester() -> Party {
    Party::attester(Arc::new(Plain)).unwrap()
}

pub fn verifier() -> Party {
    Party::verifier(Arc::new(Exact::default()))
}

pub fn mutual() -> Party {
    Party::mutual(Arc::new(Plain), Arc::new(Exact::default())).unwrap()
}
