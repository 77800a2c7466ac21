//! Options of sockets: which there are, what they are before anybody sets them, and what was set.
//!
//! An option that changes nothing here (a timer of a wire that does not exist) still reads back as it was
//! set. One that a program would rely on and that is not served is not in the table: ENOPROTOOPT.

use crate::errno::Errno;
use crate::sync::Mutex;
use alloc::collections::BTreeMap;

#[allow(missing_docs)] // socket(7)
pub const SOL_SOCKET: i32 = 1;
#[allow(missing_docs)] // socket(7)
pub mod so {
    pub const REUSEADDR: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const ERROR: i32 = 4;
    pub const BROADCAST: i32 = 6;
    pub const SNDBUF: i32 = 7;
    pub const RCVBUF: i32 = 8;
    pub const LINGER: i32 = 13;
    pub const REUSEPORT: i32 = 15;
    pub const PASSCRED: i32 = 16;
    pub const PEERCRED: i32 = 17;
    pub const RCVTIMEO: i32 = 20;
    pub const SNDTIMEO: i32 = 21;
    pub const ACCEPTCONN: i32 = 30;
    pub const SNDBUFFORCE: i32 = 32;
    pub const RCVBUFFORCE: i32 = 33;
    pub const PROTOCOL: i32 = 38;
    pub const DOMAIN: i32 = 39;
    pub const COOKIE: i32 = 57;
}

/// Bytes of a socket's buffer before anybody sets it (net.core.wmem_default, rmem_default).
pub const DEFAULT_BUFFER: i32 = 212_992;
/// Most that SO_SNDBUF and SO_RCVBUF take (net.core.wmem_max, rmem_max); twice that is kept.
pub const MAX_BUFFER: i32 = 212_992;
/// Least that is kept for each (SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF).
const MIN_SEND: i32 = 4608;
const MIN_RECEIVE: i32 = 2304;

/// What values an option takes.
#[derive(Clone, Copy)]
pub enum Values {
    /// Anything but 0 is 1.
    Flag,
    /// A number in this range; EINVAL outside.
    Range(i32, i32),
    /// Reads only.
    Fixed,
}

/// An option whose value is an `int`.
pub struct Integer {
    level: i32,
    name: i32,
    default: i32,
    values: Values,
}

/// Describes an option.
pub const fn integer(level: i32, name: i32, default: i32, values: Values) -> Integer {
    Integer { level, name, default, values }
}

const ANY: Values = Values::Range(i32::MIN, i32::MAX);

/// Options of level SOL_SOCKET that every family has.
const COMMON: &[Integer] = &[
    // SO_DEBUG, SO_DONTROUTE, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK
    integer(SOL_SOCKET, 1, 0, Values::Flag),
    integer(SOL_SOCKET, so::REUSEADDR, 0, Values::Flag),
    integer(SOL_SOCKET, 5, 0, Values::Flag),
    integer(SOL_SOCKET, so::BROADCAST, 0, Values::Flag),
    integer(SOL_SOCKET, so::SNDBUF, DEFAULT_BUFFER, ANY),
    integer(SOL_SOCKET, so::RCVBUF, DEFAULT_BUFFER, ANY),
    integer(SOL_SOCKET, 9, 0, Values::Flag),
    integer(SOL_SOCKET, 10, 0, Values::Flag),
    integer(SOL_SOCKET, 11, 0, Values::Flag),
    // SO_PRIORITY
    integer(SOL_SOCKET, 12, 0, Values::Range(0, 6)),
    integer(SOL_SOCKET, so::REUSEPORT, 0, Values::Flag),
    integer(SOL_SOCKET, so::PASSCRED, 0, Values::Flag),
    // SO_SNDLOWAT
    integer(SOL_SOCKET, 19, 1, Values::Fixed),
    // SO_BUSY_POLL, SO_INCOMING_CPU
    integer(SOL_SOCKET, 46, 0, Values::Range(0, i32::MAX)),
    integer(SOL_SOCKET, 49, -1, Values::Fixed),
];

/// What was set on a socket.
#[derive(Default)]
pub struct Options(Mutex<State>);

#[derive(Clone, Default)]
struct State {
    integers: BTreeMap<(i32, i32), i32>,
    /// SO_LINGER: whether, and seconds.
    linger: (bool, i32),
    /// SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds.
    receive_ns: Option<u64>,
    send_ns: Option<u64>,
}

impl Options {
    /// The copy that an accepted connection gets from its listener.
    #[must_use]
    pub fn inherited(&self) -> Self {
        Self(Mutex::new(self.0.lock().clone()))
    }

    /// Value of an integer of `own` or of those that every family has; None for one that is in neither.
    #[must_use]
    pub fn integer(&self, own: &[Integer], level: i32, name: i32) -> Option<i32> {
        let known = find(own, level, name)?;
        Some(self.0.lock().integers.get(&(level, name)).copied().unwrap_or(known.default))
    }

    /// Whether a flag of level SOL_SOCKET is set.
    #[must_use]
    pub fn is_set(&self, name: i32) -> bool {
        self.integer(&[], SOL_SOCKET, name).is_some_and(|value| value != 0)
    }

    /// Value of an integer that somebody has set.
    #[must_use]
    pub fn set_value(&self, level: i32, name: i32) -> Option<i32> {
        self.0.lock().integers.get(&(level, name)).copied()
    }

    /// Sets an integer.
    ///
    /// # Errors
    /// ENOPROTOOPT for one that is in neither table, EINVAL for a value that does not fit.
    pub fn set_integer(
        &self,
        own: &[Integer],
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Result<(), Errno> {
        let forced = match (level, name) {
            (SOL_SOCKET, so::SNDBUFFORCE) => Some(so::SNDBUF),
            (SOL_SOCKET, so::RCVBUFFORCE) => Some(so::RCVBUF),
            _ => None,
        };
        let name = forced.unwrap_or(name);
        let known = find(own, level, name).ok_or(Errno::ENOPROTOOPT)?;
        let value = match value {
            [a, b, c, d, ..] => i32::from_le_bytes([*a, *b, *c, *d]),
            // ip(7) takes a single byte, too.
            [byte, ..] if level != SOL_SOCKET => (*byte).into(),
            _ => return Err(Errno::EINVAL),
        };
        let value = match (level, name, known.values) {
            (SOL_SOCKET, so::SNDBUF, _) => buffer(value, MIN_SEND),
            (SOL_SOCKET, so::RCVBUF, _) => buffer(value, MIN_RECEIVE),
            (_, _, Values::Flag) => i32::from(value != 0),
            (_, _, Values::Range(low, high)) if (low..=high).contains(&value) => value,
            (_, _, Values::Range(..)) => return Err(Errno::EINVAL),
            (_, _, Values::Fixed) => return Err(Errno::ENOPROTOOPT),
        };
        self.0.lock().integers.insert((level, name), value);
        Ok(())
    }

    /// SO_LINGER as `struct linger`.
    #[must_use]
    pub fn linger(&self) -> [u8; 8] {
        let (is_on, seconds) = self.0.lock().linger;
        let mut raw = [0; 8];
        raw[0] = is_on.into();
        raw[4..].copy_from_slice(&seconds.to_le_bytes());
        raw
    }

    /// Sets SO_LINGER.
    ///
    /// # Errors
    /// EINVAL for fewer than 8 bytes.
    pub fn set_linger(&self, value: &[u8]) -> Result<(), Errno> {
        let raw = value.first_chunk::<8>().ok_or(Errno::EINVAL)?;
        let [a, b, c, d, seconds @ ..] = *raw;
        self.0.lock().linger = ([a, b, c, d] != [0; 4], i32::from_le_bytes(seconds));
        Ok(())
    }

    /// Whether close(2) throws away what was not delivered: SO_LINGER of 0 seconds.
    #[must_use]
    pub fn resets_at_close(&self) -> bool {
        self.0.lock().linger == (true, 0)
    }

    /// Longest wait in nanoseconds of a receive or of a send, None for ever.
    #[must_use]
    pub fn wait_limit_ns(&self, is_send: bool) -> Option<u64> {
        let state = self.0.lock();
        if is_send { state.send_ns } else { state.receive_ns }
    }

    /// SO_RCVTIMEO or SO_SNDTIMEO as `struct timeval`.
    #[must_use]
    pub fn timeout(&self, is_send: bool) -> [u8; 16] {
        let ns = self.wait_limit_ns(is_send).unwrap_or(0);
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&(ns / 1_000_000_000).to_le_bytes());
        raw[8..].copy_from_slice(&(ns % 1_000_000_000 / 1000).to_le_bytes());
        raw
    }

    /// Sets SO_RCVTIMEO or SO_SNDTIMEO.
    ///
    /// # Errors
    /// EINVAL for fewer than 16 bytes, EDOM for microseconds that are none.
    pub fn set_timeout(&self, is_send: bool, value: &[u8]) -> Result<(), Errno> {
        let raw = value.first_chunk::<16>().ok_or(Errno::EINVAL)?;
        let (seconds, micros) = raw.split_at(8);
        let word = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).unwrap_or_default();
        let (seconds, micros) = (word(seconds), word(micros));
        if !(0..1_000_000).contains(&micros) {
            return Err(Errno::EDOM);
        }
        let limit = match (seconds, micros) {
            (0, 0) => None,
            // A time that is over already: it does not wait at all.
            (..0, _) => Some(0),
            _ => Some((seconds as u64).saturating_mul(1_000_000_000) + micros as u64 * 1000),
        };
        let mut state = self.0.lock();
        *(if is_send { &mut state.send_ns } else { &mut state.receive_ns }) = limit;
        Ok(())
    }
}

fn find(own: &[Integer], level: i32, name: i32) -> Option<&Integer> {
    let mut all = own.iter().chain(COMMON);
    all.find(|known| known.level == level && known.name == name)
}

/// What is kept of a size that was asked for (socket(7): twice, for the bookkeeping).
fn buffer(wanted: i32, least: i32) -> i32 {
    // A negative number is a large one, as the unsigned comparison of Linux has it.
    let wanted = if wanted < 0 { MAX_BUFFER } else { wanted.min(MAX_BUFFER) };
    (wanted * 2).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_was_set_reads_back_and_an_unknown_option_is_refused() {
        let options = Options::default();
        let set =
            |name, value: i32| options.set_integer(&[], SOL_SOCKET, name, &value.to_le_bytes());
        assert_eq!(set(so::REUSEADDR, 7), Ok(()));
        assert_eq!(options.integer(&[], SOL_SOCKET, so::REUSEADDR), Some(1));
        assert_eq!(set(so::RCVBUF, 1000), Ok(()));
        assert_eq!(options.integer(&[], SOL_SOCKET, so::RCVBUF), Some(MIN_RECEIVE));
        assert_eq!(set(so::SNDBUF, 100_000), Ok(()));
        assert_eq!(options.integer(&[], SOL_SOCKET, so::SNDBUF), Some(200_000));
        assert_eq!(set(12, 7), Err(Errno::EINVAL));
        assert_eq!(set(60, 1), Err(Errno::ENOPROTOOPT));
        let short = options.set_integer(&[], SOL_SOCKET, so::REUSEADDR, &[1]);
        assert_eq!(short, Err(Errno::EINVAL));
    }

    #[test]
    fn times_and_linger_read_back() {
        let options = Options::default();
        let time =
            |seconds: i64, micros: i64| [seconds.to_le_bytes(), micros.to_le_bytes()].concat();
        assert_eq!(options.set_timeout(true, &time(1, 1_000_000)), Err(Errno::EDOM));
        assert_eq!(options.set_timeout(true, &time(1, 500_000)), Ok(()));
        assert_eq!(options.wait_limit_ns(true), Some(1_500_000_000));
        assert_eq!(options.wait_limit_ns(false), None);
        assert_eq!(options.timeout(true), *time(1, 500_000));
        assert_eq!(options.set_timeout(true, &time(0, 0)), Ok(()));
        assert_eq!(options.wait_limit_ns(true), None);
        assert!(!options.resets_at_close());
        assert_eq!(options.set_linger(&[1, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
        assert!(options.resets_at_close());
        assert!(options.inherited().resets_at_close());
    }
}
