//! Whom a command trusts: anchor, policy, reference values and clock, read before anything is judged.
//!
//! Each file is read once, and what was read decides and is shown: it may be another by the time of a second look.

use crate::args::Trust;
use crate::evidence::certificate;
use crate::failure::Failure;
use crate::files::{self, in_file};
use crate::mistaken;
use crate::store::Store;
use ::collateral::clock::{Clock, Host};
use attestation::policy::{MAX_POLICY_BYTES, Policy};
use attestation::time::Now;
use attestation::{ReferenceValues, TrustAnchor, crypto};
use shelter::saved::Entry;
use std::path::Path;

/// Most bytes of a file of reference values.
const MOST_REFERENCES: u64 = 4 << 20;

/// What decides.
pub(crate) struct Trusted {
    /// The one anchor.
    pub(crate) anchor: TrustAnchor,
    /// What is accepted.
    pub(crate) policy: Policy,
    /// The text of the policy's file, which this is about and no later one.
    pub(crate) policy_text: Option<String>,
    /// Saved measurements that are accepted by name, besides what the policy says.
    pub(crate) saved: Vec<Entry>,
    /// What the policy's names stand for.
    pub(crate) references: ReferenceValues,
    /// For which moment.
    pub(crate) time: Moment,
}

/// The moment to judge for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// What the machine's clock shows each time.
    Host,
    /// This one.
    Given(u64),
}

impl Moment {
    pub(crate) fn of(at: Option<u64>) -> Self {
        at.map_or(Self::Host, Self::Given)
    }
}

impl Clock for Moment {
    fn now(&self) -> Now {
        match self {
            Self::Host => Host.now(),
            Self::Given(seconds) => Now::given(*seconds),
        }
    }
}

impl Trusted {
    /// Reads the files. Without a policy the strict one counts, which accepts nothing until something is named;
    /// where `is_named` that is an error at once.
    ///
    /// # Errors
    /// A file that is not what it should be, or nothing that says what may run.
    pub(crate) fn of(trust: &Trust, is_named: bool) -> Result<Self, Failure> {
        let anchor = anchor(&trust.root)?;
        let (mut policy, policy_text) = match &trust.policy {
            Some(path) => {
                let text = files::read_text(path, MAX_POLICY_BYTES as u64)?;
                let policy = Policy::from_toml(&text).map_err(|error| {
                    const POLICY: &str =
                        "a policy, TOML (shelter reference policy NAME --root FILE prints one)";
                    mistaken::instead(path, text.as_bytes(), POLICY, error)
                })?;
                (policy, Some(text))
            }
            None if is_named && trust.reference.is_empty() => {
                let message = "expected --policy FILE or --reference NAME, got neither";
                return Err(Failure::Undecided(message.into()));
            }
            None => (Policy::strict(*anchor.sha256()), None),
        };
        let mut references = match &trust.references {
            Some(path) => {
                let text = files::read_text(path, MOST_REFERENCES)?;
                ReferenceValues::from_toml(&text).map_err(in_file(path))?
            }
            None => ReferenceValues::default(),
        };
        let mut saved = vec![];
        if !trust.reference.is_empty() {
            let store = Store::open(&trust.store)?;
            for name in &trust.reference {
                let entry = store.need(name)?;
                references.add(entry.value()).map_err(Failure::undecided)?;
                policy.references.push(name.clone());
                saved.push(entry.clone());
            }
        }
        let time = Moment::of(trust.at);
        Ok(Self { anchor, policy, policy_text, saved, references, time })
    }
}

/// The trust anchor in a file: one certificate, DER or PEM.
pub(crate) fn anchor(path: &Path) -> Result<TrustAnchor, Failure> {
    let der = certificate(path)?;
    TrustAnchor::from_der(&der, &crypto::Default::default()).map_err(in_file(path))
}
