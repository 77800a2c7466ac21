//! timerfd(2). Deadlines are kept on CLOCK_MONOTONIC; one on CLOCK_REALTIME is moved there when it is set,
//! so that a later step of the wall clock, which is the host's word, does not move it.

use super::eventfd::anonymous_stat;
use super::file::{File, Sink};
use super::stat::Stat;
use super::task::Alarm;
use crate::errno::Errno;
use crate::host::Readiness;
use crate::platform::Platform;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::any::Any;

/// A timer that is read as a file.
pub struct TimerFd {
    platform: &'static dyn Platform,
    alarm: &'static dyn Alarm,
    /// CLOCK_REALTIME rather than CLOCK_MONOTONIC.
    pub is_realtime: bool,
    state: Mutex<State>,
    queue: WaitQueue,
    this: Weak<Self>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Next expiry, monotonic nanoseconds; 0: disarmed.
    deadline_ns: u64,
    interval_ns: u64,
    /// Counts settings, so that a job of an old one does nothing.
    generation: u64,
}

impl TimerFd {
    /// A disarmed timer.
    #[must_use]
    pub fn new(
        platform: &'static dyn Platform,
        alarm: &'static dyn Alarm,
        is_realtime: bool,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            platform,
            alarm,
            is_realtime,
            state: Mutex::default(),
            queue: WaitQueue::new(),
            this: this.clone(),
        })
    }

    /// Nanoseconds to the next expiry (0: disarmed) and the interval.
    #[must_use]
    pub fn remaining(&self) -> (u64, u64) {
        let (state, now) = (*self.state.lock(), self.platform.monotonic_ns());
        if state.deadline_ns == 0 {
            return (0, state.interval_ns);
        }
        let next = match state.interval_ns {
            _ if now < state.deadline_ns => state.deadline_ns - now,
            0 => 0,
            interval => interval - (now - state.deadline_ns) % interval,
        };
        (next, state.interval_ns)
    }

    /// Sets the timer; a deadline of 0 disarms it.
    ///
    /// # Errors
    /// EAGAIN where nothing can wake its waiters.
    pub fn set(&self, deadline_ns: u64, interval_ns: u64) -> Result<(), Errno> {
        let generation = {
            let mut state = self.state.lock();
            let generation = state.generation + 1;
            *state = State { deadline_ns, interval_ns, generation };
            generation
        };
        self.queue.wake_all();
        if deadline_ns == 0 { Ok(()) } else { self.schedule(deadline_ns, generation) }
    }

    fn schedule(&self, deadline_ns: u64, generation: u64) -> Result<(), Errno> {
        let this = self.this.clone();
        self.alarm.at(
            deadline_ns,
            Box::new(move || {
                let Some(timer) = this.upgrade() else { return };
                let state = *timer.state.lock();
                if state.generation != generation {
                    return;
                }
                timer.queue.wake_all();
                if state.interval_ns > 0 {
                    let now = timer.platform.monotonic_ns();
                    let next = (deadline_ns + state.interval_ns).max(now + 1);
                    // Without a thread for it the timer still expires; only a waiter is not woken.
                    let _ = timer.schedule(next, generation);
                }
            }),
        )
    }
}

impl File for TimerFd {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        if into.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let expiries = {
            let (mut state, now) = (self.state.lock(), self.platform.monotonic_ns());
            if state.deadline_ns == 0 || now < state.deadline_ns {
                return Err(Errno::EAGAIN);
            }
            match state.interval_ns {
                0 => {
                    state.deadline_ns = 0;
                    1
                }
                interval => {
                    let count = 1 + (now - state.deadline_ns) / interval;
                    state.deadline_ns += count * interval;
                    count
                }
            }
        };
        into.put(&expiries.to_le_bytes()).map(|()| 8)
    }

    fn poll(&self) -> Readiness {
        let deadline = self.state.lock().deadline_ns;
        let is_due = deadline != 0 && self.platform.monotonic_ns() >= deadline;
        if is_due { Readiness::IN } else { Readiness(0) }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn stat(&self) -> Stat {
        anonymous_stat()
    }

    fn description(&self) -> String {
        String::from("anon_inode:[timerfd]")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
