//! Sessions: the container's first process (0) and each exec.

use super::{Answer, Served};
use crate::end::{ExitStatus, SessionEnd};
use hostcall::{DATA_SIZE, MAX_REQUEST};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<u32, Session>,
    last: u32,
    enclave_end: Option<ExitStatus>,
}

struct Session {
    request: Arc<[u8]>,
    end: Option<SessionEnd>,
}

impl Sessions {
    /// Records the request of the container's first process.
    pub(crate) fn add_first(&self, request: Vec<u8>) -> Result<(), RequestTooLong> {
        let request = bounded(request)?;
        self.lock().sessions.insert(0, Session { request, end: None });
        Ok(())
    }

    /// Makes a session, or gives how the enclave ended.
    pub(crate) fn add(&self, request: Vec<u8>) -> Result<Result<u32, ExitStatus>, RequestTooLong> {
        let request = bounded(request)?;
        let mut table = self.lock();
        if let Some(status) = &table.enclave_end {
            return Ok(Err(status.clone()));
        }
        // Numbers are not reused: 2^32 execs outlast any container.
        table.last += 1;
        let number = table.last;
        table.sessions.insert(number, Session { request, end: None });
        Ok(Ok(number))
    }

    /// The request of a session, from `offset` on, for the enclave.
    pub(crate) fn request(&self, session: u32, offset: u64) -> Option<(u64, Arc<[u8]>, usize)> {
        let table = self.lock();
        let request = Arc::clone(&table.sessions.get(&session)?.request);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(request.len());
        Some((request.len() as u64, request, start))
    }

    /// Records the end of an exec session, as the enclave tells it.
    pub(crate) fn end(&self, session: u32, end: SessionEnd) -> Served<'static> {
        if session == 0 {
            return Err(Errno::INVAL);
        }
        let mut table = self.lock();
        let entry = table.sessions.get_mut(&session).ok_or(Errno::SRCH)?;
        entry.end.get_or_insert(end);
        drop(table);
        self.changed.notify_all();
        Ok(Answer::Done)
    }

    /// Ends every session with the enclave.
    pub(crate) fn end_all(&self, status: &ExitStatus) {
        self.lock().enclave_end.get_or_insert_with(|| status.clone());
        self.changed.notify_all();
    }

    /// Waits for the end of an exec session and forgets it; `None` if there is no such session.
    pub(crate) fn wait(&self, session: u32) -> Option<SessionEnd> {
        let mut table = self.lock();
        loop {
            let ended = table.sessions.get_mut(&session)?.end.take().or_else(|| {
                table.enclave_end.as_ref().map(|status| SessionEnd::EnclaveEnded(status.clone()))
            });
            if let Some(end) = ended {
                table.sessions.remove(&session);
                return Some(end);
            }
            table = self.changed.wait(table).expect("no panic under the lock");
        }
    }

    /// Whether a session is known and has not ended.
    pub(crate) fn is_live(&self, session: u32) -> bool {
        let table = self.lock();
        table.enclave_end.is_none()
            && table.sessions.get(&session).is_some_and(|entry| entry.end.is_none())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().expect("no panic under the lock")
    }
}

/// Bytes of a request that one reply carries from `start`.
pub(crate) fn chunk(request: &[u8], start: usize) -> &[u8] {
    let rest = &request[start..];
    &rest[..rest.len().min(DATA_SIZE)]
}

/// A request longer than the ABI carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestTooLong {
    pub(crate) got: usize,
}

fn bounded(request: Vec<u8>) -> Result<Arc<[u8]>, RequestTooLong> {
    if request.len() as u64 > MAX_REQUEST {
        return Err(RequestTooLong { got: request.len() });
    }
    Ok(request.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_once_and_is_forgotten_when_waited_for() {
        let sessions = Sessions::default();
        let one = sessions.add(b"{}".to_vec()).unwrap().unwrap();
        assert_eq!(one, 1);
        assert!(sessions.is_live(one));
        sessions.end(one, SessionEnd::Exited(256)).unwrap();
        sessions.end(one, SessionEnd::Exited(0)).unwrap();
        assert!(!sessions.is_live(one));
        assert_eq!(sessions.wait(one), Some(SessionEnd::Exited(256)));
        assert_eq!(sessions.wait(one), None);
        assert_eq!(sessions.end(one, SessionEnd::Exited(0)), Err(Errno::SRCH));
        assert_eq!(sessions.end(0, SessionEnd::Exited(0)), Err(Errno::INVAL));
    }

    #[test]
    fn the_end_of_the_enclave_ends_sessions_and_refuses_new_ones() {
        let sessions = Sessions::default();
        let one = sessions.add(Vec::new()).unwrap().unwrap();
        sessions.end_all(&ExitStatus::Exited(9));
        let end = SessionEnd::EnclaveEnded(ExitStatus::Exited(9));
        assert_eq!(sessions.wait(one), Some(end));
        assert_eq!(sessions.add(Vec::new()).unwrap(), Err(ExitStatus::Exited(9)));
    }

    #[test]
    fn a_request_over_a_mebibyte_is_refused() {
        let sessions = Sessions::default();
        assert!(sessions.add(vec![b' '; 1 << 20]).is_ok());
        let error = sessions.add(vec![b' '; (1 << 20) + 1]).unwrap_err();
        assert_eq!(error, RequestTooLong { got: (1 << 20) + 1 });
    }

    #[test]
    fn a_long_request_is_read_in_pieces() {
        let sessions = Sessions::default();
        let request: Vec<u8> = (0..100_000_u32).map(|index| index as u8).collect();
        sessions.add_first(request.clone()).unwrap();
        let mut read = Vec::new();
        while read.len() < request.len() {
            let (total, bytes, start) = sessions.request(0, read.len() as u64).unwrap();
            assert_eq!(total, 100_000);
            read.extend_from_slice(chunk(&bytes, start));
        }
        assert_eq!(read, request);
        let (_, bytes, start) = sessions.request(0, u64::MAX).unwrap();
        assert!(chunk(&bytes, start).is_empty());
    }
}
