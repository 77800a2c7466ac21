//! Hooks.

use crate::{Bundle, Runtime, expect, expect_part};
use serde_json::{Value, json};

super::cases!(
    hooks_run_in_order_with_the_state,
    a_failing_hook_undoes_the_container,
    hooks_need_no_cgroup_mount,
    container_hooks_run_in_the_container,
);

/// A hook of the host that appends its name and the state's status and id to a file.
fn recorder(bundle: &Bundle, name: &str) -> Value {
    let file = bundle.path().join("hooks");
    let script = format!(
        "read -r -d '' s || true; echo {name} $(echo \"$s\" | tr -d ' ' | tr ',' '\\n' | grep -e '\"status\"' -e '\"id\"' | sort) >>{}",
        file.display()
    );
    json!({"path": "/bin/bash", "args": ["bash", "-c", script]})
}

fn hooks_run_in_order_with_the_state(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "sleep 1000")?;
    for name in ["prestart", "createRuntime", "poststart", "poststop"] {
        let hook = recorder(&bundle, name);
        bundle.set(&format!("/hooks/{name}"), json!([hook]));
    }
    bundle.start()?;
    runtime.run(&["delete", "--force", &bundle.id])?.expect(0)?;
    let text = std::fs::read_to_string(bundle.path().join("hooks")).unwrap_or_default();
    let names: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
    expect("order", names, vec!["prestart", "createRuntime", "poststart", "poststop"])?;
    for line in text.lines() {
        expect_part("state", line, &bundle.id)?;
    }
    for (name, status) in [("poststart", "running"), ("poststop", "stopped")] {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        expect_part(name, line, status)?;
    }
    Ok(())
}

fn a_failing_hook_undoes_the_container(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "true")?;
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo broken >&2; exit 3"]});
    bundle.set("/hooks/createRuntime", json!([hook]));
    let outcome = bundle.create()?;
    if outcome.code == 0 {
        return Err("create: expected a failure".into());
    }
    expect_part("message", &outcome.stdout, "broken")?;
    bundle.expect_nothing_left()
}

/// The runtime's word that the process is in its groups comes before the one that the hooks have run.
fn hooks_need_no_cgroup_mount(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "echo ran")?;
    if let Some(mounts) = bundle.config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "cgroup");
    }
    let hook = recorder(&bundle, "prestart");
    bundle.set("/hooks/prestart", json!([hook]));
    expect("output", bundle.run()?.expect(0)?.stdout.as_str(), "ran\n")?;
    let text = std::fs::read_to_string(bundle.path().join("hooks")).unwrap_or_default();
    expect_part("hook", &text, "prestart")
}

fn container_hooks_run_in_the_container(runtime: &Runtime) -> Result<(), String> {
    let mut bundle = Bundle::new(runtime, "cat /tmp/started")?;
    // createContainer is resolved on the host, startContainer in the container.
    let host = std::fs::read_link("/proc/self/ns/mnt").map_err(|e| e.to_string())?;
    let file = bundle.path().join("seen");
    let create = format!("readlink /proc/self/ns/mnt >{}", file.display());
    bundle
        .set("/hooks/createContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", create]}]));
    let start = "echo started >/tmp/started";
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", start]}]));
    let outcome = bundle.run()?;
    expect("output", outcome.expect(0)?.stdout.as_str(), "started\n")?;
    let seen = std::fs::read_to_string(&file).unwrap_or_default();
    if seen.trim().is_empty() || seen.trim() == host.to_string_lossy() {
        return Err(format!(
            "createContainer: expected the container's mount namespace, got {seen:?}"
        ));
    }
    Ok(())
}
