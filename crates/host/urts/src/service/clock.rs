//! The host's clocks, read together with the time-stamp counter.

use rustix::time::{ClockId, clock_gettime};

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    tsc: u64,
    monotonic_ns: u64,
    realtime_ns: u64,
}

impl Reading {
    /// Reads all three. Of several tries the one whose two TSC reads lie closest counts, so that being
    /// descheduled in between does not show up as a wrong rate.
    pub(crate) fn now() -> Self {
        let mut best: Option<(u64, Self)> = None;
        for _ in 0..4 {
            let before = tsc();
            let monotonic_ns = nanoseconds(ClockId::Monotonic);
            let after = tsc();
            let realtime_ns = nanoseconds(ClockId::Realtime);
            let width = after.wrapping_sub(before);
            let reading = Self { tsc: before.wrapping_add(width / 2), monotonic_ns, realtime_ns };
            if best.is_none_or(|(best, _)| width < best) {
                best = Some((width, reading));
            }
        }
        best.expect("four tries were made").1
    }

    /// TSC ticks per millisecond since `earlier`; 0 if too little time went by for six digits.
    fn khz_since(&self, earlier: &Self) -> u64 {
        let elapsed_ns = self.monotonic_ns.saturating_sub(earlier.monotonic_ns);
        if elapsed_ns < 1_000_000 {
            return 0;
        }
        let ticks = self.tsc.saturating_sub(earlier.tsc);
        (u128::from(ticks) * 1_000_000 / u128::from(elapsed_ns)) as u64
    }
}

/// The clock service: remembers a first reading to measure the counter's rate against.
pub(crate) struct Clock {
    first: Reading,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { first: Reading::now() }
    }

    /// TSC, monotonic ns, realtime ns, TSC kHz. The rate is measured since [`new`](Self::new), so it grows more
    /// exact with every reading; the first millisecond is waited for.
    pub(crate) fn read(&self) -> [u64; 4] {
        loop {
            let now = Reading::now();
            let khz = now.khz_since(&self.first);
            if khz != 0 {
                return [now.tsc, now.monotonic_ns, now.realtime_ns, khz];
            }
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

fn tsc() -> u64 {
    // SAFETY: RDTSC is part of every x86-64 processor; a kernel that disables it (PR_SET_TSC) does so on the
    // process's own request only.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_rate_predicts_the_monotonic_clock() {
        let clock = Clock::new();
        let [tsc, monotonic, realtime, khz] = clock.read();
        assert!((100_000..20_000_000).contains(&khz), "{khz} kHz");
        assert!(realtime > 1_600_000_000_000_000_000);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let [later_tsc, later_monotonic, ..] = clock.read();
        let predicted = monotonic + (later_tsc - tsc) * 1_000_000 / khz;
        let error = predicted.abs_diff(later_monotonic);
        assert!(error < 1_000_000, "off by {error} ns after 20 ms");
    }
}
