//! `delete`: removes a container and all that was made for it.

use super::Command;
use crate::args::{Args, End, Opt, switch};
use crate::failure::Outcome;
use crate::global::Globals;
use container::life;

const OPTIONS: [Opt; 1] = [switch("force", Some('f'), "kill it first; no error if there is none")];

pub(crate) const COMMAND: Command = Command {
    name: "delete",
    usage: "[options] ID",
    about: "remove a container",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    life::delete(&globals.root, args.only_word()?, args.is("force"))?;
    Ok(0)
}
