//! dockerd, with the containerd that it starts itself and rune as a configured runtime.

use crate::host::Host;
use crate::packages::Release;
use fixtures::Outcome;
use std::path::Path;

const SOCKET: &str = "unix:///run/docker.sock";

/// A running dockerd.
#[derive(Debug)]
pub struct Docker {
    host: Host,
}

impl Docker {
    /// What must be installed.
    pub const PACKAGES: &[&str] = &["docker.io", "containerd", "runc"];

    /// Starts it.
    ///
    /// # Errors
    /// It does not come up: with its log.
    pub fn start(release: Release) -> Result<Self, String> {
        let host = Host::new(release.programs()?.as_deref())?;
        host.configure("/etc/docker/daemon.json")?;
        let docker = Self { host };
        docker.serve()?;
        Ok(docker)
    }

    fn serve(&self) -> Result<(), String> {
        let ask = ["docker", "-H", SOCKET, "version"];
        self.host.daemon("dockerd", &["dockerd", "--host", SOCKET, "--live-restore"], &ask)
    }

    /// Kills the daemon, as a crash does, and starts it again. Containers and its containerd go on.
    ///
    /// # Errors
    /// It does not come up.
    pub fn crash_and_restart(&self) -> Result<(), String> {
        let kill = "p=$(cat /run/docker.pid); kill -9 $p; while kill -0 $p 2>/dev/null; do sleep 0.1; done; \
                    rm -f /run/docker.pid";
        let _ = self.host.run(&["sh", "-c", kill]);
        self.serve()
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// `docker` with these words.
    #[must_use]
    pub fn docker(&self, words: &[&str]) -> Outcome {
        self.host.run(&[&["docker", "-H", SOCKET], words].concat())
    }

    /// `docker run --runtime rune` with these words, with a standard input.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Outcome {
        let run = ["docker", "-H", SOCKET, "run", "--runtime", "rune"];
        fixtures::outcome(&mut self.host.command(&[&run[..], words].concat()), input)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// `docker run --runtime rune` with these words.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.run_with(words, b"")
    }

    /// One field of a container.
    #[must_use]
    pub fn inspect(&self, format: &str, container: &str) -> String {
        self.docker(&["inspect", "-f", format, container]).stdout.trim().to_owned()
    }

    /// Loads an image.
    ///
    /// # Errors
    /// What docker says.
    pub fn load(&self, archive: &Path) -> Result<(), String> {
        use crate::Expect;
        self.docker(&["load", "-q", "-i", &archive.display().to_string()]).expect(0).map(drop)
    }

    /// Removes all containers.
    pub fn clean(&self) {
        let all = "docker -H $1 ps -aq | xargs -r docker -H $1 rm -f -v";
        let _ = self.host.run(&["sh", "-c", all, "sh", SOCKET]);
    }
}
