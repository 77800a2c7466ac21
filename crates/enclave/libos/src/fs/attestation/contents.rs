//! Files that have contents: made when they are read from the start, as Gramine makes them when they are opened.

use super::{Attestation, Words};
use crate::attestation::report_data::{ReportData, SIZE};
use crate::errno::Errno;
use crate::fs::file::{File, Sink, Source};
use crate::fs::inode::InodeRef;
use crate::fs::stat::Stat;
use crate::host::Level;
use crate::platform::{NoKey, SealRequest, TARGETINFO_SIZE};
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use zeroize::Zeroizing;

/// What a file holds.
#[derive(Clone)]
pub(super) enum Kind {
    /// How remote attestation works here.
    Type,
    /// The library OS's claims.
    Claims,
    /// TARGETINFO of this enclave.
    OwnTarget,
    /// A quote with the report data.
    Quote,
    /// A report for the target with the report data.
    Report,
    /// Whom reports are for.
    Target,
    /// What reports and quotes carry.
    ReportData,
    /// A seal key.
    Key(SealRequest),
}

/// An open file.
pub(super) struct Contents {
    device: Arc<Attestation>,
    kind: Kind,
    inode: InodeRef,
    /// What the process that opened it wrote.
    own: Arc<Mutex<Words>>,
    /// What is being read. It may be a key.
    made: Mutex<Arc<Zeroizing<Vec<u8>>>>,
    /// What is being written, in one piece or several.
    written: Mutex<Vec<u8>>,
}

impl Contents {
    pub(super) fn open(
        device: &Arc<Attestation>,
        kind: Kind,
        inode: InodeRef,
        pid: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            device: device.clone(),
            kind,
            inode,
            own: device.words_of(pid),
            made: Mutex::default(),
            written: Mutex::default(),
        })
    }

    fn make(&self) -> Result<Zeroizing<Vec<u8>>, Errno> {
        let Self { device, own, .. } = self;
        let platform = device.platform;
        Ok(Zeroizing::new(match &self.kind {
            Kind::Type => b"dcap".to_vec(),
            Kind::Claims => device.claims.clone(),
            Kind::OwnTarget => platform.own_target().to_vec(),
            Kind::Quote => device.quote(&device.report_data(own))?,
            Kind::Report => {
                let report = platform.report(&device.target(own), &device.report_data(own));
                report.map_err(|_| Errno::EINVAL)?.to_vec()
            }
            Kind::Target => device.target(own).to_vec(),
            Kind::ReportData => device.report_data(own).bytes().to_vec(),
            Kind::Key(request) => {
                let key = platform.seal_key(request).map_err(|reason| match reason {
                    NoKey::NoIdentity => Errno::ENOENT,
                    NoKey::Version => Errno::EINVAL,
                })?;
                key.to_vec()
            }
        }))
    }

    /// Takes what was written so far, zeros after it.
    fn take(&self, bytes: &[u8]) -> Result<(), Errno> {
        let Self { device, own, .. } = self;
        match self.kind {
            Kind::ReportData => {
                let data = ReportData::user(padded::<SIZE>(bytes)?).map_err(|tagged| {
                    device.platform.host().log(Level::Warn, tagged.to_string());
                    Errno::EPERM
                })?;
                device.set_report_data(own, data);
            }
            Kind::Target => device.set_target(own, &padded::<TARGETINFO_SIZE>(bytes)?),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Errno> {
    let mut all = [0; N];
    all.get_mut(..bytes.len()).ok_or(Errno::EINVAL)?.copy_from_slice(bytes);
    Ok(all)
}

impl File for Contents {
    fn read(&self, offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let is_made = !self.made.lock().is_empty();
        if offset == 0 || !is_made {
            let made = Arc::new(self.make()?);
            *self.made.lock() = made;
        }
        let made = self.made.lock().clone();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(made.len());
        let count = into.remaining().min(made.len() - start);
        into.put(&made[start..start + count])?;
        Ok(count)
    }

    fn write(&self, offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let before = self.written.lock().clone();
        let count = from.remaining();
        let mut bytes = match usize::try_from(offset) {
            Ok(offset) if offset <= before.len() => before[..offset].to_vec(),
            _ => return Err(Errno::EINVAL),
        };
        if count > TARGETINFO_SIZE {
            return Err(Errno::EINVAL);
        }
        let start = bytes.len();
        bytes.resize(start + count, 0);
        from.take(&mut bytes[start..])?;
        self.take(&bytes)?;
        *self.written.lock() = bytes;
        Ok(count)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        matches!(self.kind, Kind::Quote).then_some(&self.device.freed)
    }

    fn is_seekable(&self) -> bool {
        true
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
