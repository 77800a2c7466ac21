//! `resume`.

use super::Command;
use crate::args::{Args, End};
use crate::failure::Outcome;
use crate::global::Globals;
use container::{life, state::Directory};

pub(crate) const COMMAND: Command = Command {
    name: "resume",
    usage: "ID",
    about: "let a paused container go on",
    options: &[],
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let directory = Directory::open(&globals.root, args.only_word()?)?;
    life::resume(&directory)?;
    Ok(0)
}
