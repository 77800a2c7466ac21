//! What a process does on a signal: `struct sigaction` as the kernel has it, and the defaults.

use super::set::Set;
use super::signo::*;

/// SIG_DFL.
pub const DEFAULT_HANDLER: u64 = 0;
/// SIG_IGN.
pub const IGNORE_HANDLER: u64 = 1;

/// `sa_flags`.
#[allow(missing_docs)]
pub mod flags {
    pub const SA_NOCLDSTOP: u64 = 1;
    pub const SA_NOCLDWAIT: u64 = 2;
    pub const SA_SIGINFO: u64 = 4;
    pub const SA_RESTORER: u64 = 0x0400_0000;
    pub const SA_ONSTACK: u64 = 0x0800_0000;
    pub const SA_RESTART: u64 = 0x1000_0000;
    pub const SA_NODEFER: u64 = 0x4000_0000;
    pub const SA_RESETHAND: u64 = 0x8000_0000;
}

/// `struct kernel_sigaction`: handler, flags, restorer, mask, 8 bytes each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Address, SIG_DFL or SIG_IGN.
    pub handler: u64,
    /// SA_*.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked besides while the handler runs.
    pub mask: Set,
}

/// Bytes of [`Action`] in user memory.
pub const ACTION_SIZE: usize = 32;

impl Action {
    /// From user memory.
    #[must_use]
    pub fn decode(bytes: &[u8; ACTION_SIZE]) -> Self {
        let word = |index: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
            u64::from_le_bytes(word)
        };
        let mask = Set(word(3)).without(Set::UNBLOCKABLE);
        Self { handler: word(0), flags: word(1), restorer: word(2), mask }
    }

    /// To user memory.
    #[must_use]
    pub fn encode(&self) -> [u8; ACTION_SIZE] {
        let mut bytes = [0; ACTION_SIZE];
        let words = [self.handler, self.flags, self.restorer, self.mask.0];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Whether it has all of `flags`.
    #[must_use]
    pub const fn has(&self, flags: u64) -> bool {
        self.flags & flags == flags
    }
}

/// What SIG_DFL does (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends; wait(2) says that it dumped core. We write none.
    Core,
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// A stopped process goes on.
    Continue,
}

impl DefaultAction {
    /// Of a signal.
    #[must_use]
    pub const fn of(signal: u8) -> Self {
        match signal {
            SIGCHLD | SIGURG | SIGWINCH => Self::Ignore,
            SIGCONT => Self::Continue,
            SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => Self::Stop,
            SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU
            | SIGXFSZ | SIGSYS => Self::Core,
            _ => Self::Terminate,
        }
    }
}

/// What happens on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing, because the program said so or by default.
    Ignore,
    /// The default, other than nothing.
    Default(DefaultAction),
    /// A handler.
    Handle(Action),
}

/// The actions of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    table: [Action; 64],
}

impl Default for Actions {
    fn default() -> Self {
        Self { table: [Action::default(); 64] }
    }
}

impl Actions {
    /// Of a signal, which is valid.
    #[must_use]
    pub fn get(&self, signal: u8) -> Action {
        self.table[index(signal)]
    }

    /// Sets that of a signal, which is valid and not SIGKILL or SIGSTOP; gives the former.
    pub fn set(&mut self, signal: u8, action: Action) -> Action {
        core::mem::replace(&mut self.table[index(signal)], action)
    }

    /// What happens on a signal.
    #[must_use]
    pub fn disposition(&self, signal: u8) -> Disposition {
        let action = self.get(signal);
        match (action.handler, DefaultAction::of(signal)) {
            (IGNORE_HANDLER, _) | (DEFAULT_HANDLER, DefaultAction::Ignore) => Disposition::Ignore,
            (DEFAULT_HANDLER, default) => Disposition::Default(default),
            _ => Disposition::Handle(action),
        }
    }

    /// What execve(2) does: handlers become defaults, ignored signals stay ignored.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.table {
            let handler = if action.handler == IGNORE_HANDLER { IGNORE_HANDLER } else { 0 };
            *action = Action { handler, ..Action::default() };
        }
    }
}

fn index(signal: u8) -> usize {
    debug_assert!((1..=64).contains(&signal));
    usize::from(signal.saturating_sub(1)) % 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execve_keeps_what_is_ignored() {
        let mut actions = Actions::default();
        actions.set(SIGINT, Action { handler: IGNORE_HANDLER, flags: 4, ..Action::default() });
        actions.set(SIGTERM, Action { handler: 0x1000, ..Action::default() });
        assert!(matches!(actions.disposition(SIGTERM), Disposition::Handle(_)));
        actions.reset_handlers();
        assert_eq!(actions.disposition(SIGINT), Disposition::Ignore);
        assert_eq!(actions.disposition(SIGTERM), Disposition::Default(DefaultAction::Terminate));
        assert_eq!(actions.disposition(SIGCHLD), Disposition::Ignore);
    }

    #[test]
    fn actions_survive_user_memory_but_kill_cannot_be_blocked() {
        let action = Action {
            handler: 1 << 40,
            flags: flags::SA_RESTART | flags::SA_SIGINFO,
            restorer: 7,
            mask: Set(u64::MAX),
        };
        let read = Action::decode(&action.encode());
        assert!(!read.mask.contains(SIGKILL) && !read.mask.contains(SIGSTOP));
        assert_eq!(Action { mask: action.mask, ..read }, action);
    }
}
