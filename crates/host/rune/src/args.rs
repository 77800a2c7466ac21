//! The command line, by hand: a runtime that is started for every operation of every container cannot
//! spend its start-up on a parser's tables.
//!
//! Options stand anywhere before `--` and, for verbs that take a command (`exec`, `ps`), before the
//! command's first word. `--name value`, `--name=value`, `-n value`; switches also as `--name=true|false`.

use std::ffi::OsString;
use std::fmt;

/// One option of a verb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    /// Without dashes.
    pub(crate) long: &'static str,
    /// One letter, or none.
    pub(crate) short: Option<char>,
    /// Whether a value follows.
    pub(crate) has_value: bool,
    /// For `--help`.
    pub(crate) help: &'static str,
}

/// An option with a value.
pub(crate) const fn value(long: &'static str, short: Option<char>, help: &'static str) -> Opt {
    Opt { long, short, has_value: true, help }
}

/// A switch.
pub(crate) const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Opt {
    Opt { long, short, has_value: false, help }
}

/// Where options end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At `--` only.
    Never,
    /// At the first word: it is a verb.
    FirstWord,
    /// At the second word: it begins a command.
    SecondWord,
}

/// A parsed command line.
#[derive(Debug, Default)]
pub(crate) struct Args {
    values: Vec<(&'static str, String)>,
    /// Words that are no options.
    pub(crate) words: Vec<String>,
    /// What was not looked at.
    pub(crate) rest: Vec<String>,
    is_help: bool,
}

/// A command line that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// No such option.
    Unknown(String),
    /// The value is missing.
    NoValue(String),
    /// A switch with a value that is neither `true` nor `false`, or a number that is none.
    Bad {
        /// The option.
        option: String,
        /// What it takes.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Too few or too many words.
    Words {
        /// What it takes.
        expected: &'static str,
        /// How many came.
        got: usize,
    },
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "flag provided but not defined: {option}"),
            Self::NoValue(option) => write!(f, "flag needs an argument: {option}"),
            Self::Bad { option, expected, got } => {
                write!(f, "{option}: expected {expected}, got {got:?}")
            }
            Self::Words { expected, got } => write!(f, "expected {expected}, got {got} words"),
        }
    }
}

/// The words as text: nothing that rune is told is anything else.
pub(crate) fn texts<'a>(words: impl Iterator<Item = &'a OsString>) -> Result<Vec<String>, Usage> {
    words
        .enumerate()
        .map(|(index, word)| match word.to_str() {
            Some(word) => Ok(word.to_owned()),
            None => Err(Usage::Bad {
                option: format!("argument {}", index + 1),
                expected: "UTF-8",
                got: word.to_string_lossy().into_owned(),
            }),
        })
        .collect()
}

impl Args {
    /// Parses words by a table.
    pub(crate) fn parse(
        table: &[Opt],
        words: impl IntoIterator<Item = String>,
        end: End,
    ) -> Result<Self, Usage> {
        let mut out = Self::default();
        let mut words = words.into_iter();
        let limit = match end {
            End::Never => usize::MAX,
            End::FirstWord => 0,
            End::SecondWord => 1,
        };
        while let Some(word) = words.next() {
            if word == "--" {
                out.words.extend(words);
                return Ok(out);
            }
            if !word.starts_with('-') || word == "-" {
                if out.words.len() == limit {
                    out.rest.push(word);
                    out.rest.extend(words);
                    return Ok(out);
                }
                out.words.push(word);
                continue;
            }
            out.option(table, &word, &mut words)?;
        }
        Ok(out)
    }

    fn option(
        &mut self,
        table: &[Opt],
        word: &str,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Usage> {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        if matches!(name, "--help" | "-h" | "-help") {
            self.is_help = true;
            return Ok(());
        }
        // One dash before a long name is taken, as Go's parsers take it.
        let bare = name.trim_start_matches('-');
        let mut chars = bare.chars();
        let only = chars.next().filter(|_| chars.next().is_none());
        let found = table.iter().find(|o| o.long == bare || (only.is_some() && o.short == only));
        let Some(option) = found else { return Err(Usage::Unknown(name.to_owned())) };
        let value = match (option.has_value, inline) {
            (true, Some(value)) => value,
            (true, None) => words.next().ok_or_else(|| Usage::NoValue(name.to_owned()))?,
            (false, None) => "true".to_owned(),
            (false, Some(value)) if value == "true" || value == "false" => value,
            (false, Some(got)) => {
                return Err(Usage::Bad { option: name.into(), expected: "true or false", got });
            }
        };
        self.values.push((option.long, value));
        Ok(())
    }

    /// The last value of an option.
    pub(crate) fn get(&self, long: &str) -> Option<&str> {
        self.values.iter().rev().find(|(n, _)| *n == long).map(|(_, v)| v.as_str())
    }

    /// All values of an option.
    pub(crate) fn all<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(n, _)| *n == long).map(|(_, v)| v.as_str())
    }

    /// Whether a switch is on.
    pub(crate) fn is(&self, long: &str) -> bool {
        self.get(long) == Some("true")
    }

    /// Whether `--help` was there.
    pub(crate) const fn is_help(&self) -> bool {
        self.is_help
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, long: &str) -> Result<Option<T>, Usage> {
        let Some(text) = self.get(long) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Usage::Bad {
            option: format!("--{long}"),
            expected: "a number",
            got: text.to_owned(),
        })
    }

    /// The one word that a verb takes.
    pub(crate) fn only_word(&self) -> Result<&str, Usage> {
        match self.words.as_slice() {
            [word] => Ok(word),
            other => Err(Usage::Words { expected: "a container id", got: other.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    const TABLE: [Opt; 4] = [
        value("bundle", Some('b'), ""),
        switch("detach", Some('d'), ""),
        value("env", Some('e'), ""),
        value("preserve-fds", None, ""),
    ];

    #[test]
    fn words_that_are_no_text_are_refused_by_number() {
        let words = ["state".into(), OsString::from_vec(vec![b'a', 0xff])];
        let error = texts(words.iter()).unwrap_err().to_string();
        assert_eq!(error, "argument 2: expected UTF-8, got \"a\u{fffd}\"");
    }

    fn parse(words: &[&str], end: End) -> Result<Args, Usage> {
        Args::parse(&TABLE, words.iter().map(|w| (*w).to_owned()), end)
    }

    #[test]
    fn options_stand_before_and_after_the_id() {
        for words in [["-d", "--bundle", "/x", "id"], ["id", "--bundle", "/x", "--detach"]] {
            let args = parse(&words, End::Never).unwrap();
            assert_eq!(args.get("bundle"), Some("/x"));
            assert!(args.is("detach"));
            assert_eq!(args.only_word(), Ok("id"));
        }
        let args = parse(&["-b=/x", "--detach=false", "--", "-id"], End::Never).unwrap();
        assert!(!args.is("detach"));
        assert_eq!(args.words, ["-id"]);
    }

    #[test]
    fn a_command_keeps_its_options() {
        let args =
            parse(&["-e", "A=1", "id", "-e", "B=2=3", "ls", "-e", "x"], End::SecondWord).unwrap();
        assert_eq!(args.all("env").collect::<Vec<_>>(), ["A=1", "B=2=3"]);
        assert_eq!(args.words, ["id"]);
        assert_eq!(args.rest, ["ls", "-e", "x"]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(&["--no"], End::Never).unwrap_err(), Usage::Unknown("--no".into()));
        assert_eq!(parse(&["-b"], End::Never).unwrap_err(), Usage::NoValue("-b".into()));
        assert!(parse(&["--detach=7"], End::Never).is_err());
        assert!(parse(&[], End::Never).unwrap().only_word().is_err());
        let args = parse(&["--preserve-fds", "x"], End::Never).unwrap();
        assert!(args.number::<u32>("preserve-fds").is_err());
    }
}
