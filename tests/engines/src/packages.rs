//! The engines' programs: Debian's packages, installed, or of the next release, unpacked beside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// What every test needs besides the engines: network tools of the engines, and `nsenter`, `setpriv`, `unshare`.
const TOOLS: [&str; 3] = ["iproute2", "iptables", "util-linux"];

/// Of Debian 13 only static programs run on Debian 12's C library; runc, crun, conmon and podman do not.
const NEWER_PACKAGES: [&str; 3] = ["containerd", "docker.io", "docker-cli"];
const NEWER_PROGRAMS: [&str; 6] =
    ["containerd", "containerd-shim-runc-v2", "ctr", "docker", "docker-proxy", "dockerd"];

/// Whose programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The machine's own Debian.
    Installed,
    /// Debian 13, unpacked beside.
    Newer,
}

/// One test at a time installs.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Why a test cannot run here, if so. What it needs is installed first where that does not start services.
#[must_use]
pub fn obstacle(packages: &[&str]) -> Option<String> {
    if std::env::var_os("INCLAVARE_TEST_ALL").is_none() {
        return Some("only with --all".into());
    }
    if !is_root() {
        return Some("not root".into());
    }
    let _guard = INSTALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let missing: Vec<&str> =
        packages.iter().chain(&TOOLS).copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return None;
    }
    let advice = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if Path::new("/run/systemd/system").exists() {
        return Some(format!("not installed, and their services would start here: {advice}"));
    }
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    match run(&mut install) {
        Ok(()) => None,
        Err(error) => Some(format!("{advice}: {error}")),
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}", package]);
    query.output().is_ok_and(|output| output.stdout == b"installed")
}

impl Release {
    /// A directory to seek programs in first.
    ///
    /// # Errors
    /// The packages cannot be had.
    pub fn programs(self) -> Result<Option<PathBuf>, String> {
        match self {
            Self::Installed => Ok(None),
            Self::Newer => newer().map(Some),
        }
    }
}

/// Unpacks once into `target/newer-engines`.
fn newer() -> Result<PathBuf, String> {
    let _guard = INSTALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let target =
        fixtures::program_directory().join("..").canonicalize().map_err(|e| e.to_string())?;
    let top = target.join("newer-engines");
    let programs = top.join("bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    let failed = |error: std::io::Error| format!("unpack newer engines: {error}");
    let partial = target.join("newer-engines.partial");
    let _ = std::fs::remove_dir_all(&partial); // of a run that was stopped
    for directory in ["lists/partial", "cache/archives/partial", "debs", "root", "bin"] {
        std::fs::create_dir_all(partial.join(directory)).map_err(failed)?;
    }
    std::fs::write(partial.join("status"), "").map_err(failed)?;
    std::fs::write(partial.join("sources.list"), SOURCES).map_err(failed)?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        for (option, path) in [
            ("Dir::State::status", "status"),
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("-o").arg(format!("{option}={}", partial.join(path).display()));
        }
        command.args(["-qq", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Sandbox::User=root"]);
        run(command.args(words).current_dir(partial.join("debs")))
    };
    apt(&["update"])?;
    apt(&[&["download"], &NEWER_PACKAGES[..]].concat())?;
    for package in std::fs::read_dir(partial.join("debs")).map_err(failed)? {
        let package = package.map_err(failed)?.path();
        run(Command::new("dpkg").arg("-x").arg(package).arg(partial.join("root")))?;
    }
    for name in NEWER_PROGRAMS {
        let places = ["usr/bin", "usr/sbin"].map(|place| partial.join("root").join(place));
        let found = places.iter().map(|place| place.join(name)).find(|file| file.is_file());
        let file = found.ok_or_else(|| format!("Debian 13's packages have no {name}"))?;
        std::fs::rename(file, partial.join("bin").join(name)).map_err(failed)?;
    }
    for directory in ["lists", "cache", "debs", "root"] {
        std::fs::remove_dir_all(partial.join(directory)).map_err(failed)?;
    }
    std::fs::rename(&partial, &top).map_err(failed)?;
    Ok(programs)
}

const SOURCES: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                       http://deb.debian.org/debian trixie main\n";

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(errors.lines().last().unwrap_or("it failed").to_owned())
}
