//! Bad input: refused, and nothing left behind.

use crate::{Bundle, Runtime};
use serde_json::{Value, json};

super::cases!(
    broken_configurations_are_refused,
    impossible_combinations_are_refused,
    bad_ids_are_refused,
    a_missing_root_is_refused,
    a_missing_program_is_refused,
);

fn refused(bundle: &Bundle, what: &str) -> Result<(), String> {
    let arg = bundle.path().display().to_string();
    let output = bundle.path().join("output");
    let outcome = bundle.runtime().detached(&["create", "--bundle", &arg, &bundle.id], &output)?;
    if outcome.code == 0 {
        return Err(format!("{what}: expected a refusal"));
    }
    if outcome.stdout.trim().is_empty() {
        return Err(format!("{what}: expected a message"));
    }
    bundle.expect_nothing_left().map_err(|e| format!("{what}: {e}"))
}

fn broken_configurations_are_refused(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "true")?;
    refused(&bundle, "no config.json")?;
    let whole = bundle.config.to_string();
    for text in ["", "{", "[]", "null", &whole[..whole.len() / 2]] {
        std::fs::write(bundle.path().join("config.json"), text).map_err(|e| e.to_string())?;
        refused(&bundle, &format!("config.json {:?}", &text[..text.len().min(20)]))?;
    }
    Ok(())
}

fn impossible_combinations_are_refused(runtime: &Runtime) -> Result<(), String> {
    let changes: [(&str, Value); 8] = [
        ("/process/args", json!([7])),
        ("/process/cwd", json!("relative")),
        ("/process/rlimits", json!([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}])),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}])),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "network", "path": "/no/such/ns"}]),
        ),
        ("/linux/resources/memory", json!({"limit": "lots"})),
        ("/linux/sysctl", json!({"kernel.pid_max": "10"})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_BOGUS"})),
    ];
    for (pointer, value) in changes {
        let mut bundle = Bundle::new(runtime, "true")?;
        bundle.set(pointer, value.clone());
        bundle.write()?;
        refused(&bundle, &format!("{pointer} = {value}"))?;
    }
    Ok(())
}

fn bad_ids_are_refused(runtime: &Runtime) -> Result<(), String> {
    let bundle = Bundle::new(runtime, "true")?;
    bundle.write()?;
    let arg = bundle.path().display().to_string();
    for id in ["a/b", "../x", "", "a b", &"x".repeat(1000)] {
        let args = ["create", "--bundle", &arg, id];
        if runtime.detached(&args, &bundle.path().join("output"))?.code == 0 {
            return Err(format!("id {id:?}: expected a refusal"));
        }
    }
    Ok(())
}

fn a_missing_root_is_refused(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "true")?;
    bundle.set("/root/path", json!("no-such"));
    bundle.write()?;
    refused(&bundle, "missing root")?;
    bundle.set("/root/path", json!("config.json"));
    bundle.write()?;
    refused(&bundle, "a file as root")
}

fn a_missing_program_is_refused(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "")?;
    bundle.set("/process/args", json!(["no-such-program"]));
    bundle.write()?;
    refused(&bundle, "missing program")
}
