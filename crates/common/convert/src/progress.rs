//! Telling a person how far a conversion is.

/// Receives progress; called from several threads.
pub trait Progress: Sync {
    /// A stage begins, with so many bytes of work if that is known.
    fn stage(&self, name: &str, bytes: Option<u64>);

    /// So many more bytes of the stage are done.
    fn advance(&self, bytes: u64);
}

/// Tells nobody.
impl Progress for () {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
}
