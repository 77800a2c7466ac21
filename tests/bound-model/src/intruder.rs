//! What the intruder knows and can derive.
//!
//! Keys, epochs, roles and the protocol's constants are public. Nonces are learnt when they are sent to the
//! intruder; a session's exporter values when the intruder is one of its ends or has its secrets.

use crate::scenario::{Level, Scenario};
use crate::term::{Binder, Nonce, Party, Quote, ReportData, SessionId};
use std::collections::BTreeSet;

/// Everything the intruder has been sent or given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Knowledge {
    /// Nonces of honest endpoints.
    pub(crate) nonces: BTreeSet<Nonce>,
    /// Sessions whose exporter values it can compute.
    pub(crate) sessions: BTreeSet<SessionId>,
    /// Quotes.
    pub(crate) quotes: BTreeSet<Quote>,
}

impl Knowledge {
    /// Nonces it can send: its own, and any it has seen.
    pub(crate) fn choices(&self) -> impl Iterator<Item = Nonce> + '_ {
        self.nonces.iter().copied().chain([Nonce::Intruder])
    }

    /// Whether it can put this quote on the wire.
    pub(crate) fn can_send(&self, scenario: &Scenario, quote: &Quote) -> bool {
        if self.quotes.contains(quote) {
            return true;
        }
        let leaks = &scenario.leaks;
        let forges = leaks.platform_b && quote.attester == Party::EnclaveB;
        // The device that programs reach refuses to quote what ends in the tag.
        let is_tagged = scenario.level == Level::Bound && scenario.has_tag;
        let asks = leaks.quoting_program && quote.attester == Party::EnclaveA && !is_tagged;
        (forges || asks) && self.can_compute(&quote.data)
    }

    fn can_compute(&self, data: &ReportData) -> bool {
        match data {
            ReportData::Key(_) => true,
            ReportData::Exporter(binder) | ReportData::Bound { binder, .. } => {
                self.has_binder(binder)
            }
        }
    }

    /// The transcript in a binder's context needs no look: both of its nonces went over the session whose
    /// secrets the intruder must have in any case.
    fn has_binder(&self, binder: &Binder) -> bool {
        self.sessions.contains(&binder.session)
    }
}
