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
