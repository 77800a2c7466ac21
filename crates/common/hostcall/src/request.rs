//! Requests: what an enclave asks of its host.
//!
//! One table holds every call: its number, its arguments and the domain of each. Encoder and decoder come
//! from the same row.

use crate::layout::{ARGUMENTS, DATA_SIZE};

/// Unmeasured side data of the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum SideData {
    /// `meta.bin`: root metadata.
    Metadata = 1,
    /// `trees.bin`: interior nodes of the Merkle trees.
    Trees = 2,
}

/// Page-table rights, bits as `mprotect(2)` has them: 1 read, 2 write, 4 execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection(pub u8);

/// What enclave pages become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum TypeChange {
    /// PT_TCS.
    Tcs = 1,
    /// PT_TRIM.
    Trim = 4,
}

/// Which direction of a connection ends, as `shutdown(2)` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Half {
    /// Nothing more is read.
    Read = 0,
    /// Nothing more is written: the peer reads the end.
    Write = 1,
    /// Both.
    Both = 2,
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = $number:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty = $codec:ident,)* } $(data $data:ident)?;)*) => {
        /// A call, typed. Thread and page addresses are as the enclave sees them; what each call does and
        /// answers is in `README.md` under its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Request<'a> {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type,)* $(#[doc = "Data area, at most [`DATA_SIZE`](crate::DATA_SIZE) bytes."] $data: &'a [u8],)? },)*
        }

        impl<'a> Request<'a> {
            /// The name in `README.md`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)* }
            }

            /// The untyped form.
            #[must_use]
            #[allow(unused_mut, unused_variables, unused_assignments)] // calls without arguments
            pub fn to_wire(&self) -> Wire<'a> {
                match *self {
                    $(Self::$name { $($field,)* $($data,)? } => {
                        let mut wire = Wire { call: $number, arguments: [0; ARGUMENTS], data: &[] };
                        let mut next = 0;
                        $(wire.arguments[next] = codec::$codec::encode($field); next += 1;)*
                        $(wire.data = $data;)?
                        wire
                    })*
                }
            }

            /// The typed form of what came; the only decoder of requests.
            ///
            /// # Errors
            /// The first field that is not what the call takes.
            #[allow(unused_mut, unused_variables, unused_assignments)]
            pub fn from_wire(wire: &Wire<'a>) -> Result<Self, BadRequest> {
                if wire.data.len() > DATA_SIZE {
                    return Err(BadRequest::DataLength { call: wire.call, got: wire.data.len() as u64 });
                }
                match wire.call {
                    $($number => {
                        let mut next = 0;
                        $(let $field = codec::$codec::decode(wire.arguments, next).ok_or(BadRequest::Argument {
                            call: stringify!($name), field: stringify!($field), got: wire.arguments[next],
                        })?; next += 1;)*
                        if let Some(extra) = wire.arguments[next..].iter().find(|word| **word != 0) {
                            return Err(BadRequest::Argument { call: stringify!($name), field: "unused argument", got: *extra });
                        }
                        let request = Self::$name { $($field,)* $($data: wire.data,)? };
                        let takes_data = false $(|| { let _ = stringify!($data); true })?;
                        if !takes_data && !wire.data.is_empty() {
                            return Err(BadRequest::DataLength { call: wire.call, got: wire.data.len() as u64 });
                        }
                        Ok(request)
                    })*
                    got => Err(BadRequest::UnknownCall { got }),
                }
            }
        }
    };
}

requests! {
    /// Reads the request of a session (0: the container's first process) from `offset` on.
    SessionRequest = 1 { /// Session.
        session: u32 = word32, /// Byte to start at.
        offset: u64 = word, };
    /// A line for the operator.
    Log = 2 { /// 1 error, 2 warn, 3 info, 4 debug.
        level: u32 = level, } data line;
    /// The container ended. No reply: the enclave is not entered again.
    Exit = 3 { /// Wait status, as `wait(2)` gives it.
        status: u32 = word32, };
    /// The enclave refuses to run or to go on. No reply.
    Refuse = 4 {} data reason;

    /// Opens a regular file below the container's root.
    FileOpen = 16 {} data path;
    /// Reads at an offset.
    FileRead = 17 { /// File.
        file: u32 = word32, /// Byte to start at.
        offset: u64 = offset, /// Bytes wanted.
        length: u32 = data_length, };
    /// Closes a file.
    FileClose = 18 { /// File.
        file: u32 = word32, };
    /// Reads side data of the pack.
    ReadSideData = 19 { /// Which.
        what: SideData = side_data, /// Byte to start at.
        offset: u64 = offset, /// Bytes wanted.
        length: u32 = data_length, };

    /// Reads a stream.
    StreamRead = 32 { /// Stream.
        stream: u32 = word32, /// Bytes wanted.
        length: u32 = data_length, /// EAGAIN instead of waiting.
        is_nonblocking: bool = flag, };
    /// Writes a stream.
    StreamWrite = 33 { /// Stream.
        stream: u32 = word32, /// EAGAIN instead of waiting.
        is_nonblocking: bool = flag, } data bytes;
    /// Present readiness of a stream.
    StreamPoll = 34 { /// Stream.
        stream: u32 = word32, };
    /// Asks for one [`Event::Ready`](crate::Event::Ready).
    StreamWatch = 35 { /// Stream.
        stream: u32 = word32, /// `poll(2)` bits.
        interest: u16 = readiness, };
    /// Closes a stream.
    StreamClose = 36 { /// Stream.
        stream: u32 = word32, };
    /// Whether a stream is a terminal.
    StreamIsTerminal = 37 { /// Stream.
        stream: u32 = word32, };
    /// Terminal ioctl; the data area is the kernel structure, in and out.
    StreamIoctl = 38 { /// Stream.
        stream: u32 = word32, /// `ioctl(2)` request.
        request: u32 = word32, } data argument;

    /// Waits for the next event.
    NextEvent = 48 {};
    /// An exec session's process ended.
    SessionEnded = 49 { /// Session.
        session: u32 = word32, /// Wait status.
        status: u32 = word32, };
    /// An exec session was refused.
    SessionRefused = 50 { /// Session.
        session: u32 = word32, } data reason;

    /// Enters `tcs` on another host thread.
    ThreadSpawn = 64 { /// Linear address of the TCS.
        tcs: u64 = page, };
    /// Waits for an unpark or `timeout_ns`.
    Park = 65 { /// From now; [`NO_DEADLINE`](crate::NO_DEADLINE) waits for ever.
        timeout_ns: u64 = word, };
    /// Wakes the thread on `tcs`, or its next park.
    Unpark = 66 { /// Linear address of the TCS.
        tcs: u64 = page, };
    /// Interrupts the thread on `tcs`.
    Kick = 67 { /// Linear address of the TCS.
        tcs: u64 = page, };
    /// Lets other host threads run.
    Yield = 68 {};

    /// Reads the host's clocks.
    Clock = 80 {};
    /// Sets page-table rights.
    Protect = 81 { /// Start, from the ELRANGE base.
        offset: u64 = page, /// Bytes, not 0.
        length: u64 = page_length, /// Rights.
        protection: Protection = protection, };
    /// Changes the type of pages; the enclave accepts.
    ModifyType = 82 { /// Start, from the ELRANGE base.
        offset: u64 = page, /// Bytes, not 0.
        length: u64 = page_length, /// New type.
        to: TypeChange = type_change, };
    /// Removes trimmed and accepted pages.
    Remove = 83 { /// Start, from the ELRANGE base.
        offset: u64 = page, /// Bytes, not 0.
        length: u64 = page_length, };
    /// Restricts EPCM permissions; the enclave accepts.
    Restrict = 84 { /// Start, from the ELRANGE base.
        offset: u64 = page, /// Bytes, not 0.
        length: u64 = page_length, /// Rights that stay.
        protection: Protection = protection, };

    /// TARGETINFO of the host's quoting enclave.
    QuoteTarget = 96 {};
    /// Has a REPORT for that target made into a quote.
    Quote = 97 {} data report;
    /// TARGETINFO that the host wants a REPORT for.
    ReportTarget = 98 { /// Number of the host's wish, from [`Event::Report`](crate::Event::Report).
        ticket: u32 = word32, };
    /// The REPORT that the host wanted; empty where there is none.
    ReportMade = 99 { /// Number of the host's wish.
        ticket: u32 = word32, } data report;

    /// Listens on a TCP port of the host.
    NetListen = 112 { /// First half of the address ([`address_words`](crate::address_words)).
        high: u64 = word, /// Second half.
        low: u64 = word, /// Port, not 0.
        port: u16 = port, /// Most connections that wait to be accepted.
        backlog: u32 = word32, /// Of the unspecified IPv6 address: IPv4 is left out.
        is_v6_only: bool = flag, };
    /// Takes a connection that waits; never waits itself.
    NetAccept = 113 { /// Stream of a listener.
        stream: u32 = word32, };
    /// Begins a connection; readiness for writing ends it.
    NetConnect = 114 { /// First half of the address.
        high: u64 = word, /// Second half.
        low: u64 = word, /// Port, not 0.
        port: u16 = port, /// UDP instead of TCP.
        is_datagram: bool = flag, };
    /// Takes the pending error of a socket (SO_ERROR).
    NetError = 115 { /// Stream.
        stream: u32 = word32, };
    /// Ends one direction of a connection, or both.
    NetShutdown = 116 { /// Stream.
        stream: u32 = word32, /// Which.
        half: Half = half, };
    /// The socket's own address.
    NetName = 117 { /// Stream.
        stream: u32 = word32, };
}

/// The untyped form of a request: the words and bytes of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire<'a> {
    /// Call number.
    pub call: u32,
    /// Arguments; unused ones are zero.
    pub arguments: [u64; ARGUMENTS],
    /// Data area.
    pub data: &'a [u8],
}

/// A block that holds no request. The enclave is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// The enclave speaks another version.
    Version {
        /// Version it wrote.
        got: u32,
    },
    /// No such call.
    UnknownCall {
        /// Number it wrote.
        got: u32,
    },
    /// Longer than the data area, or data where the call takes none.
    DataLength {
        /// Call number.
        call: u32,
        /// Bytes.
        got: u64,
    },
    /// An argument outside its domain.
    Argument {
        /// Call.
        call: &'static str,
        /// Argument.
        field: &'static str,
        /// First word of it.
        got: u64,
    },
}

impl core::fmt::Display for BadRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Version { got } => {
                write!(f, "host-call version: expected {}, got {got}", crate::VERSION)
            }
            Self::UnknownCall { got } => write!(f, "host-call number: no call {got}"),
            Self::DataLength { call, got } => {
                write!(f, "data length of host call {call}: got {got}, more than it takes")
            }
            Self::Argument { call, field, got } => {
                write!(f, "{field} of host call {call}: got {got:#x}, outside its domain")
            }
        }
    }
}

impl core::error::Error for BadRequest {}

/// How each argument type lies in argument words.
mod codec {
    use super::{ARGUMENTS, DATA_SIZE};

    type Words = [u64; ARGUMENTS];

    macro_rules! codecs {
        ($($name:ident: $type:ty, |$value:ident| $encode:expr, |$word:ident| $decode:expr;)*) => {$(
            pub(super) mod $name {
                #[allow(unused_imports)]
                use super::super::{Half, Protection, SideData, TypeChange};
                pub(in super::super) fn encode($value: $type) -> u64 { $encode }
                pub(in super::super) fn decode(words: super::Words, at: usize) -> Option<$type> {
                    let $word = words[at];
                    $decode
                }
            }
        )*};
    }

    codecs! {
        word: u64, |value| value, |word| Some(word);
        word32: u32, |value| u64::from(value), |word| u32::try_from(word).ok();
        offset: u64, |value| value, |word| (word <= i64::MAX as u64).then_some(word);
        level: u32, |value| u64::from(value),
            |word| u32::try_from(word).ok().filter(|level| (1..=4).contains(level));
        data_length: u32, |value| u64::from(value),
            |word| u32::try_from(word).ok().filter(|length| *length as usize <= super::DATA_SIZE);
        flag: bool, |value| u64::from(value), |word| match word { 0 => Some(false), 1 => Some(true), _ => None };
        readiness: u16, |value| u64::from(value),
            |word| u16::try_from(word).ok().filter(|bits| bits & !crate::plausible::READINESS == 0);
        port: u16, |value| u64::from(value),
            |word| u16::try_from(word).ok().filter(|port| *port != 0);
        half: Half, |value| value as u64, |word| match word {
            0 => Some(Half::Read), 1 => Some(Half::Write), 2 => Some(Half::Both), _ => None
        };
        // Both below 2^47: a sum of the two never wraps.
        page: u64, |value| value, |word| (word.is_multiple_of(4096) && word < 1 << 47).then_some(word);
        page_length: u64, |value| value,
            |word| (word.is_multiple_of(4096) && word > 0 && word < 1 << 47).then_some(word);
        side_data: SideData, |value| value as u64,
            |word| match word { 1 => Some(SideData::Metadata), 2 => Some(SideData::Trees), _ => None };
        protection: Protection, |value| u64::from(value.0),
            |word| u8::try_from(word).ok().filter(|bits| *bits <= 7).map(Protection);
        type_change: TypeChange, |value| value as u64,
            |word| match word { 1 => Some(TypeChange::Tcs), 4 => Some(TypeChange::Trim), _ => None };
    }
}
