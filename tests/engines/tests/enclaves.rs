//! An image that carries its signed enclave, through every engine, on whatever runs enclaves here.
//!
//! The policy changes the command line, so that an engine which asks for the source's is refused.

use engines::{
    Containerd, Cri, Docker, Expect, Podman, Release, Shared, Wish, enclave, eventually, holds,
    obstacle,
};
use std::path::Path;

const IMAGE: &str = "busybox:enclave";

const POLICY: &str = r#"
argv = ["sh", "-c", "echo inside; head -n 1 /proc/inclavare/syscalls >/dev/null && echo libos; trap 'exit 3' TERM; while [ \"$STAY\" ]; do sleep 0.2; done; exit 4"]
[env]
STAY = { any = true }
[[exec]]
argv = ["/bin/echo", "beside"]
[enclave]
size = "1G"
threads = 16
"#;

const SAID: &str = "inside\nlibos";

fn archive(directory: &Path) -> std::path::PathBuf {
    enclave(directory, POLICY)
}

fn on_docker(release: Release) {
    if let Some(reason) = obstacle(Docker::PACKAGES) {
        return eprintln!("skipped: enclaves on docker, {release:?}: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let docker = Docker::start(release).unwrap_or_else(|error| panic!("{error}"));
    docker.load(&archive(directory.path())).unwrap();

    docker.run(&["--rm", IMAGE]).expect_output(4, SAID).unwrap();
    // Rights, volumes and limits that an ordinary container may have.
    let narrow = [
        "--rm",
        "--cap-drop",
        "ALL",
        "--read-only",
        "--security-opt",
        "no-new-privileges",
        "-m",
        "256m",
        "--pids-limit",
        "100",
        "-v",
        "/run:/data",
        IMAGE,
    ];
    docker.run(&narrow).expect_output(4, SAID).unwrap();

    docker.run(&["-d", "--name", "stays", "-e", "STAY=1", IMAGE]).expect(0).unwrap();
    eventually(SAID, || docker.docker(&["logs", "stays"]).stdout.trim().into()).unwrap();
    docker.docker(&["exec", "stays", "/bin/echo", "beside"]).expect_output(0, "beside").unwrap();
    let refused = docker.docker(&["exec", "stays", "sh", "-c", "echo in"]);
    assert_ne!(refused.code, 0);
    assert!(!refused.stdout.contains("in\n"), "{refused:?}");
    docker.docker(&["stop", "-t", "30", "stays"]).expect(0).unwrap();
    assert_eq!(docker.inspect("{{.State.ExitCode}}", "stays"), "3");

    let refusals: [(&[&str], &[&str]); 3] = [
        (&["--rm", IMAGE, "sh", "-c", "echo other"], &["argv[2]", "expected", "echo other"]),
        (
            &["--rm", "-e", "LD_PRELOAD=/evil.so", IMAGE],
            &["env.LD_PRELOAD", "expected", "/evil.so"],
        ),
        (&["--rm", "-m", "8m", IMAGE], &["linux.resources.memory.limit", "expected at least"]),
    ];
    for (words, parts) in refusals {
        let refused = docker.run(words);
        assert_eq!((refused.code, refused.stdout.as_str()), (125, ""), "{words:?}: {refused:?}");
        parts.iter().for_each(|part| holds(&refused.stderr, part).unwrap());
    }
    docker.clean();
    docker.host().expect_nothing_left(&["*/docker/*"]).unwrap();
}

#[test]
fn on_debians_docker() {
    on_docker(Release::Installed);
}

#[test]
fn on_newer_docker() {
    on_docker(Release::Newer);
}

#[test]
fn on_containerd() {
    if let Some(reason) = obstacle(Containerd::PACKAGES) {
        return eprintln!("skipped: enclaves on containerd: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let containerd =
        Containerd::start(Release::Installed).unwrap_or_else(|error| panic!("{error}"));
    containerd.load(&archive(directory.path())).unwrap();
    let image = "docker.io/library/busybox:enclave";
    containerd.run(&["--rm", image, "ends"]).expect_output(4, SAID).unwrap();
    containerd.run(&["-d", "--env", "STAY=1", image, "stays"]).expect(0).unwrap();
    let exec = ["task", "exec", "--exec-id", "e", "stays", "/bin/echo", "beside"];
    containerd.ctr(&exec).expect_output(0, "beside").unwrap();
    containerd.ctr(&["task", "kill", "stays"]).expect(0).unwrap();
    eventually("STOPPED", || {
        let tasks = containerd.ctr(&["task", "ls"]).stdout;
        let line = tasks.lines().find(|line| line.starts_with("stays")).unwrap_or_default();
        line.split_whitespace().last().unwrap_or_default().into()
    })
    .unwrap();
    let removed = containerd.ctr(&["task", "rm", "stays"]);
    holds(&removed.stderr, "non-zero exit code 3\"").unwrap();
    containerd.clean();
    containerd.host().expect_nothing_left(&["*/default/*"]).unwrap();
}

#[test]
fn in_a_pod() {
    if let Some(reason) = obstacle(Cri::PACKAGES) {
        return eprintln!("skipped: enclaves in a pod: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let cri = Cri::start(Release::Installed).unwrap_or_else(|error| panic!("{error}"));
    cri.load(&archive(directory.path())).unwrap();
    let pod = cri.run_pod(Shared::default()).unwrap();
    let wish = Wish { image: "docker.io/library/busybox:enclave", ..Wish::default() };

    let stays = cri.create(&pod, "stays", Wish { environment: &[("STAY", "1")], ..wish }).unwrap();
    cri.start_container(&stays).unwrap();
    let said = || {
        let log = cri.log(&pod, "stays").unwrap_or_else(|error| error);
        let words: Vec<&str> = log.lines().filter_map(|line| line.split(' ').nth(3)).collect();
        words.join("\n")
    };
    eventually(SAID, said).unwrap();
    let beside = cri.exec(&stays, &["/bin/echo", "beside"], 0).unwrap();
    beside.expect_output(0, "beside").unwrap();
    // A refusal is the runtime's: there is no process whose exit code could be told.
    let refused = cri.exec(&stays, &["sh", "-c", "echo in"], 0);
    assert!(!matches!(&refused, Ok(outcome) if outcome.code == 0), "{refused:?}");
    cri.stop(&stays, 30).unwrap();
    let status = cri.status(&stays).unwrap();
    assert_eq!((status.state, status.exit_code), ("exited", 3));

    let other = Wish { command: &["sh", "-c", "echo other"], ..wish };
    let other = cri.create(&pod, "other", other).unwrap();
    cri.start_container(&other).unwrap();
    let code = || cri.status(&other).map_or(0, |status| status.exit_code).to_string();
    eventually("125", code).unwrap();
    let log = cri.log(&pod, "other").unwrap();
    ["argv[2]", "expected", "echo other"].iter().for_each(|part| holds(&log, part).unwrap());
    cri.clean();
    cri.containerd().host().expect_nothing_left(&["*/k8s.io/*"]).unwrap();
}

#[test]
fn on_podman() {
    if let Some(reason) = obstacle(Podman::PACKAGES) {
        return eprintln!("skipped: enclaves on podman: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let podman = Podman::start().unwrap_or_else(|error| panic!("{error}"));
    podman.load(&archive(directory.path())).unwrap();
    podman.run(&["--rm", IMAGE]).expect_output(4, SAID).unwrap();
    podman.run(&["-d", "--name", "stays", "-e", "STAY=1", IMAGE]).expect(0).unwrap();
    eventually(SAID, || podman.podman(&["logs", "stays"]).stdout.trim().into()).unwrap();
    podman.podman(&["exec", "stays", "/bin/echo", "beside"]).expect_output(0, "beside").unwrap();
    podman.podman(&["stop", "-t", "30", "stays"]).expect(0).unwrap();
    assert_eq!(podman.inspect("{{.State.ExitCode}}", "stays"), "3");
    let refused = podman.run(&["--rm", IMAGE, "sh", "-c", "echo other"]);
    assert_ne!(refused.code, 0);
    holds(&refused.stderr, "argv[2]").unwrap();
    podman.clean();
    podman.host().expect_nothing_left(&["*/libpod-*", "*/libpod_parent/*/*"]).unwrap();
}
