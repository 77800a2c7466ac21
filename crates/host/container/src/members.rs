//! The processes of a container: those of its cgroups or, where it has none (rootless), of its pid namespace.

use crate::spec::NamespaceType;
use crate::state::State;

/// Process ids as this process's `/proc` numbers them.
#[must_use]
pub fn processes(state: &State) -> Vec<i32> {
    if state.cgroups.all().next().is_some() || state.namespaces & NamespaceType::Pid.flag() == 0 {
        return state.cgroups.processes();
    }
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = namespace(state.pid) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| namespace(*pid).as_ref() == Some(&own)).collect()
}
