//! The queue of events for the container.

use crate::interrupt::Interrupt;
use hostcall::Event;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Events in order of arrival.
#[derive(Default)]
pub(crate) struct Events {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    waiting: usize,
    is_closed: bool,
}

impl Events {
    /// Queues an event. A change of window size that waits already is not queued twice, nor is a signal below
    /// 32, as a process has one pending bit for each.
    pub(crate) fn push(&self, event: Event) {
        let mut queue = self.lock();
        let is_repeated = match event {
            Event::Signal { signal, .. } => signal < 32 && queue.events.contains(&event),
            Event::WindowSize { .. } => queue.events.contains(&event),
            Event::Exec { .. } | Event::Ready { .. } | Event::Report { .. } => false,
        };
        if !is_repeated {
            queue.events.push_back(event);
            self.changed.notify_one();
        }
    }

    /// Waits for an event.
    ///
    /// # Errors
    /// EINTR if the thread was interrupted or the queue is closed.
    pub(crate) fn next(&self, interrupt: &Interrupt) -> Result<Event, Errno> {
        let mut queue = self.lock();
        queue.waiting += 1;
        let result = loop {
            if let Some(event) = queue.events.pop_front() {
                break Ok(event);
            }
            if queue.is_closed || interrupt.take() {
                break Err(Errno::INTR);
            }
            queue = self.changed.wait(queue).expect("no panic under the lock");
        };
        queue.waiting -= 1;
        result
    }

    /// Lets waiters look at their interruptions.
    pub(crate) fn nudge(&self) {
        if self.lock().waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// No waiter waits any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic under the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn standard_signals_and_window_sizes_merge_while_they_wait() {
        let events = Events::default();
        let interrupt = Interrupt::default();
        let term = Event::Signal { session: 0, signal: 15 };
        let realtime = Event::Signal { session: 0, signal: 34 };
        let size = Event::WindowSize { session: 0 };
        for event in [term, term, realtime, realtime, size, size] {
            events.push(event);
        }
        let expected = [term, realtime, realtime, size];
        assert_eq!(expected.map(|_| events.next(&interrupt).unwrap()), expected);
        events.push(term);
        assert_eq!(events.next(&interrupt), Ok(term));
    }

    #[test]
    fn an_interruption_and_the_end_wake_a_waiter() {
        let events = Arc::new(Events::default());
        let interrupt = Arc::new(Interrupt::default());
        let waiter = {
            let (events, interrupt) = (Arc::clone(&events), Arc::clone(&interrupt));
            std::thread::spawn(move || [events.next(&interrupt), events.next(&interrupt)])
        };
        while events.lock().waiting == 0 {
            std::thread::yield_now();
        }
        interrupt.interrupt();
        events.nudge();
        events.close();
        assert_eq!(waiter.join().unwrap(), [Err(Errno::INTR); 2]);
    }
}
