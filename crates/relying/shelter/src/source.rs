//! Where a command gets its trust anchor, its time and its collateral.

use crate::args::CollateralSource;
use crate::evidence::certificate;
use crate::failure::Failure;
use crate::files::{self, in_file};
use ::collateral::cache::{Cache, Schedule};
use ::collateral::clock::{Clock, Host};
use ::collateral::object::Wanted;
use ::collateral::pcs::{Pcs, Timeouts};
use ::collateral::store::Store;
use attestation::collateral::{Collateral, MAX_COLLATERAL_BYTES};
use attestation::time::{Now, Rfc3339};
use attestation::{TrustAnchor, crypto};
use std::path::{Path, PathBuf};

/// This machine's clock.
pub(crate) fn host_time() -> Now {
    Host.now()
}

/// The trust anchor in a file: one certificate, DER or PEM.
pub(crate) fn anchor(path: &Path) -> Result<TrustAnchor, Failure> {
    let der = certificate(path)?;
    TrustAnchor::from_der(&der, &crypto::Default::default()).map_err(in_file(path))
}

/// Where collateral comes from.
pub(crate) enum Source {
    /// A bundle.
    File(PathBuf),
    /// A store, a service, or both.
    Cache(Box<Cache>),
}

impl CollateralSource {
    pub(crate) fn is_given(&self) -> bool {
        self.collateral.is_some() || self.cache.is_some() || self.url.is_some()
    }
}

impl Source {
    pub(crate) fn of(
        arguments: &CollateralSource,
        anchor: &TrustAnchor,
        now: Now,
    ) -> Result<Self, Failure> {
        let CollateralSource { collateral, cache, url } = arguments;
        match (collateral, cache, url) {
            (Some(path), None, None) => Ok(Self::File(path.clone())),
            (None, None, None) => Err(Failure::Undecided(
                "expected collateral: --collateral FILE, --cache DIR or --url URL, got none".into(),
            )),
            (None, cache, url) => {
                let cache = self::cache(cache.as_deref(), url.as_deref(), anchor, now)?;
                Ok(Self::Cache(Box::new(cache)))
            }
            (Some(_), ..) => Err(Failure::Undecided(
                "expected --collateral FILE, or --cache DIR and --url URL, got both".into(),
            )),
        }
    }

    /// The document for a quote.
    pub(crate) fn document(
        &self,
        wanted: impl FnOnce() -> Result<Wanted, Failure>,
    ) -> Result<Collateral, Failure> {
        match self {
            Self::File(path) => bundle(path),
            Self::Cache(cache) => {
                let wanted = wanted()?;
                let current = cache.get(wanted).map_err(Failure::undecided)?;
                if let Some(error) = cache.failure(wanted) {
                    let came = Rfc3339(current.fetched);
                    eprintln!("shelter: {error}; what came at {came} is still valid, and is used");
                }
                Ok(current.document.clone())
            }
        }
    }
}

/// A bundle's file.
pub(crate) fn bundle(path: &Path) -> Result<Collateral, Failure> {
    let bytes = files::read(path, MAX_COLLATERAL_BYTES as u64)?;
    Collateral::from_json(&bytes).map_err(in_file(path))
}

/// A cache for one command.
pub(crate) fn cache(
    directory: Option<&Path>,
    url: Option<&str>,
    anchor: &TrustAnchor,
    now: Now,
) -> Result<Cache, Failure> {
    let store = directory.map(|directory| Store::open(directory, Store::ROOM)).transpose();
    let store = store.map_err(Failure::undecided)?;
    let pcs = url.map(|url| Pcs::new(url, Timeouts::default())).transpose();
    let pcs = pcs.map_err(Failure::undecided)?;
    Ok(Cache::new(anchor.clone(), store, pcs, Box::new(now), Schedule::default()))
}
