//! rune as the handler of pods: containerd's CRI plugin, asked as a kubelet does.

use engines::{
    Case, Cri, Expect, Release, Shared, Wish, cases, check, eventually, holds, obstacle,
};

const IMAGE: &str = "docker.io/library/busybox:test";
const OBEYS: &[&str] = &["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"];

const CASES: &[Case<Cri>] = cases![Cri:
    a_container_is_created_started_stopped_and_removed,
    a_pod_has_a_network_of_its_own_which_its_containers_share,
    processes_are_shared_where_the_pod_says_so,
    an_exec_that_takes_too_long_is_ended,
    a_container_that_does_not_obey_is_killed,
    logs_keep_streams_apart,
    memory_limit_kills_and_is_reported,
    limits_are_updated,
    rights_are_those_asked_for,
    a_missing_program_is_said,
    containers_outlive_the_daemon,
];

fn cri(release: Release) {
    if let Some(reason) = obstacle(Cri::PACKAGES) {
        return eprintln!("skipped: CRI, {release:?}: {reason}");
    }
    let directory = tempfile::tempdir().unwrap();
    let cri = Cri::start(release).unwrap_or_else(|error| panic!("{error}"));
    cri.load(&engines::busybox(directory.path())).unwrap();
    check(&cri, CASES, Cri::clean);
    assert_eq!(cri.pods().unwrap(), [""; 0]);
    cri.containerd().host().expect_nothing_left(&["*/k8s.io/*"]).unwrap();
}

#[test]
fn debians_containerd() {
    cri(Release::Installed);
}

#[test]
fn newer_containerd() {
    cri(Release::Newer);
}

/// As on many virtual machines: what runc calls EOF.
#[test]
fn a_score_that_the_machine_forbids_is_said() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let has_sys_resource = u64::from_str_radix(held, 16).unwrap() & 1 << 24 != 0;
    let reason = has_sys_resource.then(|| "the machine has CAP_SYS_RESOURCE".into());
    if let Some(reason) = reason.or_else(|| obstacle(Cri::PACKAGES)) {
        return eprintln!("skipped: CRI, a forbidden score: {reason}");
    }
    let cri = Cri::start_unrestricted(Release::Installed).unwrap_or_else(|error| panic!("{error}"));
    let refused = cri.run_pod(ON_THE_NODES_NETWORK).unwrap_err();
    ["oomScoreAdj", "CAP_SYS_RESOURCE"].iter().for_each(|part| holds(&refused, part).unwrap());
    cri.clean();
    cri.containerd().host().expect_nothing_left(&["*/k8s.io/*"]).unwrap();
}

const ON_THE_NODES_NETWORK: Shared = Shared { node_network: true, processes: false };

fn wish<'a>(command: &'a [&'a str]) -> Wish<'a> {
    Wish { image: IMAGE, command, ..Wish::default() }
}

/// Gives the id of a container that has been started in a pod on the node's network.
fn start(cri: &Cri, wish: Wish<'_>) -> Result<String, String> {
    let pod = cri.run_pod(ON_THE_NODES_NETWORK)?;
    let id = cri.create(&pod, "alone", wish)?;
    cri.start_container(&id)?;
    Ok(id)
}

/// Waits until a container has exited; gives its code and the reason.
fn exit(cri: &Cri, id: &str) -> Result<(i32, String), String> {
    eventually("exited", || cri.status(id).map_or_else(|error| error, |s| s.state.into()))?;
    cri.status(id).map(|status| (status.exit_code, status.reason))
}

fn expect_exit(cri: &Cri, id: &str, code: i32, reason: &str) -> Result<(), String> {
    let got = exit(cri, id)?;
    if got == (code, reason.into()) {
        return Ok(());
    }
    Err(format!("exit: expected {code} and {reason:?}, got {got:?}"))
}

fn expect_state(cri: &Cri, id: &str, state: &str) -> Result<(), String> {
    let got = cri.status(id)?.state;
    if got == state { Ok(()) } else { Err(format!("state: expected {state}, got {got}")) }
}

fn a_container_is_created_started_stopped_and_removed(cri: &Cri) -> Result<(), String> {
    let pod = cri.run_pod(ON_THE_NODES_NETWORK)?;
    let node = cri.containerd().host().run(&["readlink", "/proc/self/ns/net"]).expect(0)?;
    let id = cri.create(&pod, "whole", wish(OBEYS))?;
    expect_state(cri, &id, "created")?;
    cri.start_container(&id)?;
    expect_state(cri, &id, "running")?;
    let script = "readlink /proc/self/ns/net; echo beside >&2; exit 2";
    let ran = cri.exec(&id, &["sh", "-c", script], 0)?;
    ran.expect_output(2, &node)?;
    holds(&ran.stderr, "beside")?;
    cri.stop(&id, 30)?;
    expect_exit(cri, &id, 3, "Error")?;
    cri.remove(&id)?;
    match cri.status(&id) {
        Err(error) => holds(&error, "not found"),
        Ok(status) => Err(format!("status: expected none, got {status:?}")),
    }
}

fn a_pod_has_a_network_of_its_own_which_its_containers_share(cri: &Cri) -> Result<(), String> {
    let pod = cri.run_pod(Shared::default())?;
    let serves =
        ["sh", "-c", "mkdir /tmp/web; echo page >/tmp/web/a; exec httpd -f -p 80 -h /tmp/web"];
    let server = cri.create(&pod, "server", wish(&serves))?;
    let other = cri.create(&pod, "other", wish(OBEYS))?;
    cri.start_container(&server)?;
    cri.start_container(&other)?;
    eventually("page", || match cri.exec(&other, &["wget", "-qO-", "http://127.0.0.1/a"], 0) {
        Ok(outcome) => outcome.stdout.trim().into(),
        Err(error) => error,
    })?;
    let address = cri.address(&pod)?;
    holds(&cri.exec(&other, &["ip", "address"], 0)?.expect(0)?, &format!("inet {address}/"))?;
    let ask =
        format!("exec 3<>/dev/tcp/{address}/80; printf 'GET /a HTTP/1.0\r\n\r\n' >&3; cat <&3");
    holds(&cri.containerd().host().run(&["bash", "-c", &ask]).expect(0)?, "page")?;
    // The pod's name and its objects of System V; each has its own processes and files.
    let script = "for n in uts ipc net pid mnt; do readlink /proc/self/ns/$n; done";
    let links = |id: &str| cri.exec(id, &["sh", "-c", script], 0)?.expect(0);
    let (one, two) = (links(&server)?, links(&other)?);
    let same: Vec<bool> = one.lines().zip(two.lines()).map(|(one, two)| one == two).collect();
    if same == [true, true, true, false, false] {
        return Ok(());
    }
    Err(format!("namespaces: expected three shared and two not, got\n{one}\nand\n{two}"))
}

fn processes_are_shared_where_the_pod_says_so(cri: &Cri) -> Result<(), String> {
    let pod = cri.run_pod(Shared { node_network: true, processes: true })?;
    let one = cri.create(&pod, "one", wish(&["sleep", "1234"]))?;
    let two = cri.create(&pod, "two", wish(OBEYS))?;
    cri.start_container(&one)?;
    cri.start_container(&two)?;
    let listed = cri.exec(&two, &["sh", "-c", "ps; cat /proc/1/cmdline | tr '\\0' ' '"], 0)?;
    let listed = listed.expect(0)?;
    holds(&listed, "sleep 1234")?;
    holds(&listed, "sleep 3600 & wait")?;
    // Its end ends the container, though it is not the first process.
    let kill = "kill $(ps | awk '/[s]leep 1234/ { print $1 }')";
    cri.exec(&two, &["sh", "-c", kill], 0)?.expect(0)?;
    expect_exit(cri, &one, 143, "Error")
}

fn an_exec_that_takes_too_long_is_ended(cri: &Cri) -> Result<(), String> {
    let id = start(cri, wish(OBEYS))?;
    match cri.exec(&id, &["sleep", "4321"], 1) {
        Err(error) => holds(&error, "timeout 1s exceeded")?,
        Ok(outcome) => return Err(format!("exec: expected a time-out, got {outcome:?}")),
    }
    expect_state(cri, &id, "running")?;
    cri.exec(&id, &["sh", "-c", "ps | grep -c [s]leep.4321"], 0)?.expect_output(1, "0")
}

fn a_container_that_does_not_obey_is_killed(cri: &Cri) -> Result<(), String> {
    let id = start(cri, wish(&["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]))?;
    cri.stop(&id, 1)?;
    expect_exit(cri, &id, 137, "Error")
}

fn logs_keep_streams_apart(cri: &Cri) -> Result<(), String> {
    let pod = cri.run_pod(ON_THE_NODES_NETWORK)?;
    let script = ["sh", "-c", "echo $A; echo wrong >&2; printf part"];
    let environment = [("A", "a word")];
    let id = cri.create(&pod, "says", Wish { environment: &environment, ..wish(&script) })?;
    cri.start_container(&id)?;
    expect_exit(cri, &id, 0, "Completed")?;
    let log = cri.log(&pod, "says")?;
    let mut lines: Vec<&str> =
        log.lines().filter_map(|line| line.split_once(' ').map(|(_time, rest)| rest)).collect();
    lines.sort_unstable();
    let expected = ["stderr F wrong", "stdout F a word", "stdout P part"];
    if lines == expected { Ok(()) } else { Err(format!("log: expected {expected:?}, got {log:?}")) }
}

fn memory_limit_kills_and_is_reported(cri: &Cri) -> Result<(), String> {
    let greedy = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
    let id = start(cri, Wish { memory_limit: 20 << 20, ..wish(&greedy) })?;
    expect_exit(cri, &id, 137, "OOMKilled")
}

fn limits_are_updated(cri: &Cri) -> Result<(), String> {
    let id = start(cri, Wish { memory_limit: 32 << 20, ..wish(OBEYS) })?;
    let limit =
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    let limit = || cri.exec(&id, &["sh", "-c", &format!("{limit}; true")], 0)?.expect(0);
    let (before, after) = (limit()?, cri.limit_memory(&id, 48 << 20).and_then(|()| limit())?);
    if (&*before, &*after) == ("33554432", "50331648") {
        return Ok(());
    }
    Err(format!("memory limit: expected 33554432, then 50331648, got {before}, then {after}"))
}

fn rights_are_those_asked_for(cri: &Cri) -> Result<(), String> {
    let id = start(cri, Wish { is_narrow: true, ..wish(OBEYS) })?;
    let script = "id -u; grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; \
                  wc -c </proc/interrupts; touch /x 2>&1";
    let rights = "33\nCapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n0\n\
                  touch: /x: Read-only file system";
    cri.exec(&id, &["sh", "-c", script], 0)?.expect_output(1, rights)
}

fn a_missing_program_is_said(cri: &Cri) -> Result<(), String> {
    let pod = cri.run_pod(ON_THE_NODES_NETWORK)?;
    let id = cri.create(&pod, "missing", wish(&["no-such-program"]))?;
    match cri.start_container(&id) {
        Err(error) => holds(&error, "process.args[0]")?,
        Ok(()) => return Err("start: expected a refusal, got none".into()),
    }
    expect_exit(cri, &id, 128, "StartError")?;
    cri.remove(&id)
}

fn containers_outlive_the_daemon(cri: &Cri) -> Result<(), String> {
    let id = start(cri, wish(OBEYS))?;
    cri.containerd().crash_and_restart()?;
    // The CRI plugin answers a moment after the daemon.
    eventually("running", || cri.status(&id).map_or_else(|error| error, |s| s.state.into()))?;
    cri.exec(&id, &["echo", "still"], 0)?.expect_output(0, "still")?;
    cri.stop(&id, 30)?;
    expect_exit(cri, &id, 3, "Error")
}
