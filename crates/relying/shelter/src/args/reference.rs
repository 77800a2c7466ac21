//! Options of the store of reference values.

use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const HELP: &str = "\
`shelter measure IMAGE --save NAME` puts a measurement in; `--reference NAME` of verify, report, send, connect and
watch accepts it. Whoever can write the store decides what you accept.

Examples:
  shelter measure app.tar --policy rules.toml --save payroll
  shelter reference list
  shelter reference policy payroll --root root.der > policy.toml";

/// Where the store is.
#[derive(Args, Clone)]
pub(crate) struct Store {
    /// The file of saved measurements [default: shelter/references.json in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Reference {
    /// Show all names
    List {
        #[command(flatten)]
        store: Store,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        store: Store,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget one
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        store: Store,
    },
    /// Print a policy that accepts these measurements
    Policy {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        store: Store,
        /// The trust anchor that the policy names: a root certificate, DER or PEM
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
    },
}

/// A name in the store.
pub(super) fn name(text: &str) -> Result<String, String> {
    shelter::saved::check_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}
