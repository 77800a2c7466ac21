//! Applying layers to a tree.
//!
//! The result is the root file system that a container engine would mount, and depends on the layers'
//! contents alone. Where engines differ or trust the archive, this refuses and names the entry: a layer must
//! mean one tree.
//!
//! * Names are relative, without `..`; `.` and doubled slashes are dropped.
//! * Symbolic links in the directories of a name are followed inside the root, as engines do in a chroot;
//!   one that climbs above the root is refused.
//! * A whiteout takes away what lower layers have, wherever in the layer it stands, and nothing of its own
//!   layer (OCI image specification, "Whiteouts").
//! * A name occurs once in a layer; only a directory may be repeated, with the same attributes.
//! * The reserved tree `/.inclavare` does not exist, and no whiteout of it.

mod apply;
mod error;
mod stream;

pub use apply::{Builder, Limits};
pub use error::{LayerError, Problem};
pub(crate) use stream::{LayerSource, LayerStream};

/// Applies one uncompressed layer to an empty tree; a fuzz target calls it.
pub fn fuzz(bytes: &[u8]) {
    let limits = Limits { file: 1 << 20, total: 4 << 20, entries: 1000 };
    crate::hash::Pool::of(1).run(|pool| {
        let mut builder = Builder::new(limits);
        let mut archive = crate::tar::Archive::new(bytes);
        if builder.apply("fuzz", &mut archive, pool, &()).is_ok() {
            let tree = builder.finish();
            let _ = tree.resolve(b"a/b");
            let _ = tree.walk(|_, _| Ok::<(), ()>(()));
        }
    });
}

#[cfg(test)]
mod tests;
