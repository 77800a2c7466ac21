//! Debian's systemd in the machine: the machine's manager, and below it one of a user's.

use crate::{SecurityModule, repeat_by};
use fixtures::Error;
use std::path::Path;

/// Whose units a test's containers become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The machine's: `systemd --system`, asked by root.
    System,
    /// That of user 1000: `systemd --user`, which has controllers from the other one.
    User,
}

/// Repeats a test as a unit of such a manager. Its program and `programs` are seen in a place of their own, which
/// every user may enter: the program at `deps/`, the others above it, as cargo lays them.
///
/// # Errors
/// As [`crate::repeat_test`].
pub fn repeat_test_below(manager: Manager, name: &str, programs: &[&Path]) -> Result<(), Error> {
    let manager = match manager {
        Manager::System => "system",
        Manager::User => "user",
    };
    let program = std::env::current_exe().map_err(|error| Error(format!("own name: {error}")))?;
    let programs: String = programs.iter().map(|it| format!(" '{}'", it.display())).collect();
    let script = format!(
        "set -- {manager} '{name}' '{}'{programs}\n{}",
        program.display(),
        include_str!("systemd.sh")
    );
    repeat_by(SecurityModule::AppArmor, name, &script)
}
