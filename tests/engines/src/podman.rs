//! podman: no daemon and no shim, conmon calls rune.

use crate::host::Host;
use fixtures::Outcome;
use std::path::Path;

/// podman on a host of its own.
#[derive(Debug)]
pub struct Podman {
    host: Host,
}

impl Podman {
    /// What must be installed.
    pub const PACKAGES: &[&str] = &["podman", "conmon", "netavark", "aardvark-dns", "catatonit"];

    /// Sets it up.
    ///
    /// # Errors
    /// The host cannot be made.
    pub fn start() -> Result<Self, String> {
        let host = Host::new(None)?;
        host.configure("/etc/containers/containers.conf.d/rune.conf")?;
        // The page's other block: what a machine without CAP_SYS_RESOURCE needs.
        let page = include_str!("../../../docs/engines.md");
        let limits = page.find("[containers]").map(|at| &page[at..]).unwrap_or_default();
        let limits = limits.split("```").next().unwrap_or_default();
        host.write("/etc/containers/containers.conf.d/limits.conf", limits)?;
        let trust = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        host.write("/etc/containers/policy.json", trust)?;
        Ok(Self { host })
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// `podman --runtime rune` with these words: a pod's first container is made by `pod create`.
    #[must_use]
    pub fn podman(&self, words: &[&str]) -> Outcome {
        self.host.run(&[&["podman", "--runtime", "rune"], words].concat())
    }

    /// `podman --runtime rune run` with these words.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.podman(&[&["run"], words].concat())
    }

    /// One field of a container.
    #[must_use]
    pub fn inspect(&self, format: &str, container: &str) -> String {
        self.podman(&["inspect", "-f", format, container]).stdout.trim().to_owned()
    }

    /// Loads an image.
    ///
    /// # Errors
    /// What podman says.
    pub fn load(&self, archive: &Path) -> Result<(), String> {
        use crate::Expect;
        self.podman(&["load", "-q", "-i", &archive.display().to_string()]).expect(0).map(drop)
    }

    /// Removes all pods and containers.
    pub fn clean(&self) {
        let _ = self.podman(&["pod", "rm", "--all", "--force"]);
        let _ = self.podman(&["rm", "--all", "--force", "--volumes", "--time", "0"]);
    }
}
