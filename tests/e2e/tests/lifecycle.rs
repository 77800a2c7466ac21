//! Streams, signals, exec and the terminal of an enclave container.

use e2e::{PATIENCE, Running, Workbench};
use fixtures::{checked, outcome};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn stdin_comes_from_a_pipe_where_the_manifest_allows_it() {
    let Some(workbench) = Workbench::new() else { return };
    let open = workbench.busybox("open", "tr a-z A-Z; wc -c", "stdin = \"allowed\"\n");
    assert_eq!(open.run(b"over the pipe\n").unwrap().stdout, "OVER THE PIPE\n0\n");
    let closed = workbench.busybox("closed", "wc -c", "");
    assert_eq!(closed.run(b"data on a closed stdin").unwrap().stdout, "0\n");
}

#[test]
fn a_large_stdin_passes_unchanged() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("sum", "md5sum", "stdin = \"allowed\"\n");
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let expected = outcome(&mut Command::new("md5sum"), &bytes).unwrap().stdout;
    assert_eq!(bundle.run(&bytes).unwrap().stdout, expected);
}

#[test]
fn exit_codes_are_the_programs_own() {
    let Some(workbench) = Workbench::new() else { return };
    // The first process of a container ignores what it does not handle; its child does not.
    let killed = "sh -c 'kill -TERM $$'; exit $?";
    for (script, code) in [("exit 0", 0), ("exit 200", 200), ("kill -TERM $$", 0), (killed, 143)] {
        let bundle = workbench.busybox(&format!("exit-{}", script.len()), script, "");
        assert_eq!(bundle.run(b"").unwrap().code, code, "{script}");
    }
}

#[test]
fn kill_reaches_a_handler_and_an_unlisted_signal_does_not() {
    let Some(workbench) = Workbench::new() else { return };
    let script = "trap 'exit 9' TERM; trap 'exit 8' USR1; echo ready; while :; do sleep 1; done";
    let bundle = workbench.busybox("trap", script, "");
    let mut running = Running::start(&bundle);
    let unlisted = outcome(running.rune(&["kill"]).arg("USR1"), b"").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(running.child.try_wait().unwrap(), None, "{unlisted:?}");
    checked(running.rune(&["kill"]).arg("TERM")).unwrap();
    assert_eq!(running.ends_with(), 9);
}

#[test]
fn kill_stops_a_program_that_makes_no_system_calls() {
    let Some(workbench) = Workbench::new() else { return };
    let script = "trap 'exit 7' INT; echo ready; while :; do :; done";
    let bundle = workbench.busybox("spin", script, "");
    for (signal, code) in [("INT", 7), ("KILL", 137)] {
        let mut running = Running::start(&bundle);
        checked(running.rune(&["kill"]).arg(signal)).unwrap();
        assert_eq!(running.ends_with(), code, "{signal}");
    }
}

#[test]
fn exec_runs_what_is_listed_and_refuses_the_rest() {
    let Some(workbench) = Workbench::new() else { return };
    let policy = "[[exec]]\nargv = [\"sh\", \"-c\", \"echo 'two  words'; exit 6\"]\n";
    let bundle = workbench.busybox("exec", "echo ready; sleep 100", policy);
    let running = Running::start(&bundle);
    let listed = ["sh", "-c", "echo 'two  words'; exit 6"];
    let listed = outcome(running.rune(&["exec"]).args(listed), b"").unwrap();
    assert_eq!((listed.code, listed.stdout.as_str()), (6, "two  words\n"), "{}", listed.stderr);
    let start = Instant::now();
    let refused = outcome(running.rune(&["exec"]).args(["sh", "-c", "id"]), b"").unwrap();
    // Its streams were once kept open until the container's end, 100 seconds later.
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("expected") && refused.stderr.contains("got"), "{refused:?}");
    assert_eq!(refused.stdout, "");
}

#[test]
fn state_says_emulated() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("state", "echo ready; sleep 100", "");
    let running = Running::start(&bundle);
    let state = checked(&mut running.rune(&["state"])).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["status"], "running");
    assert!(state.to_string().contains("emulated"), "{state}");
}

#[test]
fn a_terminal_under_script() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox(
        "tty",
        "test -t 0 && test -t 1 && tty; stty size; read line; echo \"got $line\"",
        "stdin = \"allowed\"\ntty = \"allowed\"\n",
    );
    bundle.edit_config(|config| config["process"]["terminal"] = true.into()).unwrap();
    let run = bundle.run_command();
    let words: Vec<_> = std::iter::once(run.get_program())
        .chain(run.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]);
    let got = outcome(&mut script, b"typed\n").unwrap();
    assert_eq!(got.code, 0, "{got:?}");
    assert!(got.stdout.contains("/dev/"), "{got:?}");
    assert!(got.stdout.contains("got typed"), "{got:?}");
}
