//! `state`: a container as JSON.

use super::Command;
use crate::args::{Args, End};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::state::{Directory, State, Status};
use serde_json::{Value, json};

pub(crate) const COMMAND: Command = Command {
    name: "state",
    usage: "ID",
    about: "print a container's state",
    options: &[],
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let directory = Directory::open(&globals.root, args.only_word()?)?;
    let state = directory.state()?;
    let status = directory.status(&state);
    let text = serde_json::to_string_pretty(&json(&state, status)).map_err(Failure::new)?;
    println!("{text}");
    Ok(0)
}

/// A container as `state` and `list` show it.
pub(crate) fn json(state: &State, status: Status) -> Value {
    let mut value = json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "pid": if status == Status::Stopped { 0 } else { state.pid },
        "status": status.name(),
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
        "owner": state.owner,
    });
    if !state.annotations.is_empty() {
        value["annotations"] = json!(state.annotations);
    }
    if let Some(enclave) = &state.enclave {
        value["enclave"] = json!(enclave);
    }
    value
}
