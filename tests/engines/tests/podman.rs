//! rune below podman: conmon calls it, there is no shim.

use engines::{Case, Expect, Podman, cases, check, eventually, holds, obstacle};

const IMAGE: &str = "busybox:test";
const OBEYS: &str = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";

const CASES: &[Case<Podman>] = cases![Podman:
    run_gives_output_and_exit_code,
    a_missing_program_is_127,
    exec_pause_and_stop,
    logs_are_kept,
    failures_are_restarted_as_often_as_asked,
    memory_limit_kills,
    volumes_are_shared_and_protected,
    ports_are_published,
    init_is_the_first_process,
    a_pod_shares_its_network,
    users_and_rights_are_those_asked_for,
    statistics_and_updates,
];

#[test]
fn podman() {
    if let Some(reason) = obstacle(Podman::PACKAGES) {
        return eprintln!("skipped: podman: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let podman = Podman::start().unwrap_or_else(|error| panic!("{error}"));
    podman.load(&engines::busybox(directory.path())).unwrap();
    check(&podman, CASES, Podman::clean);
    // A pod's own group is podman's; it stays in the trees that podman does not know, below runc as well.
    podman.host().expect_nothing_left(&["*/libpod-*", "*/libpod_parent/*/*"]).unwrap();
}

fn start(podman: &Podman, options: &[&str], script: &str) -> Result<(), String> {
    let words = [&["-d"], options, &[IMAGE, "sh", "-c", script]].concat();
    podman.run(&words).expect(0).map(drop)
}

fn run_gives_output_and_exit_code(podman: &Podman) -> Result<(), String> {
    podman
        .run(&["--name", "first", IMAGE, "sh", "-c", "echo hello; exit 7"])
        .expect_output(7, "hello")?;
    holds(&podman.inspect("{{.OCIRuntime}}", "first"), "rune")
}

fn a_missing_program_is_127(podman: &Podman) -> Result<(), String> {
    let missing = podman.run(&["--rm", IMAGE, "no-such-program"]);
    holds(&missing.stderr, "no-such-program")?;
    missing.expect(127)?;
    podman.run(&["--rm", IMAGE, "/etc/passwd"]).expect(126).map(drop)
}

fn exec_pause_and_stop(podman: &Podman) -> Result<(), String> {
    start(podman, &["--name", "beside"], OBEYS)?;
    podman.podman(&["exec", "beside", "sh", "-c", "echo in; exit 2"]).expect_output(2, "in")?;
    podman.podman(&["exec", "beside", "no-such-program"]).expect(127)?;
    podman.podman(&["pause", "beside"]).expect(0)?;
    holds(&podman.inspect("{{.State.Status}}", "beside"), "paused")?;
    podman.podman(&["unpause", "beside"]).expect(0)?;
    podman.podman(&["stop", "-t", "20", "beside"]).expect(0)?;
    holds(&podman.inspect("{{.State.ExitCode}}", "beside"), "3")?;
    start(podman, &["--name", "deaf"], "trap '' TERM; while :; do sleep 0.1; done")?;
    podman.podman(&["stop", "-t", "1", "deaf"]).expect(0)?;
    holds(&podman.inspect("{{.State.ExitCode}}", "deaf"), "137")
}

fn logs_are_kept(podman: &Podman) -> Result<(), String> {
    start(podman, &["--name", "talks"], "echo one; echo two >&2; echo three")?;
    podman.podman(&["wait", "talks"]).expect(0)?;
    let logs = podman.podman(&["logs", "talks"]);
    logs.expect_output(0, "one\nthree")?;
    holds(&logs.stderr, "two")
}

fn failures_are_restarted_as_often_as_asked(podman: &Podman) -> Result<(), String> {
    start(podman, &["--name", "fails", "--restart", "on-failure:2"], "echo tried; exit 1")?;
    eventually("tried\ntried\ntried", || podman.podman(&["logs", "fails"]).stdout.trim().into())?;
    eventually("exited", || podman.inspect("{{.State.Status}}", "fails"))
}

// conmon 2.1.6 reports `OOMKilled` on cgroup v1 below no runtime, runc included.
fn memory_limit_kills(podman: &Podman) -> Result<(), String> {
    let greedy = "dd if=/dev/zero of=/dev/null bs=100M count=1";
    podman.run(&["--name", "greedy", "-m", "20m", IMAGE, "sh", "-c", greedy]).expect(137).map(drop)
}

fn volumes_are_shared_and_protected(podman: &Podman) -> Result<(), String> {
    podman
        .run(&["--rm", "-v", "shared:/data", IMAGE, "sh", "-c", "echo kept >/data/file"])
        .expect(0)?;
    let read = "cat /data/file; echo more >>/data/file || echo refused";
    podman
        .run(&["--rm", "-v", "shared:/data:ro", IMAGE, "sh", "-c", read])
        .expect_output(0, "kept\nrefused")?;
    podman.host().write("/run/shared/file", "of the host")?;
    podman
        .run(&["--rm", "-v", "/run/shared:/mnt:rslave", IMAGE, "cat", "/mnt/file"])
        .expect_output(0, "of the host")?;
    podman.podman(&["volume", "rm", "shared"]).expect(0).map(drop)
}

fn ports_are_published(podman: &Podman) -> Result<(), String> {
    let page = "mkdir /www; echo a page >/www/index.html; exec httpd -f -p 80 -h /www";
    start(podman, &["--name", "web", "-p", "8080:80"], page)?;
    let client = "i=0; while [ $i -lt 50 ]; do printf 'GET / HTTP/1.0\\r\\n\\r\\n' | \
                  timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080; cat >&3; cat <&3' 2>/dev/null && exit; \
                  sleep 0.2; i=$((i+1)); done; exit 1";
    holds(&podman.host().run(&["sh", "-c", client]).expect(0)?, "a page")
}

fn init_is_the_first_process(podman: &Podman) -> Result<(), String> {
    start(podman, &["--name", "init", "--init"], "sh -c 'sleep 0.2 & exit'; exec sleep 1000")?;
    holds(&podman.podman(&["exec", "init", "cat", "/proc/1/comm"]).expect(0)?, "init")?;
    eventually("0", || {
        let zombies = "grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
        podman.podman(&["exec", "init", "sh", "-c", zombies]).stdout.trim().into()
    })
}

fn a_pod_shares_its_network(podman: &Podman) -> Result<(), String> {
    podman.podman(&["pod", "create", "--name", "pod"]).expect(0)?;
    let page = "mkdir /www; echo a page >/www/index.html; exec httpd -f -p 80 -h /www";
    start(podman, &["--pod", "pod", "--name", "server"], page)?;
    let fetch = "i=0; until wget -q -O - http://127.0.0.1/; do [ $i -lt 50 ] || exit 1; i=$((i+1)); sleep 0.2; done; hostname";
    podman.run(&["--rm", "--pod", "pod", IMAGE, "sh", "-c", fetch]).expect_output(0, "a page\npod")
}

fn users_and_rights_are_those_asked_for(podman: &Podman) -> Result<(), String> {
    let options = [
        "--rm",
        "--user",
        "33:44",
        "--cap-drop",
        "ALL",
        "--hostname",
        "named",
        "--read-only",
        "--device",
        "/dev/full",
        "--security-opt",
        "no-new-privileges",
        "--ulimit",
        "nofile=100:100",
        "--ulimit",
        "nproc=1024:1024",
        "--sysctl",
        "net.ipv4.ip_forward=0",
    ];
    let script = "id -u; id -g; hostname; ulimit -n; ls /dev/full; touch /x 2>/dev/null || echo read-only; \
                  grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'";
    let expected = "33\n44\nnamed\n100\n/dev/full\nread-only\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2";
    podman
        .run(&[&options[..], &[IMAGE, "sh", "-c", script]].concat())
        .expect_output(0, expected)?;
    let script = "mkdir /m && mount -t tmpfs m /m && echo mounted";
    podman.run(&["--rm", "--privileged", IMAGE, "sh", "-c", script]).expect_output(0, "mounted")
}

fn statistics_and_updates(podman: &Podman) -> Result<(), String> {
    start(podman, &["--name", "busy", "-m", "64m", "--pids-limit", "20"], OBEYS)?;
    let stats = podman
        .podman(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDS}}", "busy"])
        .expect(0)?;
    holds(&stats, "67.11MB")?;
    holds(&podman.podman(&["top", "busy", "args"]).expect(0)?, "sleep 0.1")
}
