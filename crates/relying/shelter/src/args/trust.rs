//! Whom to trust: the anchor, the policy, and where collateral comes from. Every command that judges takes these.

use clap::Args;
use std::path::PathBuf;

const TRUSTED: &str = "Whom to trust";
const COLLATERAL: &str = "Collateral, by which quotes are judged";

/// Whom to trust, and for what.
#[derive(Args, Clone)]
pub(crate) struct Trust {
    /// The one trust anchor: a root certificate, DER or PEM, which the policy must name
    #[arg(long, value_name = "FILE", help_heading = TRUSTED)]
    pub(crate) root: PathBuf,
    /// What is accepted: a TOML file. Without one, the strict policy under the root
    #[arg(long, value_name = "FILE", help_heading = TRUSTED)]
    pub(crate) policy: Option<PathBuf>,
    /// Accept the measurement that was saved under this name; besides what the policy names
    #[arg(long, value_name = "NAME", help_heading = TRUSTED)]
    pub(crate) reference: Vec<String>,
    #[command(flatten)]
    pub(crate) store: super::Store,
    /// Published values that the policy refers to by name: a TOML file
    #[arg(long, value_name = "FILE", help_heading = TRUSTED)]
    pub(crate) references: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: CollateralSource,
    /// The moment to judge for, in seconds since 1970; the machine's clock if left out
    #[arg(long, value_name = "UNIX_SECONDS", help_heading = TRUSTED)]
    pub(crate) at: Option<u64>,
}

/// Where collateral of quotes comes from.
#[derive(Args, Clone)]
pub(crate) struct CollateralSource {
    /// A bundle of collateral: JSON in dcap-qvl's form QuoteCollateralV3
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cache", "url"], help_heading = COLLATERAL)]
    pub(crate) collateral: Option<PathBuf>,
    /// Directory where fetched collateral and the newest edition seen are kept
    #[arg(long, value_name = "DIR", help_heading = COLLATERAL)]
    pub(crate) cache: Option<PathBuf>,
    /// PCS or PCCS to ask for what is not there
    #[arg(long, value_name = "URL", help_heading = COLLATERAL)]
    pub(crate) url: Option<String>,
    /// Of a running container: what it sends along, as old as its dates allow
    #[arg(long, conflicts_with_all = ["collateral", "cache", "url"], help_heading = COLLATERAL)]
    pub(crate) peer_collateral: bool,
}
