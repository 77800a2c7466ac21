//! The D-Bus wire format, as much of it as talking to systemd takes.
//!
//! Source: D-Bus Specification 0.42, "Type System" and "Message Protocol". Little-endian only, which is this
//! machine's order and what sd-bus and dbus-daemon send here. Reading is total: any bytes give a message or
//! none.

/// Longest message that is read, in bytes. systemd's answers and signals are a few hundred.
pub(super) const MAX_MESSAGE: usize = 1 << 20;
/// The fixed part of a header, with the length of the field array.
pub(super) const FIXED: usize = 16;

/// A value of a unit's property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    U64(u64),
    Text(String),
    /// `au`.
    Numbers(Vec<u32>),
    /// `ay`.
    Bytes(Vec<u8>),
    /// `a(ss)`.
    Pairs(Vec<(String, String)>),
}

impl Value {
    const fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::U64(_) => "t",
            Self::Text(_) => "s",
            Self::Numbers(_) => "au",
            Self::Bytes(_) => "ay",
            Self::Pairs(_) => "a(ss)",
        }
    }
}

/// Marshals values; alignment counts from the start.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// Also an object path. No text of ours comes near 4 GiB.
    pub(super) fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements are aligned to `to`: the padding before the first does not count.
    fn array(&mut self, to: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let at = self.bytes.len() - 4;
        self.align(to);
        let start = self.bytes.len();
        elements(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(v) => self.bool(*v),
            Value::U64(v) => {
                self.align(8);
                self.bytes.extend(v.to_le_bytes());
            }
            Value::Text(text) => self.text(text),
            Value::Numbers(list) => self.array(4, |w| list.iter().for_each(|n| w.u32(*n))),
            Value::Bytes(bytes) => self.array(1, |w| w.bytes.extend(bytes)),
            Value::Pairs(pairs) => self.array(8, |w| {
                for (a, b) in pairs {
                    w.align(8);
                    w.text(a);
                    w.text(b);
                }
            }),
        }
    }

    /// `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[(&str, Value)]) {
        self.array(8, |w| {
            for (name, value) in properties {
                w.align(8);
                w.text(name);
                w.variant(value);
            }
        });
    }

    /// `a(sa(sv))` without elements.
    pub(super) fn no_units(&mut self) {
        self.array(8, |_| ());
    }
}

/// A method call to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// Of the body.
    pub(super) signature: &'a str,
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32, body: &[u8]) -> Vec<u8> {
        const METHOD_CALL: u8 = 1;
        let mut out = Writer { bytes: vec![b'l', METHOD_CALL, 0, 1] };
        out.u32(body.len() as u32);
        out.u32(serial);
        let fields = [
            (1, "o", self.path),
            (2, "s", self.interface),
            (3, "s", self.member),
            (6, "s", self.destination),
        ];
        out.array(8, |w| {
            for (code, kind, text) in fields {
                w.align(8);
                w.bytes.push(code);
                w.signature(kind);
                w.text(text);
            }
            if !self.signature.is_empty() {
                w.align(8);
                w.bytes.push(8);
                w.signature("g");
                w.signature(self.signature);
            }
        });
        out.align(8);
        out.bytes.extend(body);
        out.bytes
    }
}

/// Kinds of messages that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reply,
    Error,
    Signal,
    /// A call, or something newer: not for us.
    Other,
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) reply_to: u32,
    /// Of a signal.
    pub(super) member: String,
    /// Name of an error.
    pub(super) error: String,
    pub(super) body: Vec<u8>,
}

/// Length of a whole message by its fixed part; `None` if it is none that we read.
pub(super) fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    if fixed[0] != b'l' || fixed[3] != 1 {
        return None;
    }
    let word = |at: usize| {
        fixed.get(at..at + 4).and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?) as usize))
    };
    let (body, fields) = (word(4)?, word(12)?);
    let header = FIXED.checked_add(fields)?.checked_next_multiple_of(8)?;
    header.checked_add(body).filter(|n| *n <= MAX_MESSAGE)
}

impl Message {
    /// Parses a whole message.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let fixed: &[u8; FIXED] = bytes.first_chunk()?;
        if bytes.len() != length(fixed)? {
            return None;
        }
        let mut out = Self {
            kind: match fixed[1] {
                2 => Kind::Reply,
                3 => Kind::Error,
                4 => Kind::Signal,
                _ => Kind::Other,
            },
            reply_to: 0,
            member: String::new(),
            error: String::new(),
            body: Vec::new(),
        };
        let mut reader = Reader { bytes, at: 12 };
        let end = reader.u32()? as usize + FIXED;
        while reader.at < end {
            reader.align(8)?;
            let code = reader.byte()?;
            match (reader.signature()?, code) {
                ("s", 3) => out.member = reader.text()?.to_owned(),
                ("s", 4) => out.error = reader.text()?.to_owned(),
                ("s" | "o", _) => drop(reader.text()?),
                ("u", 5) => out.reply_to = reader.u32()?,
                ("u", _) => drop(reader.u32()?),
                ("g", _) => drop(reader.signature()?),
                _ => return None,
            }
        }
        reader.align(8)?;
        out.body = bytes.get(reader.at..)?.to_vec();
        Some(out)
    }
}

/// Reads values; `None` at the first that is not there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let out = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(out)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        let next = self.at.next_multiple_of(to);
        self.take(next - self.at).map(drop)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

/// For the fuzz target: reads a message as the bus does. True if it is one.
#[doc(hidden)]
#[must_use]
pub fn fuzz(bytes: &[u8]) -> bool {
    let whole = bytes.first_chunk().and_then(length);
    assert!(whole.is_none_or(|n| (FIXED..=MAX_MESSAGE).contains(&n)));
    let Some(message) = Message::parse(bytes) else { return false };
    assert_eq!(whole, Some(bytes.len()));
    let mut reader = Reader::new(&message.body);
    let _ = (reader.u32(), reader.text(), reader.text(), reader.text());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Vec<u8> {
        let mut body = Writer::default();
        body.text("x.scope");
        body.text("replace");
        body.properties(&[
            ("Delegate", Value::Bool(true)),
            ("TasksMax", Value::U64(7)),
            ("PIDs", Value::Numbers(vec![42])),
            ("AllowedCPUs", Value::Bytes(vec![1])),
            ("DeviceAllow", Value::Pairs(vec![("/dev/char/1:3".into(), "rwm".into())])),
        ]);
        body.no_units();
        let call = Call {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "StartTransientUnit",
            signature: "ssa(sv)a(sa(sv))",
        };
        call.encode(3, &body.bytes)
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let bytes = call();
        assert_eq!(&bytes[..4], b"l\x01\x00\x01");
        assert_eq!(length(bytes.first_chunk().unwrap()), Some(bytes.len()));
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (Kind::Other, "StartTransientUnit"));
        let mut reader = Reader::new(&message.body);
        assert_eq!(reader.text(), Some("x.scope"));
        assert_eq!(reader.text(), Some("replace"));
        let array = reader.u32().unwrap() as usize;
        reader.align(8).unwrap();
        let end = reader.at + array;
        assert_eq!(reader.text(), Some("Delegate"));
        assert_eq!(reader.signature(), Some("b"));
        assert_eq!(reader.u32(), Some(1));
        reader.align(8).unwrap();
        assert_eq!(reader.text(), Some("TasksMax"));
        assert_eq!(reader.signature(), Some("t"));
        reader.align(8).unwrap();
        assert_eq!(reader.take(8), Some(&7u64.to_le_bytes()[..]));
        // The property array ends where the array of further units begins, which is empty.
        reader.at = end;
        assert_eq!(reader.u32(), Some(0));
    }

    #[test]
    fn any_bytes_are_a_message_or_none() {
        let bytes = call();
        for length in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..length]), None);
        }
        let mut state = 1u32;
        for _ in 0..20_000 {
            let mut changed = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize / 256 % changed.len();
                changed[at] = state as u8;
            }
            if let Some(message) = Message::parse(&changed) {
                let mut reader = Reader::new(&message.body);
                while reader.text().is_some() {}
            }
        }
    }
}
