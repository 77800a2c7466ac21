//! The life cycle and its commands.

use crate::{Bundle, Runtime, expect, expect_part};
use std::time::Duration;

super::cases!(
    runs_and_gives_the_exit_code,
    passes_input_and_output,
    goes_through_all_states,
    start_says_when_the_program_cannot_run,
    refuses_what_the_state_does_not_allow,
    exec_runs_and_gives_the_exit_code,
    exec_takes_a_process_file,
    exec_in_a_stopped_container_fails,
    detached_exec_writes_its_pid,
    pause_stops_and_resume_goes_on,
    signals_reach_the_program,
    a_signal_to_the_foreground_reaches_the_program,
    kill_all_reaches_every_process,
    list_and_ps_show_it,
    delete_force_ends_a_running_one,
    an_ended_container_leaves_nothing,
    pid_file_holds_the_hosts_number,
    orphans_are_waited_for,
    many_short_ones_all_return,
);

fn runs_and_gives_the_exit_code(runtime: &Runtime) -> Result<(), String> {
    for code in [0, 7, 255] {
        Bundle::new(runtime, &format!("exit {code}"))?.run()?.expect(code)?;
    }

    Ok(())
}

fn passes_input_and_output(runtime: &Runtime) -> Result<(), String> {
    let outcome = Bundle::new(runtime, "tr a-z A-Z; echo err >&2")?.run_with(b"hello\n")?;
    outcome.expect(0)?;
    expect("stdout", outcome.stdout.as_str(), "HELLO\n")?;
    expect("stderr", outcome.stderr.as_str(), "err\n")
}

fn goes_through_all_states(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "echo up; sleep 1000")?;
    bundle.create()?.expect(0)?;
    let state = runtime.state(&bundle.id)?;
    expect("status", state["status"].as_str(), Some("created"))?;
    expect("id", state["id"].as_str(), Some(bundle.id.as_str()))?;
    expect("bundle", state["bundle"].as_str(), bundle.path().to_str())?;
    expect("output before start", bundle.output().as_str(), "")?;
    let pid = state["pid"].as_i64().unwrap_or(0);
    if pid <= 0 || !std::path::Path::new(&format!("/proc/{pid}")).exists() {
        return Err(format!("pid: expected a process of this host, got {pid}"));
    }
    runtime.run(&["start", &bundle.id])?.expect(0)?;
    runtime.wait_for(&bundle.id, "running")?;
    bundle.wait_for_output("up")?;
    runtime.run(&["kill", &bundle.id, "KILL"])?.expect(0)?;
    runtime.wait_for(&bundle.id, "stopped")?;
    runtime.run(&["delete", &bundle.id])?.expect(0)?;
    if runtime.run(&["state", &bundle.id])?.code == 0 {
        return Err("state of a deleted container: expected a failure".into());
    }
    bundle.expect_nothing_left()
}

fn start_says_when_the_program_cannot_run(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "")?;
    std::fs::write(bundle.rootfs().join("bin/broken"), "#!/no/such/shell\n")
        .map_err(|e| e.to_string())?;
    std::fs::set_permissions(
        bundle.rootfs().join("bin/broken"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .map_err(|e| e.to_string())?;
    bundle.set("/process/args", serde_json::json!(["/bin/broken"]));
    let outcome = bundle.run()?;
    if outcome.code == 0 {
        return Err("exit code: expected a failure, got 0".into());
    }
    expect_part("message", &outcome.stderr.to_lowercase(), "no such file")
}

fn refuses_what_the_state_does_not_allow(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    let fails = |args: &[&str]| match runtime.run(args)?.code {
        0 => Err(format!("{args:?}: expected a failure")),
        _ => Ok(()),
    };
    fails(&["start", &bundle.id])?;
    fails(&["kill", &bundle.id])?;
    fails(&["delete", &bundle.id])?;
    bundle.start()?;
    fails(&["start", &bundle.id])?;
    fails(&["delete", &bundle.id])?;
    if bundle.create()?.code == 0 {
        return Err("create with a taken id: expected a failure".into());
    }
    runtime.wait_for(&bundle.id, "running")
}

fn exec_runs_and_gives_the_exit_code(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let outcome = bundle
        .exec(&["--env", "A=b c", "--cwd", "/tmp"], &["sh", "-c", "echo $A $PWD $$; exit 5"])?;
    outcome.expect(5)?;
    expect_part("output", &outcome.stdout, "b c /tmp ")?;
    let outcome = bundle.exec(&["--user", "1000:1001"], &["id", "-u"])?;
    expect("user", outcome.stdout.as_str(), "1000\n")?;
    let outcome = bundle.exec(&[], &["sh", "-c", "cat /proc/self/cgroup"])?;
    expect_part("cgroup", &outcome.stdout, &bundle.id)?;
    let outcome = bundle.exec(&[], &["no-such-program"])?;
    if outcome.code == 0 {
        return Err("exec of a missing program: expected a failure".into());
    }
    Ok(())
}

fn exec_takes_a_process_file(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let file = bundle.path().join("process.json");
    let process = serde_json::json!({
        "user": {"uid": 7, "gid": 8, "additionalGids": [9]},
        "args": ["sh", "-c", "id -u; id -G; echo \"$X\""],
        "env": ["PATH=/bin", "X=a  b"],
        "cwd": "/tmp",
    });
    std::fs::write(&file, process.to_string()).map_err(|e| e.to_string())?;
    let outcome = bundle.exec(&["--process", &file.display().to_string()], &[])?;
    outcome.expect(0)?;
    expect("output", outcome.stdout.as_str(), "7\n8 9\na  b\n")
}

fn exec_in_a_stopped_container_fails(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "true")?;
    bundle.start()?;
    runtime.wait_for(&bundle.id, "stopped")?;
    match bundle.exec(&[], &["true"])?.code {
        0 => Err("expected a failure".into()),
        _ => Ok(()),
    }
}

fn detached_exec_writes_its_pid(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let file = bundle.path().join("pid");
    let args = [
        "exec",
        "--detach",
        "--pid-file",
        file.to_str().unwrap_or_default(),
        &bundle.id,
        "sleep",
        "500",
    ];
    runtime.detached(&args, &bundle.path().join("exec-output"))?.expect(0)?;
    let pid = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    expect_part("command line of the process", &line, "500")
}

fn pause_stops_and_resume_goes_on(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "while true; do echo x; sleep 0.05; done")?;
    bundle.start()?;
    bundle.wait_for_output("x")?;
    runtime.run(&["pause", &bundle.id])?.expect(0)?;
    runtime.wait_for(&bundle.id, "paused")?;
    std::thread::sleep(Duration::from_millis(100));
    let length = bundle.output().len();
    std::thread::sleep(Duration::from_millis(300));
    expect("output while paused", bundle.output().len(), length)?;
    runtime.run(&["resume", &bundle.id])?.expect(0)?;
    runtime.wait_for(&bundle.id, "running")?;
    std::thread::sleep(Duration::from_millis(300));
    if bundle.output().len() == length {
        return Err("output after resume: expected more".into());
    }
    Ok(())
}

fn signals_reach_the_program(runtime: &Runtime) -> Result<(), String> {
    let script = "trap 'echo hup' HUP; trap 'echo usr2' USR2; trap 'echo term; exit' TERM; echo up; \
                  while true; do sleep 0.05; done";
    let bundle = Bundle::new(runtime, script)?;
    bundle.start()?;
    bundle.wait_for_output("up")?;
    for (signal, word) in [("HUP", "hup"), ("12", "usr2"), ("SIGTERM", "term")] {
        runtime.run(&["kill", &bundle.id, signal])?.expect(0)?;
        bundle.wait_for_output(word)?;
    }
    runtime.wait_for(&bundle.id, "stopped")
}

fn a_signal_to_the_foreground_reaches_the_program(runtime: &Runtime) -> Result<(), String> {
    let script = "trap 'exit 9' TERM; echo up >/tmp/up; while true; do sleep 0.05; done";
    let bundle = Bundle::new(runtime, script)?;
    bundle.write()?;
    let child = runtime
        .command(&["run", "--bundle", &bundle.path().display().to_string(), &bundle.id])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    for _ in 0..500 {
        if bundle.rootfs().join("tmp/up").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    let _ = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    crate::runtime::collect(child)?.expect(9).map(drop)
}

fn kill_all_reaches_every_process(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1001 & sleep 1002 & sleep 1003")?;
    bundle.start()?;
    runtime.run(&["kill", "--all", &bundle.id, "KILL"])?.expect(0)?;
    runtime.wait_for(&bundle.id, "stopped")
}

fn list_and_ps_show_it(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.start()?;
    let ids = runtime.run(&["list", "--quiet"])?;
    expect_part("list --quiet", &ids.stdout, &bundle.id)?;
    let list = runtime.run(&["list", "--format", "json"])?;
    let list: serde_json::Value = serde_json::from_str(&list.stdout).map_err(|e| e.to_string())?;
    let entry = list.as_array().and_then(|l| l.iter().find(|c| c["id"] == bundle.id.as_str()));
    expect("list", entry.and_then(|c| c["status"].as_str()), Some("running"))?;
    let table = runtime.run(&["list"])?;
    expect_part("list", &table.stdout, "STATUS")?;
    let processes = runtime.run(&["ps", "--format", "json", &bundle.id])?;
    let pids: Vec<i64> = serde_json::from_str(&processes.stdout).map_err(|e| e.to_string())?;
    let pid = runtime.state(&bundle.id)?["pid"].as_i64().unwrap_or(0);
    if !pids.contains(&pid) {
        return Err(format!("ps: expected {pid} in it, got {pids:?}"));
    }
    Ok(())
}

fn delete_force_ends_a_running_one(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "trap '' TERM; sleep 1000 & wait; sleep 1000")?;
    bundle.start()?;
    runtime.run(&["delete", "--force", &bundle.id])?.expect(0)?;
    bundle.expect_nothing_left()?;
    runtime.run(&["delete", "--force", "conf-no-such"])?.expect(0).map(drop)
}

fn an_ended_container_leaves_nothing(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "true")?;
    bundle.run()?.expect(0)?;
    bundle.expect_nothing_left()
}

fn pid_file_holds_the_hosts_number(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "sleep 1000")?;
    bundle.write()?;
    let file = bundle.path().join("pid");
    let (path, file_arg) = (bundle.path().display().to_string(), file.display().to_string());
    let args = ["create", "--pid-file", &file_arg, "-b", &path, &bundle.id];
    runtime.detached(&args, &bundle.path().join("output"))?.expect(0)?;
    let pid = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
    let expected = runtime.state(&bundle.id)?["pid"].to_string();
    expect("pid file", pid.trim(), expected.as_str())
}

fn orphans_are_waited_for(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "(sleep 0.1 &) ; exit 6")?;
    // Without a pid namespace of its own, what is left behind goes to the runtime.
    bundle.set(
        "/linux/namespaces",
        serde_json::json!([{"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]),
    );
    bundle.run()?.expect(6)?;
    bundle.expect_nothing_left()
}

fn many_short_ones_all_return(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "")?;
    bundle.set("/process/args", serde_json::json!(["true"]));
    for _ in 0..20 {
        bundle.run()?.expect(0)?;
    }
    bundle.expect_nothing_left()
}
