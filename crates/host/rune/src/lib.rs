//! `rune`: an OCI runtime. With an enclave type in the environment or the annotations a container's first
//! process is init-runelet, which runs the program inside an enclave; without, it runs it as any runtime does.
//!
//! Every verb is one file in `cmd`; the work on containers is the `container` crate's.

#![forbid(unsafe_code)]

mod args;
mod cmd;
mod enclave;
mod failure;
mod global;
mod log;
pub mod runelet;

use args::{Args, End};
use failure::Failure;
use global::Globals;
use std::ffi::OsString;

/// Runs a command line without the program's name; the result is the exit code.
pub fn run<'a>(words: impl Iterator<Item = &'a OsString>) -> i32 {
    let parsed =
        args::texts(words).and_then(|words| Args::parse(&global::OPTIONS, words, End::FirstWord));
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(usage) => {
            eprintln!("rune: {usage}");
            return 1;
        }
    };
    if parsed.is("version") {
        return cmd::version::run();
    }
    let mut rest = parsed.rest.iter();
    let verb = rest.next().map(String::as_str);
    if parsed.is_help() || matches!(verb, None | Some("help" | "h")) {
        print!("{}", cmd::help());
        return 0;
    }
    let globals = match Globals::new(&parsed) {
        Ok(globals) => globals,
        Err(usage) => {
            eprintln!("rune: {usage}");
            return 1;
        }
    };
    let name = verb.unwrap_or_default();
    let Some(command) = cmd::COMMANDS.iter().find(|c| c.name == name) else {
        globals.log.fatal(&format!("no command {name:?}; rune --help lists them"));
        return 1;
    };
    let args = match Args::parse(command.options, rest.cloned(), command.end) {
        Ok(args) if args.is_help() => {
            print!("{}", command.help());
            return 0;
        }
        Ok(args) => args,
        Err(usage) => {
            globals.log.fatal(&format!("rune {name}: {usage}"));
            return 1;
        }
    };
    if command.enters_container {
        container::sys::protect_own_file();
    }
    match (command.run)(&globals, &args) {
        Ok(code) => code,
        Err(Failure { message, code }) => {
            globals.log.fatal(&format!("rune {name}: {message}"));
            code
        }
    }
}
