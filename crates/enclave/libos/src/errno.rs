//! Linux error numbers (x86-64).

/// An error number; its value is positive, a system call returns the negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($name:ident = $value:literal,)*) => {
        #[allow(missing_docs)] // errno(3)
        impl Errno { $(pub const $name: Self = Self($value);)* }
        impl core::fmt::Debug for Errno {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.0 { $($value => f.write_str(stringify!($name)),)* n => write!(f, "errno {n}") }
            }
        }
    };
}

errnos! {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8, EBADF = 9,
    ECHILD = 10, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14, ENOTBLK = 15, EBUSY = 16,
    EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, ENFILE = 23,
    EMFILE = 24, ENOTTY = 25, ETXTBSY = 26, EFBIG = 27, ENOSPC = 28, ESPIPE = 29, EROFS = 30,
    EMLINK = 31, EPIPE = 32, EDOM = 33, ERANGE = 34, EDEADLK = 35, ENAMETOOLONG = 36, ENOLCK = 37,
    ENOSYS = 38, ENOTEMPTY = 39, ELOOP = 40, ENODATA = 61, EOVERFLOW = 75, ENOTSOCK = 88,
    EDESTADDRREQ = 89, EMSGSIZE = 90, EPROTOTYPE = 91, ENOPROTOOPT = 92, EPROTONOSUPPORT = 93, ECONNABORTED = 103, ENOBUFS = 105, ESOCKTNOSUPPORT = 94,
    EOPNOTSUPP = 95, EAFNOSUPPORT = 97, EADDRINUSE = 98, EADDRNOTAVAIL = 99, ENETDOWN = 100,
    ENETUNREACH = 101, ECONNRESET = 104,
    EISCONN = 106, ENOTCONN = 107, ETIMEDOUT = 110, ECONNREFUSED = 111, EHOSTUNREACH = 113, EALREADY = 114,
    EINPROGRESS = 115, ECANCELED = 125,
}

/// Never seen by programs: what the return to user mode makes of an interrupted call.
impl Errno {
    /// Repeat the call if no handler runs or the handler has SA_RESTART, else EINTR.
    pub const ERESTARTSYS: Self = Self(512);
    /// Always repeat the call.
    pub const ERESTARTNOINTR: Self = Self(513);
    /// Repeat the call only if no handler runs, else EINTR.
    pub const ERESTARTNOHAND: Self = Self(514);
}

impl Errno {
    /// The positive number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// From what a host answered: anything that is no error number of Linux is EIO, for the host may say what it
    /// likes. So are those that no program sees.
    #[must_use]
    pub const fn from_host(number: i64) -> Self {
        /// EHWPOISON.
        const LAST: i64 = 133;
        if number >= 1 && number <= LAST { Self(number as u16) } else { Self::EIO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ERESTARTSYS and its like steer the return to user mode, and the host's were taken for them.
    #[test]
    fn the_host_gives_no_error_that_is_ours() {
        for number in [i64::MIN, -1, 0, 134, 512, 513, 514, 4095, i64::MAX] {
            assert_eq!(Errno::from_host(number), Errno::EIO, "{number}");
        }
        for number in [1, 104, 133] {
            assert_eq!(Errno::from_host(number).number(), number as u16);
        }
    }
}
