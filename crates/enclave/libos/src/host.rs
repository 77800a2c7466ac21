//! The untrusted host, as the library OS sees it.
//!
//! Implementations have checked lengths and plausibility: a count is never larger than the buffer, bytes
//! lie in enclave memory. Contents are still whatever the host likes; who uses them verifies them.

use crate::errno::Errno;
use crate::platform::{REPORT_SIZE, TARGETINFO_SIZE};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// A file of the container's root that the host opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostFile(pub u32);

/// A byte stream of the host: stdin, stdout or stderr of the container or of an exec session, or a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostStream(pub u32);

/// Unmeasured side data of the pack, verified by who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SideData {
    /// The root metadata blob (`workload::meta`).
    Metadata = 1,
    /// Interior nodes of all Merkle trees (`workload::verity`).
    Trees = 2,
}

/// Readiness of a stream, bits as `poll(2)` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness(pub u16);

#[allow(missing_docs)] // poll(2)
impl Readiness {
    pub const IN: Self = Self(0x001);
    pub const OUT: Self = Self(0x004);
    pub const ERR: Self = Self(0x008);
    pub const HUP: Self = Self(0x010);
    pub const RDHUP: Self = Self(0x2000);
}

/// What the host tells the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `rune kill` or a signal sent to init-runelet: for the first process of the session (0 = init).
    Signal {
        /// Exec session, 0 for the container's first process.
        session: u32,
        /// Linux signal number.
        signal: u8,
    },
    /// `rune exec`: a request (`workload::Request` as JSON) with streams for descriptors 0, 1, 2.
    Exec {
        /// Chosen by the host, unique, not 0.
        session: u32,
        /// The request, unchecked.
        request: Vec<u8>,
        /// Streams of the new process.
        streams: [HostStream; 3],
    },
    /// A watched stream is ready; the watch is over.
    Ready {
        /// Which.
        stream: HostStream,
        /// What it is ready for.
        readiness: Readiness,
    },
    /// The terminal's size changed.
    WindowSize {
        /// Exec session, 0 for the container's first process.
        session: u32,
    },
    /// The host wants a REPORT of this enclave (`pal_get_local_report`).
    Report {
        /// Number of the wish, for [`Host::report_made`].
        ticket: u32,
        /// TARGETINFO that it is for, unchecked.
        target: Box<[u8; TARGETINFO_SIZE]>,
    },
}

/// Log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
}

/// Services of the host.
pub trait Host: Send + Sync {
    /// The request that starts the container (`workload::Request` as JSON), unchecked.
    fn bootstrap(&self) -> Vec<u8>;

    /// Opens a regular file below the container's root, as data. `path` is absolute.
    ///
    /// # Errors
    /// The host's errno.
    fn open(&self, path: &[u8]) -> Result<HostFile, Errno>;

    /// Reads at an offset; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// The host's errno.
    fn read_at(&self, file: HostFile, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;

    /// Closes a file.
    fn close(&self, file: HostFile);

    /// Reads side data of the pack; fewer bytes only at its end.
    ///
    /// # Errors
    /// The host's errno.
    fn side_data(&self, what: SideData, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;

    /// Reads a stream, without waiting if `is_nonblocking` (EAGAIN). EINTR when the thread is kicked.
    ///
    /// # Errors
    /// The host's errno.
    fn stream_read(
        &self,
        stream: HostStream,
        into: &mut [u8],
        is_nonblocking: bool,
    ) -> Result<usize, Errno>;

    /// Writes a stream; waits unless `is_nonblocking`, which writes what fits (EAGAIN where nothing does). EINTR
    /// when the thread is kicked before anything was written.
    ///
    /// # Errors
    /// The host's errno; EPIPE where the reader is gone.
    fn stream_write(
        &self,
        stream: HostStream,
        from: &[u8],
        is_nonblocking: bool,
    ) -> Result<usize, Errno>;

    /// Present readiness of a stream.
    fn stream_poll(&self, stream: HostStream) -> Readiness;

    /// Asks for one [`Event::Ready`] when the stream becomes ready for any of `interest`, HUP or ERR.
    fn stream_watch(&self, stream: HostStream, interest: Readiness);

    /// Closes a stream.
    fn stream_close(&self, stream: HostStream);

    /// Whether the stream is a terminal.
    fn stream_is_terminal(&self, stream: HostStream) -> bool;

    /// Terminal ioctl: `request` is TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, TIOCSWINSZ or TCFLSH;
    /// `argument` is the kernel structure in its exact size, in and out.
    ///
    /// # Errors
    /// The host's errno; ENOTTY.
    fn stream_ioctl(
        &self,
        stream: HostStream,
        request: u32,
        argument: &mut [u8],
    ) -> Result<(), Errno>;

    /// Listens on a TCP port of the host; the port is not 0. IN of the stream says that a connection waits.
    /// `is_v6_only`: the unspecified IPv6 address leaves IPv4 out.
    ///
    /// # Errors
    /// The host's errno.
    fn net_listen(
        &self,
        address: SocketAddr,
        backlog: u32,
        is_v6_only: bool,
    ) -> Result<HostStream, Errno>;

    /// Takes a connection that waits, and whom it comes from; never waits itself (EAGAIN). The port is not 0, the
    /// address is whatever the host likes.
    ///
    /// # Errors
    /// The host's errno.
    fn net_accept(&self, listener: HostStream) -> Result<(HostStream, SocketAddr), Errno>;

    /// Begins a connection over TCP, or over UDP with `is_datagram`; the port is not 0. OUT, ERR or HUP of the
    /// stream ends the attempt, and [`net_error`](Self::net_error) says how.
    ///
    /// # Errors
    /// The host's errno.
    fn net_connect(&self, address: SocketAddr, is_datagram: bool) -> Result<HostStream, Errno>;

    /// Takes the pending error of a socket: what the host says it is, or why it says nothing.
    fn net_error(&self, stream: HostStream) -> Option<Errno>;

    /// Ends the reading or writing half of a connection, or both.
    ///
    /// # Errors
    /// The host's errno.
    fn net_shutdown(&self, stream: HostStream, reads: bool, writes: bool) -> Result<(), Errno>;

    /// A socket's own address, as [`net_accept`](Self::net_accept) gives the peer's.
    ///
    /// # Errors
    /// The host's errno.
    fn net_name(&self, stream: HostStream) -> Result<SocketAddr, Errno>;

    /// Waits for the next event. One thread calls it.
    fn next_event(&self) -> Event;

    /// An exec session's process ended. `status` is a wait status as `wait(2)` gives it.
    fn session_ended(&self, session: u32, status: u32);

    /// A session was refused: one line that names the field, what was expected and what came.
    fn session_refused(&self, session: u32, reason: &str);

    /// TARGETINFO of the quoting enclave.
    ///
    /// # Errors
    /// ENODEV where the host has no quoting service; the host's errno.
    fn quote_target(&self) -> Result<[u8; TARGETINFO_SIZE], Errno>;

    /// Has a report for that target made into a quote. May take long. The quote is whatever the host likes.
    ///
    /// # Errors
    /// As [`quote_target`](Self::quote_target).
    fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, Errno>;

    /// Answers [`Event::Report`]; None: there is no report for that target.
    fn report_made(&self, ticket: u32, report: Option<&[u8; REPORT_SIZE]>);

    /// The container ended: the enclave is left for good. `status` is a wait status.
    fn exit(&self, status: u32) -> !;

    /// The enclave refuses to run or to go on: a line for the operator, then as [`exit`](Self::exit).
    fn refuse(&self, reason: &str) -> !;

    /// A line for the operator's log.
    fn log(&self, level: Level, line: String);
}
