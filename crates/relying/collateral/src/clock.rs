//! The time, given from outside so that tests and verifications of the past can name it.

use attestation::time::Now;
use std::time::{SystemTime, UNIX_EPOCH};

/// Says what time it is, and who says so.
pub trait Clock: Send + Sync {
    /// The moment.
    fn now(&self) -> Now;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

impl Clock for Host {
    fn now(&self) -> Now {
        // A clock before 1970 is wrong; at 0 nothing is valid yet, so everything is refused.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now::host(since.as_secs())
    }
}

/// One moment for ever.
impl Clock for Now {
    fn now(&self) -> Now {
        *self
    }
}
