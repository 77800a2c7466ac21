//! System call filters.

use crate::{Bundle, Runtime, expect, expect_part};
use serde_json::{Value, json};

super::cases!(
    a_refused_call_gives_its_errno,
    a_comparison_decides,
    a_filter_works_without_no_new_privileges,
    a_killing_action_kills,
    exec_is_filtered_too,
    unknown_names_are_ignored,
    a_listener_gets_the_descriptor_and_the_state,
);

fn profile(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": rules})
}

fn a_refused_call_gives_its_errno(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status")?;
    let rules =
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    bundle.set("/linux/seccomp", profile(rules));
    let outcome = bundle.run()?;
    expect_part("output", &outcome.stdout, "No space left")?;
    expect_part("status", &outcome.stdout, "Seccomp:\t2")
}

fn a_comparison_decides(runtime: &Runtime) -> Result<(), String> {
    // chmod's mode is its second argument, fchmodat's its third.
    let mut bundle = Bundle::new(
        runtime,
        "touch /tmp/f; chmod 600 /tmp/f && echo a; chmod 777 /tmp/f 2>&1 || echo b",
    )?;
    let arg = |index: u32| json!([{"index": index, "value": 0o777, "op": "SCMP_CMP_EQ"}]);
    let rules = json!([
        {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": arg(1)},
        {"names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "args": arg(2)},
    ]);
    bundle.set("/linux/seccomp", profile(rules));
    let outcome = bundle.run()?;
    expect_part("output", &outcome.stdout, "a\n")?;
    expect_part("output", &outcome.stdout, "not permitted")
}

fn a_filter_works_without_no_new_privileges(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "mkdir /tmp/x 2>/dev/null || echo refused")?;
    bundle.set("/process/noNewPrivileges", json!(false));
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    bundle.set("/linux/seccomp", profile(rules));
    expect("output", bundle.run()?.expect(0)?.stdout.as_str(), "refused\n")
}

fn a_killing_action_kills(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "mkdir /tmp/x; echo $?")?;
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]);
    bundle.set("/linux/seccomp", profile(rules));
    // 128 and SIGSYS.
    expect("status", bundle.run()?.stdout.trim(), "159")
}

fn exec_is_filtered_too(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    bundle.set("/linux/seccomp", profile(rules));
    bundle.start()?;
    let outcome = bundle.exec(&[], &["mkdir", "/tmp/x"])?;
    expect_part("output", &outcome.stderr, "not permitted")
}

fn unknown_names_are_ignored(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "echo ok")?;
    let rules = json!([{"names": ["a_call_of_the_future", "mkdir"], "action": "SCMP_ACT_ERRNO"}]);
    bundle.set("/linux/seccomp", profile(rules));
    expect("output", bundle.run()?.expect(0)?.stdout.as_str(), "ok\n")
}

fn a_listener_gets_the_descriptor_and_the_state(runtime: &Runtime) -> Result<(), String> {
    use std::io::Read;
    let mut bundle = Bundle::new(runtime, "mkdir /tmp/x 2>&1; echo end")?;
    let socket = bundle.path().join("listener");
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]);
    let mut profile = profile(rules);
    profile["listenerPath"] = json!(socket);
    profile["listenerMetadata"] = json!("some words");
    bundle.set("/linux/seccomp", profile);
    let listener = std::os::unix::net::UnixListener::bind(&socket).map_err(|e| e.to_string())?;
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().map_err(|e| e.to_string())?;
        let mut bytes = vec![0u8; 65536];
        // Read without room for descriptors: the kernel closes them, so the call gets ENOSYS at once.
        let n = stream.read(&mut bytes).map_err(|e| e.to_string())?;
        serde_json::from_slice::<Value>(&bytes[..n]).map_err(|e| e.to_string())
    });
    let outcome = bundle.run()?;
    let message = reader.join().map_err(|_| "the listener's thread ended".to_owned())??;
    expect("metadata", message["metadata"].as_str(), Some("some words"))?;
    expect("fds", &message["fds"], &json!(["seccompFd"]))?;
    expect("id", message.pointer("/state/id").and_then(Value::as_str), Some(bundle.id.as_str()))?;
    expect_part("output", &outcome.stdout, "Function not implemented")
}
