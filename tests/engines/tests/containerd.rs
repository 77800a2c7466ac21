//! rune below containerd: runc's shim with rune as its binary.

use engines::{Case, Containerd, Expect, Release, cases, check, eventually, holds, obstacle};

const IMAGE: &str = "docker.io/library/busybox:test";
const OBEYS: &str = "trap 'exit 3' TERM; while :; do sleep 0.1; done";

const CASES: &[Case<Containerd>] = cases![Containerd:
    run_gives_output_and_exit_code,
    a_missing_program_is_said,
    exec_runs_beside,
    pause_and_resume,
    signals_and_exit_codes_pass,
    metrics_and_limits,
    mounts_directory_and_rights,
    a_terminal_is_connected,
    the_documented_handler_is_read,
];

fn containerd(release: Release) {
    if let Some(reason) = obstacle(Containerd::PACKAGES) {
        return eprintln!("skipped: containerd, {release:?}: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let containerd = Containerd::start(release).unwrap_or_else(|error| panic!("{error}"));
    containerd.load(&engines::busybox(directory.path())).unwrap();
    check(&containerd, CASES, Containerd::clean);
    containerd.host().expect_nothing_left(&["*/default/*"]).unwrap();
}

#[test]
fn debians_containerd() {
    containerd(Release::Installed);
}

#[test]
fn newer_containerd() {
    containerd(Release::Newer);
}

fn start(
    containerd: &Containerd,
    options: &[&str],
    name: &str,
    script: &str,
) -> Result<(), String> {
    let words = [&["-d"], options, &[IMAGE, name, "sh", "-c", script]].concat();
    containerd.run(&words).expect(0).map(drop)
}

fn status(containerd: &Containerd, name: &str) -> String {
    let tasks = containerd.ctr(&["task", "ls"]).stdout;
    let line = tasks.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().last().unwrap_or_default().to_owned()
}

/// Removes a task; ctr says with which code it had ended, and itself ends with 0.
fn ended_with(containerd: &Containerd, name: &str, code: u8) -> Result<(), String> {
    let removed = containerd.ctr(&["task", "rm", name]);
    holds(&removed.stderr, &format!("{name} exit with non-zero exit code {code}\""))
}

fn run_gives_output_and_exit_code(containerd: &Containerd) -> Result<(), String> {
    let script = "echo hello; exit 4";
    containerd.run(&["--rm", IMAGE, "first", "sh", "-c", script]).expect_output(4, "hello")
}

fn a_missing_program_is_said(containerd: &Containerd) -> Result<(), String> {
    let missing = containerd.run(&["--rm", IMAGE, "missing", "no-such-program"]);
    holds(&missing.stderr, "process.args[0]")?;
    missing.expect(1).map(drop)
}

fn exec_runs_beside(containerd: &Containerd) -> Result<(), String> {
    start(containerd, &[], "beside", OBEYS)?;
    let exec = |words: &[&str]| {
        containerd.ctr(&[&["task", "exec", "--exec-id", "e", "beside"], words].concat())
    };
    exec(&["sh", "-c", "echo in; exit 2"]).expect_output(2, "in")?;
    // The same id again: the first is gone.
    exec(&["echo", "again"]).expect_output(0, "again")
}

fn pause_and_resume(containerd: &Containerd) -> Result<(), String> {
    start(containerd, &[], "frozen", OBEYS)?;
    containerd.ctr(&["task", "pause", "frozen"]).expect(0)?;
    holds(&status(containerd, "frozen"), "PAUSED")?;
    containerd.ctr(&["task", "resume", "frozen"]).expect(0)?;
    holds(&status(containerd, "frozen"), "RUNNING")
}

fn signals_and_exit_codes_pass(containerd: &Containerd) -> Result<(), String> {
    start(containerd, &[], "obeys", OBEYS)?;
    containerd.ctr(&["task", "kill", "obeys"]).expect(0)?;
    eventually("STOPPED", || status(containerd, "obeys"))?;
    ended_with(containerd, "obeys", 3)?;
    start(containerd, &[], "killed", OBEYS)?;
    containerd.ctr(&["task", "kill", "-s", "KILL", "-a", "killed"]).expect(0)?;
    eventually("STOPPED", || status(containerd, "killed"))?;
    ended_with(containerd, "killed", 137)
}

fn metrics_and_limits(containerd: &Containerd) -> Result<(), String> {
    start(containerd, &["--memory-limit", "33554432"], "measured", OBEYS)?;
    let metrics = containerd.ctr(&["task", "metrics", "measured"]).expect(0)?;
    holds(&metrics, "33554432")?;
    let greedy = ["--rm", "--memory-limit", "20971520", IMAGE, "greedy", "sh", "-c"];
    containerd
        .run(&[&greedy[..], &["dd if=/dev/zero of=/dev/null bs=100M count=1"]].concat())
        .expect(137)
        .map(drop)
}

fn mounts_directory_and_rights(containerd: &Containerd) -> Result<(), String> {
    containerd.host().write("/run/shared/file", "of the host")?;
    let options = [
        "--rm",
        "--read-only",
        "--cwd",
        "/tmp",
        "--env",
        "A=b",
        "--seccomp",
        "--mount",
        "type=bind,src=/run/shared,dst=/tmp,options=rbind:ro",
    ];
    let script = "pwd; echo $A; cat file; grep -c Seccomp:.2 /proc/self/status; \
                  touch /x 2>/dev/null || echo read-only";
    let words = [&options[..], &[IMAGE, "rights", "sh", "-c", script]].concat();
    containerd.run(&words).expect_output(0, "/tmp\nb\nof the host1\nread-only")
}

fn a_terminal_is_connected(containerd: &Containerd) -> Result<(), String> {
    // ctr wants a terminal of its own for it, and loses the output of what ends while it attaches, below runc too.
    let script = "mkdir -p /run/seen; script -qec \"$0\" /dev/null >/run/seen/said & \
                  until grep -q /dev/pts/0 /run/seen/said; do sleep 0.1; done; \
                  touch /run/seen/go; wait $!";
    let ctr = format!(
        "ctr run --rm -t --runc-binary /usr/local/bin/rune \
         --mount type=bind,src=/run/seen,dst=/tmp,options=rbind {IMAGE} terminal \
         sh -c 'tty; until [ -e /tmp/go ]; do sleep 0.1; done; exit 6'"
    );
    containerd.host().run(&["sh", "-c", script, &ctr]).expect(6).map(drop)
}

fn the_documented_handler_is_read(containerd: &Containerd) -> Result<(), String> {
    let config = containerd.host().run(&["containerd", "config", "dump"]).expect(0)?;
    holds(&config, "BinaryName = \"/usr/local/bin/rune\"")
}
