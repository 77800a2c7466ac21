//! Threads: slots, starting, waiting, waking.
//!
//! A thread is a slot: a TCS with its SSA, its page and its stacks. The first was measured with the image;
//! others are built by EDMM when they are needed, are used again after their thread ended, and are never
//! given back. What a thread waits for is decided in here, by its token; the host's Park and Unpark only save
//! processor time, and a host that wakes threads at random or never wakes them can at most be slow.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use hostcall::{NO_DEADLINE, Request, TypeChange};
use libos::errno::Errno;
use libos::platform::{Exhausted, ThreadId, XSTATE_SIZE, XState};
use libos::sync::Mutex;
use sgx::{PageType, Tcs};

use crate::host;
use crate::layout::{PAGE, slot};
use crate::leaf;
use crate::thread::{Body, Thread, phase, vectors};

/// Tries to start a thread in a slot whose last thread the host has not yet taken out of the enclave.
const BUSY_TRIES: u32 = 10_000;

/// All threads.
pub(crate) struct Threads {
    /// By `ThreadId`.
    slots: Mutex<Vec<&'static Thread>>,
    /// Where dynamic slots are built, the last one first.
    area: Range<u64>,
    max: usize,
}

impl Threads {
    /// The set with the calling thread, and room for `max` in all as far as `area` holds them.
    pub(crate) fn new(first: &'static Thread, area: Range<u64>, max: u32) -> Self {
        let room = (area.end - area.start) / slot::SIZE + 1;
        let max = usize::try_from(room.min(max.into())).unwrap_or(usize::MAX);
        Self { slots: Mutex::new(alloc::vec![first]), area, max }
    }

    /// See `Platform::spawn`.
    pub(crate) fn spawn(&self, body: Body, entry: u64) -> Result<ThreadId, Exhausted> {
        let thread = self.arm(body, entry)?;
        let request = Request::ThreadSpawn { tcs: thread.tcs.get() };
        for _ in 0..BUSY_TRIES {
            match host::call(&request, &mut []) {
                Ok(_) => return Ok(ThreadId(thread.id.get())),
                Err(Errno::EBUSY) => yield_now(),
                Err(_) => break,
            }
        }
        // SAFETY: the host did not enter the slot (and if it does so from now on, the phase refuses it).
        drop(unsafe { (*thread.body.get()).take() });
        thread.phase.store(phase::ENDED, Ordering::Release);
        Err(Exhausted)
    }

    /// A slot with `body` in it, ready to be entered.
    fn arm(&self, body: Body, entry: u64) -> Result<&'static Thread, Exhausted> {
        let mut slots = self.slots.lock();
        let thread = match slots.iter().find(|thread| thread.is_ended()) {
            Some(thread) => *thread,
            None => {
                let index = slots.len();
                if index >= self.max {
                    return Err(Exhausted);
                }
                slots.try_reserve(1).map_err(|_| Exhausted)?;
                let tcs = self.area.end - index as u64 * slot::SIZE;
                let thread = build(tcs, index as u32, entry);
                slots.push(thread);
                thread
            }
        };
        // SAFETY: the slot's last thread has ended (or there was none) and its next is not published yet.
        unsafe { *thread.body.get() = Some(body) };
        // EENTER loads the slot's own FS base, whatever the slot's last thread left.
        thread.fs_live.set(u64::MAX);
        // A thread that ended in a patched system call left its vector state behind.
        thread.vectors.set(vectors::NONE);
        thread.mxcsr_replaced.set(0);
        thread.kick.store(0, Ordering::Relaxed);
        thread.token.store(0, Ordering::Relaxed);
        thread.parked.store(0, Ordering::Relaxed);
        thread.phase.store(phase::ARMED, Ordering::Release);
        Ok(thread)
    }

    fn get(&self, id: ThreadId) -> Option<&'static Thread> {
        self.slots.lock().get(id.0 as usize).copied()
    }

    /// See `Platform::kick`. The flag is what counts: the target looks at it before each return to user mode.
    /// The host call gets the target there if it is in user mode or in a waiting call.
    pub(crate) fn kick(&self, id: ThreadId) {
        if let Some(thread) = self.get(id) {
            thread.kick.store(1, Ordering::SeqCst);
            let _ = host::call(&Request::Kick { tcs: thread.tcs.get() }, &mut []);
        }
    }

    /// See `Platform::unpark`.
    pub(crate) fn unpark(&self, id: ThreadId) {
        if let Some(thread) = self.get(id) {
            thread.token.store(1, Ordering::SeqCst);
            if thread.parked.load(Ordering::SeqCst) == 1 {
                let _ = host::call(&Request::Unpark { tcs: thread.tcs.get() }, &mut []);
            }
        }
    }
}

/// See `Platform::park`; the timeout is from now, `None` is for ever.
pub(crate) fn park(timeout_ns: Option<u64>) {
    let thread = Thread::current();
    if thread.token.swap(0, Ordering::SeqCst) == 1 || timeout_ns == Some(0) {
        return;
    }
    // Announced first, looked at again second: an unpark sees the one or is seen by the other.
    thread.parked.store(1, Ordering::SeqCst);
    if thread.token.load(Ordering::SeqCst) == 0 {
        let timeout_ns = timeout_ns.unwrap_or(NO_DEADLINE);
        let _ = host::call(&Request::Park { timeout_ns }, &mut []);
    }
    thread.parked.store(0, Ordering::SeqCst);
    thread.token.store(0, Ordering::SeqCst);
}

/// See `Platform::yield_now`.
pub(crate) fn yield_now() {
    let _ = host::call(&Request::Yield {}, &mut []);
}

/// Builds the slot at `tcs` from pages that were never there.
fn build(tcs: u64, id: u32, entry: u64) -> &'static Thread {
    let stack = (tcs + slot::STACK..tcs + slot::SIZE).step_by(PAGE as usize);
    let state = (tcs..=tcs + slot::THREAD).step_by(PAGE as usize);
    for page in state.chain(stack) {
        if let Err(code) = leaf::accept_new(page) {
            host::refuse(format_args!(
                "EACCEPT of a new thread's page {page:#x}: expected 0, got {code}"
            ));
        }
    }
    let contents = Tcs {
        ossa: tcs + slot::SSA,
        nssa: slot::SSA_FRAMES,
        oentry: entry,
        ofsbase: tcs + slot::THREAD,
        ogsbase: tcs + slot::THREAD,
        fslimit: 0xfff,
        gslimit: 0xfff,
        ..Tcs::default()
    };
    // SAFETY: the page was just accepted, zeroed, and belongs to nobody else. It is written as bytes and
    // never again after its type has changed.
    unsafe {
        core::ptr::copy_nonoverlapping(contents.to_bytes().as_ptr(), tcs as *mut u8, PAGE as usize)
    };
    host::modify_type(tcs, PAGE, TypeChange::Tcs);
    if let Err(code) = leaf::accept_type(tcs, PageType::Tcs) {
        host::refuse(format_args!("EACCEPT of a TCS at {tcs:#x}: expected 0, got {code}"));
    }
    let page = (tcs + slot::THREAD) as *mut Thread;
    // SAFETY: the page was just accepted and belongs to nobody else; it is written before it is referred to
    // and lives as long as the enclave.
    unsafe {
        initialise(page, tcs, id);
        &*page
    }
}

/// Fills in a zeroed thread page, except for the phase.
///
/// # Safety
/// `page` is a zeroed page in the enclave that no other thread uses. All zeros is a valid [`Thread`].
pub(crate) unsafe fn initialise(page: *mut Thread, tcs: u64, id: u32) {
    // SAFETY: the caller's promise; `None` of the options is written because their representation is
    // not promised to be zero.
    unsafe {
        (&raw mut (*page).caller).write(UnsafeCell::new(None));
        (&raw mut (*page).body).write(UnsafeCell::new(None));
        (&raw mut (*page).exit).write(Cell::new(None));
        (&raw mut (*page).calls).write(Cell::new(None));
        (&raw mut (*page).spill).write(UnsafeCell::new(XState([0; XSTATE_SIZE])));
        (&raw mut (*page).vectors).write(Cell::new(vectors::NONE));
        (&raw mut (*page).token).write(AtomicU32::new(0));
        (&raw mut (*page).this).write(Cell::new(page as u64));
        let syscall_entry = crate::user::syscall_entry as *const () as u64;
        (&raw mut (*page).syscall_entry).write(Cell::new(syscall_entry));
        (&raw mut (*page).fs_live).write(Cell::new(u64::MAX));
        (&raw mut (*page).tcs).write(Cell::new(tcs));
        (&raw mut (*page).id).write(Cell::new(id));
    }
}

/// Runs what the slot was armed with.
pub(crate) fn run(thread: &Thread) {
    // SAFETY: the phase was Armed, so that the body was published to this thread, the only one to take it.
    let body: Option<Box<dyn FnOnce() + Send>> = unsafe { (*thread.body.get()).take() };
    if let Some(body) = body {
        body();
    }
}
