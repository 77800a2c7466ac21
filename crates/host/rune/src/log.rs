//! Log lines as engines read them: logrus's text or JSON, in a file or on standard error.

use std::io::Write;
use std::path::PathBuf;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="..." level=... msg="..."`.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// Severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

/// Where lines go.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// Standard error if none.
    pub(crate) file: Option<PathBuf>,
    /// How they look.
    pub(crate) format: Format,
    /// Less important ones are not written.
    pub(crate) level: Level,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// From `--log-level`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "trace" | "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warning,
            "error" | "fatal" | "panic" | "off" => Self::Error,
            _ => return None,
        })
    }
}

impl Log {
    /// Writes a line. A log that cannot be written must not stop a container.
    pub(crate) fn line(&self, level: Level, message: &str) {
        if level > self.level {
            return;
        }
        let line = self.render(level, message, &container::time::now());
        let file = self
            .file
            .as_ref()
            .and_then(|path| std::fs::OpenOptions::new().append(true).create(true).open(path).ok());
        match file {
            Some(mut file) => drop(file.write_all(line.as_bytes())),
            None if self.file.is_none() => drop(std::io::stderr().write_all(line.as_bytes())),
            None => {}
        }
    }

    /// A refusal that ends the program: in the log, and for people on standard error.
    pub(crate) fn fatal(&self, message: &str) {
        self.line(Level::Error, message);
        if self.file.is_some() {
            eprintln!("{message}");
        }
    }

    /// One line with its end.
    pub(crate) fn render(&self, level: Level, message: &str, time: &str) -> String {
        match self.format {
            Format::Json => {
                let line = serde_json::json!({"level": level.name(), "msg": message, "time": time});
                format!("{line}\n")
            }
            Format::Text => format!("time=\"{time}\" level={} msg={message:?}\n", level.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_hold_any_message() {
        let log = |format| Log { file: None, format, level: Level::Info };
        let line = log(Format::Json).render(Level::Error, "a \"b\"\nc", "T");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["msg"], "a \"b\"\nc");
        assert_eq!(value["level"], "error");
        let line = log(Format::Text).render(Level::Warning, "a \"b\"\nc", "T");
        assert_eq!(line, "time=\"T\" level=warning msg=\"a \\\"b\\\"\\nc\"\n");
    }
}
