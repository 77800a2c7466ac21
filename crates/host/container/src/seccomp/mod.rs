//! Seccomp profiles compiled to classic BPF, without libseccomp.
//!
//! What it guarantees: the same verdict as the profile read rule by rule (the tests run the
//! program over all system calls and over the edges of every comparison); a call of an architecture that the profile
//! does not list kills the process; an x32 call under a profile without x32 does, too. Rules are looked up
//! by binary search over ranges of numbers, so that Docker's profile is a few hundred instructions instead
//! of the thousand of a linear list. It compiles in half a millisecond; programs are kept in a cache.

pub mod cache;
mod compile;
mod interpret;
pub mod table;

pub use compile::compile;

use crate::error::{Error, Result};
use crate::spec::Seccomp;
use crate::sys::{
    FILTER_FLAG_LOG, FILTER_FLAG_NEW_LISTENER, FILTER_FLAG_SPEC_ALLOW, FILTER_FLAG_TSYNC,
    FILTER_FLAG_WAIT_KILLABLE_RECV, SockFilter,
};
use std::path::{Path, PathBuf};

/// `SECCOMP_RET_*`.
pub(crate) mod ret {
    pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
    pub(crate) const KILL_THREAD: u32 = 0;
    pub(crate) const TRAP: u32 = 0x0003_0000;
    pub(crate) const ERRNO: u32 = 0x0005_0000;
    pub(crate) const USER_NOTIF: u32 = 0x7fc0_0000;
    pub(crate) const TRACE: u32 = 0x7ff0_0000;
    pub(crate) const LOG: u32 = 0x7ffc_0000;
    pub(crate) const ALLOW: u32 = 0x7fff_0000;
}

/// A profile ready to be installed.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The program.
    pub program: Vec<SockFilter>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Where the listener of `SCMP_ACT_NOTIFY` goes, with the metadata to send.
    pub listener: Option<(PathBuf, String)>,
}

/// Names of actions, for `features`.
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Names of comparison operators, for `features`.
pub const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// Names of architectures, for `features`.
pub const ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];

/// Names of filter flags, for `features`.
pub const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

impl Filter {
    /// Compiles a profile.
    ///
    /// # Errors
    /// The field with a name that is unknown or a value that cannot be. Unknown system calls are no
    /// error: profiles name calls of all kernels and architectures.
    pub fn new(profile: &Seccomp) -> Result<Self> {
        Self::with(profile, compile)
    }

    /// As [`new`](Self::new), by way of the cache in the directory of all containers.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn cached(profile: &Seccomp, root: &Path) -> Result<Self> {
        Self::with(profile, |profile| cache::program(profile, root))
    }

    fn with(
        profile: &Seccomp,
        compile: impl FnOnce(&Seccomp) -> Result<Vec<SockFilter>>,
    ) -> Result<Self> {
        let mut flags = 0;
        for (index, flag) in profile.flags.iter().enumerate() {
            flags |= match flag.as_str() {
                "SECCOMP_FILTER_FLAG_TSYNC" => FILTER_FLAG_TSYNC,
                "SECCOMP_FILTER_FLAG_LOG" => FILTER_FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FILTER_FLAG_SPEC_ALLOW,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FILTER_FLAG_WAIT_KILLABLE_RECV,
                other => {
                    let field = format!("linux.seccomp.flags[{index}]");
                    return Err(Error::config(field, FLAGS.join(", "), format!("{other:?}")));
                }
            };
        }
        let program = compile(profile)?;
        let is_notified = program.iter().any(|i| i.code == 6 && i.k == ret::USER_NOTIF);
        let listener = if is_notified {
            if profile.listener_path.as_os_str().is_empty() {
                return Err(Error::config("linux.seccomp.listenerPath", "a socket", "none"));
            }
            flags |= FILTER_FLAG_NEW_LISTENER;
            Some((profile.listener_path.clone(), profile.listener_metadata.clone()))
        } else {
            None
        };
        Ok(Self { program, flags, listener })
    }
}

/// An action's return value. `field` is the action's; `errno` its `errnoRet`.
fn action(field: &str, name: &str, errno: Option<u32>) -> Result<u32> {
    let data = errno.unwrap_or(libc::EPERM as u32);
    let with_errno = |value: u32| {
        if data > 4095 {
            let field = field.replace("action", "errnoRet");
            return Err(Error::config(field, "0 to 4095", data));
        }
        Ok(value | data)
    };
    let plain = |value: u32| {
        if errno.is_some_and(|e| e != 0) {
            let field = field.replace("action", "errnoRet");
            let expected = format!("none with {name}");
            return Err(Error::config(field, expected, data));
        }
        Ok(value)
    };
    match name {
        "SCMP_ACT_ALLOW" => plain(ret::ALLOW),
        "SCMP_ACT_ERRNO" => with_errno(ret::ERRNO),
        "SCMP_ACT_TRACE" => with_errno(ret::TRACE),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => plain(ret::KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => plain(ret::KILL_PROCESS),
        "SCMP_ACT_TRAP" => plain(ret::TRAP),
        "SCMP_ACT_LOG" => plain(ret::LOG),
        "SCMP_ACT_NOTIFY" => plain(ret::USER_NOTIF),
        other => Err(Error::config(field, ACTIONS.join(", "), format!("{other:?}"))),
    }
}
