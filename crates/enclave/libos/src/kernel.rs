//! The one library OS: what all processes share.

use crate::fs;
use crate::futex::{self, Futexes};
use crate::platform::Platform;
use crate::process::{Pid, Process};
use crate::sync::Mutex;
use crate::syscall::{Table, clock, misc};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Global state; leaked at boot, so that everything may hold a `&'static Kernel`.
pub struct Kernel {
    /// The machine below.
    pub platform: &'static dyn Platform,
    /// The system calls.
    pub syscalls: Table,
    /// All processes, zombies included.
    pub processes: Mutex<BTreeMap<Pid, Arc<Process>>>,
    /// Who waits in futex(2).
    pub futexes: Futexes,
}

impl Kernel {
    /// A library OS with no processes.
    #[must_use]
    pub fn new(platform: &'static dyn Platform) -> Self {
        crate::sync::set_platform(platform);
        Self {
            platform,
            syscalls: Table::new(&[fs::syscalls::TABLE, clock::TABLE, futex::TABLE, misc::TABLE]),
            processes: Mutex::new(BTreeMap::new()),
            futexes: Futexes::default(),
        }
    }
}
