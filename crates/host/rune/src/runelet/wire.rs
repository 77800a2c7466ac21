//! The agent protocol between `rune exec` or `rune attest` and init-runelet: upstream's frames and messages, with
//! argument lists that keep blanks.
//!
//! A frame is a little-endian `u32` length and a protobuf message:
//!
//! ```text
//! AgentServiceRequest  { Execute exec = 1; Kill kill = 2; Attest attest = 3 }
//! Execute { string argv = 1; string envp = 2;              joined by blanks; read if 3 and 4 are absent
//!           repeated string args = 3; repeated string env = 4; string cwd = 5; uint32 uid = 6;
//!           uint32 gid = 7; repeated uint32 groups = 8; bool tty = 9; bool stdin = 10 }
//! Kill    { int32 sig = 1 }
//! Attest  { bytes targetInfo = 5 }                         upstream's 1 to 4 are of EPID, and not read
//! AgentServiceResponse { ExecuteResult exec = 1; AttestResult attest = 2 }
//! ExecuteResult { int32 exitCode = 1; string error = 2 }
//! AttestResult  { int32 exitCode = 1; string error = 2; bytes localReport = 3 }
//! ```
//!
//! After an `Execute` come four messages that each carry one descriptor and its name: the pipe from which
//! `Kill` frames are read, then standard input, output and error. Parsing is total.

/// The longest frame, in bytes: what fits a request of the enclave, and more.
pub const MAX_FRAME: usize = 2 << 20;

/// A process to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execute {
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// More groups.
    pub groups: Vec<u32>,
    /// Whether the streams are a terminal.
    pub tty: bool,
    /// Whether standard input is more than `/dev/null`.
    pub stdin: bool,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run a process.
    Execute(Execute),
    /// Signal it.
    Kill(i32),
    /// Make a report of the enclave for the one that this TARGETINFO names.
    Attest(Vec<u8>),
}

/// A report of the enclave, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attested {
    /// Why there is none; empty if there is one.
    pub error: String,
    /// REPORT, 432 bytes.
    pub report: Vec<u8>,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Exit code.
    pub exit_code: i32,
    /// Why it did not run; empty if it did.
    pub error: String,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Ends within a field.
    Truncated,
    /// A number with more than ten bytes.
    Number,
    /// A wire type that protobuf 3 has not.
    WireType(u8),
    /// A text that is not UTF-8.
    Text,
    /// No known message in it.
    Empty,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("message ends within a field"),
            Self::Number => f.write_str("number of more than 64 bits"),
            Self::WireType(got) => write!(f, "wire type: expected 0, 1, 2 or 5, got {got}"),
            Self::Text => f.write_str("text is not UTF-8"),
            Self::Empty => f.write_str("no known message"),
        }
    }
}

impl Request {
    /// The message's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let number = match self {
            Self::Kill(signal) => {
                put_number(&mut body, 1, *signal as i64 as u64);
                2
            }
            Self::Attest(target) => {
                put_bytes(&mut body, 5, target);
                3
            }
            Self::Execute(e) => {
                // For an upstream init-runelet.
                put_text(&mut body, 1, &e.args.join(" "));
                put_text(&mut body, 2, &e.env.join(" "));
                e.args.iter().for_each(|a| put_text(&mut body, 3, a));
                e.env.iter().for_each(|a| put_text(&mut body, 4, a));
                put_text(&mut body, 5, &e.cwd);
                put_number(&mut body, 6, u64::from(e.uid));
                put_number(&mut body, 7, u64::from(e.gid));
                e.groups.iter().for_each(|g| put_number(&mut body, 8, u64::from(*g)));
                put_number(&mut body, 9, u64::from(e.tty));
                put_number(&mut body, 10, u64::from(e.stdin));
                1
            }
        };
        let mut out = Vec::new();
        put_bytes(&mut out, number, &body);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut found = None;
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(body)) => found = Some(Self::Execute(Execute::parse(body)?)),
                (2, Value::Bytes(body)) => {
                    let mut signal = 0;
                    for field in Fields(body) {
                        if let (1, Value::Number(n)) = field? {
                            signal = n as i32;
                        }
                    }
                    found = Some(Self::Kill(signal));
                }
                (3, Value::Bytes(body)) => {
                    let mut target = Vec::new();
                    for field in Fields(body) {
                        if let (5, Value::Bytes(v)) = field? {
                            target = v.to_vec();
                        }
                    }
                    found = Some(Self::Attest(target));
                }
                _ => {}
            }
        }
        found.ok_or(WireError::Empty)
    }
}

impl Execute {
    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut out = Self::default();
        let (mut argv, mut envp) = (String::new(), String::new());
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(v)) => argv = text(v)?,
                (2, Value::Bytes(v)) => envp = text(v)?,
                (3, Value::Bytes(v)) => out.args.push(text(v)?),
                (4, Value::Bytes(v)) => out.env.push(text(v)?),
                (5, Value::Bytes(v)) => out.cwd = text(v)?,
                (6, Value::Number(n)) => out.uid = n as u32,
                (7, Value::Number(n)) => out.gid = n as u32,
                (8, Value::Number(n)) => out.groups.push(n as u32),
                (9, Value::Number(n)) => out.tty = n != 0,
                (10, Value::Number(n)) => out.stdin = n != 0,
                _ => {}
            }
        }
        let split =
            |joined: &str| joined.split(' ').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        if out.args.is_empty() {
            out.args = split(&argv);
        }
        if out.env.is_empty() {
            out.env = split(&envp);
        }
        Ok(out)
    }
}

impl Ended {
    /// The message's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_number(&mut body, 1, i64::from(self.exit_code) as u64);
        put_text(&mut body, 2, &self.error);
        let mut out = Vec::new();
        put_bytes(&mut out, 1, &body);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut found = None;
        for field in Fields(bytes) {
            if let (1, Value::Bytes(body)) = field? {
                let mut out = Self::default();
                for field in Fields(body) {
                    match field? {
                        (1, Value::Number(n)) => out.exit_code = n as i32,
                        (2, Value::Bytes(v)) => out.error = text(v)?,
                        _ => {}
                    }
                }
                found = Some(out);
            }
        }
        found.ok_or(WireError::Empty)
    }
}

impl Attested {
    /// The message's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_number(&mut body, 1, u64::from(!self.error.is_empty()));
        put_text(&mut body, 2, &self.error);
        put_bytes(&mut body, 3, &self.report);
        let mut out = Vec::new();
        put_bytes(&mut out, 2, &body);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut found = None;
        for field in Fields(bytes) {
            if let (2, Value::Bytes(body)) = field? {
                let mut out = Self::default();
                for field in Fields(body) {
                    match field? {
                        (2, Value::Bytes(v)) => out.error = text(v)?,
                        (3, Value::Bytes(v)) => out.report = v.to_vec(),
                        _ => {}
                    }
                }
                found = Some(out);
            }
        }
        found.ok_or(WireError::Empty)
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-size number: skipped.
    Other,
}

/// The fields of a message; ends at the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let result = self.field();
        if result.is_err() {
            self.0 = &[];
        }
        Some(result)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), WireError> {
        let key = self.number()?;
        let value = match (key & 7) as u8 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            other => return Err(WireError::WireType(other)),
        };
        Ok((key >> 3, value))
    }

    fn number(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for index in 0..10 {
            let byte = *self.take(1)?.first().ok_or(WireError::Truncated)?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Number)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }
}

fn text(bytes: &[u8]) -> Result<String, WireError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::Text)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_text(out: &mut Vec<u8>, field: u64, text: &str) {
    put_bytes(out, field, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argv_and_env_arrive_exactly() {
        let execute = Execute {
            args: vec!["sh".into(), "-c".into(), "echo  'a b'".into(), String::new()],
            env: vec!["A=b c".into(), "E=".into()],
            cwd: "/x y".into(),
            uid: u32::MAX,
            gid: 7,
            groups: vec![1, 300],
            tty: true,
            stdin: false,
        };
        let request = Request::Execute(execute);
        assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
        let kill = Request::Kill(28);
        assert_eq!(Request::parse(&kill.to_bytes()), Ok(kill));
        let attest = Request::Attest(vec![7; 512]);
        assert_eq!(Request::parse(&attest.to_bytes()), Ok(attest));
        let ended = Ended { exit_code: -1, error: "no".into() };
        assert_eq!(Ended::parse(&ended.to_bytes()), Ok(ended));
        let attested = Attested { error: String::new(), report: vec![0xff; 432] };
        assert_eq!(Attested::parse(&attested.to_bytes()), Ok(attested.clone()));
        // No answer to one question passes for an answer to the other.
        assert_eq!(Ended::parse(&attested.to_bytes()), Err(WireError::Empty));
    }

    #[test]
    fn upstreams_joined_strings_are_read() {
        // exec { argv: "ls -l", envp: "A=1 B=2" }
        let bytes = b"\x0a\x10\x0a\x05ls -l\x12\x07A=1 B=2";
        let Request::Execute(e) = Request::parse(bytes).unwrap() else { panic!() };
        assert_eq!(
            (e.args, e.env),
            (vec!["ls".into(), "-l".into()], vec!["A=1".into(), "B=2".into()])
        );
    }

    #[test]
    fn cut_and_changed_bytes_never_panic() {
        let request = Request::Execute(Execute { args: vec!["abc".into()], ..Execute::default() });
        let bytes = request.to_bytes();
        for length in 0..bytes.len() {
            assert!(Request::parse(&bytes[..length]).is_err(), "{length}");
        }
        for position in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[position] = value;
                let _ = Request::parse(&changed);
                let _ = Ended::parse(&changed);
                let _ = Attested::parse(&changed);
            }
        }
        assert_eq!(Request::parse(&[0xff; 11]), Err(WireError::Number));
    }
}
