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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Wanted;
    use crate::rats::{entry, rats_tls_cleanup, rats_tls_reattest};
    use rats_tls::Setup;
    use rats_tls::binding::Role;
    use rats_tls::names::Names;

    fn handle() -> usize {
        let chosen = Names::default().choose().unwrap();
        let (is_mutual, sends_endorsements) = (false, false);
        let wanted = Wanted { role: Role::Client, is_mutual, sends_endorsements, chosen };
        add(Context::new(wanted, Setup::default()).unwrap())
    }

    #[test]
    fn a_panic_is_an_error_and_its_handle_can_only_end() {
        let handle = handle();
        assert_eq!(entry(|| with(handle, |_| panic!("on purpose"))), -1);
        assert_eq!(rats_tls_reattest(handle), -1);
        assert_eq!(rats_tls_cleanup(handle), 0);
        assert_eq!(rats_tls_cleanup(handle), -2);
    }

    #[test]
    fn a_second_call_at_the_same_time_is_refused_and_not_kept_waiting() {
        let handle = handle();
        let inner = with(handle, |_| {
            assert!(matches!(remove(handle), Err(Error::InUse)));
            Ok(with(handle, |_| Ok(())))
        });
        assert!(matches!(inner, Ok(Err(Error::InUse))));
        remove(handle).unwrap();
        assert!(matches!(with(handle, |_| Ok(())), Err(Error::Handle(got)) if got == handle));
    }
}
