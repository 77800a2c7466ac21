//! Reports that the host wants: `pal_get_local_report`.
//!
//! The enclave makes them. A wish is announced by an event; the enclave reads for whom it is and answers.

use super::{Answer, Served};
use crate::end::ExitStatus;
use hostcall::{REPORT_SIZE, TARGETINFO_SIZE};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long an enclave may take; one that works answers in microseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wishes that are not fulfilled yet.
#[derive(Default)]
pub(crate) struct Reports {
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    wishes: HashMap<u32, Wish>,
    last: u32,
    enclave_end: Option<ExitStatus>,
}

enum Wish {
    Open([u8; TARGETINFO_SIZE]),
    /// None: the enclave made no report.
    Answered(Option<[u8; REPORT_SIZE]>),
}

impl Reports {
    /// Records a wish and gives its number.
    pub(crate) fn want(&self, target: &[u8; TARGETINFO_SIZE]) -> u32 {
        let mut table = self.lock();
        table.last = table.last.wrapping_add(1);
        let ticket = table.last;
        table.wishes.insert(ticket, Wish::Open(*target));
        ticket
    }

    /// Whom a report is wanted for.
    pub(crate) fn target(&self, ticket: u32) -> Result<[u8; TARGETINFO_SIZE], Errno> {
        match self.lock().wishes.get(&ticket) {
            Some(Wish::Open(target)) => Ok(*target),
            _ => Err(Errno::SRCH),
        }
    }

    /// The enclave's answer.
    pub(crate) fn answer(&self, ticket: u32, report: &[u8]) -> Served<'static> {
        let report = match report {
            [] => None,
            report => Some(report.try_into().map_err(|_| Errno::INVAL)?),
        };
        let mut table = self.lock();
        match table.wishes.get_mut(&ticket) {
            Some(wish @ Wish::Open(_)) => *wish = Wish::Answered(report),
            _ => return Err(Errno::SRCH),
        }
        drop(table);
        self.changed.notify_all();
        Ok(Answer::Done)
    }

    /// Waits for the answer and forgets the wish; None if there is no report, or no answer in time.
    pub(crate) fn wait(&self, ticket: u32) -> Result<Option<[u8; REPORT_SIZE]>, ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        let mut table = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(Wish::Answered(report)) = table.wishes.get(&ticket) {
                let report = *report;
                table.wishes.remove(&ticket);
                return Ok(report);
            }
            if let Some(status) = table.enclave_end.clone() {
                table.wishes.remove(&ticket);
                return Err(status);
            }
            if left.is_zero() {
                table.wishes.remove(&ticket);
                return Ok(None);
            }
            table = self.changed.wait_timeout(table, left).expect("no panic under the lock").0;
        }
    }

    /// No answer comes any more.
    pub(crate) fn end_all(&self, status: &ExitStatus) {
        self.lock().enclave_end.get_or_insert_with(|| status.clone());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic under the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reaches_who_waits_and_counts_once() {
        let reports = Reports::default();
        let ticket = reports.want(&[7; 512]);
        assert_eq!(reports.target(ticket), Ok([7; 512]));
        assert_eq!(reports.answer(ticket, &[1; 431]), Err(Errno::INVAL));
        assert_eq!(reports.answer(ticket, &[1; 432]), Ok(Answer::Done));
        assert_eq!(reports.answer(ticket, &[2; 432]), Err(Errno::SRCH));
        assert_eq!(reports.target(ticket), Err(Errno::SRCH));
        assert_eq!(reports.wait(ticket), Ok(Some([1; 432])));
        let none = reports.want(&[7; 512]);
        assert_ne!(none, ticket);
        assert_eq!(reports.answer(none, &[]), Ok(Answer::Done));
        assert_eq!(reports.wait(none), Ok(None));
        assert_eq!(reports.answer(99, &[]), Err(Errno::SRCH));
    }

    #[test]
    fn the_end_of_the_enclave_ends_the_wait() {
        let reports = Reports::default();
        let ticket = reports.want(&[0; 512]);
        reports.end_all(&ExitStatus::Exited(9));
        assert_eq!(reports.wait(ticket), Err(ExitStatus::Exited(9)));
    }
}
