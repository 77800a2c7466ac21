//! /dev/attestation: reports, quotes and seal keys as files, under the names that Gramine's users know.
//!
//! The measured manifest says which users open which of them. That is semantics, not a boundary, as all
//! permissions here: programs of one container trust each other.
//!
//! What is written to `user_report_data` and `target_info` holds for the process that opened the file, whichever
//! descriptor it reads by; a process without words of its own gets what was written last in the container, so that
//! the commands of a shell script work together. `bound` keeps its record per open file. At most [`MAX_QUOTES`]
//! quotes are in the making at once; further readers wait.
//!
//! `docs/spec/attestation-devices.md` is the specification. All locks are leaves.

mod bound;
mod contents;

use super::context::Caller;
use super::file::File;
use super::flags::{O_ACCMODE, O_RDONLY, O_RDWR};
use super::inode::{InodeRef, OpenHow};
use super::pseudo::{Entry, Names, Pseudo};
use super::stat::{FileType, Time};
use crate::attestation::claims::{self, INSTANCE_ID_SIZE};
use crate::attestation::{ReportData, quote, seal};
use crate::errno::Errno;
use crate::platform::{Platform, SealTo, TARGETINFO_SIZE};
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use contents::{Contents, Kind};
use core::sync::atomic::{AtomicUsize, Ordering};
use workload::digest::Digest;
use workload::manifest::AttestationFiles;

/// Quotes in the making at once. The host's quoting enclave works on one at a time.
pub const MAX_QUOTES: usize = 4;

/// `f_type` of the file system: "ATTE".
const MAGIC: u64 = 0x4154_5445;

/// Directory of the keys, and its name in the manifest.
const KEYS: &str = "keys";

/// The files that are one object each, and whether they are written too.
const FILES: &[(&str, Kind, bool)] = &[
    ("attestation_type", Kind::Type, false),
    ("claims", Kind::Claims, false),
    ("my_target_info", Kind::OwnTarget, false),
    ("quote", Kind::Quote, false),
    ("report", Kind::Report, false),
    ("target_info", Kind::Target, true),
    ("user_report_data", Kind::ReportData, true),
];
const BOUND: &str = "bound";

/// State behind the files.
pub struct Attestation {
    platform: &'static dyn Platform,
    allowed: AttestationFiles,
    /// The attester's user, and the files it opens whatever else is allowed.
    attester: Option<(u32, &'static [&'static str])>,
    claims: Vec<u8>,
    /// What was written last.
    last: Mutex<Words>,
    /// What living processes wrote.
    own: Mutex<BTreeMap<u32, Arc<Mutex<Words>>>>,
    quotes: AtomicUsize,
    /// Woken when a quote is done.
    freed: WaitQueue,
}

/// The two inputs of a report.
#[derive(Default)]
struct Words {
    data: Option<ReportData>,
    target: Option<Box<[u8; TARGETINFO_SIZE]>>,
}

impl Attestation {
    /// For the users and files that the manifest allows, and the attester's user, if there is one, for whom alone
    /// `bound` is then. `config_digest` is that of what was admitted.
    #[must_use]
    pub fn new(
        platform: &'static dyn Platform,
        allowed: &AttestationFiles,
        attester: Option<(u32, &'static [&'static str])>,
        config_digest: &Digest,
    ) -> Arc<Self> {
        let mut instance_id = [0; INSTANCE_ID_SIZE];
        platform.random(&mut instance_id);
        Arc::new(Self {
            platform,
            allowed: allowed.clone(),
            attester,
            claims: claims::encode(&config_digest.0, &instance_id),
            last: Mutex::default(),
            own: Mutex::default(),
            quotes: AtomicUsize::new(0),
            freed: WaitQueue::new(),
        })
    }

    /// The tree.
    #[must_use]
    pub fn tree(self: &Arc<Self>, made: Time) -> Arc<Pseudo> {
        Pseudo::root(Box::new(Root(self.clone())), MAGIC, made)
    }

    /// A process is gone. A file that it opened and passed on keeps its words; a new process with the same
    /// number has none.
    pub fn forget(&self, pid: u32) {
        self.own.lock().remove(&pid);
    }

    /// Whether the caller may open a file of this name in the manifest, so.
    fn admit(
        &self,
        caller: &Caller,
        name: &str,
        is_written: bool,
        how: OpenHow,
    ) -> Result<(), Errno> {
        let user = caller.credentials.fsuid;
        let is_attesters =
            self.attester.is_some_and(|(uid, files)| uid == user && files.contains(&name));
        let is_listed = self.allowed.uids.contains(&user)
            && self.allowed.files.iter().any(|listed| listed == name)
            && (name != BOUND || self.attester.is_none());
        if !(is_listed || is_attesters) || !is_written && how.flags & O_ACCMODE != O_RDONLY {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// The words of a process, for a file that it opens.
    fn words_of(&self, pid: u32) -> Arc<Mutex<Words>> {
        self.own.lock().entry(pid).or_default().clone()
    }

    fn report_data(&self, own: &Mutex<Words>) -> ReportData {
        let data = own.lock().data;
        data.or_else(|| self.last.lock().data).unwrap_or(ReportData::EMPTY)
    }

    fn target(&self, own: &Mutex<Words>) -> [u8; TARGETINFO_SIZE] {
        let target = own.lock().target.clone();
        let target = target.or_else(|| self.last.lock().target.clone());
        target.map_or([0; TARGETINFO_SIZE], |target| *target)
    }

    fn set_report_data(&self, own: &Mutex<Words>, data: ReportData) {
        own.lock().data = Some(data);
        self.last.lock().data = Some(data);
    }

    fn set_target(&self, own: &Mutex<Words>, target: &[u8; TARGETINFO_SIZE]) {
        own.lock().target = Some(Box::new(*target));
        self.last.lock().target = Some(Box::new(*target));
    }

    /// A quote, or EAGAIN while too many are in the making: the caller waits on [`freed`](Self::freed).
    fn quote(&self, data: &ReportData) -> Result<Vec<u8>, Errno> {
        let (set, get) = (Ordering::AcqRel, Ordering::Acquire);
        let take = |running: usize| (running < MAX_QUOTES).then_some(running + 1);
        self.quotes.fetch_update(set, get, take).map_err(|_| Errno::EAGAIN)?;
        let made = quote::quote(self.platform, data);
        self.quotes.fetch_sub(1, Ordering::AcqRel);
        self.freed.wake_all();
        made
    }
}

/// /dev/attestation.
struct Root(Arc<Attestation>);

impl Names for Root {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let device = self.0.clone();
        if name == KEYS.as_bytes() {
            return Some(Entry::Directory(Box::new(Keys(device))));
        }
        if name == BOUND.as_bytes() {
            return Some(Entry::Opened(
                0o666,
                Box::new(move |caller, inode, how| {
                    device.admit(caller, BOUND, true, how)?;
                    if how.flags & O_ACCMODE != O_RDWR {
                        // Neither half is of use alone, for the record is the open file's.
                        return Err(Errno::EINVAL);
                    }
                    Ok(bound::open(&device, inode))
                }),
            ));
        }
        let (name, kind, is_written) =
            FILES.iter().find(|(known, ..)| known.as_bytes() == name).cloned()?;
        let mode = if is_written { 0o666 } else { 0o444 };
        Some(Entry::Opened(
            mode,
            Box::new(move |caller, inode, how| {
                device.admit(caller, name, is_written, how)?;
                Ok(Contents::open(&device, kind.clone(), inode, caller.pid))
            }),
        ))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let files = FILES.iter().map(|(name, ..)| *name).chain([BOUND]);
        let files = files.map(|name| (Vec::from(name), FileType::Regular));
        files.chain([(Vec::from(KEYS), FileType::Directory)]).collect()
    }
}

/// /dev/attestation/keys: the two keys that Gramine has, and a directory of volumes for each kind.
struct Keys(Arc<Attestation>);

const KINDS: &[(&str, &str, SealTo)] = &[
    ("_sgx_mrenclave", "mrenclave", SealTo::Enclave),
    ("_sgx_mrsigner", "mrsigner", SealTo::Workload),
];

impl Names for Keys {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let device = &self.0;
        KINDS.iter().find_map(|(key, volumes, to)| {
            if name == key.as_bytes() {
                Some(key_file(device, Kind::Key(seal::volume(*to, b""))))
            } else if name == volumes.as_bytes() {
                Some(Entry::Directory(Box::new(Volumes(device.clone(), *to))))
            } else {
                None
            }
        })
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        let entry = |name: &str, file_type| (Vec::from(name), file_type);
        let keys = KINDS.iter().map(|(key, ..)| entry(key, FileType::Regular));
        keys.chain(KINDS.iter().map(|(_, name, _)| entry(name, FileType::Directory))).collect()
    }
}

/// A key for every volume id. None is listed: they are not made, they are derived.
struct Volumes(Arc<Attestation>, SealTo);

impl Names for Volumes {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let request = seal::named(self.1, name)?;
        Some(key_file(&self.0, Kind::Key(request)))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        Vec::new()
    }
}

fn key_file(device: &Arc<Attestation>, kind: Kind) -> Entry {
    let device = device.clone();
    let open = move |caller: &Caller, inode: InodeRef, how| {
        device.admit(caller, KEYS, false, how)?;
        Ok(Contents::open(&device, kind.clone(), inode, caller.pid) as Arc<dyn File>)
    };
    Entry::Opened(0o444, Box::new(open))
}
