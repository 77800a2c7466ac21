//! What an OCI runtime does, case by case, against any runtime's program.
//!
//! A case that fails on rune and passes on runc or crun is our fault; one that fails on all of them is a
//! wrong expectation. `tests/rune.rs` runs all of them on rune, `tests/peers.rs` on Debian's runc and crun,
//! where [`KNOWN`] says which cases a peer is known to fail and why.
#![forbid(unsafe_code)]

mod bundle;
mod cases;
mod runtime;
mod selinux;

pub use bundle::Bundle;
pub use runtime::{Outcome, Runtime};

/// One behaviour.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&Runtime) -> Result<(), String>,
}

/// All cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    cases::ALL.iter().copied().flatten()
}

/// Cases that a peer of Debian 12 fails: program, case, why.
pub const KNOWN: &[(&str, &str, &str)] = &[
    ("crun", "a_failing_hook_undoes_the_container", "says the hook's status, not its output"),
    ("crun", "exec_runs_and_gives_the_exit_code", "1.8.1 loses PATH where --env is given"),
    ("crun", "links_in_the_root_do_not_lead_out", "a link to a missing directory is refused"),
    ("crun", "tmpfs_keeps_the_directorys_mode", "the mode is 1777 without tmpcopyup"),
    ("crun", "signals_are_not_blocked_or_ignored", "ignored signals are inherited"),
    ("crun", "impossible_combinations_are_refused", "a relative directory is taken"),
    ("crun", "bad_ids_are_refused", "an id with blanks is taken"),
    ("crun", "an_unknown_apparmor_profile_is_refused", "1.8.1 names a file, not AppArmor"),
    ("crun", "a_mount_label_without_selinux_is_refused", "ignored"),
    ("runc", "hooks_run_in_order_with_the_state", "poststart sees created (mended after 1.5.1)"),
    ("runc", "only_standard_descriptors_are_open", "1.1.5 leaves one open"),
    ("runc", "signals_are_not_blocked_or_ignored", "ignored signals are inherited"),
    ("crun", "a_mount_can_be_shared_with_the_host", "it becomes private again"),
    ("crun", "a_time_namespace_has_its_offsets", "1.8.1 does not know it"),
    ("crun", "scheduler_is_set", "1.8.1 does not know it"),
    ("crun", "io_priority_is_set", "1.8.1 does not know it"),
    ("crun", "memory_policy_is_set", "1.8.1 does not know it"),
    ("crun", "exec_runs_on_its_processors", "1.8.1 does not know it"),
    ("runc", "an_id_mapped_mount_shows_other_owners", "1.1.5 has no id-mapped mounts"),
    ("runc", "orphans_are_waited_for", "1.1.5 leaves the group of v2 behind"),
    ("runc", "the_roots_propagation_is_set", "1.1.5 leaves the root private"),
    ("runc", "domainname_is_set", "1.1.5 does not know it"),
    ("runc", "personality_is_set", "1.1.5 does not know it"),
    ("runc", "a_time_namespace_has_its_offsets", "1.1.5 does not know it"),
    ("runc", "scheduler_is_set", "1.1.5 does not know it"),
    ("runc", "io_priority_is_set", "1.1.5 does not know it"),
    ("runc", "memory_policy_is_set", "1.1.5 does not know it"),
    ("runc", "exec_runs_on_its_processors", "1.1.5 does not know it"),
];

/// Fails a case with both values.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: T,
    expected: T,
) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, got {got:?}"))
}

/// Fails a case if a text lacks a part.
pub(crate) fn expect_part(what: &str, text: &str, part: &str) -> Result<(), String> {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("{what}: expected {part:?} in it, got {text:?}"))
}

/// Why nothing can be run here, if so.
pub fn obstacle() -> Option<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root =
        status.lines().any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0"));
    if !is_root {
        return Some("not root");
    }
    if !std::path::Path::new(bundle::BUSYBOX).exists() {
        return Some("no /bin/busybox (package busybox-static)");
    }
    None
}
