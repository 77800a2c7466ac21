//! What the container core reads: configurations, its own files, and answers of systemd and the kernel.

use container::cgroup::Host;
use container::seccomp::Filter;
use container::spec::{Seccomp, parse_json, validate::validate};
use container::state::State;
use container::{Spec, sys::SockFilter};
use std::path::Path;

/// D-Bus messages, of systemd or whoever holds its socket.
pub fn bus_message(bytes: &[u8]) {
    let _ = container::fuzz_bus(bytes);
}

/// Datagrams of rtnetlink.
pub fn route_answer(bytes: &[u8]) {
    let _ = container::fuzz_route(bytes);
}

/// `config.json`, and what is checked of it before anything is made. A refusal has a text.
pub fn container_config(bytes: &[u8]) {
    match Spec::parse(Path::new("config.json"), bytes) {
        Ok(spec) => drop(validate(&spec).map_err(|error| assert!(!error.to_string().is_empty()))),
        Err(error) => assert!(error.to_string().contains("config.json")),
    }
}

/// `state.json`: what is read is the same after being written.
pub fn container_state(bytes: &[u8]) {
    let Ok(state) = parse_json::<State>(Path::new("state.json"), bytes) else { return };
    let again = serde_json::to_vec(&state).expect("plain fields");
    assert_eq!(parse_json::<State>(Path::new("state.json"), &again).expect("just written"), state);
}

pub(crate) fn is_state(bytes: &[u8]) -> bool {
    parse_json::<State>(Path::new("state.json"), bytes).is_ok()
}

/// `/proc/self/mountinfo` with `/proc/self/cgroup` behind a zero byte.
pub fn cgroup_mounts(bytes: &[u8]) {
    let _ = has_cgroups(bytes);
}

pub(crate) fn has_cgroups(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (mounts, groups) = text.split_once('\0').unwrap_or((&text, ""));
    !Host::from_text(mounts, groups).hierarchies.is_empty()
}

/// `linux.seccomp`. A program is one that the kernel takes: not too long, every jump lands in it, and it
/// cannot run off its end.
pub fn seccomp_profile(bytes: &[u8]) {
    const JUMP: u16 = 5;
    const RETURN: u16 = 6;
    let Ok(profile) = parse_json::<Seccomp>(Path::new("profile"), bytes) else { return };
    let Ok(Filter { program, .. }) = Filter::new(&profile) else { return };
    assert!((1..=4096).contains(&program.len()), "{}", program.len());
    for (at, SockFilter { code, jt, jf, k }) in program.iter().enumerate() {
        let rest = program.len() - at - 1;
        match code & 7 {
            RETURN => {}
            JUMP if *code == JUMP => assert!((*k as usize) < rest),
            JUMP => assert!(usize::from(*jt.max(jf)) < rest),
            _ => assert!(rest > 0),
        }
    }
}

pub(crate) fn is_profile(bytes: &[u8]) -> bool {
    parse_json::<Seccomp>(Path::new("profile"), bytes).is_ok_and(|p| Filter::new(&p).is_ok())
}

/// A file of the cache of compiled filters.
pub fn compiled_filter(bytes: &[u8]) {
    let _ = container::seccomp::cache::fuzz(bytes);
}
