//! `start`: lets the program of a created container run.

use super::Command;
use crate::args::{Args, End};
use crate::failure::Outcome;
use crate::global::Globals;
use container::{life, state::Directory};

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
    life::start(&directory)?;
    Ok(0)
}
