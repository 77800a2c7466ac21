//! `shelter reference`: what was saved, shown, forgotten, and made a policy of.

use crate::args::Reference;
use crate::failure::Failure;
use crate::store::Store;
use crate::{table, trusted};
use attestation::hex::Hex;
use serde_json::{Value, json};
use shelter::saved::Entry;
use std::fmt::Write;

pub(crate) fn run(command: &Reference) -> Result<(), Failure> {
    match command {
        Reference::List { store, json } => {
            let store = Store::open(store)?;
            if *json {
                println!("{}", json!({ "references": store.entries() }));
            } else {
                for entry in store.entries() {
                    println!(
                        "{}  {}  {}",
                        entry.mrenclave,
                        entry.name,
                        crate::shown::Shown(&entry.source)
                    );
                }
            }
        }
        Reference::Show { name, store, json } => {
            let store = Store::open(store)?;
            let value = value(store.need(name)?);
            if *json {
                println!("{value}");
            } else {
                print!("{}", table::render(&value));
            }
        }
        Reference::Remove { name, store } => Store::open(store)?.remove(name)?,
        Reference::Policy { names, store, root } => {
            let store = Store::open(store)?;
            let anchor = trusted::anchor(root)?;
            let entries: Vec<&Entry> =
                names.iter().map(|name| store.need(name)).collect::<Result<_, _>>()?;
            print!("{}", policy(&entries, anchor.sha256(), anchor.is_emulated()));
        }
    }
    Ok(())
}

fn value(entry: &Entry) -> Value {
    serde_json::to_value(entry).expect("strings and digests serialise")
}

/// The strictest policy that accepts these.
fn policy(entries: &[&Entry], root: &[u8; 32], is_emulated: bool) -> String {
    let mut text = String::new();
    let root_name = if is_emulated {
        "an emulator's root: proves nothing about its host"
    } else {
        "a vendor's root"
    };
    writeln!(text, "# {root_name}").expect("a string takes it");
    writeln!(text, "roots = [\"{}\"]", Hex(root)).expect("a string takes it");
    if is_emulated {
        text.push_str("tee = \"emulated\"\n");
    }
    text.push_str("mrenclave = [\n");
    for entry in entries {
        let version = entry.runtime_version.as_deref().unwrap_or("unknown");
        writeln!(
            text,
            "    \"{}\", # {}, runtime {}",
            entry.mrenclave,
            entry.name,
            crate::shown::Shown(version)
        )
        .expect("a string takes it");
    }
    text.push_str("]\n");
    if entries.iter().any(|entry| entry.debug == Some(true)) {
        text.push_str(
            "# one of them is a debug enclave, which is refused: allow_debug = true is for tests\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use attestation::Policy;
    use workload::digest::Hex as Digest;

    #[test]
    fn the_policy_is_one_and_names_what_was_asked_for() {
        let entry = Entry {
            name: "app:1".into(),
            mrenclave: Digest([7; 32]),
            kind: "image".into(),
            source: "x".into(),
            image: None,
            root: None,
            manifest: None,
            runtime_version: Some("0.1.0\nroots = []".into()),
            debug: Some(true),
            saved: String::new(),
        };
        for is_emulated in [false, true] {
            let text = policy(&[&entry], &[9; 32], is_emulated);
            let policy = Policy::from_toml(&text).unwrap();
            assert_eq!(policy.mrenclave, [[7; 32]]);
            assert_eq!(policy.roots, [[9; 32]]);
            assert_eq!(policy.tee[0].name(), if is_emulated { "emulated" } else { "hardware" });
        }
    }
}
