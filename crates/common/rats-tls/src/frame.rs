//! Frames on the wire: their bytes, and nothing about when which may come.
//!
//! [`Decoder`] takes bytes as they arrive, in pieces of any size, and never holds more than one frame that is not
//! Data; bodies of Data pass by it. It is total: whatever comes is a frame or a [`FrameFault`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Version in hello frames.
pub const VERSION: u16 = 1;
/// Bytes of a frame's header.
pub const HEADER_SIZE: usize = 5;
/// Longest body of any frame but Data in an open session.
pub const MAX_BODY: usize = 64 << 10;
/// Longest body of Data.
pub const MAX_DATA: usize = 1 << 20;
/// Most evidence formats in a hello.
pub const MAX_FORMATS: usize = 16;
/// Longest text of a verdict, in bytes.
pub const MAX_TEXT: usize = 1024;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const EVIDENCE: u8 = 3;
const VERDICT: u8 = 4;
const DATA: u8 = 5;
const REATTEST: u8 = 6;
const CLOSE: u8 = 7;
const END: u8 = 8;

/// Freshness, 32 random bytes.
pub type Nonce = [u8; 32];

/// What evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Format {
    /// SGX quote, DCAP.
    Sgx = 1,
    /// TDX quote, DCAP.
    Tdx = 2,
    /// SEV-SNP attestation report.
    Snp = 3,
    /// SGX local report.
    SgxLocal = 4,
}

impl Format {
    const ALL: [Self; 4] = [Self::Sgx, Self::Tdx, Self::Snp, Self::SgxLocal];

    /// By its number on the wire.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|format| *format as u16 == number)
    }
}

/// What a hello asks for and offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The sender proves itself.
    pub attest_me: bool,
    /// The sender verifies.
    pub attest_you: bool,
    /// The sender withholds its evidence until it has accepted the receiver's.
    pub verify_first: bool,
}

impl Flags {
    fn to_bits(self) -> u8 {
        u8::from(self.attest_me) | u8::from(self.attest_you) << 1 | u8::from(self.verify_first) << 2
    }

    fn from_bits(bits: u8) -> Option<Self> {
        (bits < 8).then_some(Self {
            attest_me: bits & 1 != 0,
            attest_you: bits & 2 != 0,
            verify_first: bits & 4 != 0,
        })
    }
}

/// Body of ClientHello and ServerHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the sender asks for and offers.
    pub flags: Flags,
    /// Numbers of the formats that the sender accepts, best first; unknown ones are kept.
    pub formats: Vec<u16>,
    /// Freshness.
    pub nonce: Nonce,
}

/// Body of Evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The epoch it is for.
    pub epoch: u32,
    /// Number of its format.
    pub format: u16,
    /// The evidence itself.
    pub evidence: Vec<u8>,
    /// Claims buffer, as it was hashed.
    pub claims: Vec<u8>,
    /// Endorsements; empty if none.
    pub endorsements: Vec<u8>,
}

/// What a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum VerdictCode {
    /// The evidence is accepted.
    Accepted = 0,
    /// It is not.
    Refused = 1,
    /// The peer offers none.
    Missing = 2,
    /// It is malformed, or of a format that was not asked for.
    Malformed = 3,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// Nothing more to say.
    Done = 0,
    /// Evidence was refused.
    Refused = 1,
    /// Too many evidences are in the making.
    Busy = 2,
    /// The peer took too long.
    Timeout = 3,
    /// The peer did not keep to the protocol.
    Protocol = 4,
    /// A later epoch's evidence was refused or did not come.
    Reattestation = 5,
    /// What the session needs, the program behind it or the maker of its evidence, does not answer; try again.
    Unavailable = 6,
}

impl CloseReason {
    const ALL: [Self; 7] = [
        Self::Done,
        Self::Refused,
        Self::Busy,
        Self::Timeout,
        Self::Protocol,
        Self::Reattestation,
        Self::Unavailable,
    ];
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Refused => "evidence refused",
            Self::Busy => "busy making evidence for others",
            Self::Timeout => "time is up",
            Self::Protocol => "protocol error",
            Self::Reattestation => "re-attestation failed",
            Self::Unavailable => "what it needs for the session does not answer",
        })
    }
}

/// A frame that is not Data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The client's first.
    ClientHello(Hello),
    /// The server's first.
    ServerHello(Hello),
    /// Evidence of an epoch.
    Evidence(Evidence),
    /// On the peer's evidence.
    Verdict {
        /// 0 is accepted; an unknown code is a refusal.
        code: u16,
        /// For people; never says what the policy wanted.
        text: String,
    },
    /// Begins or joins an epoch.
    Reattest {
        /// Freshness.
        nonce: Nonce,
        /// Number of the epoch.
        epoch: u32,
    },
    /// Ends the session.
    Close(CloseReason),
    /// The sender sends no more Data.
    End,
}

impl Frame {
    /// Its bytes, header included.
    ///
    /// # Panics
    /// If a part is too long for the format; callers bound what they put in.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = alloc::vec![0; HEADER_SIZE];
        let kind = match self {
            Self::ClientHello(hello) => hello.encode(CLIENT_HELLO, &mut out),
            Self::ServerHello(hello) => hello.encode(SERVER_HELLO, &mut out),
            Self::Evidence(evidence) => evidence.encode(&mut out),
            Self::Verdict { code, text } => {
                out.extend(code.to_be_bytes());
                out.extend(text.as_bytes());
                VERDICT
            }
            Self::Reattest { nonce, epoch } => {
                out.extend(nonce);
                out.extend(epoch.to_be_bytes());
                REATTEST
            }
            Self::Close(reason) => {
                out.push(*reason as u8);
                CLOSE
            }
            Self::End => END,
        };
        let body = out.len() - HEADER_SIZE;
        assert!(body <= MAX_BODY, "a frame's parts are bounded before they are put in");
        out[..HEADER_SIZE].copy_from_slice(&header(kind, body));
        out
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Self, FrameFault> {
        let mut body = Reader { kind, rest: body };
        let frame = match kind {
            CLIENT_HELLO => Self::ClientHello(Hello::decode(&mut body)?),
            SERVER_HELLO => Self::ServerHello(Hello::decode(&mut body)?),
            EVIDENCE => Self::Evidence(Evidence::decode(&mut body)?),
            VERDICT => {
                Self::Verdict { code: u16::from_be_bytes(body.array()?), text: body.text()? }
            }
            REATTEST => {
                Self::Reattest { nonce: body.array()?, epoch: u32::from_be_bytes(body.array()?) }
            }
            CLOSE => {
                let [number] = body.array()?;
                let known = CloseReason::ALL.into_iter().find(|reason| *reason as u8 == number);
                Self::Close(known.ok_or(body.bad("reason", number.into()))?)
            }
            END => Self::End,
            kind => return Err(FrameFault::Kind(kind)),
        };
        body.end()?;
        Ok(frame)
    }
}

/// Header of a frame of Data with this many bytes.
///
/// # Panics
/// If it is more than [`MAX_DATA`].
#[must_use]
pub fn data_header(length: usize) -> [u8; HEADER_SIZE] {
    assert!((1..=MAX_DATA).contains(&length), "callers cut data into frames");
    header(DATA, length)
}

fn header(kind: u8, length: usize) -> [u8; HEADER_SIZE] {
    let [a, b, c, d] = u32::try_from(length).expect("bodies are bounded").to_be_bytes();
    [kind, a, b, c, d]
}

impl Hello {
    fn encode(&self, kind: u8, out: &mut Vec<u8>) -> u8 {
        assert!(self.formats.len() <= MAX_FORMATS, "a configuration is checked when it is made");
        out.extend(VERSION.to_be_bytes());
        out.push(self.flags.to_bits());
        out.push(self.formats.len() as u8);
        self.formats.iter().for_each(|format| out.extend(format.to_be_bytes()));
        out.extend(self.nonce);
        kind
    }

    fn decode(body: &mut Reader<'_>) -> Result<Self, FrameFault> {
        let version = u16::from_be_bytes(body.array()?);
        if version != VERSION {
            return Err(body.bad("version", version.into()));
        }
        let [bits, count] = body.array()?;
        let flags = Flags::from_bits(bits).ok_or(body.bad("flags", bits.into()))?;
        let fits = if flags.attest_you { 1..=MAX_FORMATS } else { 0..=0 };
        if !fits.contains(&usize::from(count)) {
            return Err(body.bad("format count", count.into()));
        }
        let formats = (0..count).map(|_| body.array().map(u16::from_be_bytes));
        let formats = formats.collect::<Result<_, _>>()?;
        Ok(Self { flags, formats, nonce: body.array()? })
    }
}

impl Evidence {
    fn encode(&self, out: &mut Vec<u8>) -> u8 {
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.format.to_be_bytes());
        for field in [&self.evidence, &self.claims, &self.endorsements] {
            out.extend((field.len() as u32).to_be_bytes());
            out.extend(field);
        }
        EVIDENCE
    }

    fn decode(body: &mut Reader<'_>) -> Result<Self, FrameFault> {
        Ok(Self {
            epoch: u32::from_be_bytes(body.array()?),
            format: u16::from_be_bytes(body.array()?),
            evidence: body.field()?,
            claims: body.field()?,
            endorsements: body.field()?,
        })
    }

    /// Bytes of the body that these parts make.
    #[must_use]
    pub fn size(&self) -> usize {
        4 + 2 + 3 * 4 + self.evidence.len() + self.claims.len() + self.endorsements.len()
    }
}

/// Bytes that are no frame. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// No frame has this type.
    Kind(u8),
    /// The body is longer than its type allows here.
    TooLong {
        /// Type.
        kind: u8,
        /// Most bytes.
        expected_at_most: usize,
        /// Bytes, by the header.
        got: usize,
    },
    /// The body ends before its fields do.
    Truncated {
        /// Type.
        kind: u8,
        /// Bytes of the next field.
        expected: usize,
        /// Bytes that are left.
        got: usize,
    },
    /// The body goes on after its fields.
    Trailing {
        /// Type.
        kind: u8,
        /// Bytes.
        got: usize,
    },
    /// A field has a value outside its domain.
    Field {
        /// Type.
        kind: u8,
        /// Its name.
        field: &'static str,
        /// Its value.
        got: u64,
    },
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(got) => write!(f, "frame type: expected 1 to 8, got {got}"),
            Self::TooLong { kind, expected_at_most, got } => {
                write!(
                    f,
                    "frame of type {kind}: expected at most {expected_at_most} bytes, got {got}"
                )
            }
            Self::Truncated { kind, expected, got } => {
                write!(f, "frame of type {kind}: expected a field of {expected} bytes, got {got}")
            }
            Self::Trailing { kind, got } => {
                write!(f, "frame of type {kind}: expected its end, got {got} more bytes")
            }
            Self::Field { kind, field, got } => {
                write!(f, "frame of type {kind}: {field} has no meaning with value {got}")
            }
        }
    }
}

impl core::error::Error for FrameFault {}

/// A body, from front to back.
struct Reader<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameFault> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(self.truncated(N))?;
        self.rest = rest;
        Ok(*array)
    }

    /// A length and as many bytes.
    fn field(&mut self) -> Result<Vec<u8>, FrameFault> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        let (field, rest) = self.rest.split_at_checked(length).ok_or(self.truncated(length))?;
        self.rest = rest;
        Ok(field.to_vec())
    }

    /// All that is left, as a verdict's text.
    fn text(&mut self) -> Result<String, FrameFault> {
        if self.rest.len() > MAX_TEXT {
            return Err(self.bad("text length", self.rest.len() as u64));
        }
        let text = core::str::from_utf8(self.rest)
            .map_err(|error| self.bad("text, not UTF-8 from byte", error.valid_up_to() as u64))?;
        let text = text.into();
        self.rest = &[];
        Ok(text)
    }

    fn end(&self) -> Result<(), FrameFault> {
        let got = self.rest.len();
        if got == 0 { Ok(()) } else { Err(FrameFault::Trailing { kind: self.kind, got }) }
    }

    const fn truncated(&self, expected: usize) -> FrameFault {
        FrameFault::Truncated { kind: self.kind, expected, got: self.rest.len() }
    }

    const fn bad(&self, field: &'static str, got: u64) -> FrameFault {
        FrameFault::Field { kind: self.kind, field, got }
    }
}

/// What a piece of input completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Nothing yet.
    Nothing,
    /// A frame, and its bytes, which transcripts are made of.
    Frame(Frame, Vec<u8>),
    /// The header of Data with so many bytes, which follow and do not pass through the decoder.
    Data(usize),
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Of the frame that is coming, header included.
    bytes: Vec<u8>,
}

impl Decoder {
    /// How many bytes it can take now, at least 1: the rest of the header, or of the body.
    pub(crate) fn wants(&self) -> usize {
        self.total().unwrap_or(HEADER_SIZE) - self.bytes.len()
    }

    /// Takes at most [`wants`](Self::wants) bytes from the front of `input` and says how many.
    ///
    /// # Errors
    /// The stream is no frames; it cannot be read on.
    pub(crate) fn take(&mut self, input: &[u8]) -> Result<(usize, Decoded), FrameFault> {
        let count = self.wants().min(input.len());
        self.bytes.extend_from_slice(&input[..count]);
        let Some(total) = self.total() else { return Ok((count, Decoded::Nothing)) };
        let (kind, length) = (self.bytes[0], total - HEADER_SIZE);
        if self.bytes.len() == HEADER_SIZE {
            let expected_at_most = if kind == DATA { MAX_DATA } else { MAX_BODY };
            if length > expected_at_most {
                return Err(FrameFault::TooLong { kind, expected_at_most, got: length });
            }
            if kind == DATA {
                if length == 0 {
                    return Err(FrameFault::Field { kind, field: "length", got: 0 });
                }
                self.bytes.clear();
                return Ok((count, Decoded::Data(length)));
            }
        }
        if self.bytes.len() < total {
            return Ok((count, Decoded::Nothing));
        }
        let bytes = core::mem::take(&mut self.bytes);
        let frame = Frame::decode(kind, &bytes[HEADER_SIZE..])?;
        Ok((count, Decoded::Frame(frame, bytes)))
    }

    /// Length of the coming frame with its header, once that is complete.
    fn total(&self) -> Option<usize> {
        let [_, length @ ..] = self.bytes.first_chunk::<HEADER_SIZE>()?;
        Some(HEADER_SIZE + u32::from_be_bytes(*length) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn frames() -> Vec<Frame> {
        let hello = Hello {
            flags: Flags { attest_me: true, attest_you: true, verify_first: false },
            formats: vec![1, 0x7fff],
            nonce: [3; 32],
        };
        let (evidence, claims) = (vec![1; 300], vec![2; 20]);
        let evidence = Evidence { epoch: 7, format: 1, evidence, claims, endorsements: vec![] };
        vec![
            Frame::ClientHello(hello.clone()),
            Frame::ServerHello(Hello { flags: Flags::default(), formats: vec![], ..hello }),
            Frame::Evidence(evidence),
            Frame::Verdict { code: 1, text: "measurement".into() },
            Frame::Reattest { nonce: [9; 32], epoch: 1 },
            Frame::Close(CloseReason::Busy),
            Frame::End,
        ]
    }

    fn decode(bytes: &[u8]) -> Result<Option<Frame>, FrameFault> {
        let mut decoder = Decoder::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (count, decoded) = decoder.take(rest)?;
            rest = &rest[count..];
            if let Decoded::Frame(frame, whole) = decoded {
                assert_eq!(whole, bytes[..bytes.len() - rest.len()]);
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    #[test]
    fn frames_round_trip_in_pieces_of_any_size() {
        for frame in frames() {
            let bytes = frame.encode();
            assert_eq!(decode(&bytes), Ok(Some(frame.clone())));
            let mut decoder = Decoder::default();
            for (index, byte) in bytes.iter().enumerate() {
                let (count, decoded) = decoder.take(&[*byte]).unwrap();
                assert_eq!(count, 1);
                assert_eq!(decoded != Decoded::Nothing, index + 1 == bytes.len(), "{frame:?}");
            }
        }
    }

    #[test]
    fn a_body_cut_short_or_drawn_out_is_refused() {
        for frame in frames() {
            // A verdict's text has any length.
            if matches!(frame, Frame::Verdict { .. }) {
                continue;
            }
            let good = frame.encode();
            for length in 0..good.len() - HEADER_SIZE {
                let mut bytes = good[..HEADER_SIZE + length].to_vec();
                bytes[1..5].copy_from_slice(&(length as u32).to_be_bytes());
                let fault = decode(&bytes);
                assert!(
                    matches!(fault, Err(FrameFault::Truncated { .. })) || length == 0,
                    "{fault:?}"
                );
            }
            let mut bytes = good.clone();
            bytes.push(0);
            bytes[1..5].copy_from_slice(&((good.len() - HEADER_SIZE + 1) as u32).to_be_bytes());
            let kind = good[0];
            assert_eq!(decode(&bytes), Err(FrameFault::Trailing { kind, got: 1 }));
        }
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_are_kept() {
        let header = |kind: u8, length: u32| {
            let [a, b, c, d] = length.to_be_bytes();
            Decoder::default().take(&[kind, a, b, c, d])
        };
        for kind in [1, 3, 4, 6, 7, 9] {
            let fault = header(kind, u32::MAX).unwrap_err();
            assert!(
                matches!(fault, FrameFault::TooLong { expected_at_most: 0x10000, .. }),
                "{fault}"
            );
        }
        assert_eq!(header(5, 1 << 20), Ok((5, Decoded::Data(1 << 20))));
        assert!(header(5, (1 << 20) + 1).is_err());
        assert_eq!(
            header(5, 0).unwrap_err().to_string(),
            "frame of type 5: length has no meaning with value 0"
        );
    }

    #[test]
    fn fields_outside_their_domain_are_named() {
        let [client, ..] = &frames()[..] else { unreachable!("six frames") };
        let good = client.encode();
        for (at, value, field) in
            [(6, 2, "version"), (7, 8, "flags"), (8, 0, "format count"), (8, 17, "format count")]
        {
            let mut bytes = good.clone();
            bytes[at] = value;
            let fault = decode(&bytes);
            assert!(
                matches!(fault, Err(FrameFault::Field { field: got, .. }) if got == field),
                "{fault:?}"
            );
        }
        assert_eq!(decode(&[9, 0, 0, 0, 1, 0]), Err(FrameFault::Kind(9)));
        assert!(decode(&[7, 0, 0, 0, 1, 7]).is_err(), "unknown reason");
        assert!(decode(&[4, 0, 0, 0, 3, 0, 0, 0xff]).is_err(), "text that is not UTF-8");
    }
}
