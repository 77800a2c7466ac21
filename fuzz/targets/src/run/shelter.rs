//! What `shelter` reads that others may have written.

use shelter::address::Address;
use shelter::saved::{self, Entry, check_name};

/// Saved measurements: a file; and the list in one alone, since a digest covers it and would stop every mutation.
/// What is accepted has names that are unique, and is written as what it was read.
pub fn saved_measurements(bytes: &[u8]) {
    let file = list(bytes).map(|entries| saved::write(&entries));
    for bytes in [Some(bytes), file.as_deref()].into_iter().flatten() {
        let Ok(entries) = saved::read(bytes) else { continue };
        assert!(entries.is_sorted_by(|one, next| one.name < next.name));
        assert!(entries.iter().all(|entry| check_name(&entry.name).is_ok()));
        assert_eq!(saved::read(&saved::write(&entries)).expect("written so"), entries);
    }
}

/// Whether it is such a file, or a list that makes one.
pub(crate) fn is_saved(bytes: &[u8]) -> bool {
    saved::read(bytes).is_ok()
        || list(bytes).is_some_and(|entries| saved::read(&saved::write(&entries)).is_ok())
}

fn list(bytes: &[u8]) -> Option<Vec<Entry>> {
    serde_json::from_slice(bytes).ok()
}

/// A place to connect to, as a person writes it. What is accepted has all its parts, and is shown as what is read
/// again as the same.
pub fn shelter_address(bytes: &[u8]) {
    let Some(address) = address(bytes) else { return };
    match &address {
        Address::Tcp { host, port } => assert!(!host.is_empty() && *port != 0),
        Address::Unix(path) => assert!(!path.as_os_str().is_empty()),
    }
    let shown = address.to_string();
    assert!(Address::is_meant(&shown));
    assert_eq!(shown.parse(), Ok(address), "{shown}");
}

pub(crate) fn address(bytes: &[u8]) -> Option<Address> {
    core::str::from_utf8(bytes).ok()?.parse().ok()
}
