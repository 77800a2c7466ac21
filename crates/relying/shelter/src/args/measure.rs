//! Options of `shelter measure`.

use attestation::hex::{self, HexError};
use clap::Args;
use convert::overrides::Overrides;
use std::path::PathBuf;
use workload::digest::{Digest, Hex};

pub(super) const HELP: &str = "\
An image (OCI layout, archive of docker save, rootfs directory) is converted again, in memory: give the same
--policy and options that `inclavare image convert` was given, and the same version of shelter. An enclave file,
pack or bundle is measured as the processor would; its SIGSTRUCT, where there is one, is checked.

Examples:
  shelter measure app.tar --policy rules.toml
  shelter measure app.tar --policy rules.toml --save payroll
  shelter measure bundle --expect 2f3e…
  shelter measure enclave.sgxs --sigstruct enclave.sig --json";

#[derive(Args)]
pub(crate) struct Measure {
    /// Image, enclave file, pack or bundle
    pub(crate) target: PathBuf,
    /// MRENCLAVE that it should have; another is refused
    #[arg(long, value_name = "HEX", value_parser = digest)]
    pub(crate) expect: Option<Digest>,
    /// Of an enclave file: its SIGSTRUCT
    #[arg(long, value_name = "FILE")]
    pub(crate) sigstruct: Option<PathBuf>,
    /// Keep it under this name, for --reference of the other commands
    #[arg(long, value_name = "NAME", value_parser = super::reference::name)]
    pub(crate) save: Option<String>,
    /// With --save: take the place of another measurement of this name
    #[arg(long, requires = "save")]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) store: super::Store,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    // Last: what comes after it would stand under its heading.
    #[command(flatten, next_help_heading = "Of an image, as it was converted")]
    pub(crate) conversion: Conversion,
}

/// How an image was converted.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[group(multiple = true)]
pub(crate) struct Conversion {
    /// Which of several images in it
    #[arg(long = "ref", value_name = "NAME")]
    pub(crate) reference: Option<String>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

impl Conversion {
    /// With these rules, and nothing over them.
    pub(crate) fn by(policy: Option<PathBuf>, reference: Option<String>) -> Self {
        Self { reference, overrides: Overrides { policy, ..Overrides::default() } }
    }
}

/// A measurement: 64 digits, in either case.
pub(super) fn digest(text: &str) -> Result<Digest, HexError> {
    hex::array(text).map(Hex)
}
