//! `--version`.

/// Prints versions, the first line as engines parse it.
pub(crate) fn run() -> i32 {
    println!("rune version {}", env!("CARGO_PKG_VERSION"));
    println!("spec: {}", container::spec::OCI_VERSION);
    println!("seccomp: built in (no libseccomp)");
    0
}
