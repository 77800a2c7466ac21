//! Locks.
//!
//! A spin lock that gives the processor up when spinning does not help: the holder may be a thread that
//! the host preempted. Locks are held for short, bounded work; nothing waits for an event under one.
//!
//! Lock order, outermost first: process table, process, thread, mm group, virtual address allocator,
//! wait queue. The file layer's locks come before mm's, for reading a file fills user memory.

use crate::platform::Platform;
use core::ops::{Deref, DerefMut};

/// Tries before the lock yields.
const SPINS: u32 = 400;

static RELAX: spin::Once<&'static dyn Platform> = spin::Once::new();

/// Tells the locks whom to yield to. The first call wins; before it, locks only spin.
pub fn set_platform(platform: &'static dyn Platform) {
    RELAX.call_once(|| platform);
}

/// Mutual exclusion.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(spin::mutex::SpinMutex<T>);

/// Access to what a [`Mutex`] holds, until dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T: ?Sized>(spin::mutex::SpinMutexGuard<'a, T>);

impl<T> Mutex<T> {
    /// An unlocked one.
    pub const fn new(value: T) -> Self {
        Self(spin::mutex::SpinMutex::new(value))
    }

    /// What it held.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let mut tries = 0;
        loop {
            if let Some(guard) = self.0.try_lock() {
                return MutexGuard(guard);
            }
            tries += 1;
            match RELAX.get() {
                Some(platform) if tries % SPINS == 0 => platform.yield_now(),
                _ => core::hint::spin_loop(),
            }
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().map(MutexGuard)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
