//! The process fields of a packed image's configuration.
//!
//! Engines ask for what an image's configuration says. Where the policy made the manifest differ from the
//! source's, the packed image must say what the manifest does, or its own enclave refuses it. What the
//! manifest admits stays as it was written.
//!
//! Not expressible: supplementary groups that only the policy names; engines take groups from the image's
//! `/etc/group`, so `--group-add` has to.

use super::image::wrong;
use crate::compose::working_directory;
use crate::error::Error;
use crate::image::ProcessConfig;
use serde_json::{Map, Value, json};
use workload::manifest::{ArgvRule, EnvRule, Manifest};

/// The variable that makes a container an enclave container, upstream's name.
const TYPE_VARIABLE: &str = "ENCLAVE_TYPE=intelSgx";

/// Makes `members`, the object `config` of an image configuration, ask for what `manifest` admits. `source`
/// is the same object as it was read.
pub(super) fn ask_for(
    manifest: &Manifest,
    source: &ProcessConfig,
    members: &mut Map<String, Value>,
) -> Result<(), Error> {
    argv(&manifest.process.argv, source, members);
    let env = members.entry("Env").or_insert(Value::Null);
    if env.is_null() {
        *env = json!([]);
    }
    let entries = env.as_array_mut().ok_or_else(|| wrong("config.Env", "a list"))?;
    environment(manifest, entries);

    let is_same_cwd = working_directory(source.working_dir.as_deref().unwrap_or_default())
        .is_ok_and(|cwd| cwd == manifest.process.cwd);
    if !is_same_cwd {
        members.insert("WorkingDir".into(), json!(manifest.process.cwd));
    }
    let user = &manifest.process.user;
    let is_root = (user.uid, user.gid) == (0, 0);
    // An explicit group takes the supplementary ones away, so it is written only where there are none.
    if user.additional_gids.is_empty()
        && !(is_root && source.user.as_deref().unwrap_or_default().is_empty())
    {
        members.insert("User".into(), json!(format!("{}:{}", user.uid, user.gid)));
    }
    Ok(())
}

fn argv(rule: &ArgvRule, source: &ProcessConfig, members: &mut Map<String, Value>) {
    let part = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let asked = [part(&source.entrypoint), part(&source.cmd)].concat();
    match rule {
        ArgvRule::Exact(argv) if asked != *argv => {
            members.insert("Entrypoint".into(), Value::Null);
            members.insert("Cmd".into(), json!(argv));
        }
        // As an entrypoint, what a user of the image adds follows it.
        ArgvRule::Prefix { argv, .. } if !asked.starts_with(argv) => {
            members.insert("Entrypoint".into(), json!(argv));
            members.insert("Cmd".into(), Value::Null);
        }
        _ => {}
    }
}

/// Listed variables with their values; the image's own value where several are admitted; nothing else.
fn environment(manifest: &Manifest, entries: &mut Vec<Value>) {
    let rules = &manifest.process.env;
    let name = |entry: &Value| {
        entry.as_str().and_then(|text| text.split_once('=')).map(|(name, _)| name.to_owned())
    };
    entries.retain(|entry| {
        name(entry).is_some_and(|name| {
            rules.get(&name).is_some_and(|rule| !matches!(rule, EnvRule::Exact(_)))
        })
    });
    for (name, rule) in rules {
        if let EnvRule::Exact(value) = rule {
            entries.push(json!(format!("{name}={value}")));
        }
    }
    entries.push(json!(TYPE_VARIABLE));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(config: &Value) -> ProcessConfig {
        serde_json::from_value(config.clone()).unwrap()
    }

    fn argv_of(rule: &ArgvRule, config: Value) -> Value {
        let mut members = config.as_object().unwrap().clone();
        argv(rule, &source(&config), &mut members);
        Value::Object(members)
    }

    #[test]
    fn an_admitted_command_line_stays_as_it_was_written() {
        let config = json!({"Entrypoint": ["/a"], "Cmd": ["b"]});
        let exact = ArgvRule::Exact(vec!["/a".into(), "b".into()]);
        let prefix = ArgvRule::Prefix { argv: vec!["/a".into()], force: false };
        assert_eq!(argv_of(&exact, config.clone()), config);
        assert_eq!(argv_of(&prefix, config.clone()), config);
    }

    #[test]
    fn another_command_line_is_the_manifests() {
        let config = json!({"Entrypoint": ["/a"], "Cmd": ["b"]});
        let exact = ArgvRule::Exact(vec!["/c".into()]);
        let prefix = ArgvRule::Prefix { argv: vec!["/c".into()], force: false };
        assert_eq!(argv_of(&exact, config.clone()), json!({"Entrypoint": null, "Cmd": ["/c"]}));
        assert_eq!(argv_of(&prefix, config), json!({"Entrypoint": ["/c"], "Cmd": null}));
    }
}
