//! containerd, with runc's shim and rune as its binary; `ctr` is the client.

use crate::host::Host;
use crate::packages::Release;
use fixtures::Outcome;
use std::path::Path;

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    host: Host,
}

impl Containerd {
    /// What must be installed.
    pub const PACKAGES: &[&str] = &["containerd", "runc"];

    /// Starts it.
    ///
    /// # Errors
    /// It does not come up: with its log.
    pub fn start(release: Release) -> Result<Self, String> {
        let file = "/etc/containerd/config.toml";
        Self::start_with(release, &[(file, crate::host::documented(file))])
    }

    /// Starts it with these files, each a path and a text.
    ///
    /// # Errors
    /// It does not come up: with its log.
    pub(crate) fn start_with(release: Release, files: &[(&str, &str)]) -> Result<Self, String> {
        let host = Host::new(release.programs()?.as_deref())?;
        for (path, text) in files {
            host.write(path, text)?;
        }
        let containerd = Self { host };
        containerd.serve()?;
        Ok(containerd)
    }

    fn serve(&self) -> Result<(), String> {
        self.host.daemon("containerd", &["containerd"], &["ctr", "version"])
    }

    /// Kills the daemon, as a crash does, and starts it again. Containers and their shims go on.
    ///
    /// # Errors
    /// It does not come up.
    pub fn crash_and_restart(&self) -> Result<(), String> {
        let kill = "pkill -KILL -x containerd; while pgrep -x containerd; do sleep 0.1; done";
        let _ = self.host.run(&["sh", "-c", kill]);
        self.serve()
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// `ctr` with these words.
    #[must_use]
    pub fn ctr(&self, words: &[&str]) -> Outcome {
        self.host.run(&[&["ctr"], words].concat())
    }

    /// `ctr run` with rune as the shim's binary.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.ctr(&[&["run", "--runc-binary", "/usr/local/bin/rune"], words].concat())
    }

    /// Loads an image.
    ///
    /// # Errors
    /// What ctr says.
    pub fn load(&self, archive: &Path) -> Result<(), String> {
        use crate::Expect;
        self.ctr(&["images", "import", &archive.display().to_string()]).expect(0).map(drop)
    }

    /// Removes all containers.
    pub fn clean(&self) {
        let all = "for c in $(ctr containers ls -q); do ctr task kill -s KILL -a $c; \
                   ctr task rm -f $c; ctr containers rm $c; done 2>/dev/null";
        let _ = self.host.run(&["sh", "-c", all]);
    }
}
