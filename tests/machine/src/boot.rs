//! Starting the machine, and listening to it.

use crate::initrd::{Archive, is_wanted};
use crate::{Outcome, SecurityModule};
use fixtures::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(crate) const QEMU: &str = "/usr/bin/qemu-system-x86_64";
pub(crate) const MKFS: &str = "/usr/sbin/mkfs.ext4";

/// Of the disk, which is sparse.
const DISK_BYTES: u64 = 4 << 30;

/// Debian's kernel and those of its modules that are needed.
pub(crate) struct Kernel {
    image: PathBuf,
    modules: Vec<PathBuf>,
}

impl Kernel {
    /// The one that Debian's release has now.
    pub(crate) fn fetch() -> Result<Self, Error> {
        let meta =
            fixtures::checked(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
        let name = meta.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).ok_or_else(
            || Error("linux-image-amd64: expected a dependency, got none (apt-get update?)".into()),
        )?;
        let files = fixtures::package(name)?;
        let image = files.iter().find(|(path, _)| {
            path.starts_with("boot") && path.to_string_lossy().contains("vmlinuz")
        });
        let image = image
            .map(|(_, source)| source.clone())
            .ok_or_else(|| Error(format!("{name} has no boot/vmlinuz")))?;
        let modules =
            files.into_iter().map(|(_, source)| source).filter(|it| is_wanted(it)).collect();
        Ok(Self { image, modules })
    }
}

fn failed<E: std::fmt::Display>(what: &Path) -> impl FnOnce(E) -> Error {
    move |error| Error(format!("{}: {error}", what.display()))
}

/// Boots, runs the job, and waits for its end.
pub(crate) fn run(
    kernel: &Kernel,
    module: SecurityModule,
    job: &str,
    directory: &Path,
    limit: Duration,
) -> Result<Outcome, Error> {
    // No output of a job says this by chance.
    let end = format!("ended-{}-{}", std::process::id(), directory.display()).replace('/', "-");
    let (initrd, disk) = (directory.join("initrd"), directory.join("disk"));
    write_initrd(kernel, job, &end, &initrd)?;
    File::create(&disk).and_then(|file| file.set_len(DISK_BYTES)).map_err(failed(&disk))?;
    fixtures::checked(Command::new(MKFS).args(["-q", "-F"]).arg(&disk))?;
    let name = match module {
        SecurityModule::AppArmor => "apparmor",
        SecurityModule::Selinux => "selinux",
    };
    let words = format!("console=ttyS0 quiet panic=-1 cgroup_no_v1=all security={name} selinux=1");
    let mut command = Command::new(QEMU);
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3G"]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initrd).args(["-append", &words]);
    command
        .arg("-virtfs")
        .arg("local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap");
    command.arg("-drive").arg(format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    listen(child.map_err(failed(Path::new(QEMU)))?, &end, limit)
}

fn write_initrd(kernel: &Kernel, job: &str, end: &str, to: &Path) -> Result<(), Error> {
    let mut archive = Archive::new();
    let busybox = fixtures::package("busybox-static")?
        .into_iter()
        .find(|(path, _)| path.ends_with("bin/busybox"));
    let (_, busybox) = busybox.ok_or_else(|| Error("busybox-static has no bin/busybox".into()))?;
    archive.file("busybox", &std::fs::read(&busybox).map_err(failed(&busybox))?);
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), &std::fs::read(module).map_err(failed(module))?);
    }
    archive.job(job, end);
    std::fs::write(to, archive.finish()).map_err(failed(to))
}

/// Reads lines until the one that tells the job's end, then waits for the machine to go off.
fn listen(mut child: Child, end: &str, limit: Duration) -> Result<Outcome, Error> {
    let (send, lines) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|it| reader(it, send.clone())),
        child.stderr.take().map(|it| reader(it, send)),
    ];
    let deadline = Instant::now() + limit;
    let (mut output, mut code) = (String::new(), None);
    let is_late = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix(end) {
                Some(rest) => code = rest.trim().parse().ok(),
                None => {
                    eprintln!("machine: {line}");
                    output.push_str(&line);
                    output.push('\n');
                }
            },
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
            Err(mpsc::RecvTimeoutError::Timeout) => break true,
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    match code {
        Some(code) => Ok(Outcome { code, output }),
        None if is_late => {
            Err(Error(format!("the machine ran {limit:?} and was stopped:\n{output}")))
        }
        None => Err(Error(format!("the machine went off before its job ended:\n{output}"))),
    }
}

fn reader(
    from: impl std::io::Read + Send + 'static,
    to: mpsc::Sender<String>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if to.send(line).is_err() {
                return;
            }
        }
    })
}
