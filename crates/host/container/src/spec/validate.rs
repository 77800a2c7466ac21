//! Combinations that cannot work, refused before anything is made.

use super::{NamespaceType, Spec};
use crate::error::{Error, Result};
use crate::rootfs::options::propagation;

/// Checks a configuration.
///
/// # Errors
/// [`Error::Config`] with the field.
pub fn validate(spec: &Spec) -> Result<()> {
    version(&spec.oci_version)?;
    let refuse = |field: &str, expected: &str, got: &str| Err(Error::config(field, expected, got));
    if spec.process.is_none() {
        return refuse("process", "an object", "none");
    }
    match &spec.root {
        None => return refuse("root", "an object", "none"),
        Some(root) if root.path.as_os_str().is_empty() => {
            return refuse("root.path", "a directory", "an empty path");
        }
        Some(_) => {}
    }
    let linux = &spec.linux;
    let mut seen: Vec<NamespaceType> = Vec::new();
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let field = format!("linux.namespaces[{index}]");
        if seen.contains(&namespace.kind) {
            let got = format!("{} twice", namespace.kind.name());
            return Err(Error::config(field + ".type", "each kind once", got));
        }
        let path = &namespace.path;
        if !path.as_os_str().is_empty() && !path.is_absolute() {
            let got = format!("{path:?}");
            return Err(Error::config(field + ".path", "an absolute path", got));
        }
        seen.push(namespace.kind);
    }
    let has = |kind| seen.contains(&kind);
    let is_new =
        |kind| linux.namespaces.iter().any(|n| n.kind == kind && n.path.as_os_str().is_empty());
    if !has(NamespaceType::Mount) {
        return refuse("linux.namespaces", "one of type mount", "none");
    }
    let needs = [
        (spec.hostname.as_deref().is_some_and(|h| !h.is_empty()), "hostname", NamespaceType::Uts),
        (
            spec.domainname.as_deref().is_some_and(|h| !h.is_empty()),
            "domainname",
            NamespaceType::Uts,
        ),
        (!linux.uid_mappings.is_empty(), "linux.uidMappings", NamespaceType::User),
        (!linux.gid_mappings.is_empty(), "linux.gidMappings", NamespaceType::User),
        (!linux.time_offsets.is_empty(), "linux.timeOffsets", NamespaceType::Time),
        (!linux.net_devices.is_empty(), "linux.netDevices", NamespaceType::Network),
    ];
    for (is_set, field, kind) in needs {
        if is_set && !has(kind) {
            let expected = format!("a namespace of type {} with it", kind.name());
            return Err(Error::config(field, expected, "none"));
        }
    }
    if is_new(NamespaceType::User) {
        for (field, mappings) in
            [("linux.uidMappings", &linux.uid_mappings), ("linux.gidMappings", &linux.gid_mappings)]
        {
            if mappings.is_empty() {
                return refuse(field, "at least one, for the new user namespace", "none");
            }
            if let Some(index) = mappings.iter().position(|m| m.size == 0) {
                return Err(Error::config(format!("{field}[{index}].size"), "at least 1", 0));
            }
        }
    }
    for clock in linux.time_offsets.keys() {
        if clock != "monotonic" && clock != "boottime" {
            let got = format!("{clock:?}");
            return Err(Error::config("linux.timeOffsets", "monotonic or boottime", got));
        }
    }
    let name = linux.rootfs_propagation.as_str();
    if !name.is_empty() && propagation(name).is_none() {
        let expected = "shared, slave, private or unbindable, or the same with r before it";
        return Err(Error::config("linux.rootfsPropagation", expected, format!("{name:?}")));
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}].destination");
        if mount.destination.as_os_str().is_empty() {
            return Err(Error::config(field, "a path", "none"));
        }
        if mount.destination.components().all(|c| c == std::path::Component::RootDir) {
            return Err(Error::config(field, "a path below /", "/"));
        }
    }
    crate::netdev::check(&linux.net_devices)?;
    for key in linux.sysctl.keys() {
        sysctl(key, &has)?;
    }
    Ok(())
}

/// Any version of the first major one: newer ones only add fields, which are tolerated.
fn version(text: &str) -> Result<()> {
    let refuse = || {
        let got = if text.is_empty() { "none".into() } else { format!("{text:?}") };
        Err(Error::config("ociVersion", "1.x.y", got))
    };
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(_)), Some(Ok(_)), None) => Ok(()),
        _ => refuse(),
    }
}

/// A sysctl may be set only where a namespace of the container keeps it from the host.
fn sysctl(key: &str, has: &dyn Fn(NamespaceType) -> bool) -> Result<()> {
    const IPC: [&str; 10] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.sem_next_id",
        "kernel.msg_next_id",
    ];
    let field = format!("linux.sysctl[{key:?}]");
    // `net/ipv4/x` and `net.ipv4.x` are the same key.
    let dotted = match (key.find('.'), key.find('/')) {
        (Some(dot), Some(slash)) if slash < dot => {
            key.replace('/', "\0").replace('.', "/").replace('\0', ".")
        }
        (None, Some(_)) => key.replace('/', "."),
        _ => key.to_owned(),
    };
    if dotted.split('.').any(str::is_empty) || dotted.contains("..") {
        return Err(Error::config(field, "a sysctl name", "empty parts"));
    }
    let kind = if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        NamespaceType::Ipc
    } else if dotted.starts_with("net.") {
        NamespaceType::Network
    } else if dotted == "kernel.domainname" || dotted == "kernel.hostname" {
        NamespaceType::Uts
    } else if dotted.starts_with("user.") {
        NamespaceType::User
    } else {
        let expected = "a setting that a namespace keeps from the host";
        return Err(Error::config(field, expected, "one of the whole machine"));
    };
    if has(kind) {
        return Ok(());
    }
    let expected = format!("a namespace of type {} with it", kind.name());
    Err(Error::config(field, expected, "the host's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(patch: &str) -> String {
        let base = r#"{"ociVersion":"1.0.2","process":{"args":["a"],"cwd":"/"},"root":{"path":"r"},
            "linux":{"namespaces":[{"type":"mount"},{"type":"user"},{"type":"network"}],
            "uidMappings":[{"size":1}],"gidMappings":[{"size":1}]}}"#;
        let mut value: serde_json::Value = serde_json::from_str(base).unwrap();
        let patch: serde_json::Value = serde_json::from_str(patch).unwrap();
        merge(&mut value, patch);
        let text = value.to_string();
        let spec = Spec::parse(std::path::Path::new("c"), text.as_bytes()).unwrap();
        validate(&spec).err().map(|e| e.to_string()).unwrap_or_default()
    }

    fn merge(into: &mut serde_json::Value, patch: serde_json::Value) {
        match (into, patch) {
            (serde_json::Value::Object(into), serde_json::Value::Object(patch)) => {
                for (key, value) in patch {
                    merge(into.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (into, patch) => *into = patch,
        }
    }

    #[test]
    fn impossible_combinations_are_named() {
        assert_eq!(refusal("{}"), "");
        assert_eq!(refusal(r#"{"ociVersion":"1.99.0-dev"}"#), "");
        for (patch, field) in [
            (r#"{"ociVersion":"2.0.0"}"#, "ociVersion"),
            (r#"{"ociVersion":""}"#, "ociVersion"),
            (r#"{"process":null}"#, "process"),
            (r#"{"root":null}"#, "root"),
            (r#"{"hostname":"x"}"#, "hostname"),
            (r#"{"linux":{"namespaces":[]}}"#, "linux.namespaces"),
            (r#"{"linux":{"namespaces":[{"type":"mount"},{"type":"mount"}]}}"#, "namespaces[1]"),
            (r#"{"linux":{"uidMappings":[{"size":0}]}}"#, "linux.uidMappings[0].size"),
            (r#"{"linux":{"gidMappings":[]}}"#, "linux.gidMappings"),
            (r#"{"linux":{"rootfsPropagation":"often"}}"#, "linux.rootfsPropagation"),
            (r#"{"linux":{"sysctl":{"vm.swappiness":"1"}}}"#, "vm.swappiness"),
            (r#"{"linux":{"sysctl":{"kernel.msgmax":"1"}}}"#, "kernel.msgmax"),
            (r#"{"linux":{"timeOffsets":{"realtime":{}}}}"#, "linux.timeOffsets"),
            (r#"{"mounts":[{"destination":"/"}]}"#, "mounts[0].destination"),
        ] {
            let message = refusal(patch);
            assert!(message.contains(field), "{patch}: {message}");
        }
        assert_eq!(refusal(r#"{"linux":{"sysctl":{"net/ipv4/conf/eth0.1/x":"1"}}}"#), "");
    }
}
