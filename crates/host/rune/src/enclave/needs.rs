//! Whether the container's limits leave room for the enclave, before anything is made: a limit that is met
//! later kills the enclave in mid-work with no word about why.

use crate::failure::Failure;
use container::Spec;
use container::seccomp::Filter;
use workload::manifest::Manifest;

/// Threads of the host process besides those of the enclave: the main one, the watcher, signals, the agent
/// and one per exec session that is served at once.
const SERVICE_THREADS: u64 = 8;

/// Memory of the host process besides the enclave, in bytes: its own code and one stack and call block per
/// thread.
const SERVICE_MEMORY: u64 = 16 << 20;
const MEMORY_PER_THREAD: u64 = 256 << 10;

/// Checks `linux.resources` against the pool of threads and the enclave's own memory. `loaded` is the size of
/// the enclave file's pages in bytes. The heap grows by need, so that only what cannot be done without is
/// demanded.
///
/// # Errors
/// The limit that is too low, with what it must be at least.
pub(crate) fn check_limits(spec: &Spec, manifest: &Manifest, loaded: u64) -> Result<(), Failure> {
    let resources = &spec.linux.resources;
    let threads = u64::from(manifest.enclave.threads);
    if let Some(limit) = resources.pids.as_ref().and_then(|p| p.limit).filter(|l| *l > 0) {
        let needed = threads + SERVICE_THREADS;
        if (limit as u64) < needed {
            return Err(Failure::new(format!(
                "linux.resources.pids.limit: expected at least {needed} (the manifest's {threads} enclave \
                 threads and {SERVICE_THREADS} of the runtime), got {limit}"
            )));
        }
    }
    if let Some(limit) = resources.memory.as_ref().and_then(|m| m.limit).filter(|l| *l > 0) {
        let needed = loaded + SERVICE_MEMORY + threads * MEMORY_PER_THREAD;
        if (limit as u64) < needed {
            return Err(Failure::new(format!(
                "linux.resources.memory.limit: expected at least {needed} bytes (the enclave's pages and \
                 {threads} threads), got {limit}"
            )));
        }
    }
    Ok(())
}

/// What an enclave makes the runtime do.
#[derive(Clone, Copy)]
pub(crate) struct Doing {
    /// It runs on the emulator.
    pub(crate) is_emulated: bool,
    /// It may ask for quotes.
    pub(crate) has_quotes: bool,
    /// It may ask for sockets.
    pub(crate) has_sockets: bool,
}

/// Checks that a seccomp profile leaves the runtime what it needs.
///
/// # Errors
/// The calls that it forbids.
pub(crate) fn check_filter(filter: &Filter, doing: Doing) -> Result<(), Failure> {
    use urts::seccomp::{
        SYSCALLS, SYSCALLS_EMULATOR, SYSCALLS_HARDWARE, SYSCALLS_NETWORK, missing,
    };
    let Doing { is_emulated, has_quotes, has_sockets } = doing;
    let driver = if is_emulated { SYSCALLS_EMULATOR } else { SYSCALLS_HARDWARE };
    // The emulated platform is in this process and computes.
    let quotes = if has_quotes && !is_emulated { super::quotes::SYSCALLS_DAEMON } else { &[] };
    let sockets = if has_sockets { SYSCALLS_NETWORK } else { &[] };
    let serves = |name: &str| {
        // Docker's profile cannot look into clone3's structure, so it answers ENOSYS, and threads are made
        // with clone.
        filter.allows(name) || (name == "clone3" && filter.hides(name) && filter.allows("clone"))
    };
    let needed = [SYSCALLS, driver, quotes, sockets];
    let mut forbidden: Vec<_> =
        needed.into_iter().flat_map(|calls| missing(calls, serves)).collect();
    forbidden.sort_unstable();
    forbidden.dedup();
    if forbidden.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "linux.seccomp: expected a profile that allows what the enclave runtime needs, got one that \
         forbids {}",
        forbidden.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal_of(names: &str, errno: u32, has_sockets: bool) -> Option<String> {
        let profile = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {{"names":{names},"action":"SCMP_ACT_ERRNO","errnoRet":{errno}}}]}}"#
        );
        let filter = Filter::new(&serde_json::from_str(&profile).unwrap()).unwrap();
        let doing = Doing { is_emulated: true, has_quotes: true, has_sockets };
        check_filter(&filter, doing).err().map(|failure| failure.message)
    }

    /// Docker's default profile answers clone3 with ENOSYS; it was refused.
    #[test]
    fn a_profile_that_hides_clone3_serves_and_one_that_forbids_it_does_not() {
        let clone3 = r#"["clone3"]"#;
        assert_eq!(refusal_of(clone3, 38, false), None);
        let refusal = refusal_of(clone3, 1, false);
        assert!(refusal.is_some_and(|text| text.ends_with("forbids clone3")));
    }

    #[test]
    fn socket_calls_are_needed_by_an_enclave_with_network_rules_only() {
        let calls = r#"["socket","accept4"]"#;
        assert_eq!(refusal_of(calls, 1, false), None);
        let refusal = refusal_of(calls, 1, true);
        assert!(refusal.is_some_and(|text| text.ends_with("forbids accept4, socket")));
    }
}
