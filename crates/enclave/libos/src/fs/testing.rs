//! What the tests of this directory stand on: a thread with memory of its own, a host that records and can
//! lie, and roots made from a list of files.

use super::context::FsContext;
use super::fd::Table;
use super::memfs::{Budget, Fs, Node, Settings};
use super::mount::{MountFlags, Namespace};
use super::outside::testing::Net;
use super::socket::inet::network::Network;
use super::task::{Alarm, TakenSignal, Task};
use super::verified::{BlockCache, VerifiedRoot};
use crate::errno::Errno;
use crate::host::{Event, Host, HostFile, HostStream, Level, Readiness, SideData};
use crate::platform::{Platform, REPORT_SIZE, TARGETINFO_SIZE};
use crate::process::Credentials;
use crate::syscall::{Args, Entry};
use crate::testing::Machine;
use crate::usermem::UserMemory;
use crate::wait::{WaitError, WaitQueue, wait_uninterrupted};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use workload::meta::{NewInode, NewKind};
use workload::verity::Tree;

/// A host with files in memory.
#[derive(Default)]
pub(crate) struct RecordingHost {
    pub(crate) files: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(crate) metadata: Mutex<Vec<u8>>,
    pub(crate) trees: Mutex<Vec<u8>>,
    pub(crate) log: Mutex<Vec<String>>,
    /// Paths that were opened, in order.
    pub(crate) opened: Mutex<Vec<Vec<u8>>>,
    /// Calls of read_at: path index, offset, bytes.
    pub(crate) reads: Mutex<Vec<(u32, u64, usize)>>,
    pub(crate) lie: Mutex<Lie>,
    pub(crate) input: Mutex<Option<Vec<u8>>>,
    pub(crate) output: Mutex<Vec<u8>>,
    pub(crate) watched: Mutex<Vec<(HostStream, u16)>>,
    /// How often the next watch gives way to other threads before it counts.
    pub(crate) gives_way: AtomicU32,
    /// Done in the next close of a stream, before it counts.
    pub(crate) at_close: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Its sockets.
    pub(crate) net: Mutex<Net>,
    /// The quoting service, if there is one.
    pub(crate) quotes: Mutex<Option<Quotes>>,
}

/// Makes quotes.
pub(crate) type Quotes = Arc<dyn Fn(&[u8; REPORT_SIZE]) -> Result<Vec<u8>, Errno> + Send + Sync>;

/// How the host lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    None,
    /// A count beyond the buffer.
    TooMuch,
    /// Nothing, where there is something.
    Nothing,
    /// An errno that does not exist.
    StrangeError,
}

impl RecordingHost {
    fn give(&self, from: &[u8], offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match *self.lie.lock().unwrap() {
            Lie::None => {}
            Lie::TooMuch => return Ok(into.len() + 1),
            Lie::Nothing => return Ok(0),
            Lie::StrangeError => return Err(Errno::from_host(77_777)),
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(from.len());
        let count = into.len().min(from.len() - start);
        into[..count].copy_from_slice(&from[start..start + count]);
        Ok(count)
    }
}

impl Host for RecordingHost {
    fn bootstrap(&self) -> Vec<u8> {
        Vec::new()
    }
    fn open(&self, path: &[u8]) -> Result<HostFile, Errno> {
        if !self.files.lock().unwrap().contains_key(path) {
            return Err(Errno::ENOENT);
        }
        let mut opened = self.opened.lock().unwrap();
        opened.push(path.to_vec());
        Ok(HostFile(opened.len() as u32 - 1))
    }
    fn read_at(&self, file: HostFile, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        self.reads.lock().unwrap().push((file.0, offset, into.len()));
        let path = self.opened.lock().unwrap()[file.0 as usize].clone();
        let files = self.files.lock().unwrap();
        self.give(&files[&path], offset, into)
    }
    fn close(&self, _: HostFile) {}
    fn side_data(&self, what: SideData, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let data = match what {
            SideData::Metadata => &self.metadata,
            SideData::Trees => &self.trees,
        };
        self.give(&data.lock().unwrap(), offset, into)
    }
    fn stream_read(&self, stream: HostStream, into: &mut [u8], _: bool) -> Result<usize, Errno> {
        if let Some(answer) = self.net.lock().unwrap().read(stream, into) {
            return answer;
        }
        let mut input = self.input.lock().unwrap();
        match &mut *input {
            None => Ok(0),
            Some(bytes) if bytes.is_empty() => Err(Errno::EAGAIN),
            Some(bytes) => {
                let count = bytes.len().min(into.len());
                into[..count].copy_from_slice(&bytes[..count]);
                bytes.drain(..count);
                Ok(count)
            }
        }
    }
    fn stream_write(&self, stream: HostStream, from: &[u8], _: bool) -> Result<usize, Errno> {
        if let Some(answer) = self.net.lock().unwrap().write(stream, from) {
            return answer;
        }
        self.output.lock().unwrap().extend_from_slice(from);
        Ok(from.len())
    }
    fn stream_poll(&self, stream: HostStream) -> Readiness {
        if let Some(answer) = self.net.lock().unwrap().poll(stream) {
            return answer;
        }
        let has_input = self.input.lock().unwrap().as_ref().is_none_or(|bytes| !bytes.is_empty());
        Readiness(Readiness::OUT.0 | if has_input { Readiness::IN.0 } else { 0 })
    }
    fn stream_watch(&self, stream: HostStream, interest: Readiness) {
        for _ in 0..self.gives_way.swap(0, Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.net.lock().unwrap().watch(stream, interest) {
            return;
        }
        self.watched.lock().unwrap().push((stream, interest.0));
    }
    fn stream_close(&self, stream: HostStream) {
        let deed = self.at_close.lock().unwrap().take();
        if let Some(deed) = deed {
            deed();
        }
        self.net.lock().unwrap().close(stream);
    }
    fn stream_is_terminal(&self, _: HostStream) -> bool {
        false
    }
    fn stream_ioctl(&self, _: HostStream, _: u32, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }
    fn net_listen(
        &self,
        address: SocketAddr,
        _: u32,
        is_v6_only: bool,
    ) -> Result<HostStream, Errno> {
        self.net.lock().unwrap().listen(address, is_v6_only)
    }
    fn net_accept(&self, listener: HostStream) -> Result<(HostStream, SocketAddr), Errno> {
        self.net.lock().unwrap().accept(listener)
    }
    fn net_connect(&self, address: SocketAddr, is_datagram: bool) -> Result<HostStream, Errno> {
        self.net.lock().unwrap().connect(address, is_datagram)
    }
    fn net_error(&self, stream: HostStream) -> Option<Errno> {
        self.net.lock().unwrap().error(stream)
    }
    fn net_shutdown(&self, stream: HostStream, reads: bool, writes: bool) -> Result<(), Errno> {
        self.net.lock().unwrap().shutdown(stream, reads, writes)
    }
    fn net_name(&self, _: HostStream) -> Result<SocketAddr, Errno> {
        Ok(self.net.lock().unwrap().name)
    }
    fn next_event(&self) -> Event {
        loop {
            std::thread::park();
        }
    }
    fn session_ended(&self, _: u32, _: u32) {}
    fn session_refused(&self, _: u32, _: &str) {}
    fn quote_target(&self) -> Result<[u8; TARGETINFO_SIZE], Errno> {
        Ok([7; 448].iter().chain(&[0; 64]).copied().collect::<Vec<_>>().try_into().unwrap())
    }
    fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, Errno> {
        let service = self.quotes.lock().unwrap().clone();
        service.ok_or(Errno::ENODEV)?(report)
    }
    fn report_made(&self, _: u32, _: Option<&[u8; REPORT_SIZE]>) {}
    fn exit(&self, status: u32) -> ! {
        panic!("exit {status}")
    }
    fn refuse(&self, reason: &str) -> ! {
        panic!("refused: {reason}")
    }
    fn log(&self, _: Level, line: String) {
        self.log.lock().unwrap().push(line);
    }
}

/// A file of a root: path, permissions, contents.
pub(crate) enum Item<'a> {
    Directory(&'a str, u32),
    File(&'a str, u32, &'a [u8]),
    Link(&'a str, &'a str),
    /// Another name of a file that came before.
    Hard(&'a str, &'a str),
}

/// A host and the root that it serves. Parents come before what they hold.
pub(crate) struct Image {
    pub(crate) host: &'static RecordingHost,
    pub(crate) machine: &'static Machine,
    pub(crate) blob: workload::meta::Blob,
}

impl Image {
    pub(crate) fn new(items: &[Item<'_>]) -> Self {
        let host: &'static RecordingHost = Box::leak(Box::default());
        let machine = Machine::with_host(1 << 20, host);
        let inode = |permissions, kind| NewInode {
            permissions,
            uid: 0,
            gid: 0,
            xattrs: BTreeMap::new(),
            kind,
        };
        let mut inodes = vec![inode(0o755, NewKind::Directory(BTreeMap::new()))];
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        known.insert(String::new(), 0);
        let mut trees: BTreeMap<usize, Tree> = BTreeMap::new();
        for item in items {
            let (path, new) = match item {
                Item::Directory(path, mode) => {
                    (path, Some(inode(*mode, NewKind::Directory(BTreeMap::new()))))
                }
                Item::File(path, mode, contents) => {
                    host.files.lock().unwrap().insert(path.as_bytes().to_vec(), contents.to_vec());
                    let tree = Tree::of(contents);
                    let digest = tree.digest;
                    trees.insert(inodes.len(), tree);
                    let size = contents.len() as u64;
                    (path, Some(inode(*mode, NewKind::Regular { size, digest, mtime: 1_000_000 })))
                }
                Item::Link(path, target) => {
                    (path, Some(inode(0o777, NewKind::Symlink(target.as_bytes().to_vec()))))
                }
                Item::Hard(path, _) => (path, None),
            };
            let index = match (new, item) {
                (Some(new), _) => {
                    inodes.push(new);
                    inodes.len() - 1
                }
                (None, Item::Hard(_, target)) => known[*target],
                _ => unreachable!(),
            };
            known.insert(path.to_string(), index);
            let (parent, name) = path.rsplit_once('/').unwrap();
            let NewKind::Directory(names) = &mut inodes[known[parent]].kind else {
                panic!("{path}")
            };
            names.insert(name.as_bytes().to_vec(), index);
        }
        let blob = workload::meta::write(&inodes).unwrap();
        let mut all = vec![0; blob.trees_length as usize];
        all[..blob.tree.nodes.len()].copy_from_slice(&blob.tree.nodes);
        for place in &blob.places {
            let nodes = &trees[&place.inode].nodes;
            all[place.offset as usize..][..nodes.len()].copy_from_slice(nodes);
        }
        *host.metadata.lock().unwrap() = blob.bytes.clone();
        *host.trees.lock().unwrap() = all;
        Self { host, machine, blob }
    }

    /// Opens the root under a writable layer.
    pub(crate) fn mount(&self, cache_blocks: usize) -> Result<Arc<Node>, String> {
        let cache = BlockCache::new(cache_blocks);
        let size = self.blob.bytes.len() as u64;
        let below = VerifiedRoot::open(self.machine, self.blob.tree.digest, size, cache)?;
        let id = below.root_id();
        Fs::over(settings(self.machine, 10_000), below, id).map_err(|error| format!("{error:?}"))
    }

    /// A thread in that root.
    pub(crate) fn task(&self) -> TestTask {
        TestTask::new(self.machine, self.mount(64).unwrap())
    }
}

pub(crate) fn settings(platform: &'static dyn Platform, pages: u64) -> Settings {
    let own = Budget::new(pages);
    Settings { platform, shared: own.clone(), own, devices: None }
}

/// Memory of a program: 4 MiB from [`BASE`].
pub(crate) struct Memory(Mutex<Vec<u8>>);

pub(crate) const BASE: u64 = 0x10_0000;

impl UserMemory for Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let memory = self.0.lock().unwrap();
        let start = usize::try_from(address.wrapping_sub(BASE)).unwrap();
        let from = memory.get(start..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(from.ok_or(Errno::EFAULT)?);
        Ok(())
    }
    fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let mut memory = self.0.lock().unwrap();
        let start = usize::try_from(address.wrapping_sub(BASE)).unwrap();
        let into = memory.get_mut(start..).and_then(|rest| rest.get_mut(..from.len()));
        into.ok_or(Errno::EFAULT)?.copy_from_slice(from);
        Ok(())
    }
    fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), Errno> {
        self.write(address, &vec![byte; length as usize])
    }
}

/// A thread of a program.
pub(crate) struct TestTask {
    pub(crate) platform: &'static dyn Platform,
    pub(crate) files: Arc<Table>,
    pub(crate) fs: Arc<FsContext>,
    pub(crate) network: Arc<Network>,
    pub(crate) credentials: Mutex<Credentials>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) signals: Mutex<Vec<u8>>,
    pub(crate) pid: u32,
    pub(crate) pgid: u32,
}

impl TestTask {
    pub(crate) fn new(platform: &'static dyn Platform, root: Arc<Node>) -> Self {
        let namespace = Namespace::new(root, "overlay", "overlay", MountFlags::default());
        Self::over(platform, namespace)
    }

    pub(crate) fn over(platform: &'static dyn Platform, namespace: Namespace) -> Self {
        Self {
            platform,
            files: Arc::new(Table::new()),
            fs: Arc::new(FsContext::new(Arc::new(namespace))),
            network: Network::new(platform),
            credentials: Mutex::default(),
            memory: Arc::new(Memory(Mutex::new(vec![0; 4 << 20]))),
            signals: Mutex::default(),
            pid: 1,
            pgid: 1,
        }
    }

    /// In an empty root.
    pub(crate) fn empty() -> Self {
        let machine = Machine::leak(1000);
        Self::new(machine, Fs::empty(settings(machine, 10_000), 0o755))
    }

    /// Another thread of the same process.
    pub(crate) fn sibling(&self) -> Self {
        Self {
            platform: self.platform,
            files: self.files.clone(),
            fs: self.fs.clone(),
            network: self.network.clone(),
            credentials: Mutex::new(self.credentials()),
            memory: Arc::new(Memory(Mutex::new(vec![0; 4 << 20]))),
            signals: Mutex::default(),
            pid: self.pid,
            pgid: self.pgid,
        }
    }

    /// Makes a system call by number. A string argument is put into memory first.
    pub(crate) fn call(&self, number: u16, args: &[Arg<'_>]) -> Result<u64, Errno> {
        let mut raw = [0; 6];
        let mut at = BASE + 0x1000;
        for (slot, arg) in raw.iter_mut().zip(args) {
            *slot = match arg {
                Arg::N(value) => *value as u64,
                Arg::P(offset) => BASE + 0x10_0000 + offset,
                Arg::S(text) => {
                    let start = at;
                    self.memory.write(start, text)?;
                    self.memory.write(start + text.len() as u64, &[0])?;
                    at += text.len() as u64 + 1;
                    start
                }
            };
        }
        let table: &[(u16, super::syscalls::Handler)] = super::syscalls::HANDLERS;
        let handler = table.iter().find(|(known, _)| *known == number).expect("a served call").1;
        handler(self, &Args(raw))
    }

    /// Bytes of the buffer that [`Arg::P`] addresses.
    pub(crate) fn buffer(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read(BASE + 0x10_0000 + offset, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn set_buffer(&self, offset: u64, bytes: &[u8]) {
        self.memory.write(BASE + 0x10_0000 + offset, bytes).unwrap();
    }
}

/// An argument: a number, an offset in the buffer, a string.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    N(i64),
    P(u64),
    S(&'a [u8]),
}

/// The table is what the handlers are found by.
const _: &[Entry] = super::syscalls::TABLE;

/// Every job sleeps in a thread of its own.
struct SleepingThreads;

impl Alarm for SleepingThreads {
    fn at(&'static self, deadline_ns: u64, job: Box<dyn FnOnce() + Send>) -> Result<(), Errno> {
        // The clock of the machine starts with it: a deadline is at most so far away.
        std::thread::spawn(move || {
            let mut left = std::time::Duration::from_nanos(deadline_ns);
            left = left.min(std::time::Duration::from_millis(50));
            std::thread::sleep(left);
            job();
        });
        Ok(())
    }
}

impl Task for TestTask {
    fn platform(&self) -> &'static dyn Platform {
        self.platform
    }
    fn pid(&self) -> u32 {
        self.pid
    }
    fn tid(&self) -> u32 {
        1
    }
    fn files(&self) -> Arc<Table> {
        self.files.clone()
    }
    fn unshare_files(&self) -> Arc<Table> {
        self.files.clone()
    }
    fn fs(&self) -> Arc<FsContext> {
        self.fs.clone()
    }
    fn network(&self) -> Arc<Network> {
        self.network.clone()
    }
    fn credentials(&self) -> Credentials {
        self.credentials.lock().unwrap().clone()
    }
    fn limit_nofile(&self) -> u64 {
        1024
    }
    fn limit_fsize(&self) -> u64 {
        u64::MAX
    }
    fn memory(&self) -> &dyn UserMemory {
        &*self.memory
    }
    fn wait(
        &self,
        queues: &[&WaitQueue],
        deadline_ns: Option<u64>,
        attempt: &mut dyn FnMut() -> bool,
    ) -> Result<(), WaitError> {
        let done =
            wait_uninterrupted(self.platform, queues, deadline_ns, || attempt().then_some(()));
        done.ok_or(WaitError::TimedOut)
    }
    fn set_wait_mask(&self, _: u64) {}
    fn signal_self(&self, signo: u8) {
        self.signals.lock().unwrap().push(signo);
    }
    fn signal_group(&self, _: u32, signo: u8) -> bool {
        self.signals.lock().unwrap().push(signo);
        true
    }
    fn is_signal_ignored(&self, _: u8) -> bool {
        false
    }
    fn take_signal(&self, _: u64) -> Option<TakenSignal> {
        None
    }
    fn has_signal(&self, _: u64) -> bool {
        false
    }
    fn signal_queue(&self) -> Arc<WaitQueue> {
        Arc::new(WaitQueue::new())
    }
    fn alarm(&self) -> &'static dyn Alarm {
        &SleepingThreads
    }
    fn pgid(&self) -> u32 {
        self.pgid
    }
    fn sid(&self) -> u32 {
        1
    }
    fn session_of_group(&self, _: u32) -> Option<u32> {
        Some(1)
    }
    fn is_group_orphaned(&self) -> bool {
        false
    }
}
