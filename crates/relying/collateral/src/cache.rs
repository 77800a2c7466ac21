//! Verified collateral, from memory, the store or a service, whichever is the first to have it.
//!
//! What it guarantees:
//!
//! - Everything it gives was verified under its one trust anchor and is inside its dates at the moment of the call.
//! - Nothing older than what was seen before is accepted, over restarts where there is a store.
//! - However many ask for the same at once, one asks the service; who has something valid does not wait for it.
//! - After a failure the service is left alone for a while, and what is valid is used on: an outage of the service
//!   is noticed when the collateral ends, not before.
//!
//! It does not bound who asks: an FMSPC comes out of a quote that is not believed yet. The memory that it takes is
//! bounded; a server limits how often strangers make it ask.

use crate::clock::Clock;
use crate::current::{Current, document, names, objects};
use crate::error::{CacheError, FetchError, StoreError};
use crate::index::{Entry, Index, Name};
use crate::object::{Object, Wanted};
use crate::pcs::Pcs;
use crate::store::{Accepted, Store};
use attestation::anchor::TrustAnchor;
use attestation::collateral::Collateral;
use attestation::crypto;
use attestation::time::Now;
use attestation::verify::Verifier;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use workload::digest::{Digest, Hex};

/// When to ask a service.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Ask again for what came longer ago, in seconds. What is older and valid is used until the answer is there.
    pub refresh_after: u64,
    /// After a failure do not ask for so many seconds.
    pub retry_after: u64,
    /// Most sets of collateral in memory.
    pub most: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { refresh_after: 24 * 3600, retry_after: 60, most: 256 }
    }
}

/// What is kept where.
#[derive(Debug)]
enum Floor {
    /// With the objects, over restarts.
    Store(Store),
    /// Only as long as the process lives.
    Memory(Mutex<Index>),
}

/// Verified collateral under one trust anchor.
pub struct Cache {
    anchor: TrustAnchor,
    floor: Floor,
    pcs: Option<Pcs>,
    clock: Box<dyn Clock>,
    schedule: Schedule,
    states: Mutex<HashMap<Wanted, State>>,
    landed: Condvar,
}

/// What is known of one set.
#[derive(Default)]
struct State {
    current: Option<Arc<Current>>,
    /// The last failure and its moment.
    failed: Option<(Arc<CacheError>, u64)>,
    /// Somebody is asking.
    is_flying: bool,
}

/// What came of asking.
type Landing = (Option<Arc<Current>>, Option<Arc<CacheError>>);

impl Cache {
    /// An empty cache. Without a store nothing outlives the process, the floor included; without a service it
    /// has what the store has.
    #[must_use]
    pub fn new(
        anchor: TrustAnchor,
        store: Option<Store>,
        pcs: Option<Pcs>,
        clock: Box<dyn Clock>,
        schedule: Schedule,
    ) -> Self {
        let floor = store.map_or_else(|| Floor::Memory(Mutex::default()), Floor::Store);
        let (states, landed) = (Mutex::default(), Condvar::new());
        Self { anchor, floor, pcs, clock, schedule, states, landed }
    }

    /// Collateral that is valid now.
    ///
    /// # Errors
    /// There is none: the service's or the store's failure, or why what they gave is refused.
    pub fn get(&self, wanted: Wanted) -> Result<Arc<Current>, Arc<CacheError>> {
        let mut states = self.states();
        let (now, usable) = loop {
            let now = self.clock.now();
            let state = self.state(&mut states, wanted);
            let usable = state.current.clone().filter(|it| it.is_valid_at(now.seconds));
            if let Some(current) = &usable
                && self.is_fresh(current.fetched, now)
            {
                return Ok(current.clone());
            }
            if let Some((error, at)) = &state.failed
                && within(*at, self.schedule.retry_after, now)
            {
                return usable.ok_or_else(|| error.clone());
            }
            if !state.is_flying {
                state.is_flying = true;
                break (now, usable);
            }
            if let Some(current) = usable {
                return Ok(current);
            }
            states = self.landed.wait(states).unwrap_or_else(PoisonError::into_inner);
        };
        drop(states);
        // Whatever happens, those who wait are woken.
        let flight = Flight { cache: self, wanted, at: now.seconds, landing: None };
        flight.land(self.obtain(wanted, now, usable))
    }

    /// Why what [`get`](Self::get) gave last is not newer: the failure of the last time that the service was asked.
    /// `None` where it answered, or was not asked.
    pub fn failure(&self, wanted: Wanted) -> Option<Arc<CacheError>> {
        let states = self.states();
        let (error, _) = states.get(&wanted)?.failed.as_ref()?;
        Some(error.clone())
    }

    /// Takes a document from outside, as it takes one from the service.
    ///
    /// # Errors
    /// It does not verify now, is older than what was seen, or cannot be stored.
    pub fn import(&self, collateral: Collateral) -> Result<Arc<Current>, CacheError> {
        let now = self.clock.now();
        let current = Arc::new(self.accept(collateral, [now.seconds; 4], now)?);
        let mut states = self.states();
        let state = self.state(&mut states, current.wanted);
        (state.current, state.failed) = (Some(current.clone()), None);
        Ok(current)
    }

    /// From the store, where that is valid and new enough, else from the service. `usable` is what memory has.
    fn obtain(&self, wanted: Wanted, now: Now, usable: Option<Arc<Current>>) -> Landing {
        let stored = match self.stored(wanted, now) {
            Ok(stored) => stored.map(Arc::new),
            Err(error) => return (usable, Some(Arc::new(error))),
        };
        let stored = [stored, usable].into_iter().flatten().max_by_key(|it| it.fetched);
        if stored.as_ref().is_some_and(|current| self.is_fresh(current.fetched, now)) {
            return (stored, None);
        }
        match self.fetch(wanted, now) {
            Ok(current) => (Some(Arc::new(current)), None),
            // Without a service what is valid is as good as it gets, and no failure.
            Err(CacheError::Offline { .. }) if stored.is_some() => (stored, None),
            Err(error) => (stored, Some(Arc::new(error))),
        }
    }

    /// What the store has, if it is whole and valid.
    fn stored(&self, wanted: Wanted, now: Now) -> Result<Option<Current>, CacheError> {
        let Floor::Store(store) = &self.floor else { return Ok(None) };
        let index = store.index()?;
        let mut held = Vec::new();
        let mut fetched = u64::MAX;
        for name in names(&wanted) {
            let entry = index.get(self.root(), name).and_then(|entry| entry.held);
            let (Some(entry), Some(object)) = (entry, store.get(self.root(), name)?) else {
                return Ok(None);
            };
            fetched = fetched.min(entry.fetched);
            held.push(object);
        }
        let held: [Object; 4] = held.try_into().expect("one for each of four names");
        let Some(document) = document(held) else { return Ok(None) };
        // Verified once more: the file is believed no more than the network. What does not verify, or not any
        // more, is as if it were not there.
        let Ok(verified) = self.verify(&document, now) else { return Ok(None) };
        let current = Current::new(verified, document, fetched)?;
        Ok((current.wanted == wanted).then_some(current))
    }

    /// Asks the service, for what the store does not have or has for too long.
    fn fetch(&self, wanted: Wanted, now: Now) -> Result<Current, CacheError> {
        let Some(pcs) = &self.pcs else { return Err(CacheError::Offline { wanted }) };
        let [root_crl, pck_crl, tcb_info, qe_identity] = names(&wanted);
        let or_ask = |name, ask: &dyn Fn() -> Result<Object, FetchError>| {
            Ok::<_, CacheError>(match self.reusable(name, now)? {
                Some(held) => held,
                None => (ask()?, now.seconds),
            })
        };
        // What is most likely to fail comes first: not every FMSPC is known.
        let info = or_ask(tcb_info, &|| pcs.tcb_info(wanted.tee, wanted.fmspc))?;
        let identity = or_ask(qe_identity, &|| pcs.qe_identity(wanted.tee))?;
        let pck = or_ask(pck_crl, &|| pcs.pck_crl(wanted.ca))?;
        let root = or_ask(root_crl, &|| pcs.root_crl())?;
        // What was not asked for is as old as it was: else objects that many sets share would never be.
        let fetched = [root.1, pck.1, info.1, identity.1];
        let document = document([root.0, pck.0, info.0, identity.0]).expect("asked for by kind");
        let current = self.accept(document, fetched, now)?;
        if current.wanted != wanted {
            return Err(CacheError::Another { expected: wanted, got: current.wanted });
        }
        Ok(current)
    }

    /// An object that need not be asked for, and when it came.
    fn reusable(&self, name: Name, now: Now) -> Result<Option<(Object, u64)>, CacheError> {
        let Floor::Store(store) = &self.floor else { return Ok(None) };
        let index = store.index()?;
        let entry = index.get(self.root(), name);
        let held = entry.filter(|entry| entry.edition.next_update >= now.seconds);
        match held.and_then(|entry| entry.held) {
            Some(held) if self.is_fresh(held.fetched, now) => {
                let object = store.get(self.root(), name)?;
                Ok(object.map(|object| (object, held.fetched)))
            }
            _ => Ok(None),
        }
    }

    /// Verifies, compares with the floor, and keeps.
    fn accept(
        &self,
        document: Collateral,
        fetched: [u64; 4],
        now: Now,
    ) -> Result<Current, CacheError> {
        let verified = self.verify(&document, now)?;
        let oldest = fetched.into_iter().fold(now.seconds, u64::min);
        let current = Current::new(verified, document, oldest)?;
        let entries = names(&current.wanted).into_iter().zip(current.editions());
        let entries =
            entries.map(|(name, edition)| Entry { root: self.root(), name, edition, held: None });
        match &self.floor {
            Floor::Store(store) => {
                let accepted = entries.zip(objects(&current.document)).zip(fetched);
                let accepted: Vec<Accepted> = accepted
                    .map(|((entry, object), fetched)| Accepted { entry, fetched, object })
                    .collect();
                store.put(&accepted)?;
            }
            Floor::Memory(index) => {
                let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
                for entry in entries.clone() {
                    let checked = index.check(entry.root, entry.name, &entry.edition);
                    checked.map_err(StoreError::RollBack)?;
                }
                entries.for_each(|entry| index.put(entry));
            }
        }
        Ok(current)
    }

    fn verify(
        &self,
        document: &Collateral,
        now: Now,
    ) -> Result<attestation::verify::VerifiedCollateral, CacheError> {
        let verifier = Verifier::new(crypto::Default::default(), self.anchor.clone());
        verifier.collateral(document, now).map_err(CacheError::Refused)
    }

    fn root(&self) -> Digest {
        Hex(*self.anchor.sha256())
    }

    fn is_fresh(&self, fetched: u64, now: Now) -> bool {
        // Without a service there is nothing newer to be had.
        self.pcs.is_none() || within(fetched, self.schedule.refresh_after, now)
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Wanted, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of one set. Where there are too many, those that nobody asks for now are forgotten: they are in
    /// the store, or cheap to come by again.
    fn state<'a>(&self, states: &'a mut HashMap<Wanted, State>, wanted: Wanted) -> &'a mut State {
        if states.len() >= self.schedule.most && !states.contains_key(&wanted) {
            states.retain(|_, state| state.is_flying);
        }
        states.entry(wanted).or_default()
    }
}

/// Whether `now` is less than `seconds` after `since`. A clock that went back makes everything old.
fn within(since: u64, seconds: u64, now: Now) -> bool {
    now.seconds.checked_sub(since).is_some_and(|age| age < seconds)
}

/// Somebody who asks for the others.
struct Flight<'a> {
    cache: &'a Cache,
    wanted: Wanted,
    at: u64,
    landing: Option<Landing>,
}

impl Flight<'_> {
    fn land(mut self, landing: Landing) -> Result<Arc<Current>, Arc<CacheError>> {
        self.landing = Some(landing.clone());
        drop(self);
        match landing {
            (Some(current), _) => Ok(current),
            (None, Some(error)) => Err(error),
            (None, None) => unreachable!("either there is collateral or a reason why not"),
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut states = self.cache.states();
        let state = self.cache.state(&mut states, self.wanted);
        state.is_flying = false;
        // Without a landing the thread panics; the next one who asks tries again.
        if let Some((current, error)) = self.landing.take() {
            state.failed = error.map(|error| (error, self.at));
            if current.is_some() {
                state.current = current;
            }
        }
        drop(states);
        self.cache.landed.notify_all();
    }
}
