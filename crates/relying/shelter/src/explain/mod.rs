//! `shelter explain`: a verdict for a person: the word, what it is about, what failed first, what was expected,
//! what came, what to do.
//!
//! `shelter verify` prints the same text, made from the same JSON, so that what a person reads and what a program
//! reads never differ.

mod text;
mod told;

pub(crate) use text::{claim, line, meaning, moment};
pub(crate) use told::{Check, Told, Word};

use crate::args::Explain;
use crate::failure::Failure;
use crate::files::{self, MOST_VERDICT};
use crate::mistaken;
use std::io::IsTerminal;
use std::path::Path;

pub(crate) fn run(arguments: &Explain) -> Result<(), Failure> {
    let (name, bytes) = match arguments.file.as_deref() {
        Some(path) if path != Path::new("-") => {
            (path.display().to_string(), files::read(path, MOST_VERDICT)?)
        }
        _ => {
            let name = "standard input".to_string();
            let bytes = files::bounded(std::io::stdin().lock(), &name, MOST_VERDICT)?;
            (name, bytes)
        }
    };
    let told = Told::parse(&bytes).map_err(|error| {
        mistaken::instead(name.as_ref(), &bytes, "a verdict of shelter verify --json", error)
    })?;
    print(&told, arguments.all);
    told.end()
}

/// Prints a verdict, in colour where somebody sees it.
pub(crate) fn print(told: &Told, is_all: bool) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let is_coloured = std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb;
    print!("{}", text::render(told, is_coloured, is_all));
}

/// A verdict without colour, for standard error.
pub(crate) fn plain(told: &Told) -> String {
    text::render(told, false, false)
}
