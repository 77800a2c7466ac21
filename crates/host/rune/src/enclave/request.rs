//! What the enclave is asked to run: the bundle's wishes, unchecked. The enclave's manifest decides.

use crate::runelet::wire::Execute;
use container::Spec;
use container::spec::Process;
use rustix::fd::BorrowedFd;
use std::collections::BTreeMap;
use std::path::Path;
use workload::manifest::User;
use workload::request::{Kind, Mount, Request, Rlimit};

/// Files that engines write, with the longest content that is passed, in bytes.
const INPUTS: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
const MAX_INPUT: u64 = 64 << 10;

/// Linux numbers of resource limits.
const RLIMITS: [(&str, u32); 16] = [
    ("RLIMIT_CPU", 0),
    ("RLIMIT_FSIZE", 1),
    ("RLIMIT_DATA", 2),
    ("RLIMIT_STACK", 3),
    ("RLIMIT_CORE", 4),
    ("RLIMIT_RSS", 5),
    ("RLIMIT_NPROC", 6),
    ("RLIMIT_NOFILE", 7),
    ("RLIMIT_MEMLOCK", 8),
    ("RLIMIT_AS", 9),
    ("RLIMIT_LOCKS", 10),
    ("RLIMIT_SIGPENDING", 11),
    ("RLIMIT_MSGQUEUE", 12),
    ("RLIMIT_NICE", 13),
    ("RLIMIT_RTPRIO", 14),
    ("RLIMIT_RTTIME", 15),
];

/// The request for the container's first process.
pub(crate) fn init(spec: &Spec, bundle: &Path) -> Request {
    let process = spec.process.clone().unwrap_or_default();
    let mut request = of_process(&process);
    request.hostname = spec.hostname.clone().unwrap_or_default();
    for mount in &spec.mounts {
        let is_bind = mount.options.iter().any(|o| o == "bind" || o == "rbind");
        let destination = mount.destination.to_string_lossy().into_owned();
        if is_bind
            && INPUTS.contains(&destination.as_str())
            && let Some(text) = read_input(&bundle.join(&mount.source))
        {
            request.inputs.insert(destination.clone(), text);
        }
        request.mounts.push(Mount {
            destination,
            kind: if is_bind { "bind".into() } else { mount.kind.clone() },
            options: mount.options.clone(),
        });
    }
    request
}

/// One more process, for init-runelet.
pub(crate) fn execute(process: &Process) -> Execute {
    Execute {
        args: process.args.clone(),
        env: process.env.clone(),
        cwd: process.cwd.to_string_lossy().into_owned(),
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
        tty: process.terminal,
        stdin: process.terminal,
    }
}

fn of_process(process: &Process) -> Request {
    let rlimits = process
        .rlimits
        .iter()
        .filter_map(|limit| {
            let (_, resource) = RLIMITS.iter().find(|(name, _)| *name == limit.kind)?;
            Some(Rlimit { resource: *resource, soft: limit.soft, hard: limit.hard })
        })
        .collect();
    Request {
        kind: Kind::Init,
        argv: process.args.clone(),
        env: process.env.clone(),
        cwd: process.cwd.to_string_lossy().into_owned(),
        user: User {
            uid: process.user.uid,
            gid: process.user.gid,
            additional_gids: process.user.additional_gids.clone(),
        },
        hostname: String::new(),
        mounts: Vec::new(),
        tty: process.terminal,
        has_stdin: process.terminal,
        rlimits,
        inputs: BTreeMap::new(),
    }
}

/// Whether a stream is more than `/dev/null`.
pub(crate) fn is_connected(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_rdev != rustix::fs::makedev(1, 3))
}

fn read_input(path: &Path) -> Option<String> {
    use std::io::Read;
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_INPUT).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_files_and_mounts_are_passed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hosts"), "127.0.0.1 x\n").unwrap();
        let json = r#"{"process":{"args":["a b"],"env":["A=1"],"cwd":"/","user":{"uid":5,"gid":6},
            "rlimits":[{"type":"RLIMIT_NOFILE","soft":7,"hard":8}]},"hostname":"h","mounts":[
            {"destination":"/etc/hosts","type":"bind","source":"hosts","options":["rbind","ro"]},
            {"destination":"/proc","type":"proc","source":"proc"}]}"#;
        let spec = Spec::parse(Path::new("c"), json.as_bytes()).unwrap();
        let request = init(&spec, dir.path());
        assert_eq!(request.argv, ["a b"]);
        assert_eq!(request.inputs["/etc/hosts"], "127.0.0.1 x\n");
        assert_eq!(request.mounts[1].kind, "proc");
        assert_eq!(request.rlimits[0].resource, 7);
        Request::parse(&request.to_json()).unwrap();
    }
}
