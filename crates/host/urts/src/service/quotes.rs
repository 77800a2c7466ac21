//! Quotes: from whatever makes them here.

use crate::log::{Level, Log, printable};
use hostcall::{REPORT_SIZE, TARGETINFO_SIZE};
use rustix::io::Errno;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What makes quotes: on hardware Intel's daemon, on the emulator a part of this process.
///
/// An implementation does its own waiting and gives up after a while; it is called on the thread of the enclave
/// that asked, on several at once. It must work after the process has changed its root and taken the container's
/// seccomp profile: what it needs of the host's files it opens before.
pub trait QuoteService: fmt::Debug + Send + Sync {
    /// TARGETINFO of the quoting enclave.
    ///
    /// # Errors
    /// The service's; a line for the operator's log.
    fn target_info(&self) -> Result<[u8; TARGETINFO_SIZE], Box<dyn Error + Send + Sync>>;

    /// A quote for a report that is made for this target, at most 65536 bytes.
    ///
    /// # Errors
    /// As [`target_info`](Self::target_info).
    fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>;
}

/// The service, if there is one.
pub(crate) struct Quotes {
    service: Option<Arc<dyn QuoteService>>,
    log: Log,
}

impl Quotes {
    pub(crate) fn new(service: Option<Arc<dyn QuoteService>>, log: Log) -> Self {
        Self { service, log }
    }

    /// TARGETINFO of the quoting enclave.
    pub(crate) fn target(&self) -> Result<[u8; TARGETINFO_SIZE], Errno> {
        self.service()?.target_info().map_err(|error| self.failed(&*error))
    }

    /// A quote.
    pub(crate) fn quote(&self, report: &[u8]) -> Result<Vec<u8>, Errno> {
        let service = self.service()?;
        let report = report.try_into().map_err(|_| Errno::INVAL)?;
        let quote = service.quote(report).map_err(|error| self.failed(&*error))?;
        if quote.len() > hostcall::DATA_SIZE {
            let line = format!("quote: expected at most 65536 bytes, got {}", quote.len());
            self.log.line(Level::Error, &line);
            return Err(Errno::IO);
        }
        Ok(quote)
    }

    fn service(&self) -> Result<&dyn QuoteService, Errno> {
        self.service.as_deref().ok_or_else(|| {
            self.log.line(Level::Warn, "quote: this host has no quoting service");
            Errno::NODEV
        })
    }

    fn failed(&self, error: &dyn Error) -> Errno {
        let line = printable(format!("quote: {error}").as_bytes());
        self.log.line(Level::Error, &line);
        Errno::IO
    }
}
