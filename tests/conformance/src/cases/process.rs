//! The program's view of itself.

use crate::{Bundle, Runtime, expect, expect_part};
use serde_json::json;

super::cases!(
    environment_and_directory_are_set,
    home_comes_from_the_containers_passwd,
    user_groups_and_umask_are_set,
    capabilities_are_dropped,
    ambient_capabilities_reach_an_ordinary_user,
    no_new_privileges_is_set,
    limits_are_set,
    score_can_be_raised,
    only_standard_descriptors_are_open,
    preserved_descriptors_arrive,
    a_terminal_has_its_size,
    the_program_leads_a_session,
    signals_are_not_blocked_or_ignored,
    relative_program_is_found_in_path,
    hostname_is_set,
    a_missing_directory_is_made,
    scheduler_is_set,
    io_priority_is_set,
    personality_is_set,
    memory_policy_is_set,
    exec_runs_on_its_processors,
    unknown_capabilities_are_no_error,
    listen_fds_arrive,
);

fn lines(
    runtime: &Runtime,
    script: &str,
    change: impl FnOnce(&mut Bundle),
) -> Result<Vec<String>, String> {
    let mut bundle = Bundle::new(runtime, script)?;
    change(&mut bundle);
    let outcome = bundle.run()?;
    outcome.expect(0)?;
    Ok(outcome.stdout.lines().map(str::to_owned).collect())
}

fn environment_and_directory_are_set(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "pwd; echo \"$A\"; echo \"$PATH\"", |b| {
        b.set("/process/cwd", json!("/tmp")).set("/process/env", json!(["PATH=/bin", "A=x  y"]));
    })?;
    expect("lines", got, vec!["/tmp".into(), "x  y".into(), "/bin".into()])
}

fn home_comes_from_the_containers_passwd(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "echo $HOME", |b| {
        b.set("/process/user/uid", json!(1000));
    })?;
    expect("HOME", got, vec!["/home/u".into()])
}

fn user_groups_and_umask_are_set(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "id -u; id -g; id -G; umask", |b| {
        b.set(
            "/process/user",
            json!({"uid": 10, "gid": 20, "additionalGids": [30, 40], "umask": 0o027}),
        );
    })?;
    expect("lines", got, vec!["10".into(), "20".into(), "20 30 40".into(), "0027".into()])
}

fn status_field(lines: &[String], name: &str) -> String {
    let found = lines.iter().find_map(|l| l.strip_prefix(&format!("{name}:")));
    found.unwrap_or_default().trim().to_owned()
}

fn capabilities_are_dropped(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "cat /proc/self/status", |_| ())?;
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        expect(set, status_field(&got, set).as_str(), "0000000020000420")?;
    }
    expect("CapInh", status_field(&got, "CapInh").as_str(), "0000000000000000")
}

fn ambient_capabilities_reach_an_ordinary_user(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "cat /proc/self/status", |b| {
        let caps = json!(["CAP_KILL"]);
        b.set("/process/user/uid", json!(1000));
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            b.set(&format!("/process/capabilities/{set}"), caps.clone());
        }
    })?;
    for set in ["CapAmb", "CapEff"] {
        expect(set, status_field(&got, set).as_str(), "0000000000000020")?;
    }
    Ok(())
}

fn no_new_privileges_is_set(runtime: &Runtime) -> Result<(), String> {
    for (is_set, text) in [(true, "1"), (false, "0")] {
        let got = lines(runtime, "cat /proc/self/status", |b| {
            b.set("/process/noNewPrivileges", json!(is_set));
        })?;
        expect("NoNewPrivs", status_field(&got, "NoNewPrivs").as_str(), text)?;
    }
    Ok(())
}

fn limits_are_set(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "ulimit -Sn; ulimit -Hn; ulimit -c", |b| {
        b.set("/process/rlimits", json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
        ]));
    })?;
    expect("limits", got, vec!["100".into(), "200".into(), "0".into()])
}

fn score_can_be_raised(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "cat /proc/self/oom_score_adj", |b| {
        b.set("/process/oomScoreAdj", json!(333));
    })?;
    expect("score", got, vec!["333".into()])
}

fn only_standard_descriptors_are_open(runtime: &Runtime) -> Result<(), String> {
    // Not in a pipe: the shell, which is process 1, would hold one of its ends for a moment.
    let bundle = Bundle::new(runtime, "ls /proc/1/fd; true")?;
    bundle.write()?;
    // A descriptor that the caller leaks must not arrive either.
    let script = format!(
        "exec 9</etc/passwd; exec {} --root {} run -b {} {}",
        runtime.program.display(),
        runtime.root.display(),
        bundle.path().display(),
        bundle.id
    );
    if runtime.hides_cgroup2 {
        return Ok(());
    }
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let open: Vec<&str> = text.lines().filter(|l| !matches!(*l, "0" | "1" | "2")).collect();
    expect("descriptors besides 0, 1, 2", open, Vec::<&str>::new())
}

fn preserved_descriptors_arrive(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "cat <&3")?;
    bundle.write()?;
    let script = format!(
        "exec 3</etc/hostname; exec {} --root {} run --preserve-fds 1 -b {} {}",
        runtime.program.display(),
        runtime.root.display(),
        bundle.path().display(),
        bundle.id
    );
    if runtime.hides_cgroup2 {
        return Ok(());
    }
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .map_err(|e| e.to_string())?;
    let expected = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    expect("descriptor 3", String::from_utf8_lossy(&output.stdout).into_owned(), expected)
}

fn a_terminal_has_its_size(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "tty; stty size; test -c /dev/console && echo console")?;
    bundle.set("/process/terminal", json!(true));
    bundle.write()?;
    let run = format!(
        "stty rows 33 cols 77; {} --root {} run -b {} {}",
        runtime.program.display(),
        runtime.root.display(),
        bundle.path().display(),
        bundle.id
    );
    if runtime.hides_cgroup2 {
        return Ok(());
    }
    let output = std::process::Command::new("script")
        .args(["-qec", &run, "/dev/null"])
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["/dev/pts/0", "33 77", "console"] {
        expect_part("output", &text, part)?;
    }
    Ok(())
}

fn the_program_leads_a_session(runtime: &Runtime) -> Result<(), String> {
    // Fields 5 and 6 of stat: process group and session.
    let got = lines(runtime, "cut -d' ' -f5,6 /proc/1/stat", |_| ())?;
    expect("process group and session", got, vec!["1 1".into()])
}

fn signals_are_not_blocked_or_ignored(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "")?;
    bundle.set("/process/args", json!(["cat", "/proc/self/status"]));
    let outcome = bundle.run()?;
    outcome.expect(0)?;
    let got: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
    for field in ["SigBlk", "SigIgn"] {
        expect(field, status_field(&got, field).as_str(), "0000000000000000")?;
    }
    Ok(())
}

fn relative_program_is_found_in_path(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "", |b| {
        b.set("/process/args", json!(["echo", "found"]));
        b.set("/process/env", json!(["PATH=/nowhere:/bin"]));
    })?;
    expect("output", got, vec!["found".into()])
}

fn hostname_is_set(runtime: &Runtime) -> Result<(), String> {
    expect("hostname", lines(runtime, "hostname", |_| ())?, vec!["box".into()])
}

fn a_missing_directory_is_made(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "pwd", |b| {
        b.set("/process/cwd", json!("/new/dir"));
    })?;
    expect("directory", got, vec!["/new/dir".into()])
}

fn scheduler_is_set(runtime: &Runtime) -> Result<(), String> {
    // Field 41 of stat is the policy, field 19 the nice value.
    let got = lines(runtime, "cut -d' ' -f19,41 /proc/self/stat", |b| {
        b.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}));
    })?;
    expect("nice value and policy", got, vec!["7 3".into()])
}

fn io_priority_is_set(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "ionice", |b| {
        b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    })?;
    expect("I/O priority", got, vec!["best-effort: prio 6".into()])
}

fn personality_is_set(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "uname -m", |b| {
        b.set("/linux/personality", json!({"domain": "LINUX32"}));
    })?;
    expect("machine", got, vec!["i686".into()])
}

fn memory_policy_is_set(runtime: &Runtime) -> Result<(), String> {
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        return Ok(());
    }
    let got = lines(runtime, "grep -c ' bind:0 ' /proc/self/numa_maps", |b| {
        b.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
    })?;
    match got.first().and_then(|n| n.parse::<u32>().ok()) {
        Some(n) if n > 0 => Ok(()),
        _ => Err(format!("mappings bound to node 0: expected some, got {got:?}")),
    }
}

fn exec_runs_on_its_processors(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"}));
    bundle.start()?;
    let outcome = bundle.exec(&[], &["grep", "Cpus_allowed_list", "/proc/self/status"])?;
    expect("processors", outcome.stdout.as_str(), "Cpus_allowed_list:\t0\n")
}

fn unknown_capabilities_are_no_error(runtime: &Runtime) -> Result<(), String> {
    let got = lines(runtime, "cat /proc/self/status", |b| {
        for set in ["bounding", "effective", "permitted"] {
            b.set(&format!("/process/capabilities/{set}"), json!(["CAP_KILL", "CAP_OF_TOMORROW"]));
        }
    })?;
    expect("CapEff", status_field(&got, "CapEff").as_str(), "0000000000000020")
}

fn listen_fds_arrive(runtime: &Runtime) -> Result<(), String> {
    if runtime.hides_cgroup2 {
        return Ok(());
    }
    let bundle = Bundle::new(runtime, "cat <&3; echo $LISTEN_FDS $LISTEN_PID")?;
    bundle.write()?;
    let script = format!(
        "exec 3</etc/hostname; LISTEN_PID=$$ LISTEN_FDS=1 exec {} --root {} run -b {} {}",
        runtime.program.display(),
        runtime.root.display(),
        bundle.path().display(),
        bundle.id
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .map_err(|e| e.to_string())?;
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let got = String::from_utf8_lossy(&output.stdout).into_owned();
    expect("output", got, format!("{hostname}1 1\n"))
}
