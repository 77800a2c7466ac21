//! The ClientHello, read and not taken: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3; RFC 7301.
//!
//! Bytes come as the network cuts them. They are kept whole, to be passed on as they came, and are at most
//! [`MAX_HELLO`]; whatever they are, [`Hello::read`] says "more", what the hello asks for, or which field is
//! wrong, and the same bytes get the same answer however they were cut. A fault is named at the first byte
//! that shows it: who does not speak TLS is not waited for. Nothing in a hello is proved by it.

use core::fmt;

/// Most bytes that are read of a connection to find its ClientHello, record headers included. A hello with two
/// post-quantum key shares has about 3 KiB.
pub const MAX_HELLO: usize = 16 << 10;

/// ALPN of the attested session, `docs/spec/bound-v1.md`, section 1.
pub const ALPN: &[u8] = b"eaa-bound/1";

/// The protocol version of that session.
const TLS13: u16 = 0x0304;

/// Longest record: RFC 8446, section 5.1.
const MAX_RECORD: u16 = 1 << 14;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;

/// What of a ClientHello decides on the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// SNI, if there is one.
    pub server_name: Option<String>,
    /// Protocols offered by ALPN.
    pub protocols: Vec<Vec<u8>>,
    /// Versions offered.
    pub versions: Vec<u16>,
}

impl ClientHello {
    /// Whether the attested session is offered.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.protocols.iter().any(|protocol| protocol == ALPN)
    }

    /// Whether TLS 1.3 is offered.
    #[must_use]
    pub fn is_tls13(&self) -> bool {
        self.versions.contains(&TLS13)
    }
}

/// Why bytes are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloFault {
    /// The record is no handshake.
    RecordType(u8),
    /// No version that a record of TLS has.
    RecordVersion(u16),
    /// An empty record, or one over 16,384 bytes.
    RecordLength(u16),
    /// The first handshake message is another one.
    MessageType(u8),
    /// Longer than [`MAX_HELLO`], by its own account or by its records.
    TooLong(usize),
    /// A field that ends too early or too late, holds what it may not, or is there twice.
    Field(&'static str),
}

impl HelloFault {
    /// What is wrong, in a word.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::RecordType(_) => "record type",
            Self::RecordVersion(_) => "record version",
            Self::RecordLength(_) => "record length",
            Self::MessageType(_) => "message type",
            Self::TooLong(_) => "client hello length",
            Self::Field(field) => field,
        }
    }

    /// What it should have been.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::RecordType(_) => "22, a TLS handshake".into(),
            Self::RecordVersion(_) => "0301 to 0303".into(),
            Self::RecordLength(_) => format!("1 to {MAX_RECORD}"),
            Self::MessageType(_) => "1, a ClientHello".into(),
            Self::TooLong(_) => format!("at most {MAX_HELLO}"),
            Self::Field(_) => "as RFC 8446 has it".into(),
        }
    }

    /// What it was.
    #[must_use]
    pub fn got(&self) -> String {
        match self {
            Self::RecordType(got) | Self::MessageType(got) => got.to_string(),
            Self::RecordVersion(got) => format!("{got:04x}"),
            Self::RecordLength(got) => got.to_string(),
            Self::TooLong(got) => got.to_string(),
            Self::Field(_) => "another form".into(),
        }
    }
}

impl fmt::Display for HelloFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field(), self.expected(), self.got())
    }
}

impl core::error::Error for HelloFault {}

/// A ClientHello that is coming in.
#[derive(Debug, Default)]
pub struct Hello {
    bytes: Vec<u8>,
    /// Up to here there are whole records. What was looked at is not looked at again, or a peer that sends
    /// single bytes would cost the square of them.
    scanned: usize,
    /// Handshake bytes in those records.
    carried: usize,
    /// Length of the message with its header, once it is known.
    wanted: Option<usize>,
}

impl Hello {
    /// What came so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What came, to be passed on.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes more may come.
    #[must_use]
    pub fn room(&self) -> usize {
        MAX_HELLO - self.bytes.len()
    }

    /// Takes what came, at most [`room`](Self::room); `None`: the hello goes on.
    ///
    /// # Errors
    /// These bytes are no ClientHello, whatever follows.
    ///
    /// # Panics
    /// More came than there is room for.
    pub fn read(&mut self, came: &[u8]) -> Result<Option<ClientHello>, HelloFault> {
        assert!(came.len() <= self.room());
        self.bytes.extend_from_slice(came);
        while let Some(length) = self.record()? {
            self.scanned += RECORD_HEADER + length;
            self.carried += length;
            if let Some(wanted) = self.message()?
                && self.carried >= wanted
            {
                let message = self.carried_bytes(wanted);
                return parse(&message[HANDSHAKE_HEADER..]).map(Some);
            }
        }
        if self.room() == 0 {
            return Err(HelloFault::TooLong(self.bytes.len() + 1));
        }
        Ok(None)
    }

    /// Length of the next record, if it is all there; its header is checked as far as it is there.
    fn record(&self) -> Result<Option<usize>, HelloFault> {
        let rest = &self.bytes[self.scanned..];
        match rest {
            [kind, ..] if *kind != 22 => return Err(HelloFault::RecordType(*kind)),
            [_, major, minor, ..] if *major != 3 || !matches!(minor, 1..=3) => {
                return Err(HelloFault::RecordVersion(u16::from_be_bytes([*major, *minor])));
            }
            _ => {}
        }
        let [_, _, _, high, low, rest @ ..] = rest else { return Ok(None) };
        let length = u16::from_be_bytes([*high, *low]);
        if !(1..=MAX_RECORD).contains(&length) {
            return Err(HelloFault::RecordLength(length));
        }
        let length = usize::from(length);
        // The message's own header is judged before the record is complete.
        if self.carried == 0 {
            header(&rest[..rest.len().min(length)])?;
        }
        Ok((rest.len() >= length).then_some(length))
    }

    /// Length of the message with its header, once enough of it is there.
    fn message(&mut self) -> Result<Option<usize>, HelloFault> {
        if self.wanted.is_none() && self.carried >= HANDSHAKE_HEADER {
            self.wanted = header(&self.carried_bytes(HANDSHAKE_HEADER))?;
        }
        Ok(self.wanted)
    }

    /// The first handshake bytes out of the records.
    fn carried_bytes(&self, count: usize) -> Vec<u8> {
        let mut message = Vec::with_capacity(count);
        let mut rest = &self.bytes[..self.scanned];
        while let [_, _, _, high, low, body @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let take = length.min(count - message.len());
            message.extend_from_slice(&body[..take]);
            rest = &body[length..];
        }
        message
    }
}

/// Length of a message with its header, of which these are the first bytes.
fn header(bytes: &[u8]) -> Result<Option<usize>, HelloFault> {
    if let [kind, ..] = bytes
        && *kind != 1
    {
        return Err(HelloFault::MessageType(*kind));
    }
    let [_, a, b, c, ..] = bytes else { return Ok(None) };
    let length = u32::from_be_bytes([0, *a, *b, *c]) as usize + HANDSHAKE_HEADER;
    if length > MAX_HELLO - RECORD_HEADER {
        return Err(HelloFault::TooLong(length + RECORD_HEADER));
    }
    Ok(Some(length))
}

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], HelloFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HelloFault::Field(field))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A big-endian number of up to two bytes.
    fn number(&mut self, size: usize, field: &'static str) -> Result<usize, HelloFault> {
        let bytes = self.take(size, field)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A vector with its length before it, in this many bytes.
    fn vector(&mut self, size: usize, field: &'static str) -> Result<&'a [u8], HelloFault> {
        let length = self.number(size, field)?;
        self.take(length, field)
    }

    fn end(&self, field: &'static str) -> Result<(), HelloFault> {
        if self.0.is_empty() { Ok(()) } else { Err(HelloFault::Field(field)) }
    }
}

/// A ClientHello without its header.
fn parse(body: &[u8]) -> Result<ClientHello, HelloFault> {
    let mut fields = Fields(body);
    let legacy_version = fields.number(2, "legacy_version")?;
    fields.take(32, "random")?;
    if fields.vector(1, "legacy_session_id")?.len() > 32 {
        return Err(HelloFault::Field("legacy_session_id"));
    }
    let suites = fields.vector(2, "cipher_suites")?;
    if suites.is_empty() || suites.len() % 2 != 0 {
        return Err(HelloFault::Field("cipher_suites"));
    }
    if fields.vector(1, "legacy_compression_methods")?.is_empty() {
        return Err(HelloFault::Field("legacy_compression_methods"));
    }
    let (mut names, mut protocols, mut versions) = (None, None, None);
    // Hellos before TLS 1.3 may have none.
    if !fields.0.is_empty() {
        let mut extensions = Fields(fields.vector(2, "extensions")?);
        fields.end("extensions")?;
        while !extensions.0.is_empty() {
            let kind = extensions.number(2, "extensions")?;
            let body = extensions.vector(2, "extensions")?;
            let (place, field) = match kind {
                0 => (&mut names, "server_name"),
                16 => (&mut protocols, "alpn"),
                43 => (&mut versions, "supported_versions"),
                // Others, those of GREASE (RFC 8701) among them, are between the two ends.
                _ => continue,
            };
            // Which of two would count is a question that two readers may answer differently.
            if place.replace(body).is_some() {
                return Err(HelloFault::Field(field));
            }
        }
    }
    let legacy = vec![u16::try_from(legacy_version).unwrap_or(u16::MAX)];
    Ok(ClientHello {
        server_name: names.map(server_name).transpose()?,
        protocols: protocols.map(alpn).transpose()?.unwrap_or_default(),
        versions: versions.map(supported_versions).transpose()?.unwrap_or(legacy),
    })
}

fn server_name(body: &[u8]) -> Result<String, HelloFault> {
    const FIELD: &str = "server_name";
    let mut fields = Fields(body);
    let mut list = Fields(fields.vector(2, FIELD)?);
    fields.end(FIELD)?;
    // One name, a host_name: no other type was ever defined.
    if list.number(1, FIELD)? != 0 {
        return Err(HelloFault::Field(FIELD));
    }
    let name = list.vector(2, FIELD)?;
    list.end(FIELD)?;
    let name = core::str::from_utf8(name).map_err(|_| HelloFault::Field(FIELD))?;
    if name.is_empty() { Err(HelloFault::Field(FIELD)) } else { Ok(name.to_owned()) }
}

fn alpn(body: &[u8]) -> Result<Vec<Vec<u8>>, HelloFault> {
    const FIELD: &str = "alpn";
    let mut fields = Fields(body);
    let mut list = Fields(fields.vector(2, FIELD)?);
    fields.end(FIELD)?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let protocol = list.vector(1, FIELD)?;
        if protocol.is_empty() {
            return Err(HelloFault::Field(FIELD));
        }
        protocols.push(protocol.to_vec());
    }
    if protocols.is_empty() { Err(HelloFault::Field(FIELD)) } else { Ok(protocols) }
}

fn supported_versions(body: &[u8]) -> Result<Vec<u16>, HelloFault> {
    const FIELD: &str = "supported_versions";
    let mut fields = Fields(body);
    let list = fields.vector(1, FIELD)?;
    fields.end(FIELD)?;
    let (versions, rest) = list.as_chunks::<2>();
    if versions.is_empty() || !rest.is_empty() {
        return Err(HelloFault::Field(FIELD));
    }
    Ok(versions.iter().map(|version| u16::from_be_bytes(*version)).collect())
}

/// Any bytes, in one piece and in pieces of a size that the first byte tells: one answer.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) -> bool {
    let Some((size, bytes)) = bytes.split_first() else { return false };
    let bytes = &bytes[..bytes.len().min(MAX_HELLO)];
    let mut whole = Hello::default();
    let at_once = whole.read(bytes);
    assert_eq!(whole.into_bytes(), bytes, "passed on as it came");
    let mut hello = Hello::default();
    let mut in_pieces = Ok(None);
    for piece in bytes.chunks(usize::from(*size) + 1) {
        in_pieces = hello.read(piece);
        if !matches!(in_pieces, Ok(None)) {
            break;
        }
    }
    assert_eq!(in_pieces, at_once);
    matches!(at_once, Ok(Some(_)))
}

#[cfg(test)]
mod tests;
