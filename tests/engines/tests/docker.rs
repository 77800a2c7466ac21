//! rune below dockerd.

use engines::{Case, Docker, Expect, Release, cases, check, eventually, holds, obstacle};

const IMAGE: &str = "busybox:test";

/// Ends with 3 at SIGTERM.
const OBEYS: &str = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";

const CASES: &[Case<Docker>] = cases![Docker:
    run_gives_output_and_exit_code,
    standard_input_and_a_terminal_are_connected,
    a_missing_program_is_127_and_one_that_is_no_program_126,
    exec_runs_beside_with_its_own_user_directory_and_environment,
    logs_follow_the_container_to_its_end,
    stop_asks_then_kills,
    failures_are_restarted_as_often_as_asked,
    a_container_that_is_always_restarted_comes_back,
    memory_limit_kills_and_is_reported,
    limits_are_set_and_updated,
    volumes_are_shared_and_protected,
    ports_are_published,
    init_is_the_first_process_and_collects_orphans,
    containers_meet_on_a_network_by_name,
    network_and_processes_of_another_container_are_joined,
    users_and_rights_are_those_asked_for,
    a_privileged_container_has_the_machines_devices,
    pause_top_stats_and_copy_work,
    health_checks_run,
    images_are_built,
    many_containers_start_at_once,
    containers_outlive_the_daemon,
];

fn docker(release: Release) {
    if let Some(reason) = obstacle(Docker::PACKAGES) {
        return eprintln!("skipped: docker, {release:?}: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let docker = Docker::start(release).unwrap_or_else(|error| panic!("{error}"));
    docker.load(&engines::busybox(directory.path())).unwrap();
    check(&docker, CASES, Docker::clean);
    docker.host().expect_nothing_left(&["*/docker/*"]).unwrap();
}

#[test]
fn debians_docker() {
    docker(Release::Installed);
}

#[test]
fn newer_docker() {
    docker(Release::Newer);
}

/// A container in the background.
fn start(docker: &Docker, options: &[&str], script: &str) -> Result<(), String> {
    let words = [&["-d"], options, &[IMAGE, "sh", "-c", script]].concat();
    docker.run(&words).expect(0).map(drop)
}

fn run_gives_output_and_exit_code(docker: &Docker) -> Result<(), String> {
    docker
        .run(&["--name", "first", IMAGE, "sh", "-c", "echo hello; exit 6"])
        .expect_output(6, "hello")?;
    let used = docker.inspect("{{.HostConfig.Runtime}} {{.State.ExitCode}}", "first");
    if used == "rune 6" { Ok(()) } else { Err(format!("runtime and code: {used}")) }
}

fn standard_input_and_a_terminal_are_connected(docker: &Docker) -> Result<(), String> {
    let upper = docker.run_with(&["--rm", "-i", IMAGE, "tr", "a-z", "A-Z"], b"from outside\n");
    upper.expect_output(0, "FROM OUTSIDE")?;
    docker.run(&["--rm", "-t", IMAGE, "sh", "-c", "tty"]).expect_output(0, "/dev/pts/0")
}

fn a_missing_program_is_127_and_one_that_is_no_program_126(docker: &Docker) -> Result<(), String> {
    let missing = docker.run(&["--rm", IMAGE, "no-such-program"]);
    missing.expect(127)?;
    holds(&missing.stderr, "no-such-program")?;
    docker.run(&["--rm", IMAGE, "/etc/passwd"]).expect(126).map(drop)
}

fn exec_runs_beside_with_its_own_user_directory_and_environment(
    docker: &Docker,
) -> Result<(), String> {
    start(docker, &["--name", "beside"], OBEYS)?;
    docker.docker(&["exec", "beside", "sh", "-c", "echo in; exit 2"]).expect_output(2, "in")?;
    let words = ["exec", "-u", "33:33", "-w", "/tmp", "-e", "A=b c", "beside", "sh", "-c"];
    let script = "echo $(id -u) $(id -g) $(pwd) $A";
    docker.docker(&[&words[..], &[script]].concat()).expect_output(0, "33 33 /tmp b c")?;
    docker.docker(&["exec", "-t", "beside", "tty"]).expect_output(0, "/dev/pts/0")?;
    // Docker 20.10 makes this 126 below every runtime.
    let missing = docker.docker(&["exec", "beside", "no-such-program"]);
    missing.expect(if missing.code == 126 { 126 } else { 127 })?;
    holds(&format!("{}{}", missing.stdout, missing.stderr), "no-such-program")?;
    docker.docker(&["exec", "-d", "beside", "touch", "/tmp/detached"]).expect(0)?;
    eventually("there", || {
        docker
            .docker(&["exec", "beside", "sh", "-c", "[ -e /tmp/detached ] && echo there"])
            .stdout
            .trim()
            .into()
    })
}

fn logs_follow_the_container_to_its_end(docker: &Docker) -> Result<(), String> {
    start(
        docker,
        &["--name", "talks"],
        "for i in 1 2 3; do echo line $i; sleep 0.2; done; echo bad >&2",
    )?;
    let followed = docker.docker(&["logs", "-f", "talks"]);
    followed.expect_output(0, "line 1\nline 2\nline 3")?;
    holds(&followed.stderr, "bad")
}

fn stop_asks_then_kills(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "obeys"], OBEYS)?;
    docker.docker(&["stop", "-t", "20", "obeys"]).expect(0)?;
    start(docker, &["--name", "deaf"], "trap '' TERM; while :; do sleep 0.1; done")?;
    docker.docker(&["stop", "-t", "1", "deaf"]).expect(0)?;
    start(docker, &["--name", "killed"], OBEYS)?;
    docker.docker(&["kill", "-s", "INT", "killed"]).expect(0)?;
    docker.docker(&["wait", "killed"]).expect_output(0, "130")?;
    let codes = ["obeys", "deaf"].map(|name| docker.inspect("{{.State.ExitCode}}", name));
    if codes == ["3", "137"] { Ok(()) } else { Err(format!("codes: {codes:?}")) }
}

fn failures_are_restarted_as_often_as_asked(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "fails", "--restart", "on-failure:2"], "echo tried; exit 1")?;
    let state =
        || docker.inspect("{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "fails");
    eventually("2 exited 1", state)?;
    docker.docker(&["logs", "fails"]).expect_output(0, "tried\ntried\ntried")
}

fn a_container_that_is_always_restarted_comes_back(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "always", "--restart", "always"], OBEYS)?;
    let pid = docker.inspect("{{.State.Pid}}", "always");
    docker.host().run(&["kill", "-KILL", &pid]).expect(0)?;
    eventually("1 running", || docker.inspect("{{.RestartCount}} {{.State.Status}}", "always"))?;
    docker.docker(&["exec", "always", "echo", "back"]).expect_output(0, "back")
}

fn memory_limit_kills_and_is_reported(docker: &Docker) -> Result<(), String> {
    let greedy = "dd if=/dev/zero of=/dev/null bs=100M count=1";
    docker.run(&["--name", "greedy", "-m", "20m", IMAGE, "sh", "-c", greedy]).expect(137)?;
    eventually("true", || docker.inspect("{{.State.OOMKilled}}", "greedy"))
}

fn limits_are_set_and_updated(docker: &Docker) -> Result<(), String> {
    let limits = ["--name", "limited", "-m", "64m", "--cpus", "0.5", "--pids-limit", "5"];
    // One process that never forks: refused a fork of its own, it would end and take `exec` with it, half a
    // message written.
    start(docker, &limits, "exec sleep 3600")?;
    let read = |file: &str, v2: &str| {
        let script = format!("cat /sys/fs/cgroup/{file} /sys/fs/cgroup/{v2} 2>/dev/null");
        docker.docker(&["exec", "limited", "sh", "-c", &script]).stdout.trim().to_owned()
    };
    let got =
        (read("memory/memory.limit_in_bytes", "memory.max"), read("pids/pids.max", "pids.max"));
    if got != ("67108864".to_owned(), "5".to_owned()) {
        return Err(format!("memory and pids: {got:?}"));
    }
    let fork = "for i in 1 2 3 4 5 6 7; do sleep 1 & done; wait; echo all";
    let refused = docker.docker(&["exec", "limited", "sh", "-c", fork]);
    holds(&refused.stderr, "fork")?;
    docker.docker(&["update", "-m", "80m", "--memory-swap", "80m", "limited"]).expect(0)?;
    let updated = read("memory/memory.limit_in_bytes", "memory.max");
    if updated == "83886080" { Ok(()) } else { Err(format!("updated memory: {updated}")) }
}

fn volumes_are_shared_and_protected(docker: &Docker) -> Result<(), String> {
    let script = "echo kept >/data/file; mount | grep -c ' /data '";
    docker.run(&["--rm", "-v", "shared:/data", IMAGE, "sh", "-c", script]).expect_output(0, "1")?;
    let read = "cat /data/file; echo more >>/data/file || echo refused";
    docker
        .run(&["--rm", "-v", "shared:/data:ro", IMAGE, "sh", "-c", read])
        .expect_output(0, "kept\nrefused")?;
    docker.host().write("/run/shared/from-host", "a file of the host")?;
    let bind = "type=bind,source=/run/shared,target=/mnt,bind-propagation=rslave";
    docker
        .run(&["--rm", "--mount", bind, IMAGE, "cat", "/mnt/from-host"])
        .expect_output(0, "a file of the host")?;
    let tmpfs = ["--rm", "--read-only", "--tmpfs", "/tmp:rw,size=1m,mode=1777", IMAGE, "sh", "-c"];
    let full = "touch /file 2>/dev/null || echo root is read-only; dd if=/dev/zero of=/tmp/f bs=2M count=1 2>/dev/null || wc -c </tmp/f";
    docker.run(&[&tmpfs[..], &[full]].concat()).expect_output(0, "root is read-only\n1048576")?;
    docker.docker(&["volume", "rm", "shared"]).expect(0).map(drop)
}

const PAGE: &str = "mkdir /www; echo a page >/www/index.html; exec httpd -f -p 80 -h /www";

fn ports_are_published(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "web", "-p", "8080:80"], PAGE)?;
    let client = "i=0; while [ $i -lt 50 ]; do printf 'GET / HTTP/1.0\\r\\n\\r\\n' | \
                  timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080; cat >&3; cat <&3' 2>/dev/null && exit; \
                  sleep 0.2; i=$((i+1)); done; exit 1";
    holds(&docker.host().run(&["sh", "-c", client]).expect(0)?, "a page")
}

fn init_is_the_first_process_and_collects_orphans(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "init", "--init"], "sh -c 'sleep 0.2 & exit'; exec sleep 1000")?;
    let first = docker.docker(&["exec", "init", "cat", "/proc/1/comm"]);
    first.expect_output(0, "docker-init")?;
    eventually("0", || {
        let zombies = "grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
        docker.docker(&["exec", "init", "sh", "-c", zombies]).stdout.trim().into()
    })?;
    docker.docker(&["stop", "-t", "20", "init"]).expect(0)?;
    let code = docker.inspect("{{.State.ExitCode}}", "init");
    if code == "143" { Ok(()) } else { Err(format!("code: {code}")) }
}

fn containers_meet_on_a_network_by_name(docker: &Docker) -> Result<(), String> {
    docker.docker(&["network", "create", "between"]).expect(0)?;
    start(docker, &["--name", "server", "--network", "between"], PAGE)?;
    let fetch = "i=0; until wget -q -O - http://server/; do [ $i -lt 50 ] || exit 1; i=$((i+1)); sleep 0.2; done";
    let client = ["--rm", "--network", "between", IMAGE, "sh", "-c", fetch];
    docker.run(&client).expect_output(0, "a page")?;
    docker.clean();
    docker.docker(&["network", "rm", "between"]).expect(0).map(drop)
}

fn network_and_processes_of_another_container_are_joined(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "one", "--hostname", "first", "--ipc", "shareable"], OBEYS)?;
    let join =
        ["--rm", "--network", "container:one", "--pid", "container:one", "--ipc", "container:one"];
    let look = "hostname; grep -c . /proc/1/cmdline; ls /proc/1/root/bin/sh";
    docker
        .run(&[&join[..], &[IMAGE, "sh", "-c", look]].concat())
        .expect_output(0, "first\n1\n/proc/1/root/bin/sh")?;
    let all = ["--rm", "--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host"];
    docker.run(&[&all[..], &[IMAGE, "hostname"]].concat()).expect_output(0, "engines")
}

fn users_and_rights_are_those_asked_for(docker: &Docker) -> Result<(), String> {
    let options = [
        "--rm",
        "--user",
        "33:44",
        "--group-add",
        "55",
        "--cap-drop",
        "ALL",
        "--hostname",
        "named",
        "--security-opt",
        "no-new-privileges",
        "--ulimit",
        "nofile=100:100",
        "--device",
        "/dev/full",
        "--sysctl",
        "net.ipv4.ip_forward=0",
        "--add-host",
        "other:10.1.2.3",
        "--cgroupns",
        "private",
    ];
    let script = "id -u; id -g; id -G; hostname; ulimit -n; cat /proc/sys/net/ipv4/ip_forward; ls /dev/full; \
                  grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; grep -c other /etc/hosts";
    let expected = "33\n44\n44 55\nnamed\n100\n0\n/dev/full\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n1";
    docker
        .run(&[&options[..], &[IMAGE, "sh", "-c", script]].concat())
        .expect_output(0, expected)?;
    let free = [
        "--rm",
        "--security-opt",
        "seccomp=unconfined",
        IMAGE,
        "grep",
        "-c",
        "Seccomp:.0",
        "/proc/self/status",
    ];
    docker.run(&free).expect_output(0, "1")?;
    // What Docker's profile and masks forbid.
    let forbidden = "unshare -r true 2>/dev/null || echo no; cat /proc/kcore 2>/dev/null | wc -c; \
                     echo 1 >/proc/sys/kernel/sysrq 2>/dev/null || echo read-only";
    docker.run(&["--rm", IMAGE, "sh", "-c", forbidden]).expect_output(0, "no\n0\nread-only")
}

fn a_privileged_container_has_the_machines_devices(docker: &Docker) -> Result<(), String> {
    let script = "mkdir /m && mount -t tmpfs m /m && echo mounted; mknod /m/null c 1 3 && echo x >/m/null && echo made; \
                  [ $(ls /dev | wc -l) -gt 30 ] && echo devices; grep -c Seccomp:.0 /proc/self/status";
    docker
        .run(&["--rm", "--privileged", IMAGE, "sh", "-c", script])
        .expect_output(0, "mounted\nmade\ndevices\n1")
}

fn pause_top_stats_and_copy_work(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "busy"], "echo content >/file; while :; do sleep 0.1; done")?;
    docker.docker(&["pause", "busy"]).expect(0)?;
    let paused = docker.inspect("{{.State.Status}}", "busy");
    docker.docker(&["unpause", "busy"]).expect(0)?;
    holds(&paused, "paused")?;
    holds(&docker.docker(&["top", "busy"]).expect(0)?, "sleep 0.1")?;
    let memory = docker
        .docker(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "busy"])
        .expect(0)?;
    if memory.starts_with("0B") || memory.ends_with(" 0") {
        return Err(format!("stats: {memory}"));
    }
    docker.docker(&["cp", "busy:/file", "/run/copied"]).expect(0)?;
    docker.host().run(&["cat", "/run/copied"]).expect_output(0, "content")?;
    docker.docker(&["restart", "-t", "0", "busy"]).expect(0)?;
    docker.docker(&["exec", "busy", "cat", "/file"]).expect_output(0, "content")
}

fn health_checks_run(docker: &Docker) -> Result<(), String> {
    let options =
        ["--name", "checked", "--health-cmd", "[ -e /ready ]", "--health-interval", "300ms"];
    start(docker, &options, "sleep 1; touch /ready; exec sleep 1000")?;
    eventually("healthy", || docker.inspect("{{.State.Health.Status}}", "checked"))
}

fn images_are_built(docker: &Docker) -> Result<(), String> {
    docker.host().write(
        "/run/build/Dockerfile",
        "FROM busybox:test\nRUN echo built >/made\nCMD [\"cat\", \"/made\"]\n",
    )?;
    // The classic builder runs its steps with the default runtime; what it makes runs with rune.
    let build =
        "DOCKER_BUILDKIT=0 docker -H unix:///run/docker.sock build -q -t made:test /run/build";
    docker.host().run(&["sh", "-c", build]).expect(0)?;
    docker.run(&["--rm", "made:test"]).expect_output(0, "built")
}

fn many_containers_start_at_once(docker: &Docker) -> Result<(), String> {
    let script = "for i in $(seq 12); do docker -H unix:///run/docker.sock run --rm --runtime rune \
                  busybox:test sh -c \"exit $i\" & pids=\"$pids $!\"; done; \
                  for p in $pids; do wait $p; echo $?; done";
    docker
        .host()
        .run(&["sh", "-c", script])
        .expect_output(0, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12")
}

fn containers_outlive_the_daemon(docker: &Docker) -> Result<(), String> {
    start(docker, &["--name", "outlives"], OBEYS)?;
    let pid = docker.inspect("{{.State.Pid}}", "outlives");
    docker.crash_and_restart()?;
    let now = docker.inspect("{{.State.Status}} {{.State.Pid}}", "outlives");
    if now != format!("running {pid}") {
        return Err(format!("expected running {pid}, got {now}"));
    }
    docker.docker(&["exec", "outlives", "echo", "still here"]).expect_output(0, "still here")?;
    docker.docker(&["stop", "-t", "20", "outlives"]).expect(0)?;
    let code = docker.inspect("{{.State.ExitCode}}", "outlives");
    if code == "3" { Ok(()) } else { Err(format!("code: {code}")) }
}
