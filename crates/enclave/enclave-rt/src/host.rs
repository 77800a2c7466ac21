//! Host calls.
//!
//! A reply that cannot be true (a length over what was asked, another sequence number, a value outside its
//! domain) is not worked around: the enclave refuses to go on and names the field, what was expected and
//! what came. An error number that the host may give is the caller's.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::SocketAddr;

use hostcall::enclave::{CallError, Reply};
use hostcall::{DATA_SIZE, Half, Protection, Request, TypeChange, address_of, address_words};
use libos::errno::Errno;
use libos::host::{Event, Host, HostFile, HostStream, Level, Readiness, SideData};
use libos::platform::{REPORT_SIZE, TARGETINFO_SIZE};

use crate::clock::Reading;
use crate::thread::Thread;
use crate::{entry, xstate};

/// The host, as `libos` sees it.
pub(crate) struct Calls;

/// Makes a call; gives the host's error numbers, refuses the rest.
pub(crate) fn call(request: &Request<'_>, into: &mut [u8]) -> Result<Reply, Errno> {
    match raw(request, into) {
        Ok(reply) => Ok(reply),
        Err(CallError::Errno(number)) => Err(Errno::from_host(number.into())),
        Err(error) => refuse(format_args!("{error}")),
    }
}

/// Makes a call that a host that does its work never fails.
pub(crate) fn must(request: &Request<'_>) {
    if let Err(errno) = call(request, &mut []) {
        refuse(format_args!("{}: expected success, got {errno:?}", request.name()));
    }
}

/// Page-table rights of a page range.
pub(crate) fn protect(offset: u64, length: u64, rights: u8) {
    must(&Request::Protect { offset, length, protection: Protection(rights) });
}

/// New type of a page range; EACCEPT follows.
pub(crate) fn modify_type(offset: u64, length: u64, to: TypeChange) {
    must(&Request::ModifyType { offset, length, to });
}

/// The host's clocks.
pub(crate) fn clock() -> Reading {
    let Ok(reply) = call(&Request::Clock {}, &mut []) else {
        refuse(format_args!("Clock: expected a reading, got an error"));
    };
    let [tsc, monotonic_ns, realtime_ns, tsc_khz] = reply.values;
    Reading { tsc, monotonic_ns, realtime_ns, tsc_khz }
}

/// Tells the operator why and stops the enclave. Allocates nothing: it serves the panic handler too.
pub(crate) fn refuse(reason: fmt::Arguments<'_>) -> ! {
    let mut line = Line { bytes: [0; 512], length: 0 };
    // A reason that is too long is cut.
    let _ = line.write_fmt(reason);
    let _ = raw(&Request::Refuse { reason: &line.bytes[..line.length] }, &mut []);
    // SAFETY: on an enclave thread; nothing continues here.
    unsafe { entry::stop() }
}

/// A call, whatever comes back.
fn raw(request: &Request<'_>, into: &mut [u8]) -> Result<Reply, CallError> {
    let thread = Thread::current();
    xstate::before_host_call(thread);
    // SAFETY: only the thread itself reaches its caller, and nothing in a call makes another: no code of ours
    // runs between the borrow and its end except the host's.
    let caller = unsafe { &mut *thread.caller.get() };
    let Some(caller) = caller else {
        // No block was accepted yet, so that there is nothing to say it with.
        // SAFETY: on an enclave thread; nothing continues here.
        unsafe { entry::stop() }
    };
    // SAFETY: on an enclave thread, whose vector state was just moved out of the processor.
    let reply = caller.call(request, into, || unsafe { entry::leave_for_call() });
    // EENTER set FS from the TCS: it is nobody's.
    thread.fs_live.set(u64::MAX);
    reply
}

/// A line of bounded length.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        Ok(())
    }
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(DATA_SIZE)]
}

/// The address in a reply, whose port was checked.
fn name_of(reply: &Reply) -> SocketAddr {
    let [_, port, high, low] = reply.values;
    SocketAddr::new(address_of([high, low]), port as u16)
}

/// The whole request of a session, in pieces.
fn session_request(session: u32) -> Vec<u8> {
    let mut request = Vec::new();
    let mut total = None;
    loop {
        let mut piece = alloc::vec![0; DATA_SIZE];
        let offset = request.len() as u64;
        let reply = match call(&Request::SessionRequest { session, offset }, &mut piece) {
            Ok(reply) => reply,
            Err(errno) => refuse(format_args!("SessionRequest: expected success, got {errno:?}")),
        };
        let length = *total.get_or_insert(reply.values[0]);
        if reply.values[0] != length {
            let got = reply.values[0];
            refuse(format_args!("total length of SessionRequest: expected {length}, got {got}"));
        }
        request.extend_from_slice(&piece[..reply.length]);
        if request.len() as u64 >= length {
            return request;
        }
    }
}

/// A TARGETINFO of the host's; another length is the host's failure and no reason to end.
fn target(request: &Request<'_>) -> Result<[u8; TARGETINFO_SIZE], Errno> {
    let mut target = [0; TARGETINFO_SIZE];
    let reply = call(request, &mut target)?;
    if reply.length == TARGETINFO_SIZE {
        return Ok(target);
    }
    let line = alloc::format!(
        "length of the host's reply to {}: expected {TARGETINFO_SIZE}, got {}",
        request.name(),
        reply.length
    );
    Calls.log(Level::Error, line);
    Err(Errno::EIO)
}

/// Reads from `offset` on, in pieces, until `into` is full or a piece comes short.
fn read_all<'a>(
    into: &mut [u8],
    offset: u64,
    request: impl Fn(u64, u32) -> Request<'a>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while done < into.len() {
        let piece = (into.len() - done).min(DATA_SIZE);
        let at = offset.checked_add(done as u64).filter(|at| *at <= i64::MAX as u64);
        let request = request(at.ok_or(Errno::EINVAL)?, piece as u32);
        let reply = call(&request, &mut into[done..done + piece])?;
        done += reply.length;
        if reply.length < piece {
            break;
        }
    }
    Ok(done)
}

impl Host for Calls {
    fn bootstrap(&self) -> Vec<u8> {
        session_request(0)
    }

    fn open(&self, path: &[u8]) -> Result<HostFile, Errno> {
        if path.len() > DATA_SIZE {
            return Err(Errno::ENAMETOOLONG);
        }
        let reply = call(&Request::FileOpen { path }, &mut [])?;
        Ok(HostFile(reply.values[0] as u32))
    }

    fn read_at(&self, file: HostFile, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let HostFile(file) = file;
        read_all(into, offset, |offset, length| Request::FileRead { file, offset, length })
    }

    fn close(&self, file: HostFile) {
        let _ = call(&Request::FileClose { file: file.0 }, &mut []);
    }

    fn side_data(&self, what: SideData, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let what = match what {
            SideData::Metadata => hostcall::SideData::Metadata,
            SideData::Trees => hostcall::SideData::Trees,
        };
        read_all(into, offset, |offset, length| Request::ReadSideData { what, offset, length })
    }

    fn stream_read(
        &self,
        stream: HostStream,
        into: &mut [u8],
        is_nonblocking: bool,
    ) -> Result<usize, Errno> {
        let length = into.len().min(DATA_SIZE);
        let request =
            Request::StreamRead { stream: stream.0, length: length as u32, is_nonblocking };
        Ok(call(&request, &mut into[..length])?.length)
    }

    fn stream_write(
        &self,
        stream: HostStream,
        from: &[u8],
        is_nonblocking: bool,
    ) -> Result<usize, Errno> {
        let HostStream(stream) = stream;
        let request = Request::StreamWrite { stream, is_nonblocking, bytes: cut(from) };
        Ok(call(&request, &mut [])?.values[0] as usize)
    }

    fn stream_poll(&self, stream: HostStream) -> Readiness {
        match call(&Request::StreamPoll { stream: stream.0 }, &mut []) {
            Ok(reply) => Readiness(reply.values[0] as u16),
            Err(_) => Readiness::ERR,
        }
    }

    fn stream_watch(&self, stream: HostStream, interest: Readiness) {
        let interest = interest.0 & hostcall::READINESS;
        let _ = call(&Request::StreamWatch { stream: stream.0, interest }, &mut []);
    }

    fn stream_close(&self, stream: HostStream) {
        let _ = call(&Request::StreamClose { stream: stream.0 }, &mut []);
    }

    fn stream_is_terminal(&self, stream: HostStream) -> bool {
        let reply = call(&Request::StreamIsTerminal { stream: stream.0 }, &mut []);
        reply.is_ok_and(|reply| reply.values[0] == 1)
    }

    fn stream_ioctl(
        &self,
        stream: HostStream,
        request: u32,
        argument: &mut [u8],
    ) -> Result<(), Errno> {
        let mut answer = [0; 256];
        let answer = answer.get_mut(..argument.len()).ok_or(Errno::EINVAL)?;
        let HostStream(stream) = stream;
        call(&Request::StreamIoctl { stream, request, argument: &*argument }, answer)?;
        argument.copy_from_slice(answer);
        Ok(())
    }

    fn net_listen(
        &self,
        address: SocketAddr,
        backlog: u32,
        is_v6_only: bool,
    ) -> Result<HostStream, Errno> {
        let [high, low] = address_words(address.ip());
        let request = Request::NetListen { high, low, port: address.port(), backlog, is_v6_only };
        call(&request, &mut []).map(|reply| HostStream(reply.values[0] as u32))
    }

    fn net_accept(&self, listener: HostStream) -> Result<(HostStream, SocketAddr), Errno> {
        let reply = call(&Request::NetAccept { stream: listener.0 }, &mut [])?;
        Ok((HostStream(reply.values[0] as u32), name_of(&reply)))
    }

    fn net_connect(&self, address: SocketAddr, is_datagram: bool) -> Result<HostStream, Errno> {
        let [high, low] = address_words(address.ip());
        let request = Request::NetConnect { high, low, port: address.port(), is_datagram };
        call(&request, &mut []).map(|reply| HostStream(reply.values[0] as u32))
    }

    fn net_error(&self, stream: HostStream) -> Option<Errno> {
        match call(&Request::NetError { stream: stream.0 }, &mut []) {
            Ok(reply) if reply.values[0] == 0 => None,
            Ok(reply) => Some(Errno::from_host(reply.values[0] as i64)),
            Err(errno) => Some(errno),
        }
    }

    fn net_shutdown(&self, stream: HostStream, reads: bool, writes: bool) -> Result<(), Errno> {
        let half = match (reads, writes) {
            (true, true) => Half::Both,
            (true, false) => Half::Read,
            (false, true) => Half::Write,
            (false, false) => return Ok(()),
        };
        call(&Request::NetShutdown { stream: stream.0, half }, &mut []).map(drop)
    }

    fn net_name(&self, stream: HostStream) -> Result<SocketAddr, Errno> {
        let reply = call(&Request::NetName { stream: stream.0 }, &mut [])?;
        Ok(name_of(&reply))
    }

    fn next_event(&self) -> Event {
        loop {
            let mut bytes = [0; 64];
            let reply = match call(&Request::NextEvent {}, &mut bytes) {
                Ok(reply) => reply,
                // A kick that had nothing to interrupt.
                Err(Errno::EINTR) => continue,
                Err(errno) => refuse(format_args!("NextEvent: expected an event, got {errno:?}")),
            };
            let event = match hostcall::Event::decode(&bytes[..reply.length]) {
                Ok(event) => event,
                Err(error) => refuse(format_args!("{error}")),
            };
            return match event {
                hostcall::Event::Signal { session, signal } => Event::Signal { session, signal },
                hostcall::Event::Exec { session, request_length: _, streams } => Event::Exec {
                    session,
                    request: session_request(session),
                    streams: streams.map(HostStream),
                },
                hostcall::Event::Ready { stream, readiness } => {
                    Event::Ready { stream: HostStream(stream), readiness: Readiness(readiness) }
                }
                hostcall::Event::WindowSize { session } => Event::WindowSize { session },
                hostcall::Event::Report { ticket } => {
                    let Ok(target) = target(&Request::ReportTarget { ticket }) else {
                        // The host has lost interest, or does not know what it wants.
                        self.report_made(ticket, None);
                        continue;
                    };
                    Event::Report { ticket, target: Box::new(target) }
                }
            };
        }
    }

    fn session_ended(&self, session: u32, status: u32) {
        let _ = call(&Request::SessionEnded { session, status }, &mut []);
    }

    fn session_refused(&self, session: u32, reason: &str) {
        let reason = cut(reason.as_bytes());
        let _ = call(&Request::SessionRefused { session, reason }, &mut []);
    }

    fn quote_target(&self) -> Result<[u8; TARGETINFO_SIZE], Errno> {
        target(&Request::QuoteTarget {})
    }

    fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, Errno> {
        let mut quote = alloc::vec![0; DATA_SIZE];
        let reply = call(&Request::Quote { report }, &mut quote)?;
        quote.truncate(reply.length);
        Ok(quote)
    }

    fn report_made(&self, ticket: u32, report: Option<&[u8; REPORT_SIZE]>) {
        let report = report.map_or(&[][..], |report| report);
        let _ = call(&Request::ReportMade { ticket, report }, &mut []);
    }

    fn exit(&self, status: u32) -> ! {
        let _ = raw(&Request::Exit { status }, &mut []);
        // SAFETY: on an enclave thread; nothing continues here.
        unsafe { entry::stop() }
    }

    fn refuse(&self, reason: &str) -> ! {
        refuse(format_args!("{reason}"))
    }

    fn log(&self, level: Level, line: String) {
        let line = cut(line.as_bytes());
        let _ = call(&Request::Log { level: level as u32, line }, &mut []);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_not_overrun() {
        let mut line = Line { bytes: [0; 512], length: 0 };
        for _ in 0..100 {
            assert_eq!(line.write_str("sixteen letters."), Ok(()));
        }
        assert_eq!(line.length, 512);
        assert!(line.bytes.ends_with(b"letters."));
    }
}
