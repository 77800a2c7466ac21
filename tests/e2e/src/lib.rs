//! The whole, as a user runs it: images are converted, signed and run by the programs that were built.
//!
//! `cargo xtask test` builds the programs first. A container needs root; without it each test says that it
//! skips and why.
#![forbid(unsafe_code)]

mod running;

pub use running::{PATIENCE, Running};

use fixtures::{Bundle, Image, Programs, program_directory};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Both ways the emulator can run an enclave (`RUNE_EMULATOR_MODE`).
pub const MODES: [&str; 2] = ["fast", "pure"];

/// A scratch directory with programs and a key; it goes with the test.
pub struct Workbench {
    directory: TempDir,
    programs: Programs,
    key: PathBuf,
}

impl Workbench {
    /// None, with a line that says so, where containers cannot be made.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: making a container needs root here");
            return None;
        }
        let directory = tempfile::Builder::new()
            .prefix("inclavare-e2e-")
            .tempdir()
            .expect("the temporary directory is writable");
        let programs = Programs::new(&program_directory(), &directory.path().join("state"))
            .unwrap_or_else(|error| panic!("{error}"));
        let key = key(&programs);
        Some(Self { directory, programs, key })
    }

    /// Where the test may write.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The programs under test.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A file that cargo has put beside the programs.
    #[must_use]
    pub fn built(&self, name: &str) -> PathBuf {
        program_directory().join(name)
    }

    /// Converts and signs.
    #[must_use]
    pub fn bundle(&self, name: &str, image: &Image, policy: &str) -> Bundle {
        self.programs
            .bundle(image, policy, &self.key, &self.path().join(name))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// A busybox container that runs `sh -c script`.
    #[must_use]
    pub fn busybox(&self, name: &str, script: &str, policy: &str) -> Bundle {
        let tree = fixtures::busybox_tree().unwrap_or_else(|error| panic!("{error}"));
        self.bundle(name, &Image::new("busybox:test", tree, &["sh", "-c", script]), policy)
    }
}

/// One signing key for all tests of this build: making one takes a while.
fn key(programs: &Programs) -> PathBuf {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let shared = program_directory().join("e2e-key.pem");
        if !shared.exists() {
            let own = shared.with_extension(format!("{}.pem", std::process::id()));
            programs.new_key(&own).unwrap_or_else(|error| panic!("{error}"));
            // Another process may have been first: either key will do, whole.
            std::fs::rename(&own, &shared).expect("the target directory is writable");
        }
        shared
    })
    .clone()
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}
