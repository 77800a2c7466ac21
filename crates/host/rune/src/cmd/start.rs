//! `start`: lets the program of a created container run.

use super::Command;
use crate::args::{Args, End};
use crate::enclave::at_start;
use crate::failure::Outcome;
use crate::global::Globals;
use container::{Notify, life, state::Directory};

pub(crate) const COMMAND: Command = Command {
    name: "start",
    usage: "ID",
    about: "run the program of a created container",
    options: &[],
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let directory = Directory::open(&globals.root, args.only_word()?)?;
    let state = directory.state()?;
    let Some(manager) = super::create::manager() else {
        life::start(&directory, &state)?;
        at_start::check(&directory, &state)?;
        return Ok(0);
    };
    let pidfd = directory.pidfd(&state);
    let notify = Notify::listen(&directory, &manager, state.pid)?;
    life::start(&directory, &state)?;
    at_start::check(&directory, &state)?;
    if let (Some(notify), Some(pidfd)) = (notify, pidfd) {
        notify.wait(&pidfd)?;
    }
    Ok(0)
}
