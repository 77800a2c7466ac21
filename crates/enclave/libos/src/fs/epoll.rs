//! epoll(7).
//!
//! An interest hangs in the wait queue of its file and puts itself on the instance's list of candidates
//! when it is woken; epoll_wait(2) asks the candidates whether they are ready. So a wait costs what is
//! ready, not what is watched.
//!
//! Lock order: `interests`, then a file's queue, then `candidates`, then the instance's own queue. A wake
//! takes the last two only.

use super::eventfd::anonymous_stat;
use super::fd::OpenFile;
use super::file::File;
use super::stat::Stat;
use super::task::Task;
use crate::errno::Errno;
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::{WaitQueue, Wake};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

const EPOLLEXCLUSIVE: u32 = 1 << 28;
const EPOLLONESHOT: u32 = 1 << 30;
const EPOLLET: u32 = 1 << 31;

/// Deepest nesting of instances.
const MAX_DEPTH: usize = 5;

/// An epoll instance.
pub struct Epoll {
    /// By descriptor and description: a closed and reused descriptor is another interest.
    interests: Mutex<BTreeMap<(i32, u64), Arc<Interest>>>,
    candidates: Mutex<VecDeque<Arc<Interest>>>,
    queue: WaitQueue,
    this: Weak<Epoll>,
}

struct Interest {
    epoll: Weak<Epoll>,
    open: Weak<OpenFile>,
    key: (i32, u64),
    settings: Mutex<Settings>,
    is_candidate: AtomicBool,
    is_removed: AtomicBool,
    this: Weak<Interest>,
}

#[derive(Clone, Copy)]
struct Settings {
    /// Events and flags; 0 after EPOLLONESHOT has given one.
    events: u32,
    data: u64,
}

impl Wake for Interest {
    fn wake(&self) {
        let (Some(epoll), Some(this)) = (self.epoll.upgrade(), self.this.upgrade()) else { return };
        if self.is_removed.load(Ordering::SeqCst) || self.is_candidate.swap(true, Ordering::SeqCst)
        {
            return;
        }
        epoll.candidates.lock().push_back(this);
        epoll.queue.wake_all();
    }
}

impl Epoll {
    /// An instance without interests.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            interests: Mutex::default(),
            candidates: Mutex::default(),
            queue: WaitQueue::new(),
            this: this.clone(),
        })
    }

    /// EPOLL_CTL_ADD.
    ///
    /// # Errors
    /// EEXIST, EPERM for a file that never waits, ELOOP for nested instances in a circle or too deep.
    pub fn add(
        &self,
        task: &dyn Task,
        fd: i32,
        open: &Arc<OpenFile>,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let queue = open.file.wait_queue().ok_or(Errno::EPERM)?;
        if let Some(other) = open.file.as_any().downcast_ref::<Self>() {
            if core::ptr::eq(other, self) {
                return Err(Errno::EINVAL);
            }
            other.check_nesting(self, MAX_DEPTH)?;
            if events & EPOLLEXCLUSIVE != 0 {
                return Err(Errno::EINVAL);
            }
        }
        let key = (fd, open.id());
        let interest = Arc::new_cyclic(|this| Interest {
            epoll: self.this.clone(),
            open: Arc::downgrade(open),
            key,
            settings: Mutex::new(Settings { events, data }),
            is_candidate: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
            this: this.clone(),
        });
        let mut interests = self.interests.lock();
        interests.retain(|_, interest| interest.open.strong_count() > 0);
        if interests.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        interests.insert(key, interest.clone());
        queue.add_waker(interest.clone());
        drop(interests);
        if ready(task, open, events) != 0 {
            interest.wake();
        }
        Ok(())
    }

    /// EPOLL_CTL_MOD.
    ///
    /// # Errors
    /// ENOENT.
    pub fn modify(
        &self,
        task: &dyn Task,
        fd: i32,
        open: &Arc<OpenFile>,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let interest = self.interests.lock().get(&(fd, open.id())).cloned();
        let interest = interest.ok_or(Errno::ENOENT)?;
        *interest.settings.lock() = Settings { events, data };
        if ready(task, open, events) != 0 {
            interest.wake();
        }
        Ok(())
    }

    /// EPOLL_CTL_DEL.
    ///
    /// # Errors
    /// ENOENT.
    pub fn remove(&self, fd: i32, open: &Arc<OpenFile>) -> Result<(), Errno> {
        let interest = self.interests.lock().remove(&(fd, open.id())).ok_or(Errno::ENOENT)?;
        interest.is_removed.store(true, Ordering::SeqCst);
        self.candidates.lock().retain(|other| !Arc::ptr_eq(other, &interest));
        if let Some(queue) = open.file.wait_queue() {
            let waker: Arc<dyn Wake> = interest;
            queue.remove_waker(&waker);
        }
        Ok(())
    }

    /// Up to `limit` ready interests: events and data. Level-triggered ones stay candidates.
    pub fn collect(&self, task: &dyn Task, limit: usize) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        let mut again = Vec::new();
        let rounds = self.candidates.lock().len();
        for _ in 0..rounds {
            if found.len() >= limit {
                break;
            }
            let Some(interest) = self.candidates.lock().pop_front() else { break };
            // Before the look: a wake after it must count.
            interest.is_candidate.store(false, Ordering::SeqCst);
            let Some(open) = interest.open.upgrade() else {
                self.interests.lock().remove(&interest.key);
                continue;
            };
            if interest.is_removed.load(Ordering::SeqCst) {
                continue;
            }
            let mut settings = interest.settings.lock();
            let events = ready(task, &open, settings.events);
            if events == 0 {
                continue;
            }
            found.push((events, settings.data));
            if settings.events & EPOLLONESHOT != 0 {
                settings.events = 0;
            } else if settings.events & EPOLLET == 0 {
                drop(settings);
                again.push(interest);
            }
        }
        let mut candidates = self.candidates.lock();
        for interest in again {
            if !interest.is_candidate.swap(true, Ordering::SeqCst) {
                candidates.push_back(interest);
            }
        }
        found
    }

    fn check_nesting(&self, outer: &Self, depth: usize) -> Result<(), Errno> {
        if depth == 0 {
            return Err(Errno::ELOOP);
        }
        let inner: Vec<_> =
            self.interests.lock().values().filter_map(|interest| interest.open.upgrade()).collect();
        for open in inner {
            if let Some(epoll) = open.file.as_any().downcast_ref::<Self>() {
                if core::ptr::eq(epoll, outer) {
                    return Err(Errno::ELOOP);
                }
                epoll.check_nesting(outer, depth - 1)?;
            }
        }
        Ok(())
    }
}

/// The events of an interest that hold now.
fn ready(task: &dyn Task, open: &OpenFile, events: u32) -> u32 {
    if events == 0 {
        return 0;
    }
    with_aliases(open.file.poll_for(task)) & (events | ALWAYS)
}

/// Reported whether asked for or not.
pub const ALWAYS: u32 = (Readiness::ERR.0 | Readiness::HUP.0) as u32;

/// Readiness with POLLRDNORM and POLLWRNORM beside POLLIN and POLLOUT.
#[must_use]
pub fn with_aliases(readiness: Readiness) -> u32 {
    let bits = u32::from(readiness.0);
    let mut all = bits;
    if bits & u32::from(Readiness::IN.0) != 0 {
        all |= 0x040;
    }
    if bits & u32::from(Readiness::OUT.0) != 0 {
        all |= 0x100;
    }
    all
}

impl File for Epoll {
    fn poll(&self) -> Readiness {
        // A hint for an outer instance or poll(2): candidates may turn out not to be ready.
        if self.candidates.lock().is_empty() { Readiness(0) } else { Readiness::IN }
    }

    fn poll_for(&self, task: &dyn Task) -> Readiness {
        let candidates: Vec<_> = self.candidates.lock().iter().cloned().collect();
        let is_ready = candidates.iter().any(|interest| {
            let events = interest.settings.lock().events;
            interest.open.upgrade().is_some_and(|open| ready(task, &open, events) != 0)
        });
        if is_ready { Readiness::IN } else { Readiness(0) }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn stat(&self) -> Stat {
        anonymous_stat()
    }

    fn description(&self) -> String {
        String::from("anon_inode:[eventpoll]")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for (_, interest) in core::mem::take(&mut *self.interests.lock()) {
            let Some(open) = interest.open.upgrade() else { continue };
            let waker: Arc<dyn Wake> = interest;
            if let Some(queue) = open.file.wait_queue() {
                queue.remove_waker(&waker);
            }
        }
    }
}
