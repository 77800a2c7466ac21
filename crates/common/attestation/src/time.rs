//! The time of a verification: which moment, and who says so.
//!
//! A verifier never reads a clock by itself: the caller gives the moment. Dates in collateral are RFC 3339
//! in UTC with whole seconds, the one form that issuers use.

use core::fmt;

use serde::Serialize;

/// Who says what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeSource {
    /// The caller named the moment.
    Given,
    /// The clock of the machine; untrusted inside an enclave.
    Host,
    /// The newest date in a signed document seen so far, which was later than the host's clock.
    NewestSignedDate,
    /// When the verifier was built, which was later than the host's clock.
    Build,
    /// An attested or otherwise trusted server.
    Trusted,
}

/// The moment of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Unix seconds.
    pub seconds: u64,
    /// Who says so.
    pub source: TimeSource,
}

impl Now {
    /// A moment that the caller names.
    #[must_use]
    pub const fn given(seconds: u64) -> Self {
        Self { seconds, source: TimeSource::Given }
    }

    /// The clock of the machine.
    #[must_use]
    pub const fn host(seconds: u64) -> Self {
        Self { seconds, source: TimeSource::Host }
    }

    /// For a verifier inside an enclave: the latest of the host's clock, the newest signed date seen and
    /// the build time. A host can still stop the clock, but cannot turn it back past what was signed.
    #[must_use]
    pub fn latest(host: u64, newest_signed: u64, build: u64) -> Self {
        let mut now = Self::host(host);
        if newest_signed > now.seconds {
            now = Self { seconds: newest_signed, source: TimeSource::NewestSignedDate };
        }
        if build > now.seconds {
            now = Self { seconds: build, source: TimeSource::Build };
        }
        now
    }
}

/// A span of time in which something holds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From this moment on, in Unix seconds.
    pub not_before: u64,
    /// Until this moment, in Unix seconds.
    pub not_after: u64,
}

impl Validity {
    /// Whether the moment lies inside.
    #[must_use]
    pub const fn contains(self, seconds: u64) -> bool {
        self.not_before <= seconds && seconds <= self.not_after
    }

    /// What lies in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", Rfc3339(self.not_before), Rfc3339(self.not_after))
    }
}

/// Prints Unix seconds as RFC 3339 in UTC.
pub struct Rfc3339(pub u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// A date that is not `YYYY-MM-DDThh:mm:ssZ`, or before 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateError;

impl fmt::Display for DateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a date as YYYY-MM-DDThh:mm:ssZ, 1970 or later")
    }
}

impl core::error::Error for DateError {}

/// Reads `YYYY-MM-DDThh:mm:ssZ` as Unix seconds.
///
/// # Errors
///
/// Any other form, a day that does not exist, a year before 1970.
pub fn parse_rfc3339(text: &str) -> Result<u64, DateError> {
    let text: &[u8; 20] = text.as_bytes().try_into().map_err(|_| DateError)?;
    let number = |range: core::ops::Range<usize>| -> Result<u64, DateError> {
        text[range].iter().try_fold(0, |sum, &digit| {
            digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')).ok_or(DateError)
        })
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if separators.iter().any(|&(at, separator)| text[at] != separator) {
        return Err(DateError);
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return Err(DateError);
    }
    let days = days_from_civil(year, month, day);
    // A month or day out of range moves the date elsewhere.
    if civil(days) != (year, month, day) {
        return Err(DateError);
    }
    Ok(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; the year counted from March, so that a leap
/// day ends it.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let month_from_march = (month + 9) % 12;
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day.max(1) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        // `date -u -d @N +%FT%TZ`
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_752_919_278, "2025-07-19T10:01:18Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(parse_rfc3339(text), Ok(seconds));
            assert_eq!(alloc::format!("{}", Rfc3339(seconds)), text);
        }
    }

    #[test]
    fn other_forms_and_impossible_days_are_refused() {
        for text in [
            "2025-02-29T00:00:00Z",
            "2025-00-10T00:00:00Z",
            "2025-01-00T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01 00:00:00Z",
            "2025-01-01T00:00:00+",
            "2025-01-01T00:00:00.0Z",
            "1969-12-31T23:59:59Z",
            "",
        ] {
            assert_eq!(parse_rfc3339(text), Err(DateError), "{text}");
        }
    }

    #[test]
    fn the_latest_time_wins_and_is_named() {
        assert_eq!(Now::latest(3, 2, 1), Now::host(3));
        assert_eq!(Now::latest(1, 3, 2).source, TimeSource::NewestSignedDate);
        let now = Now::latest(1, 2, 3);
        assert_eq!((now.seconds, now.source), (3, TimeSource::Build));
    }
}
