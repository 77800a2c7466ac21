//! rune against Debian's crun and runc: pairs of the same work, A B A B, on the same bundle.
//!
//! ```text
//! cargo bench -p rune --bench oci [-- --json] [--pairs N] [--each N]
//! ```
//!
//! Prints for each figure the median ratio of ours to the peer's with the smallest and largest. CPU is that
//! of the runtime's processes and of the container's, which this program takes in and waits for (clock ticks
//! of 10 ms, so a pair is many containers). crun refuses hybrid hosts and then runs in a mount namespace
//! without the cgroup2 tree, and so does rune beside it.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// `rustix` and the standard library have no safe `wait4`; GNU time has it.
const TIME: &str = "/usr/bin/time";

struct Setting {
    pairs: usize,
    each: usize,
    is_json: bool,
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |name: &str, default| {
        let at = words.iter().position(|w| w == name);
        at.and_then(|i| words.get(i + 1)?.parse().ok()).unwrap_or(default)
    };
    let setting = Setting {
        pairs: number("--pairs", 5),
        each: number("--each", 10),
        is_json: words.iter().any(|w| w == "--json"),
    };
    if let Some(reason) = obstacle() {
        eprintln!("skipped: oci: {reason}");
        return;
    }
    let _ = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1));
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_rune"));
    for peer in ["/usr/bin/crun", "/usr/sbin/runc"] {
        if !Path::new(peer).exists() {
            eprintln!("skipped: {peer}: not installed");
            continue;
        }
        let hides_cgroup2 = peer.ends_with("crun");
        let runtime = |program: &Path, name: &str| Runtime {
            program: program.into(),
            root: scratch.path().join(name),
            hides_cgroup2,
        };
        let (a, b) = (runtime(&ours, "a"), runtime(Path::new(peer), "b"));
        for (name, change) in [("plain", plain as fn(&mut Bundle)), ("full", full)] {
            life_cycle(&setting, name, change, &a, &b);
            foreground(&setting, name, change, &a, &b);
        }
        memory(&setting, &a, &b);
    }
}

fn plain(_: &mut Bundle) {}

/// What Docker adds: a long profile and limits.
fn full(bundle: &mut Bundle) {
    let names: Vec<&str> = container::seccomp::table::SYSCALLS
        .iter()
        .map(|(name, _)| *name)
        .filter(|n| !REFUSED.contains(n))
        .collect();
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [
                {"names": names, "action": "SCMP_ACT_ALLOW"},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 2_114_060_288u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            ]}),
    );
    bundle.set("/linux/resources/memory", json!({"limit": 256 << 20}));
    bundle.set("/linux/resources/pids", json!({"limit": 512}));
    bundle.set("/linux/resources/cpu", json!({"shares": 512}));
}

/// What Docker's profile leaves out for a container without capabilities, the two with arguments included.
const REFUSED: [&str; 30] = [
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "clone",
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

fn run(runtime: &Runtime, args: &[&str]) {
    let status = runtime
        .command(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("{}: {e}", runtime.program.display()));
    assert!(status.success(), "{} {args:?}: {status}", runtime.program.display());
}

/// Wall and CPU milliseconds of some work; ended containers are waited for.
fn timed(work: impl FnOnce()) -> (f64, f64) {
    let (cpu, wall) = (cpu_ms(), Instant::now());
    work();
    let wall = wall.elapsed().as_secs_f64() * 1000.0;
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    (wall, cpu_ms() - cpu)
}

/// CPU of waited-for children, from `/proc/self/stat`.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<f64> = rest.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // The first field that is a number is the fourth; cutime and cstime are 16 and 17.
    (fields[12] + fields[13]) * 10.0
}

fn bundle(runtime: &Runtime, script: &[&str], change: fn(&mut Bundle)) -> Bundle {
    let mut bundle = Bundle::new(runtime, "").expect("a bundle");
    bundle.set("/process/args", json!(script));
    change(&mut bundle);
    bundle.write().expect("config.json");
    bundle
}

fn life_cycle(setting: &Setting, name: &str, change: fn(&mut Bundle), a: &Runtime, b: &Runtime) {
    let work = |runtime: &Runtime| {
        let bundle = bundle(runtime, &["sleep", "1000"], change);
        let path = bundle.path().display().to_string();
        timed(|| {
            for _ in 0..setting.each {
                run(runtime, &["create", "--bundle", &path, &bundle.id]);
                run(runtime, &["start", &bundle.id]);
                run(runtime, &["delete", "--force", &bundle.id]);
            }
        })
    };
    compare(setting, &format!("create+start+delete, {name}"), 0.5, a, b, work);
}

fn foreground(setting: &Setting, name: &str, change: fn(&mut Bundle), a: &Runtime, b: &Runtime) {
    let work = |runtime: &Runtime| {
        let bundle = bundle(runtime, &["true"], change);
        let path = bundle.path().display().to_string();
        timed(|| {
            (0..setting.each).for_each(|_| run(runtime, &["run", "--bundle", &path, &bundle.id]))
        })
    };
    compare(setting, &format!("foreground run, {name}"), 0.5, a, b, work);
}

fn compare(
    setting: &Setting,
    name: &str,
    target: f64,
    a: &Runtime,
    b: &Runtime,
    work: impl Fn(&Runtime) -> (f64, f64),
) {
    let pairs: Vec<_> = (0..setting.pairs).map(|_| (work(a), work(b))).collect();
    let each = setting.each as f64;
    for (kind, pick) in [("wall", (|t| t.0) as fn(&(f64, f64)) -> f64), ("CPU", |t| t.1)] {
        let ours = median(pairs.iter().map(|(a, _)| pick(a) / each).collect());
        let peer = median(pairs.iter().map(|(_, b)| pick(b) / each).collect());
        let ratios: Vec<f64> = pairs.iter().map(|(a, b)| pick(a) / pick(b)).collect();
        print(setting, &format!("{name}, {kind}"), "ms", ours, peer, &b.name(), &ratios, target);
    }
}

/// Peak memory of each command, in KiB.
fn memory(setting: &Setting, a: &Runtime, b: &Runtime) {
    if !Path::new(TIME).exists() {
        eprintln!("skipped: peak memory: no {TIME} (package time)");
        return;
    }
    let peaks = |runtime: &Runtime| -> Vec<f64> {
        let bundle = bundle(runtime, &["sleep", "1000"], full);
        let path = bundle.path().display().to_string();
        let verbs: [&[&str]; 3] = [
            &["create", "--bundle", &path, &bundle.id],
            &["start", &bundle.id],
            &["delete", "--force", &bundle.id],
        ];
        verbs.iter().map(|args| peak(runtime, args)).collect()
    };
    let (ours, theirs) = (peaks(a), peaks(b));
    for (index, verb) in ["create", "start", "delete"].iter().enumerate() {
        let ratio = [ours[index] / theirs[index]];
        let target = 3482.0 / theirs[index]; // 3.4 MiB
        let name = format!("peak memory of {verb}");
        print(setting, &name, "KiB", ours[index], theirs[index], &b.name(), &ratio, target);
    }
}

fn peak(runtime: &Runtime, args: &[&str]) -> f64 {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let inner = runtime.command(args);
    let mut command = Command::new(TIME);
    command.args(["-f", "%M", "-o"]).arg(file.path());
    if runtime.hides_cgroup2 {
        // Inside, so that the peak is the runtime's and not the shell's.
        let script = "umount -l /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
        let time = [TIME, "-f", "%M", "-o"];
        command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).args(time).arg(file.path());
        command.arg(&runtime.program).arg("--root").arg(&runtime.root).args(args);
    } else {
        command.arg(inner.get_program()).args(inner.get_args());
    }
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|s| s.success()), "{args:?}");
    std::fs::read_to_string(file.path())
        .ok()
        .and_then(|t| t.trim().parse().ok())
        .unwrap_or(f64::NAN)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[allow(clippy::too_many_arguments)] // one line's columns
fn print(
    setting: &Setting,
    name: &str,
    unit: &str,
    ours: f64,
    peer: f64,
    peer_name: &str,
    ratios: &[f64],
    target: f64,
) {
    let ratio = median(ratios.to_vec());
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    if setting.is_json {
        let line: Value = json!({"name": name, "unit": unit, "ours": ours, "peer": peer,
            "peer_name": peer_name, "ratio": ratio, "least": least, "most": most,
            "target": target, "met": ratio <= target});
        println!("{line}");
    } else {
        println!(
            "{name:<36} ours {ours:9.2} {unit:<4} {peer_name} {peer:9.2} {unit:<4} ratio {ratio:.2} \
             ({least:.2}-{most:.2}), target {target:.2}"
        );
    }
}
