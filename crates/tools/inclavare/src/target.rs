//! Where a pack is: in a directory of its own, or in a bundle.

use crate::failure::Failure;
use convert::pack::{Pack, SGXS};
use std::path::{Path, PathBuf};

/// Where a pack may lie below the directory that a user names.
const PLACES: [&str; 3] = ["", "rootfs/.inclavare", ".inclavare"];

/// The directory of the pack that `path` names: a pack, a bundle or a root file system.
pub(crate) fn find(path: &Path) -> Result<PathBuf, Failure> {
    let place = PLACES.iter().map(|place| path.join(place));
    let found = place.into_iter().find(|directory| directory.join(SGXS).is_file());
    found.ok_or_else(|| {
        let path = path.display();
        Failure::Refused(format!(
            "{path}: expected a pack or a bundle with an enclave ({SGXS}), got neither"
        ))
    })
}

/// Opens the pack that `path` names.
pub(crate) fn open(path: &Path) -> Result<Pack, Failure> {
    Ok(Pack::open(&find(path)?)?)
}
