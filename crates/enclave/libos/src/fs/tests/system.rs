//! The tree as it is at start: devices, /proc, /sys, mounts, inputs, standard streams.

use crate::errno::Errno;
use crate::fs::boot::{FileLayer, Setup, boot};
use crate::fs::fd::{OpenFile, Table};
use crate::fs::location::Location;
use crate::fs::procfs::{ProcessInfo, Processes, Summary, SystemInfo};
use crate::fs::socket::inet::network::Network;
use crate::fs::testing::Arg::{N, P, S};
use crate::fs::testing::{Image, Item, TestTask};
use crate::host::{HostStream, Readiness};
use crate::process::Credentials;
use crate::testing::Machine;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use workload::digest::Hex;
use workload::manifest::{
    ArgvRule, AttestationFiles, Availability, Enclave, FORMAT, Identity, Inputs, Manifest,
    MountRule, Network as NetworkRules, Process, Reserved, Root, Source, User,
};
use workload::request::{Admitted, AdmittedMount};

/// One process, number 1, whose descriptors the test sets.
#[derive(Default)]
struct OneProcess {
    files: Mutex<Option<Arc<Table>>>,
    cwd: Mutex<Option<Location>>,
    comm: Mutex<Vec<u8>>,
    network: OnceLock<Arc<Network>>,
}

struct View(Arc<OneProcess>);

impl Processes for View {
    fn pids(&self) -> Vec<u32> {
        vec![1]
    }
    fn process(&self, pid: u32) -> Option<Arc<dyn ProcessInfo>> {
        (pid == 1).then(|| self.0.clone() as Arc<dyn ProcessInfo>)
    }
    fn system(&self) -> SystemInfo {
        SystemInfo {
            memory_total: 64 << 20,
            memory_free: 32 << 20,
            cpus: 2,
            uptime_ns: 12_340_000_000,
            hostname: "box".into(),
            release: ("6.1.0-test".into(), "#1".into()),
            is_emulated: true,
            ..SystemInfo::default()
        }
    }
    fn syscalls(&self) -> String {
        "0 read full 1\n".into()
    }
    fn network(&self) -> Arc<Network> {
        self.0.network.get_or_init(|| Network::new(Machine::leak(1))).clone()
    }
    fn cpu_flags(&self) -> String {
        "sse2".into()
    }
}

impl ProcessInfo for OneProcess {
    fn summary(&self) -> Summary {
        Summary { comm: self.comm.lock().unwrap().clone(), state: 'R', ..Summary::default() }
    }
    fn cmdline(&self) -> Vec<u8> {
        b"sh\0-c\0".to_vec()
    }
    fn environ(&self) -> Vec<u8> {
        b"A=1\0".to_vec()
    }
    fn auxv(&self) -> Vec<u8> {
        vec![0; 16]
    }
    fn maps(&self) -> Vec<u8> {
        Vec::new()
    }
    fn credentials(&self) -> Credentials {
        Credentials::default()
    }
    fn exe(&self) -> Option<Location> {
        None
    }
    fn places(&self) -> Option<(Location, Location)> {
        let cwd = self.cwd.lock().unwrap().clone()?;
        Some((cwd.clone(), cwd))
    }
    fn files(&self) -> Option<Arc<Table>> {
        self.files.lock().unwrap().clone()
    }
    fn umask(&self) -> u32 {
        0o22
    }
    fn tids(&self) -> Vec<u32> {
        vec![1]
    }
    fn limit(&self, resource: u32) -> (u64, u64) {
        if resource == 7 { (1024, 4096) } else { (u64::MAX, u64::MAX) }
    }
    fn set_comm(&self, comm: &[u8]) {
        *self.comm.lock().unwrap() = comm.to_vec();
    }
    fn oom_score_adj(&self) -> i32 {
        0
    }
    fn set_oom_score_adj(&self, _: i32) {}
}

struct System {
    image: Image,
    files: FileLayer,
    task: TestTask,
}

fn manifest(image: &Image) -> Manifest {
    Manifest {
        format: FORMAT,
        runtime_version: "0.1.0".into(),
        root: Root {
            digest: image.blob.tree.digest,
            size: image.blob.bytes.len() as u64,
            source: Source::Layers,
        },
        process: Process {
            argv: ArgvRule::Exact(vec!["/bin/sh".into()]),
            env: BTreeMap::new(),
            cwd: "/".into(),
            user: User::default(),
            stdin: Availability::Denied,
            tty: Availability::Denied,
        },
        exec: vec![],
        mounts: BTreeMap::new(),
        inputs: Inputs::default(),
        signals: vec![],
        enclave: Enclave::default(),
        network: NetworkRules::default(),
        attester: None,
        key_broker: Reserved,
        attestation: AttestationFiles::default(),
        identity: Identity::default(),
        debug: false,
    }
}

fn admitted() -> Admitted {
    Admitted {
        argv: vec!["/bin/sh".into()],
        env: vec![],
        cwd: "/".into(),
        user: User::default(),
        hostname: "box".into(),
        mounts: vec![],
        tty: false,
        stdin: true,
        rlimits: vec![],
        inputs: BTreeMap::new(),
        dropped: vec![],
        config_digest: Hex([0; 32]),
    }
}

fn items() -> [Item<'static>; 5] {
    [
        Item::Directory("/etc", 0o755),
        Item::Link("/etc/resolv.conf", "/etc/shadow"),
        Item::File("/etc/shadow", 0o600, b"secret"),
        Item::Directory("/proc", 0o755),
        Item::Directory("/var", 0o755),
    ]
}

fn start(change: impl FnOnce(&mut Manifest, &mut Admitted)) -> Result<System, String> {
    let image = Image::new(&items());
    let (mut manifest, mut admitted) = (manifest(&image), admitted());
    change(&mut manifest, &mut admitted);
    let process = Arc::new(OneProcess::default());
    let files = boot(&Setup {
        platform: image.machine,
        manifest: &manifest,
        admitted: &admitted,
        processes: Arc::new(View(process.clone())),
    })?;
    let task = TestTask::over(image.machine, (*files.namespace).clone());
    *process.files.lock().unwrap() = Some(task.files.clone());
    let _ = process.network.set(task.network.clone());
    *process.cwd.lock().unwrap() = Some(task.fs.cwd());
    Ok(System { image, files, task })
}

impl System {
    fn open(&self, path: &str, flags: i64) -> Result<i64, Errno> {
        self.task.call(2, &[S(path.as_bytes()), N(flags), N(0)]).map(|fd| fd as i64)
    }

    fn read(&self, path: &str) -> Result<String, Errno> {
        let fd = self.open(path, 0)?;
        let mut text = Vec::new();
        loop {
            let count = self.task.call(0, &[N(fd), P(0), N(1000)])?;
            if count == 0 {
                break;
            }
            text.extend(self.task.buffer(0, count as usize));
        }
        self.task.call(3, &[N(fd)])?;
        Ok(String::from_utf8(text).unwrap())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let fd = self.open(path, 0).unwrap();
        let count = self.task.call(217, &[N(fd), P(0), N(100_000)]).unwrap() as usize;
        self.task.call(3, &[N(fd)]).unwrap();
        let bytes = self.task.buffer(0, count);
        let mut names = Vec::new();
        let mut at = 0;
        while at < count {
            let length = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
            let name = bytes[at + 19..at + length].split(|byte| *byte == 0).next().unwrap();
            names.push(String::from_utf8(name.to_vec()).unwrap());
            at += length;
        }
        names
    }
}

#[test]
fn devices_do_what_their_names_say() {
    let system = start(|_, _| {}).unwrap();
    let task = &system.task;
    let zero = system.open("/dev/zero", 2).unwrap();
    task.set_buffer(0, &[7; 100]);
    assert_eq!(task.call(0, &[N(zero), P(0), N(100)]), Ok(100));
    assert_eq!(task.buffer(0, 100), [0; 100]);
    assert_eq!(task.call(8, &[N(zero), N(50), N(0)]), Ok(0), "lseek is ignored");
    assert_eq!(task.call(17, &[N(zero), P(0), N(8), N(1 << 40)]), Ok(8));
    let null = system.open("/dev/null", 2 | 0o1000 | 0o100).unwrap();
    assert_eq!(task.call(0, &[N(null), P(0), N(100)]), Ok(0));
    assert_eq!(task.call(1, &[N(null), P(0), N(100_000)]), Ok(100_000));
    let full = system.open("/dev/full", 1).unwrap();
    assert_eq!(task.call(1, &[N(full), P(0), N(1)]), Err(Errno::ENOSPC));
    let random = system.open("/dev/urandom", 0).unwrap();
    assert_eq!(task.call(0, &[N(random), P(0), N(1000)]), Ok(1000));
    assert_eq!(task.buffer(0, 1000), [0x5a; 1000], "what the machine's generator gives");
    assert_eq!(system.open("/dev/tty", 0), Err(Errno::ENXIO));
    task.call(5, &[N(zero), P(0)]).unwrap();
    assert_eq!(task.buffer(40, 8), 0x105u64.to_le_bytes(), "st_rdev is 1:5");
}

#[test]
fn proc_shows_the_enclave() {
    let system = start(|_, _| {}).unwrap();
    assert_eq!(
        system.read("/proc/version").unwrap(),
        "Linux version 6.1.0-test (inclavare libos (SGX emulated)) #1\n"
    );
    assert!(system.read("/proc/meminfo").unwrap().starts_with("MemTotal:          65536 kB\n"));
    assert_eq!(system.read("/proc/uptime").unwrap(), "12.34 24.68\n");
    assert_eq!(system.read("/proc/self/cmdline").unwrap(), "sh\0-c\0");
    assert_eq!(system.read("/proc/1/environ").unwrap(), "A=1\0");
    assert_eq!(system.read("/proc/sys/kernel/hostname").unwrap(), "box\n");
    assert_eq!(system.read("/proc/inclavare/syscalls").unwrap(), "0 read full 1\n");
    let limits = system.read("/proc/self/limits").unwrap();
    assert!(limits.contains("Max open files            1024                 4096"), "{limits}");
    assert_eq!(system.read("/proc/2/stat"), Err(Errno::ENOENT));
    assert_eq!(system.read("/proc/01/stat"), Err(Errno::ENOENT));
    let names = system.names("/proc");
    for name in [".", "..", "1", "self", "cpuinfo", "sys"] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    let sys = system.names("/proc/sys");
    assert_eq!(sys, [".", "..", "fs", "kernel", "net", "vm"]);
    // 52 fields, the name in parentheses.
    assert_eq!(system.read("/proc/self/stat").unwrap().split(' ').count(), 52);
    let comm = system.open("/proc/self/comm", 2).unwrap();
    system.task.set_buffer(0, b"renamed\n");
    system.task.call(1, &[N(comm), P(0), N(8)]).unwrap();
    assert_eq!(system.read("/proc/1/comm").unwrap(), "renamed\n");
    assert!(
        system.read("/proc/self/status").unwrap().starts_with("Name:\trenamed\nUmask:\t0022\n")
    );
}

#[test]
fn descriptors_are_links_that_lead_to_the_files() {
    let system = start(|_, _| {}).unwrap();
    let task = &system.task;
    let fd = system.open("/etc/shadow", 2).unwrap();
    let link = format!("/proc/self/fd/{fd}");
    assert_eq!(task.call(89, &[S(link.as_bytes()), P(0), N(100)]), Ok(11));
    assert_eq!(task.buffer(0, 11), b"/etc/shadow");
    task.call(87, &[S(b"/etc/shadow")]).unwrap();
    assert_eq!(task.call(89, &[S(link.as_bytes()), P(0), N(100)]), Ok(21));
    assert_eq!(task.buffer(0, 21), b"/etc/shadow (deleted)");
    assert_eq!(system.read(&link).unwrap(), "secret", "the file is still there");
    assert_eq!(system.names("/dev/fd").len(), 4, "., .., the file, the directory itself");
    // A pipe has no path, and opens again all the same.
    task.call(293, &[P(0), N(0)]).unwrap();
    task.set_buffer(0, b"x");
    task.call(1, &[N(fd + 2), P(0), N(1)]).unwrap();
    let again = system.open(&format!("/dev/fd/{}", fd + 1), 0).unwrap();
    assert_eq!(task.call(0, &[N(again), P(0), N(5)]), Ok(1));
}

#[test]
fn sys_says_how_many_processors_there_are() {
    let system = start(|_, _| {}).unwrap();
    assert_eq!(system.read("/sys/devices/system/cpu/online").unwrap(), "0-1\n");
    assert_eq!(system.read("/sys/fs/cgroup/memory.max").unwrap(), format!("{}\n", 64 << 20));
    assert_eq!(system.open("/sys/devices/system/cpu/online", 1), Err(Errno::EROFS));
    assert_eq!(system.task.call(83, &[S(b"/sys/x"), N(0o755)]), Err(Errno::EROFS));
}

#[test]
fn mounts_hide_what_is_below_and_cannot_be_removed() {
    let system = start(|_, admitted| {
        let rule = MountRule::Tmpfs { size: 8192 };
        admitted.mounts.push(AdmittedMount { destination: "/var/cache/app".into(), rule });
    })
    .unwrap();
    let task = &system.task;
    assert_eq!(task.call(84, &[S(b"/var/cache/app")]), Err(Errno::EBUSY));
    assert_eq!(task.call(82, &[S(b"/proc"), S(b"/moved")]), Err(Errno::EBUSY));
    assert_eq!(task.call(86, &[S(b"/etc/shadow"), S(b"/var/cache/app/x")]), Err(Errno::EXDEV));
    let fd = task.call(2, &[S(b"/var/cache/app/x"), N(0o102), N(0o644)]).unwrap() as i64;
    assert_eq!(task.call(1, &[N(fd), P(0), N(100_000)]), Ok(8192), "its size is its limit");
    assert_eq!(task.call(1, &[N(fd), P(0), N(1)]), Err(Errno::ENOSPC));
    task.call(77, &[N(fd), N(0)]).unwrap();
    assert_eq!(task.call(1, &[N(fd), P(0), N(1)]), Ok(1), "what is cut off is free again");
    task.call(80, &[S(b"/var/cache/app")]).unwrap();
    assert_eq!(task.call(79, &[P(0), N(100)]), Ok(15));
    task.call(80, &[S(b"..")]).unwrap();
    assert_eq!(task.call(79, &[P(0), N(100)]), Ok(11));
    assert_eq!(task.buffer(0, 11), b"/var/cache\0");
    let mounts = system.read("/proc/mounts").unwrap();
    assert!(
        mounts.contains("tmpfs /var/cache/app tmpfs rw,nosuid,nodev,relatime 0 0\n"),
        "{mounts}"
    );
    assert!(mounts.starts_with("overlay / overlay rw,relatime 0 0\nproc /proc proc "), "{mounts}");
}

#[test]
fn a_host_mount_is_refused_rather_than_faked() {
    let Err(reason) = start(|_, admitted| {
        let rule = MountRule::Host { read_only: true };
        admitted.mounts.push(AdmittedMount { destination: "/data".into(), rule });
    }) else {
        panic!("started")
    };
    assert_eq!(reason, "mounts./data: expected a tmpfs, got a host mount (not yet)");
}

#[test]
fn an_input_replaces_a_link_and_does_not_write_through_it() {
    let system = start(|_, admitted| {
        admitted.inputs.insert("/etc/resolv.conf".into(), "nameserver 1.2.3.4\n".into());
        admitted.inputs.insert("/etc/new/deep".into(), "x".into());
    })
    .unwrap();
    assert_eq!(system.read("/etc/resolv.conf").unwrap(), "nameserver 1.2.3.4\n");
    assert_eq!(system.read("/etc/shadow").unwrap(), "secret");
    assert_eq!(system.read("/etc/new/deep").unwrap(), "x");
}

#[test]
fn names_of_loopback_are_known_where_nobody_says_anything() {
    let system = start(|_, _| {}).unwrap();
    let hosts = system.read("/etc/hosts").unwrap();
    assert!(hosts.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost "), "{hosts}");
    assert!(hosts.ends_with("127.0.0.1\tbox\n"), "{hosts}");
    let said = start(|_, admitted| {
        admitted.inputs.insert("/etc/hosts".into(), "10.0.0.1 localhost\n".into());
    });
    assert_eq!(said.unwrap().read("/etc/hosts").unwrap(), "10.0.0.1 localhost\n");
}

#[test]
fn sockets_are_listed_as_linux_lists_them() {
    let system = start(|_, _| {}).unwrap();
    let task = &system.task;
    let listener = task.call(41, &[N(2), N(1), N(0)]).unwrap() as i64;
    task.set_buffer(0, &[2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    task.call(49, &[N(listener), P(0), N(16)]).unwrap();
    task.call(50, &[N(listener), N(8)]).unwrap();
    let client = task.call(41, &[N(2), N(1), N(0)]).unwrap() as i64;
    task.call(42, &[N(client), P(0), N(16)]).unwrap();
    let tcp = system.read("/proc/net/tcp").unwrap();
    let lines: Vec<&str> = tcp.lines().collect();
    assert_eq!(lines.len(), 4, "{tcp}");
    assert!(lines[1].starts_with("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000001 "));
    assert!(lines[2..].iter().all(|line| line.contains(" 01 00000000:00000000 ")), "{tcp}");
    assert_eq!(system.read("/proc/net/tcp6").unwrap().lines().count(), 1);
    assert!(system.read("/proc/self/net/dev").unwrap().contains("lo:"));
    let far = task.call(41, &[N(2), N(1), N(0)]).unwrap() as i64;
    task.set_buffer(0, &[2, 0, 0, 80, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(task.call(42, &[N(far), P(0), N(16)]), Err(Errno::ENETUNREACH));
    assert_eq!(system.read("/proc/inclavare/network").unwrap(), "refused 1 connect 10.0.0.1:80\n");
}

#[test]
fn another_root_digest_is_refused() {
    let Err(reason) = start(|manifest, _| manifest.root.digest = Hex([1; 32])) else {
        panic!("started")
    };
    let expected = format!("expected {}", Hex([1; 32]));
    assert!(reason.starts_with("root: root metadata: ") && reason.contains(&expected), "{reason}");
}

#[test]
fn standard_input_is_watched_and_output_written() {
    let system = start(|_, _| {}).unwrap();
    let (task, host) = (&system.task, system.image.host);
    *host.input.lock().unwrap() = Some(Vec::new());
    let streams = [0, 1, 2].map(HostStream);
    let files = system.files.streams.open(task.platform, 0, streams, None);
    for (number, (file, flags)) in files.into_iter().zip([0, 1, 1]).enumerate() {
        task.files.replace(number as i32, OpenFile::new(file, None, flags), false);
    }
    let other = task.sibling();
    let reader = std::thread::spawn(move || {
        let count = other.call(0, &[N(0), P(0), N(100)]).unwrap();
        other.buffer(0, count as usize)
    });
    while host.watched.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(host.watched.lock().unwrap()[0], (HostStream(0), 1));
    *host.input.lock().unwrap() = Some(b"typed".to_vec());
    system.files.streams.ready(HostStream(0), Readiness::IN);
    assert_eq!(reader.join().unwrap(), b"typed");
    *host.input.lock().unwrap() = None;
    assert_eq!(task.call(0, &[N(0), P(0), N(1)]), Ok(0), "the end");
    task.set_buffer(0, &[b'y'; 200_000]);
    assert_eq!(task.call(1, &[N(1), P(0), N(200_000)]), Ok(200_000));
    assert_eq!(host.output.lock().unwrap().len(), 200_000);
    assert_eq!(task.call(16, &[N(0), N(0x5401), P(0)]), Err(Errno::ENOTTY), "no terminal");
}
