//! The verbs, one per file.

mod attest;
mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
pub(crate) mod update;
pub(crate) mod version;

use crate::args::{Args, End, Opt};
use crate::failure::Outcome;
use crate::global::{self, Globals};
use std::fmt::Write as _;

/// A verb.
pub(crate) struct Command {
    /// Its word.
    pub(crate) name: &'static str,
    /// After the verb, for `--help`.
    pub(crate) usage: &'static str,
    /// One line.
    pub(crate) about: &'static str,
    /// Its options.
    pub(crate) options: &'static [Opt],
    /// Where they end.
    pub(crate) end: End,
    /// Whether a process of ours comes to be inside a container, so that the program's file is to be protected
    /// before anything else.
    pub(crate) enters_container: bool,
    /// What it does.
    pub(crate) run: fn(&Globals, &Args) -> Outcome,
}

/// All of them, by name.
pub(crate) const COMMANDS: [&Command; 18] = [
    &attest::COMMAND,
    &checkpoint::COMMAND,
    &create::COMMAND,
    &delete::COMMAND,
    &events::COMMAND,
    &exec::COMMAND,
    &features::COMMAND,
    &kill::COMMAND,
    &list::COMMAND,
    &pause::COMMAND,
    &ps::COMMAND,
    &restore::COMMAND,
    &resume::COMMAND,
    &run::COMMAND,
    &spec::COMMAND,
    &start::COMMAND,
    &state::COMMAND,
    &update::COMMAND,
];

impl Command {
    /// The text of `--help`.
    pub(crate) fn help(&self) -> String {
        let mut text = format!("rune {} {}\n\n{}\n", self.name, self.usage, self.about);
        options(&mut text, self.options);
        text
    }
}

/// The text of `rune --help`.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "rune [global options] command [options]\n\n\
         Runs OCI containers, ordinary ones and ones inside an enclave.\n\nCommands:\n",
    );
    for command in COMMANDS {
        let _ = writeln!(text, "  {:<10} {}", command.name, command.about);
    }
    options(&mut text, &global::OPTIONS);
    text
}

fn options(text: &mut String, options: &[Opt]) {
    if options.is_empty() {
        return;
    }
    text.push_str("\nOptions:\n");
    for option in options {
        let short = option.short.map_or(String::new(), |c| format!("-{c}, "));
        let value = if option.has_value { " VALUE" } else { "" };
        let name = format!("{short}--{}{value}", option.long);
        let _ = writeln!(text, "  {name:<28} {}", option.help);
    }
}
