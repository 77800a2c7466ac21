//! The table of handles. A handle is a number that looks like no pointer; what C passes is looked up, never
//! followed, so that a wrong one is an error and nothing else.

use crate::context::Context;
use crate::error::Error;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

type Entry = Arc<Mutex<Context>>;

#[derive(Default)]
struct Table {
    entries: BTreeMap<usize, Entry>,
    count: usize,
}

static TABLE: Mutex<Table> = Mutex::new(Table { entries: BTreeMap::new(), count: 0 });

fn table() -> MutexGuard<'static, Table> {
    // Nothing that can panic happens while it is held.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new handle. None is given twice, so that one that was cleaned up stays unknown.
pub(crate) fn add(context: Context) -> usize {
    let mut table = table();
    table.count += 1;
    // Odd: no structure lies there.
    let handle = table.count << 4 | 0b1011;
    table.entries.insert(handle, Arc::new(Mutex::new(context)));
    handle
}

/// Does something with what a handle stands for.
pub(crate) fn with<R>(
    handle: usize,
    work: impl FnOnce(&mut Context) -> Result<R, Error>,
) -> Result<R, Error> {
    let entry = find(handle)?;
    // A second call does not wait: inside a callback it would wait for itself.
    match entry.try_lock() {
        Ok(mut context) => work(&mut context),
        Err(TryLockError::WouldBlock) => Err(Error::InUse),
        Err(TryLockError::Poisoned(_)) => Err(Error::Broken),
    }
}

/// Ends a handle. What a panic left behind is ended too.
pub(crate) fn remove(handle: usize) -> Result<(), Error> {
    let entry = find(handle)?;
    match entry.try_lock() {
        Ok(mut context) => context.close(),
        Err(TryLockError::WouldBlock) => return Err(Error::InUse),
        Err(TryLockError::Poisoned(_)) => {}
    }
    table().entries.remove(&handle);
    Ok(())
}

fn find(handle: usize) -> Result<Entry, Error> {
    if handle == 0 {
        return Err(Error::Null("handle"));
    }
    table().entries.get(&handle).cloned().ok_or(Error::Handle(handle))
}
