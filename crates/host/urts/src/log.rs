//! Lines for the operator.

use std::fmt;
use std::sync::Arc;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the usual names
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// From the number in a host call, which its decoder has held to 1..=4.
    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Error,
            2 => Self::Warn,
            3 => Self::Info,
            _ => Self::Debug,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

type Sink = dyn Fn(Level, &str) + Send + Sync;

/// Where lines go. On the emulator every line starts with `emulated: `.
#[derive(Clone)]
pub struct Log {
    sink: Arc<Sink>,
    is_emulated: bool,
}

impl Log {
    /// A log that hands each line, without its end, to `sink`.
    #[must_use]
    pub fn new(sink: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(sink), is_emulated: false }
    }

    /// A log that nobody reads.
    #[must_use]
    pub fn discard() -> Self {
        Self::new(|_, _| {})
    }

    pub(crate) fn mark_emulated(mut self, is_emulated: bool) -> Self {
        self.is_emulated = is_emulated;
        self
    }

    pub(crate) fn is_emulated(&self) -> bool {
        self.is_emulated
    }

    pub(crate) fn line(&self, level: Level, line: &str) {
        if self.is_emulated {
            (self.sink)(level, &format!("emulated: {line}"));
        } else {
            (self.sink)(level, line);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("is_emulated", &self.is_emulated).finish_non_exhaustive()
    }
}

/// Bytes of the enclave as one printable line: control characters and invalid UTF-8 escaped, so that a workload
/// cannot write terminal sequences or forge lines in an operator's log.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
        for byte in chunk.invalid() {
            line.push_str(&format!("\\x{byte:02x}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn lines_of_the_enclave_cannot_forge_others() {
        assert_eq!(
            printable(b"ok\nerror: x\x1b[2J\xff\xc3\xa9"),
            "ok\\nerror: x\\u{1b}[2J\\xff\u{e9}"
        );
    }

    #[test]
    fn every_line_on_the_emulator_says_so() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let log = Log::new(move |_, line| seen.lock().unwrap().push(line.to_owned()));
        log.clone().mark_emulated(true).line(Level::Info, "started");
        log.line(Level::Info, "started");
        assert_eq!(*lines.lock().unwrap(), ["emulated: started", "started"]);
    }
}
