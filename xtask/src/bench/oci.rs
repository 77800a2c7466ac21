//! rune against Debian's crun and runc as an OCI runtime: the same bundle, A B A B.
//!
//! Everything runs in a mount namespace of its own where the cgroup2 tree of a hybrid host is covered, which
//! crun refuses, and where containers' state lies in memory, as `/run` does. CPU is that of the runtime's
//! processes and of the containers' first ones, which come to this program as their subreaper. Removing a network
//! namespace is work of the kernel's own threads and counts for nobody.

use super::figure::{Figure, Target, median};
use crate::run::{Result, pass, root};
use conformance::{Bundle, Runtime, obstacle};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Alternating samples of each side, and containers in a sample.
const PAIRS: usize = 9;
const EACH: usize = 20;

/// `rustix` and the standard library have no safe `wait4`; GNU time has it.
const TIME: &str = "/usr/bin/time";

/// Most of peak memory that a command may take: 3.4 MiB, in KiB.
const MEMORY: f64 = 3481.6;

const PEERS: [&str; 2] = ["/usr/bin/crun", "/usr/sbin/runc"];

/// Says that this is the process inside the namespace, and where it may write.
const INSIDE: &str = "INCLAVARE_BENCH_OCI";
/// Our program, there.
const RUNE: &str = "INCLAVARE_BENCH_OCI_RUNE";

/// crun makes directories in the cgroup2 tree even where it is not mounted: in a place of its own.
const COVER: &str = "u=/sys/fs/cgroup/unified; \
    if [ -e $u/cgroup.controllers ]; then umount -l $u && mount -t tmpfs none $u || exit; fi; \
    mount -t tmpfs -o mode=755 bench \"$INCLAVARE_BENCH_OCI\" && exec \"$@\"";

/// Builds rune, then measures in another process of this program. Prints its figures itself.
pub(super) fn run(is_json: bool) -> Result<()> {
    if let (Some(scratch), Some(rune)) = (std::env::var_os(INSIDE), std::env::var_os(RUNE)) {
        return measure(Path::new(&scratch), Path::new(&rune), is_json);
    }
    if let Some(reason) = obstacle() {
        eprintln!("skipped: oci: {reason}");
        return Ok(());
    }
    let rune = crate::dist::rune()?;
    let scratch = root().join("target/bench-oci");
    std::fs::create_dir_all(&scratch)
        .map_err(|error| format!("create {}: {error}", scratch.display()))?;
    let this = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "sh", "-c", COVER, "sh"]).arg(this).args(["bench", "oci"]);
    if is_json {
        inside.arg("--json");
    }
    pass(inside.env(INSIDE, scratch).env(RUNE, rune))
}

fn measure(scratch: &Path, rune: &Path, is_json: bool) -> Result<()> {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
        .map_err(|error| format!("become a subreaper: {error}"))?;
    let runtime = |program: PathBuf, name: &str| Runtime {
        program,
        root: scratch.join(name),
        hides_cgroup2: false,
    };
    let ours = runtime(rune.into(), "ours");
    for peer in PEERS {
        if !Path::new(peer).exists() {
            eprintln!("skipped: {peer}: not installed");
            continue;
        }
        let pair = Pair { ours: ours.clone(), peer: runtime(peer.into(), "peer"), is_json };
        for (setting, change) in [("plain", plain as Change), ("full", full)] {
            pair.life_cycle(setting, change)?;
            pair.foreground(setting, change)?;
        }
        pair.memory()?;
    }
    floor(&ours, is_json)
}

type Change = fn(&mut Bundle);

fn plain(_: &mut Bundle) {}

/// What Docker adds: a long profile and limits.
fn full(bundle: &mut Bundle) {
    let names: Vec<&str> = container::seccomp::table::SYSCALLS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !REFUSED.contains(name))
        .collect();
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [
                {"names": names, "action": "SCMP_ACT_ALLOW"},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 2_114_060_288_u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            ]}),
    );
    bundle.set("/linux/resources/memory", json!({"limit": 256 << 20}));
    bundle.set("/linux/resources/pids", json!({"limit": 512}));
    bundle.set("/linux/resources/cpu", json!({"shares": 512}));
}

/// What Docker's profile leaves out for a container without capabilities, those with arguments included.
const REFUSED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "clone",
    "clone3",
    "create_module",
    "delete_module",
    "finit_module",
    "fsmount",
    "fsopen",
    "init_module",
    "iopl",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "move_mount",
    "nfsservctl",
    "open_tree",
    "personality",
    "pivot_root",
    "quotactl",
    "reboot",
    "request_key",
    "setns",
    "swapoff",
    "swapon",
    "umount2",
    "unshare",
];

/// rune and a peer.
struct Pair {
    ours: Runtime,
    peer: Runtime,
    is_json: bool,
}

impl Pair {
    fn life_cycle(&self, setting: &str, change: Change) -> Result<()> {
        self.compare(&format!("create+start+delete, {setting}"), |runtime| {
            let bundle = bundle_of(runtime, &["sleep", "1000"], change)?;
            let path = bundle.path().display().to_string();
            sample(|| {
                for verb in [
                    &["create", "--bundle", &path, &bundle.id][..],
                    &["start", &bundle.id],
                    &["delete", "--force", &bundle.id],
                ] {
                    quiet(&mut runtime.command(verb))?;
                }
                Ok(())
            })
        })
    }

    fn foreground(&self, setting: &str, change: Change) -> Result<()> {
        self.compare(&format!("run true, {setting}"), |runtime| {
            let bundle = bundle_of(runtime, &["true"], change)?;
            let path = bundle.path().display().to_string();
            sample(|| quiet(&mut runtime.command(&["run", "--bundle", &path, &bundle.id])))
        })
    }

    fn compare(&self, name: &str, work: impl Fn(&Runtime) -> Result<Sample>) -> Result<()> {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            pairs.push((work(&self.ours)?, work(&self.peer)?));
        }
        for (kind, pick) in [("wall", (|s| s.wall_ms) as fn(&Sample) -> f64), ("CPU", |s| s.cpu_ms)]
        {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| (pick(a), pick(b))).collect();
            self.print(&format!("{name}, {kind}"), "ms", &pairs, Target::RatioAtMost(0.5));
        }
        Ok(())
    }

    /// Peak memory of each command of a container with a long profile.
    fn memory(&self) -> Result<()> {
        if !Path::new(TIME).exists() {
            eprintln!("skipped: peak memory: no {TIME} (package time)");
            return Ok(());
        }
        let peaks = |runtime: &Runtime| -> Result<Vec<f64>> {
            let bundle = bundle_of(runtime, &["sleep", "1000"], full)?;
            let path = bundle.path().display().to_string();
            let verbs: [&[&str]; 3] = [
                &["create", "--bundle", &path, &bundle.id],
                &["start", &bundle.id],
                &["delete", "--force", &bundle.id],
            ];
            let mut peaks: Vec<f64> =
                verbs.iter().map(|words| peak(&runtime.command(words))).collect::<Result<_>>()?;
            let foreground = bundle_of(runtime, &["true"], full)?;
            let path = foreground.path().display().to_string();
            peaks.push(peak(&runtime.command(&["run", "--bundle", &path, &foreground.id]))?);
            Ok(peaks)
        };
        let (ours, theirs) = (peaks(&self.ours)?, peaks(&self.peer)?);
        for (index, verb) in ["create", "start", "delete", "run"].iter().enumerate() {
            let pair = [(ours[index], theirs[index])];
            self.print(&format!("peak memory, {verb}"), "KiB", &pair, Target::AtMost(MEMORY));
        }
        Ok(())
    }

    /// Only crun is what the targets are about; runc is there to be compared with.
    fn print(&self, name: &str, unit: &'static str, pairs: &[(f64, f64)], target: Target) {
        let is_judged = self.peer.name() == "crun" || matches!(target, Target::AtMost(_));
        let target = if is_judged { target } else { Target::None };
        print(name, unit, pairs, &self.peer.name(), target, self.is_json);
    }
}

/// What stands under every runtime: the same namespaces, a fork, a new root and an exec, by `unshare`.
fn floor(ours: &Runtime, is_json: bool) -> Result<()> {
    let bundle = bundle_of(ours, &["true"], plain)?;
    let (path, rootfs) = (bundle.path().display().to_string(), bundle.rootfs());
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let run = ["run", "--bundle", &path, &bundle.id];
        let a = sample(|| quiet(&mut ours.command(&run)))?;
        let b = sample(|| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--fork"]);
            quiet(command.arg(format!("--root={}", rootfs.display())).arg("/bin/true"))
        })?;
        pairs.push((a, b));
    }
    for (kind, pick) in [("wall", (|s| s.wall_ms) as fn(&Sample) -> f64), ("CPU", |s| s.cpu_ms)] {
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| (pick(a), pick(b))).collect();
        let name = format!("run true, plain, {kind}");
        print(&name, "ms", &pairs, "kernel floor (unshare)", Target::None, is_json);
    }
    Ok(())
}

fn print(
    name: &str,
    unit: &'static str,
    pairs: &[(f64, f64)],
    peer_name: &str,
    target: Target,
    is_json: bool,
) {
    let figure = Figure {
        name: name.to_owned(),
        unit,
        ours: median(pairs.iter().map(|pair| pair.0).collect()),
        peer: median(pairs.iter().map(|pair| pair.1).collect()),
        peer_name: peer_name.to_owned(),
        target,
    };
    figure.print(is_json);
    let ratios = || pairs.iter().map(|(a, b)| a / b);
    let (least, most) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
    let middle = median(ratios().collect());
    if is_json {
        let line = json!({"name": name, "unit": unit, "peer_name": peer_name, "pairs": pairs.len(),
            "paired_ratio": {"least": least, "median": middle, "most": most}});
        println!("{line}");
    } else if pairs.len() > 1 {
        println!("{:<34} paired ratios {least:.2} to {most:.2}, median {middle:.2}", "");
    }
}

fn bundle_of(runtime: &Runtime, args: &[&str], change: Change) -> Result<Bundle> {
    let mut bundle = Bundle::new(runtime, "")?;
    bundle.set("/process/args", json!(args));
    change(&mut bundle);
    bundle.write()?;
    Ok(bundle)
}

/// What one container cost, on average over a sample.
struct Sample {
    wall_ms: f64,
    cpu_ms: f64,
}

fn sample(step: impl Fn() -> Result<()>) -> Result<Sample> {
    let (cpu, wall) = (children_cpu_ms()?, Instant::now());
    for _ in 0..EACH {
        step()?;
    }
    let wall_ms = wall.elapsed().as_secs_f64() * 1e3 / EACH as f64;
    // The containers' first processes have ended and are ours.
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    Ok(Sample { wall_ms, cpu_ms: (children_cpu_ms()? - cpu) / EACH as f64 })
}

/// CPU of the children that were waited for, with theirs: getrusage(2) has it to the microsecond.
fn children_cpu_ms() -> Result<f64> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("getrusage: {error}"))?;
    let ms = |time: TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    Ok(ms(usage.user_time()) + ms(usage.system_time()))
}

/// Runs a command with its streams on /dev/null. It must succeed.
fn quiet(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    pass(command)
}

/// Peak resident memory of a command, in KiB.
fn peak(command: &Command) -> Result<f64> {
    let mut timed = Command::new(TIME);
    timed.args(["--quiet", "-f", "%M", "sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"]);
    timed.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    let said = timed.output().map_err(|error| format!("run {timed:?}: {error}"))?;
    let text = String::from_utf8_lossy(&said.stderr);
    text.trim().parse().map_err(|_| format!("{timed:?}: {}: {text}", said.status))
}
