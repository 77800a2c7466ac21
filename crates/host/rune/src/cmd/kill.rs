//! `kill`: a signal to a container.

use super::Command;
use crate::args::{Args, End, Opt, switch};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::{life, state::Directory};

const OPTIONS: [Opt; 1] = [switch("all", Some('a'), "to all processes of the container")];

pub(crate) const COMMAND: Command = Command {
    name: "kill",
    usage: "[options] ID [SIGNAL]",
    about: "send a signal to a container (TERM)",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let (id, name) = match args.words.as_slice() {
        [id] => (id, "SIGTERM"),
        [id, name] => (id, name.as_str()),
        other => {
            let got = other.len();
            return Err(Failure::new(format!(
                "expected a container id and a signal, got {got} words"
            )));
        }
    };
    let signal = parse(name).ok_or_else(|| {
        Failure::new(format!("unknown signal: expected a name or 1 to 64, got {name:?}"))
    })?;
    let directory = Directory::open(&globals.root, id)?;
    life::kill(&directory, signal, args.is("all"))?;
    Ok(0)
}

const NAMES: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// A name with or without `SIG`, in any case, `RTMIN+n`, `RTMAX-n`, or a number.
pub(crate) fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(n, _)| *n == name) {
        return Some(*number);
    }
    // As the C library numbers them: 32 and 33 are its own.
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        34 + if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? }
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        64 - if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<i32>().ok()? }
    };
    (34..=64).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGTERM", 15),
            ("sigusr1", 10),
            ("28", 28),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for bad in ["", "0", "65", "-9", "SIG", "FOO", "RTMIN+40", "RTMIN3"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
