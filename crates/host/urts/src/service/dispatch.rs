//! From a decoded request to its reply.

use super::{Answer, Served, sessions};
use crate::block::Block;
use crate::end::{ExitStatus, SessionEnd, driver_message};
use crate::handle::Shared;
use crate::log::{Level, printable};
use crate::pool::{SpawnError, Worker};
use hostcall::{DATA_SIZE, NO_DEADLINE, Request, TypeChange};
use rustix::io::Errno;
use sgx::driver::{DriverError, ModifiedType, Protection};
use std::sync::Arc;
use std::time::Duration;

/// Serves the request in `block` and writes the reply. Afterwards the enclave may have ended.
pub(crate) fn serve(
    shared: &Arc<Shared>,
    worker: &Worker,
    block: &Block,
    scratch: &mut [u8; DATA_SIZE],
) {
    let server = block.server();
    let request = match server.receive(scratch) {
        Ok(request) => request,
        Err(bad) => return shared.end(ExitStatus::Stopped(crate::StopReason::BadRequest(bad))),
    };
    let done = |served: Served<'_>| match served {
        Ok(Answer::Done) => server.reply_in_place([0; 4], 0),
        Ok(Answer::Value(value)) => server.reply_in_place([value, 0, 0, 0], 0),
        Ok(Answer::Values(values)) => server.reply_in_place(values, 0),
        Ok(Answer::Data(data)) => server.reply([0; 4], data),
        Ok(Answer::InPlace(length)) => server.reply_in_place([0; 4], length),
        Err(errno) => server.fail(errno.raw_os_error()),
    };
    match request {
        Request::SessionRequest { session, offset } => {
            match shared.sessions.request(session, offset) {
                Some((total, request, start)) => {
                    server.reply([total, 0, 0, 0], sessions::chunk(&request, start));
                }
                None => server.fail(Errno::SRCH.raw_os_error()),
            }
        }
        Request::NextEvent {} => match shared.events.next(&worker.interrupt) {
            Ok(event) => server.reply([0; 4], &event.encode()),
            Err(errno) => server.fail(errno.raw_os_error()),
        },
        Request::StreamIoctl { stream, request, argument } => {
            done(shared.streams.ioctl(stream, request, argument, &mut [0; 36]));
        }
        Request::FileRead { file, offset, length } => {
            done(shared.files.read(file, offset, length, block));
        }
        Request::ReadSideData { what, offset, length } => {
            done(shared.files.side_data(what, offset, length, block));
        }
        Request::StreamRead { stream, length, is_nonblocking } => {
            let interrupt = &worker.interrupt;
            done(shared.streams.read(stream, length, is_nonblocking, block, interrupt));
        }
        Request::QuoteTarget {} => {
            let target = shared.quotes.target();
            done(target.as_ref().map(|target| Answer::Data(target)).map_err(|errno| *errno));
        }
        Request::Quote { report } => {
            let quote = shared.quotes.quote(report);
            done(quote.as_deref().map(Answer::Data).map_err(|errno| *errno));
        }
        Request::ReportTarget { ticket } => {
            let target = shared.reports.target(ticket);
            done(target.as_ref().map(|target| Answer::Data(target)).map_err(|errno| *errno));
        }
        request => done(simple(shared, worker, request)),
    }
}

/// The requests whose reply is in no buffer.
fn simple(shared: &Arc<Shared>, worker: &Worker, request: Request<'_>) -> Served<'static> {
    match request {
        Request::Log { level, line } => {
            shared.log.line(Level::from_number(level), &printable(line));
            Ok(Answer::Done)
        }
        Request::Exit { status } => {
            shared.end(ExitStatus::Exited(status));
            Ok(Answer::Done)
        }
        Request::Refuse { reason } => {
            shared.end(ExitStatus::Refused(printable(reason)));
            Ok(Answer::Done)
        }
        Request::FileOpen { path } => shared.files.open(path),
        Request::FileClose { file } => shared.files.close(file),
        Request::StreamWrite { stream, is_nonblocking, bytes } => {
            shared.streams.write(stream, bytes, is_nonblocking, &worker.interrupt)
        }
        Request::StreamPoll { stream } => shared.streams.poll(stream),
        Request::StreamWatch { stream, interest } => shared.streams.watch(stream, interest),
        Request::StreamClose { stream } => shared.streams.close(stream),
        Request::StreamIsTerminal { stream } => shared.streams.is_terminal(stream),
        Request::NetListen { high, low, port, backlog, is_v6_only } => {
            shared.streams.net_listen([high, low], port, backlog, is_v6_only)
        }
        Request::NetAccept { stream } => shared.streams.net_accept(stream),
        Request::NetConnect { high, low, port, is_datagram } => {
            shared.streams.net_connect([high, low], port, is_datagram)
        }
        Request::NetError { stream } => shared.streams.net_error(stream),
        Request::NetShutdown { stream, half } => shared.streams.net_shutdown(stream, half),
        Request::NetName { stream } => shared.streams.net_name(stream),
        Request::SessionEnded { session, status } => {
            shared.sessions.end(session, SessionEnd::Exited(status))
        }
        Request::SessionRefused { session, reason } => {
            let reason = printable(reason);
            shared.log.line(Level::Warn, &format!("session {session} refused: {reason}"));
            shared.sessions.end(session, SessionEnd::Refused(reason))
        }
        Request::ReportMade { ticket, report } => shared.reports.answer(ticket, report),
        Request::ThreadSpawn { tcs } => {
            shared.spawn(tcs).map(|()| Answer::Done).map_err(|error| match error {
                SpawnError::Busy => Errno::BUSY,
                SpawnError::Exhausted | SpawnError::Closed => Errno::AGAIN,
            })
        }
        Request::Park { timeout_ns } => {
            let timeout = (timeout_ns != NO_DEADLINE).then(|| Duration::from_nanos(timeout_ns));
            if !shared.has_ended() {
                worker.parker.park(timeout);
            }
            Ok(Answer::Done)
        }
        Request::Unpark { tcs } => {
            shared.pool.on(tcs).ok_or(Errno::SRCH)?.parker.unpark();
            Ok(Answer::Done)
        }
        Request::Kick { tcs } => {
            shared.pool.on(tcs).ok_or(Errno::SRCH)?.interrupt.interrupt();
            shared.events.nudge();
            shared.enclave.kick(tcs);
            Ok(Answer::Done)
        }
        Request::Yield {} => {
            std::thread::yield_now();
            Ok(Answer::Done)
        }
        Request::Clock {} => Ok(Answer::Values(shared.clock.read())),
        Request::Protect { offset, length, protection } => memory(
            shared,
            shared.enclave.protect(offset..offset + length, Protection(protection.0)),
        ),
        Request::Restrict { offset, length, protection } => memory(
            shared,
            shared.enclave.restrict(offset..offset + length, Protection(protection.0)),
        ),
        Request::ModifyType { offset, length, to } => {
            let to = match to {
                TypeChange::Tcs => ModifiedType::Tcs,
                TypeChange::Trim => ModifiedType::Trim,
            };
            memory(shared, shared.enclave.modify_type(offset..offset + length, to))
        }
        Request::Remove { offset, length } => {
            memory(shared, shared.enclave.remove(offset..offset + length))
        }
        // `serve` takes these itself, since their replies lie in buffers.
        Request::SessionRequest { .. }
        | Request::NextEvent {}
        | Request::StreamIoctl { .. }
        | Request::FileRead { .. }
        | Request::ReadSideData { .. }
        | Request::StreamRead { .. }
        | Request::QuoteTarget {}
        | Request::Quote { .. }
        | Request::ReportTarget { .. } => Err(Errno::NOSYS),
    }
}

/// The enclave gets an error number; the operator gets the driver's words.
fn memory(shared: &Shared, result: Result<(), DriverError>) -> Served<'static> {
    result.map(|()| Answer::Done).map_err(|error| {
        shared.log.line(Level::Warn, &driver_message(&error));
        match error {
            DriverError::Os { errno, .. } => Errno::from_raw_os_error(errno),
            DriverError::Refused { .. } | DriverError::Mismatch { .. } => Errno::INVAL,
            DriverError::Leaf { .. } | DriverError::Einit(_) => Errno::FAULT,
        }
    })
}
