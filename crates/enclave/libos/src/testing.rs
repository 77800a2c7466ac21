//! A platform in an ordinary process, for unit tests: memory is a table of pages, threads are the host's.
//! User code does not run; tests do what it would do through [`Machine::user_read`] and its like, which
//! obey the page rights as a processor does.

use crate::attestation::ReportData;
use crate::errno::Errno;
use crate::host::{Event, Host, HostFile, HostStream, Level, Readiness, SideData};
use crate::platform::{
    Access, BadAddress, BadTarget, Exhausted, NoKey, PAGE_SIZE, Platform, REPORT_SIZE, SealRequest,
    SealTo, SystemCalls, TARGETINFO_SIZE, ThreadId, UserContext, UserExit, XState,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

type CommittedPage = (Box<[u8; 4096]>, Access);

/// The simulated machine.
pub(crate) struct Machine {
    pages: Mutex<BTreeMap<u64, CommittedPage>>,
    limit: usize,
    tokens: Mutex<BTreeMap<u32, bool>>,
    unparked: Condvar,
    started: Instant,
    range: Range<u64>,
    host: &'static dyn Host,
}

thread_local! {
    static ME: u32 = {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    };
}

impl Machine {
    /// With user memory at `[0x10000, 1 GiB)` and room for `limit` pages.
    pub(crate) fn leak(limit: usize) -> &'static Self {
        Self::with_host(limit, &NoHost)
    }

    /// Likewise, over a host that has files and streams.
    pub(crate) fn with_host(limit: usize, host: &'static dyn Host) -> &'static Self {
        Box::leak(Box::new(Self {
            pages: Mutex::default(),
            limit,
            tokens: Mutex::default(),
            unparked: Condvar::new(),
            started: Instant::now(),
            range: 0x10000..1 << 30,
            host,
        }))
    }

    /// Pages committed now.
    pub(crate) fn committed(&self) -> usize {
        self.pages.lock().unwrap().len()
    }

    /// Rights of a page, if it is committed.
    pub(crate) fn user_access(&self, address: u64) -> Option<Access> {
        self.pages.lock().unwrap().get(&address).map(|page| page.1)
    }

    /// What user code reads; None: a page fault.
    pub(crate) fn user_read(&self, address: u64) -> Option<u8> {
        let pages = self.pages.lock().unwrap();
        let (bytes, access) = pages.get(&(address & !0xfff))?;
        (*access != Access::default()).then(|| bytes[(address & 0xfff) as usize])
    }

    /// User code writes; None: a page fault.
    pub(crate) fn user_write(&self, address: u64, byte: u8) -> Option<()> {
        let mut pages = self.pages.lock().unwrap();
        let (bytes, access) = pages.get_mut(&(address & !0xfff))?;
        access.write.then(|| bytes[(address & 0xfff) as usize] = byte)
    }

    /// Whether user code has the right on all of it.
    fn open(
        &self,
        address: u64,
        length: usize,
        is_right: impl Fn(Access) -> bool,
    ) -> Result<(), BadAddress> {
        let pages = self.pages.lock().unwrap();
        let end = address.checked_add(length as u64).ok_or(BadAddress)?;
        let mut touched = (address & !0xfff..end).step_by(PAGE_SIZE as usize);
        let is_open = touched.all(|at| pages.get(&at).is_some_and(|page| is_right(page.1)));
        if is_open { Ok(()) } else { Err(BadAddress) }
    }

    fn each(
        &self,
        address: u64,
        length: usize,
        mut body: impl FnMut(&mut [u8], Range<usize>),
    ) -> Result<(), BadAddress> {
        let mut pages = self.pages.lock().unwrap();
        let mut done = 0;
        while done < length {
            let at = address + done as u64;
            let offset = (at & 0xfff) as usize;
            let count = (4096 - offset).min(length - done);
            let (bytes, _) = pages.get_mut(&(at & !0xfff)).ok_or(BadAddress)?;
            body(&mut bytes[offset..offset + count], done..done + count);
            done += count;
        }
        Ok(())
    }
}

impl Platform for Machine {
    fn run_user(&self, _: &mut UserContext, _: &dyn SystemCalls) -> UserExit {
        panic!("user code does not run here")
    }
    fn capture_xstate(&self, context: &mut UserContext) {
        context.xstate_is_full = true;
    }
    fn initial_xstate(&self) -> XState {
        XState([0; crate::platform::XSTATE_SIZE])
    }
    fn syscall_entry_gs_offset(&self) -> u32 {
        0x40
    }
    fn kick(&self, _: ThreadId) {}
    fn spawn(&self, body: Box<dyn FnOnce() + Send>) -> Result<ThreadId, Exhausted> {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            send.send(ME.with(|me| *me)).unwrap();
            body();
        });
        Ok(ThreadId(receive.recv().unwrap()))
    }
    fn current(&self) -> ThreadId {
        ThreadId(ME.with(|me| *me))
    }
    fn park(&self, deadline_ns: Option<u64>) {
        let me = ME.with(|me| *me);
        let mut tokens = self.tokens.lock().unwrap();
        while !std::mem::take(tokens.entry(me).or_default()) {
            let Some(deadline) = deadline_ns else {
                tokens = self.unparked.wait(tokens).unwrap();
                continue;
            };
            let now = self.monotonic_ns();
            if now >= deadline {
                return;
            }
            let left = Duration::from_nanos(deadline - now);
            tokens = self.unparked.wait_timeout(tokens, left).unwrap().0;
        }
    }
    fn unpark(&self, thread: ThreadId) {
        self.tokens.lock().unwrap().insert(thread.0, true);
        self.unparked.notify_all();
    }
    fn yield_now(&self) {
        std::thread::yield_now();
    }
    fn user_range(&self) -> Range<u64> {
        self.range.clone()
    }
    fn commit(&self, range: Range<u64>, access: Access) -> Result<(), Exhausted> {
        let mut pages = self.pages.lock().unwrap();
        for at in range.step_by(PAGE_SIZE as usize) {
            if !pages.contains_key(&at) && pages.len() >= self.limit {
                return Err(Exhausted);
            }
            pages.entry(at).or_insert_with(|| (Box::new([0; 4096]), access)).1 = access;
        }
        Ok(())
    }
    fn release(&self, range: Range<u64>) {
        let mut pages = self.pages.lock().unwrap();
        for at in range.step_by(PAGE_SIZE as usize) {
            pages.remove(&at);
        }
    }
    fn protect(&self, range: Range<u64>, access: Access) {
        let mut pages = self.pages.lock().unwrap();
        for at in range.step_by(PAGE_SIZE as usize) {
            if let Some(page) = pages.get_mut(&at) {
                page.1 = access;
            }
        }
    }
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.each(address, into.len(), |bytes, part| into[part].copy_from_slice(bytes))
    }
    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        self.each(address, from.len(), |bytes, part| bytes.copy_from_slice(&from[part]))
    }
    fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), BadAddress> {
        self.each(address, length as usize, |bytes, _| bytes.fill(byte))
    }
    fn read_open(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.open(address, into.len(), |access| access.read)?;
        self.read(address, into)
    }
    fn write_open(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        self.open(address, from.len(), |access| access.write)?;
        self.write(address, from)
    }
    fn fill_open(&self, address: u64, length: u64, byte: u8) -> Result<(), BadAddress> {
        self.open(address, length as usize, |access| access.write)?;
        self.fill(address, length, byte)
    }
    fn load_u32(&self, address: u64) -> Result<u32, BadAddress> {
        let mut word = [0; 4];
        self.read(address, &mut word).map(|()| u32::from_le_bytes(word))
    }
    fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> Result<u32, BadAddress> {
        let mut found = 0;
        self.each(address, 4, |bytes, _| {
            found = u32::from_le_bytes((&*bytes).try_into().unwrap());
            if found == old {
                bytes.copy_from_slice(&new.to_le_bytes());
            }
        })?;
        Ok(found)
    }
    fn random(&self, into: &mut [u8]) {
        into.fill(0x5a);
    }
    fn monotonic_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
    fn realtime_ns(&self) -> u64 {
        1_700_000_000_000_000_000 + self.monotonic_ns()
    }
    fn xfrm(&self) -> u64 {
        0x7
    }
    fn is_emulated(&self) -> bool {
        true
    }
    fn own_target(&self) -> [u8; TARGETINFO_SIZE] {
        let mut target = [0; TARGETINFO_SIZE];
        target[..32].fill(0x11);
        target
    }
    fn report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
        data: &ReportData,
    ) -> Result<[u8; REPORT_SIZE], BadTarget> {
        if target[511] != 0 {
            return Err(BadTarget { got: target[511] });
        }
        let mut report = [0; REPORT_SIZE];
        report[64..96].fill(0x11);
        report[320..384].copy_from_slice(data.bytes());
        // In place of a MAC: whom it is for.
        report[416..].copy_from_slice(&target[..16]);
        Ok(report)
    }
    fn seal_key(&self, request: &SealRequest) -> Result<Zeroizing<[u8; 16]>, NoKey> {
        if request.to == SealTo::Workload {
            return Err(NoKey::NoIdentity);
        }
        if request.versions.is_some_and(|versions| versions.isvsvn > 3) {
            return Err(NoKey::Version);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&request.key_id[..16]);
        Ok(Zeroizing::new(key))
    }
    fn host(&self) -> &dyn Host {
        self.host
    }
}

struct NoHost;

impl Host for NoHost {
    fn bootstrap(&self) -> Vec<u8> {
        Vec::new()
    }
    fn open(&self, _: &[u8]) -> Result<HostFile, Errno> {
        Err(Errno::ENOENT)
    }
    fn read_at(&self, _: HostFile, _: u64, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }
    fn close(&self, _: HostFile) {}
    fn side_data(&self, _: SideData, _: u64, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }
    fn stream_read(&self, _: HostStream, _: &mut [u8], _: bool) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }
    fn stream_write(&self, _: HostStream, _: &[u8], _: bool) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }
    fn stream_poll(&self, _: HostStream) -> Readiness {
        Readiness::default()
    }
    fn stream_watch(&self, _: HostStream, _: Readiness) {}
    fn stream_close(&self, _: HostStream) {}
    fn stream_is_terminal(&self, _: HostStream) -> bool {
        false
    }
    fn stream_ioctl(&self, _: HostStream, _: u32, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }
    fn net_listen(&self, _: SocketAddr, _: u32, _: bool) -> Result<HostStream, Errno> {
        Err(Errno::EACCES)
    }
    fn net_accept(&self, _: HostStream) -> Result<(HostStream, SocketAddr), Errno> {
        Err(Errno::EBADF)
    }
    fn net_connect(&self, _: SocketAddr, _: bool) -> Result<HostStream, Errno> {
        Err(Errno::EACCES)
    }
    fn net_error(&self, _: HostStream) -> Option<Errno> {
        Some(Errno::EBADF)
    }
    fn net_shutdown(&self, _: HostStream, _: bool, _: bool) -> Result<(), Errno> {
        Err(Errno::EBADF)
    }
    fn net_name(&self, _: HostStream) -> Result<SocketAddr, Errno> {
        Err(Errno::EBADF)
    }
    fn next_event(&self) -> Event {
        loop {
            std::thread::park();
        }
    }
    fn session_ended(&self, _: u32, _: u32) {}
    fn session_refused(&self, _: u32, _: &str) {}
    fn quote_target(&self) -> Result<[u8; TARGETINFO_SIZE], Errno> {
        Err(Errno::ENODEV)
    }
    fn quote(&self, _: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENODEV)
    }
    fn report_made(&self, _: u32, _: Option<&[u8; REPORT_SIZE]>) {}
    fn exit(&self, status: u32) -> ! {
        panic!("exit {status}")
    }
    fn refuse(&self, reason: &str) -> ! {
        panic!("refused: {reason}")
    }
    fn log(&self, _: Level, _: String) {}
}
