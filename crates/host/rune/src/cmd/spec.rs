//! `spec`: a configuration to start from.

use super::Command;
use crate::args::{Args, End, Opt, switch, value};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use serde_json::{Value, json};
use std::path::Path;

const OPTIONS: [Opt; 3] = [
    value("bundle", Some('b'), "directory to write to (the current one)"),
    switch("rootless", None, "for a user without rights"),
    switch("enclave", None, "with the annotations of an enclave container"),
];

pub(crate) const COMMAND: Command = Command {
    name: "spec",
    usage: "[options]",
    about: "write a config.json to start from",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

/// What an ordinary container gets: the namespaces, mounts, capabilities and masks that engines use.
const TEMPLATE: &str = include_str!("spec.json");

fn run(_: &Globals, args: &Args) -> Outcome {
    let file = Path::new(args.get("bundle").unwrap_or(".")).join("config.json");
    let mut text = TEMPLATE.to_owned();
    if args.is("enclave") || args.is("rootless") {
        let mut value: Value = serde_json::from_str(TEMPLATE).map_err(Failure::new)?;
        if args.is("rootless") {
            make_rootless(&mut value);
        }
        if args.is("enclave") {
            value["annotations"] = json!({
                "enclave.type": "intelSgx",
                "enclave.runtime.loglevel": "info",
            });
            // The manifest closes both unless it says otherwise.
            value["process"]["terminal"] = json!(false);
        }
        text = serde_json::to_string_pretty(&value).map_err(Failure::new)?;
        text.push('\n');
    }
    let mut handle = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .map_err(|e| Failure::new(format!("write {}: {e}", file.display())))?;
    std::io::Write::write_all(&mut handle, text.as_bytes())?;
    Ok(0)
}

/// A user namespace with one id; no cgroups and no network of its own, which take rights.
fn make_rootless(value: &mut Value) {
    let id = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1}]);
    let linux = &mut value["linux"];
    linux["uidMappings"] = id(rustix::process::geteuid().as_raw());
    linux["gidMappings"] = id(rustix::process::getegid().as_raw());
    if let Some(object) = linux.as_object_mut() {
        object.remove("resources");
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|n| n["type"] != "network");
        namespaces.push(json!({"type": "user"}));
    }
    if let Some(mounts) = value["mounts"].as_array_mut() {
        mounts.retain(|m| m["type"] != "cgroup");
        for mount in mounts {
            if mount["type"] == "sysfs" {
                *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
            }
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|o| o != "gid=5");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_valid_configuration() {
        let mut value: Value = serde_json::from_str(TEMPLATE).unwrap();
        for _ in 0..2 {
            let text = value.to_string();
            let spec = container::Spec::parse(Path::new("c"), text.as_bytes()).unwrap();
            container::spec::validate::validate(&spec).unwrap();
            make_rootless(&mut value);
        }
        assert!(!value.to_string().contains("gid=5"));
    }
}
