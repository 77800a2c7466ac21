//! /dev/attestation/bound: one write is one record, and what is read after it is the quote over it.

use super::Attestation;
use crate::attestation::ReportData;
use crate::attestation::bound::{MAX_SIZE, Record};
use crate::errno::Errno;
use crate::fs::file::{File, Sink, Source};
use crate::fs::inode::InodeRef;
use crate::fs::stat::Stat;
use crate::host::Level;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

pub(super) fn open(device: &Arc<Attestation>, inode: InodeRef) -> Arc<dyn File> {
    Arc::new(Bound { device: device.clone(), inode, session: Mutex::default() })
}

struct Bound {
    device: Arc<Attestation>,
    inode: InodeRef,
    session: Mutex<Session>,
}

/// What was written, and the quote as far as it was read.
#[derive(Default)]
struct Session {
    data: Option<ReportData>,
    quote: Option<Arc<Vec<u8>>>,
    read: usize,
}

impl Bound {
    /// The quote over the record; made on the first read.
    fn quote(&self) -> Result<Arc<Vec<u8>>, Errno> {
        let data = {
            let session = self.session.lock();
            match (&session.quote, session.data) {
                (Some(quote), _) => return Ok(quote.clone()),
                // Nothing was said that could be quoted.
                (None, None) => return Err(Errno::ENODATA),
                (None, Some(data)) => data,
            }
        };
        let quote = Arc::new(self.device.quote(&data)?);
        let mut session = self.session.lock();
        // Another thread may have written meanwhile: its record is not this quote's.
        if session.data == Some(data) && session.quote.is_none() {
            session.quote = Some(quote.clone());
            return Ok(quote);
        }
        session.quote.clone().filter(|_| session.data == Some(data)).ok_or(Errno::EAGAIN)
    }
}

impl File for Bound {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let quote = self.quote()?;
        let (start, count) = {
            let mut session = self.session.lock();
            let start = session.read.min(quote.len());
            let count = into.remaining().min(quote.len() - start);
            session.read = start + count;
            (start, count)
        };
        into.put(&quote[start..start + count])?;
        Ok(count)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let count = from.remaining();
        if count > MAX_SIZE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = alloc::vec![0; count];
        from.take(&mut bytes)?;
        let record = Record::parse(&bytes).map_err(|bad| {
            self.device.platform.host().log(Level::Warn, bad.to_string());
            Errno::EINVAL
        })?;
        let data = Some(record.report_data(&self.device.claims));
        *self.session.lock() = Session { data, ..Session::default() };
        Ok(count)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.device.freed)
    }

    fn stat(&self) -> Stat {
        self.inode.stat()
    }

    fn inode(&self) -> Option<&InodeRef> {
        Some(&self.inode)
    }

    fn description(&self) -> String {
        String::new()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
