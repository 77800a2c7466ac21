//! Clocks: the host's base plus in-enclave RDTSC.
//!
//! A reading costs no exit. Guaranteed: the monotonic clock never goes backwards, on any thread; both clocks
//! advance, between two readings, at a rate within 0.1 % of the TSC's as the host first stated it. Once
//! a second of TSC time the host is asked again, and a difference is slewed away at that rate; a host that
//! steps its real-time clock is followed no faster. Not guaranteed: that the time is right. The host chose
//! the base and the frequency.

use core::sync::atomic::{AtomicU64, Ordering};

use libos::sync::Mutex;

/// What the host says, all at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) tsc: u64,
    pub(crate) monotonic_ns: u64,
    pub(crate) realtime_ns: u64,
    /// 0: unknown.
    pub(crate) tsc_khz: u64,
}

/// Largest deviation from the nominal rate, in parts per million.
const SLEW_PPM: u64 = 1000;
/// TSC frequencies that exist, in kHz.
const PLAUSIBLE_KHZ: core::ops::RangeInclusive<u64> = 100_000..=20_000_000;
/// Fractional bits of a rate.
const FRACTION: u32 = 32;

/// Why the host's clocks cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadFrequency {
    /// kHz.
    pub(crate) got: u64,
}

/// The clocks of the enclave. Parameters are published by a sequence lock: readers retry while `sequence`
/// is odd or has changed.
#[derive(Debug)]
pub(crate) struct Clock {
    sequence: AtomicU64,
    base_tsc: AtomicU64,
    monotonic_base: AtomicU64,
    realtime_base: AtomicU64,
    monotonic_rate: AtomicU64,
    realtime_rate: AtomicU64,
    last: AtomicU64,
    nominal_rate: u64,
    period_tsc: u64,
    writer: Mutex<()>,
}

impl Clock {
    /// A clock that starts at a reading.
    ///
    /// # Errors
    /// A frequency that no processor has.
    pub(crate) fn new(reading: Reading) -> Result<Self, BadFrequency> {
        if !PLAUSIBLE_KHZ.contains(&reading.tsc_khz) {
            return Err(BadFrequency { got: reading.tsc_khz });
        }
        let rate = (1_000_000 << FRACTION) / reading.tsc_khz;
        Ok(Self {
            sequence: AtomicU64::new(0),
            base_tsc: AtomicU64::new(reading.tsc),
            monotonic_base: AtomicU64::new(reading.monotonic_ns),
            realtime_base: AtomicU64::new(reading.realtime_ns),
            monotonic_rate: AtomicU64::new(rate),
            realtime_rate: AtomicU64::new(rate),
            last: AtomicU64::new(reading.monotonic_ns),
            nominal_rate: rate,
            period_tsc: reading.tsc_khz * 1000,
            writer: Mutex::new(()),
        })
    }

    /// The frequency that two readings show, in kHz; `None` if they are too close to tell.
    pub(crate) fn frequency_khz(first: Reading, second: Reading) -> Option<u64> {
        let ns =
            second.monotonic_ns.checked_sub(first.monotonic_ns).filter(|ns| *ns >= 5_000_000)?;
        let tsc = second.tsc.checked_sub(first.tsc)?;
        u64::try_from(u128::from(tsc) * 1_000_000 / u128::from(ns)).ok()
    }

    /// Monotonic nanoseconds at `tsc`; `host` is asked where a new reading is due.
    pub(crate) fn monotonic_ns(&self, tsc: u64, host: impl FnOnce() -> Option<Reading>) -> u64 {
        self.update_if_due(tsc, host);
        let now = self.compute(tsc).0;
        // Another processor's TSC may be a little ahead; and the host may have set it back.
        self.last.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Nanoseconds since 1970 at `tsc`.
    pub(crate) fn realtime_ns(&self, tsc: u64, host: impl FnOnce() -> Option<Reading>) -> u64 {
        self.update_if_due(tsc, host);
        self.compute(tsc).1
    }

    fn compute(&self, tsc: u64) -> (u64, u64) {
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            let elapsed = tsc.saturating_sub(self.base_tsc.load(Ordering::Acquire));
            let at = |base: &AtomicU64, rate: &AtomicU64| {
                let rate = rate.load(Ordering::Acquire);
                base.load(Ordering::Acquire).saturating_add(scaled(elapsed, rate))
            };
            let monotonic = at(&self.monotonic_base, &self.monotonic_rate);
            let realtime = at(&self.realtime_base, &self.realtime_rate);
            if sequence.is_multiple_of(2) && self.sequence.load(Ordering::Acquire) == sequence {
                return (monotonic, realtime);
            }
            core::hint::spin_loop();
        }
    }

    fn update_if_due(&self, tsc: u64, host: impl FnOnce() -> Option<Reading>) {
        let age = |tsc: u64| tsc.saturating_sub(self.base_tsc.load(Ordering::Relaxed));
        if age(tsc) < self.period_tsc {
            return;
        }
        let Some(_writer) = self.writer.try_lock() else { return };
        if age(tsc) < self.period_tsc {
            return;
        }
        // The host's own TSC value is not used: ours is what the clocks advance by.
        let Some(reading) = host() else { return };
        let (monotonic, realtime) = self.compute(tsc);
        let monotonic_rate = self.rate_towards(monotonic, reading.monotonic_ns);
        let realtime_rate = self.rate_towards(realtime, reading.realtime_ns);
        self.sequence.fetch_add(1, Ordering::AcqRel);
        self.base_tsc.store(tsc, Ordering::Release);
        self.monotonic_base.store(monotonic, Ordering::Release);
        self.realtime_base.store(realtime, Ordering::Release);
        self.monotonic_rate.store(monotonic_rate, Ordering::Release);
        self.realtime_rate.store(realtime_rate, Ordering::Release);
        self.sequence.fetch_add(1, Ordering::AcqRel);
    }

    /// The rate that brings `ours` to `theirs` within about a second, within the bound.
    fn rate_towards(&self, ours: u64, theirs: u64) -> u64 {
        let bound = self.nominal_rate * SLEW_PPM / 1_000_000;
        // One nanosecond of difference is one part per billion of the second until the next update.
        let wanted = |difference: u64| {
            let difference = u128::from(difference) * u128::from(self.nominal_rate) / 1_000_000_000;
            u64::try_from(difference).unwrap_or(u64::MAX).min(bound)
        };
        if theirs >= ours {
            self.nominal_rate + wanted(theirs - ours)
        } else {
            self.nominal_rate - wanted(ours - theirs)
        }
    }
}

/// `elapsed` TSC ticks in nanoseconds.
fn scaled(elapsed: u64, rate: u64) -> u64 {
    u64::try_from((u128::from(elapsed) * u128::from(rate)) >> FRACTION).unwrap_or(u64::MAX)
}

/// The time-stamp counter.
pub(crate) fn tsc() -> u64 {
    // SAFETY: RDTSC is legal in SGX2 enclaves and at every privilege level that Linux configures.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 GHz: two ticks are a nanosecond.
    const START: Reading =
        Reading { tsc: 1_000, monotonic_ns: 50_000, realtime_ns: 1 << 60, tsc_khz: 2_000_000 };
    const SECOND: u64 = 2_000_000_000;

    fn silent() -> Option<Reading> {
        None
    }

    #[test]
    fn time_follows_the_tsc_without_asking() {
        let clock = Clock::new(START).expect("plausible");
        let never = || panic!("not due");
        assert_eq!(clock.monotonic_ns(1_000, never), 50_000);
        assert_eq!(clock.monotonic_ns(1_000 + 2_000_000, never), 50_000 + 1_000_000);
        assert_eq!(clock.realtime_ns(1_000 + 2_000_000, never), (1 << 60) + 1_000_000);
    }

    #[test]
    fn a_tsc_that_goes_back_does_not_take_time_with_it() {
        let clock = Clock::new(START).expect("plausible");
        let late = clock.monotonic_ns(1_000_000_000, silent);
        assert_eq!(clock.monotonic_ns(500_000_000, silent), late);
        assert_eq!(clock.monotonic_ns(0, silent), late);
    }

    /// A host that moves its clocks by an hour, either way, moves ours by at most a thousandth.
    #[test]
    fn steps_of_the_host_are_slewed_within_the_bound() {
        for step in [-3_600_000_000_000_i64, 3_600_000_000_000] {
            let clock = Clock::new(START).expect("plausible");
            let mut last = clock.monotonic_ns(START.tsc, silent);
            for second in 1..100_u64 {
                let tsc = START.tsc + second * SECOND;
                let lie = Reading {
                    monotonic_ns: last.saturating_add_signed(step),
                    realtime_ns: (1_u64 << 60).saturating_add_signed(step),
                    ..START
                };
                let now = clock.monotonic_ns(tsc, || Some(lie));
                let elapsed = now - last;
                assert!((998_999_999..=1_001_000_001).contains(&elapsed), "{step}: {elapsed}");
                last = now;
            }
        }
    }

    #[test]
    fn a_small_drift_is_corrected() {
        let clock = Clock::new(START).expect("plausible");
        let mut error = 0;
        for second in 1..20_u64 {
            let tsc = START.tsc + second * SECOND;
            // The host's clock runs 100 ppm faster than the stated frequency.
            let truth = START.monotonic_ns + second * 1_000_100_000;
            let now = clock.monotonic_ns(tsc, || Some(Reading { monotonic_ns: truth, ..START }));
            error = truth.abs_diff(now);
        }
        assert!(error <= 110_000, "{error}");
    }

    #[test]
    fn impossible_frequencies_are_refused() {
        for got in [0, 1, 99_999, 20_000_001, u64::MAX] {
            assert_eq!(
                Clock::new(Reading { tsc_khz: got, ..START }).err(),
                Some(BadFrequency { got })
            );
        }
    }

    #[test]
    fn the_frequency_is_found_from_two_readings() {
        let later = Reading { tsc: 1_000 + 20_000_000, monotonic_ns: 50_000 + 10_000_000, ..START };
        assert_eq!(Clock::frequency_khz(START, later), Some(2_000_000));
        assert_eq!(Clock::frequency_khz(later, START), None);
        assert_eq!(Clock::frequency_khz(START, START), None);
    }
}
