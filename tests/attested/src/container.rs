//! The container: an HTTP server that knows nothing of enclaves.

use crate::{Failure, Result};
use fixtures::{Bundle, Image, Programs, busybox_tree, fresh_id};
use serde_json::json;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a container may take to be reachable; it takes about a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes a secret and proves that it has it.
const UNLOCK: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n\
     head -c \"$CONTENT_LENGTH\" | sha256sum | cut -d' ' -f1\n";

/// What is served, and how it is converted.
pub(crate) struct Served {
    page: &'static str,
    env: &'static str,
    is_debug: bool,
    /// Whether the manifest leaves something to the host, which makes use of it.
    is_open: bool,
    /// Of the attester, on the host.
    pub(crate) port: u16,
}

impl Served {
    pub(crate) const fn usual(port: u16) -> Self {
        Self { page: "a page\n", env: "GREETING=hello", is_debug: false, is_open: false, port }
    }

    /// With one byte of a file changed.
    pub(crate) const fn changed(port: u16) -> Self {
        Self { page: "A page\n", ..Self::usual(port) }
    }

    pub(crate) const fn debug(port: u16) -> Self {
        Self { is_debug: true, ..Self::usual(port) }
    }

    pub(crate) const fn open(port: u16) -> Self {
        Self { is_open: true, ..Self::usual(port) }
    }

    /// Converted and signed.
    pub(crate) fn bundle(
        &self,
        programs: &Programs,
        key: &Path,
        directory: &Path,
    ) -> Result<Bundle> {
        let mut tree = busybox_tree()?;
        tree.file("www/index.html", 0o644, self.page.as_bytes());
        tree.file("www/cgi-bin/unlock", 0o755, UNLOCK.as_bytes());
        // All interfaces, as servers do: inside, that is the enclave's own loopback.
        let mut image = Image::new("web:1", tree, &["httpd", "-f", "-p", "8080", "-h", "/www"]);
        image.env.push(self.env.into());
        let bundle = programs.bundle(&image, &self.rules(), key, directory)?;
        bundle.edit_config(as_docker_does)?;
        bundle.join_host_network()?;
        if self.is_open {
            bundle.edit_config(choose_a_zone)?;
        }
        Ok(bundle)
    }

    /// The rules that the image was converted with, to measure it by.
    fn rules(&self) -> String {
        let debug = if self.is_debug { "debug = true\n" } else { "" };
        let open = if self.is_open { "[env]\nTZ = { any = true }\n" } else { "" };
        let port = self.port;
        format!("{debug}[attester]\nlisten = {port}\nforward = \"127.0.0.1:8080\"\n{open}")
    }
}

/// Image and rules beside the bundle.
pub(crate) fn image_of(bundle: &Bundle) -> (PathBuf, PathBuf) {
    let beside = |extension| bundle.directory().with_extension(extension);
    (beside("image"), beside("toml"))
}

/// What Docker puts into every container.
fn as_docker_does(config: &mut serde_json::Value) {
    config["hostname"] = json!("1f2e3d4c5b6a");
    if let Some(env) = config["process"]["env"].as_array_mut() {
        env.push(json!("HOSTNAME=1f2e3d4c5b6a"));
        if !env.iter().any(|it| it.as_str().is_some_and(|it| it.starts_with("HOME="))) {
            env.push(json!("HOME=/root"));
        }
    }
    if let Some(mounts) = config["mounts"].as_array_mut() {
        for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
            mounts.push(json!({
                "destination": file, "source": file, "type": "bind", "options": ["rbind", "rprivate"],
            }));
        }
    }
}

/// What the host chooses where the manifest takes any value.
fn choose_a_zone(config: &mut serde_json::Value) {
    if let Some(env) = config["process"]["env"].as_array_mut() {
        env.push(json!("TZ=UTC"));
    }
}

/// `rune run` in the background; killed and deleted when dropped.
pub(crate) struct Container {
    delete: Command,
    child: Child,
    port: u16,
}

impl Container {
    pub(crate) fn start(bundle: &Bundle, port: u16) -> Result<Self> {
        let id = fresh_id();
        let mut run = bundle.programs().rune();
        run.arg("run").arg("--bundle").arg(bundle.directory()).arg(&id);
        let log = bundle.directory().with_extension("log");
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = run.spawn()?;
        let mut delete = bundle.programs().rune();
        delete.args(["delete", "--force", &id]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut container = Self { delete, child, port };
        let answers = answers(container.address(), &mut container.child);
        answers.map_err(|Failure(error)| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Failure(format!("{error}: {}", said.trim_end()))
        })?;
        Ok(container)
    }

    /// Of its attester.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.delete.status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// Waits until somebody listens there, or the process that should has ended.
pub(crate) fn answers(address: SocketAddr, process: &mut Child) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.try_wait()? {
            return Err(Failure(format!("it ended before it listened: {status}")));
        }
        if start.elapsed() > PATIENCE {
            return Err(Failure(format!("nobody listens at {address} after {PATIENCE:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts it with another value of a variable that the manifest lists, and gives why it does not run.
pub(crate) fn refused_environment(bundle: &Bundle) -> Result<String> {
    bundle.edit_config(|config| {
        for entry in config["process"]["env"].as_array_mut().into_iter().flatten() {
            if entry == "GREETING=hello" {
                *entry = json!("GREETING=goodbye");
            }
        }
    })?;
    let outcome = bundle.run(b"")?;
    if outcome.code == 0 {
        return Err(Failure("another environment: expected a refusal, got exit code 0".into()));
    }
    Ok(outcome.stderr.trim_end().to_owned())
}
