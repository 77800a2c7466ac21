//! Where a command gets its collateral.

use crate::args::CollateralSource;
use crate::failure::Failure;
use crate::files;
use crate::mistaken;
use crate::trusted::Moment;
use ::collateral::cache::{Cache, Schedule};
use ::collateral::object::Wanted;
use ::collateral::pcs::{Pcs, Timeouts};
use ::collateral::store::Store;
use attestation::TrustAnchor;
use attestation::collateral::{Collateral, MAX_COLLATERAL_BYTES};
use attestation::time::Rfc3339;
use std::path::{Path, PathBuf};

/// Where collateral comes from.
pub(crate) enum Source {
    /// A bundle.
    File(PathBuf),
    /// A store, a service, or both.
    Cache(Box<Cache>),
}

impl CollateralSource {
    pub(crate) fn is_given(&self) -> bool {
        self.collateral.is_some()
            || self.cache.is_some()
            || self.url.is_some()
            || self.peer_collateral
    }
}

impl Source {
    pub(crate) fn of(
        arguments: &CollateralSource,
        anchor: &TrustAnchor,
        time: Moment,
    ) -> Result<Self, Failure> {
        let CollateralSource { collateral, cache, url, peer_collateral } = arguments;
        if *peer_collateral {
            let message =
                "--peer-collateral: expected a session of level bound, whose peer sends collateral";
            return Err(Failure::Undecided(message.into()));
        }
        match (collateral, cache, url) {
            (Some(path), None, None) => Ok(Self::File(path.clone())),
            (None, None, None) => Err(Failure::Undecided(
                "expected collateral: --collateral FILE, --cache DIR or --url URL, got none".into(),
            )),
            (None, cache, url) => {
                let cache = self::cache(cache.as_deref(), url.as_deref(), anchor, time)?;
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
    Collateral::from_json(&bytes)
        .map_err(|error| mistaken::instead(path, &bytes, "a bundle of collateral, JSON", error))
}

/// A cache for one command.
pub(crate) fn cache(
    directory: Option<&Path>,
    url: Option<&str>,
    anchor: &TrustAnchor,
    time: Moment,
) -> Result<Cache, Failure> {
    let store = directory.map(|directory| Store::open(directory, Store::ROOM)).transpose();
    let store = store.map_err(Failure::undecided)?;
    let pcs = url.map(|url| Pcs::new(url, Timeouts::default())).transpose();
    let pcs = pcs.map_err(Failure::undecided)?;
    Ok(Cache::new(anchor.clone(), store, pcs, Box::new(time), Schedule::default()))
}
