//! What the specification claims of each level, each claim a search of every reachable state.

use bound_model::{AGREEMENT, Act, CAN_ACCEPT, Leaks, Level, Party, Scenario};
use stateright::{Checker, Model};

/// The shortest attack, if there is one; and that honest parties can finish.
fn attack(scenario: Scenario) -> Option<Vec<Act>> {
    let checker = scenario.checker().spawn_bfs().join();
    let found = checker.discovery(AGREEMENT);
    // The search stops early only where it found both: without an attack it saw every state.
    assert!(found.is_some() || checker.is_done());
    assert!(found.is_some() || checker.discovery(CAN_ACCEPT).is_some(), "nobody can ever accept");
    eprintln!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    found.map(|path| path.into_actions())
}

fn holds(scenario: Scenario) {
    if let Some(steps) = attack(scenario.clone()) {
        panic!("{scenario:?}\nis attacked by\n{steps:#?}");
    }
}

fn falls(scenario: Scenario) -> Vec<Act> {
    attack(scenario.clone()).unwrap_or_else(|| panic!("{scenario:?}\nis not attacked"))
}

const LEAKED_KEY: Leaks =
    Leaks { tls_key: true, first_session: false, platform_b: false, quoting_program: false };
const LEAKED_SESSION: Leaks = Leaks { tls_key: false, first_session: true, ..LEAKED_KEY };
const LEAKED_PLATFORM: Leaks = Leaks { tls_key: false, platform_b: true, ..LEAKED_KEY };
const QUOTING_PROGRAM: Leaks = Leaks { tls_key: false, quoting_program: true, ..LEAKED_KEY };

#[test]
fn bound_holds_against_the_network() {
    holds(Scenario::one_way(Level::Bound));
    holds(Scenario::mutual(Level::Bound));
}

#[test]
fn bound_holds_with_a_leaked_tls_key() {
    holds(Scenario::one_way(Level::Bound).with(LEAKED_KEY));
    holds(Scenario::mutual(Level::Bound).with(LEAKED_KEY));
}

#[test]
fn one_leaked_session_costs_that_session_only() {
    holds(Scenario::one_way(Level::Bound).with(LEAKED_SESSION));
    holds(Scenario::mutual(Level::Bound).with(LEAKED_SESSION));
}

#[test]
fn a_leaked_provisioning_key_forges_unless_platforms_are_pinned() {
    let scenario = Scenario::one_way(Level::Bound).with(LEAKED_PLATFORM);
    falls(scenario.clone());
    holds(scenario.pinning_platform());
    let scenario = Scenario::mutual(Level::Bound).with(LEAKED_PLATFORM);
    falls(scenario.clone());
    holds(scenario.pinning_platform());
}

#[test]
fn a_program_that_quotes_anything_needs_the_tag_to_be_harmless() {
    for scenario in [Scenario::one_way(Level::Bound), Scenario::mutual(Level::Bound)] {
        holds(scenario.clone().with(QUOTING_PROGRAM));
        falls(scenario.without_tag().with(QUOTING_PROGRAM));
    }
}

#[test]
fn all_leaks_at_once_but_the_platform() {
    let leaks = Leaks { tls_key: true, first_session: true, quoting_program: true, ..LEAKED_KEY };
    holds(Scenario::one_way(Level::Bound).with(leaks));
}

/// The relay of evidence under a leaked TLS key (CVE-2026-33697).
#[test]
fn certificate_level_falls_to_a_leaked_tls_key() {
    let steps = falls(Scenario::one_way(Level::Certificate).with(LEAKED_KEY));
    let impersonates = Act::Intercept { endpoint: 0, key: Some(Party::EnclaveA) };
    let impersonates_second = Act::Intercept { endpoint: 1, key: Some(Party::EnclaveA) };
    assert!(steps.contains(&impersonates) || steps.contains(&impersonates_second), "{steps:?}");
}

#[test]
fn certificate_level_holds_while_no_key_leaks() {
    holds(Scenario::one_way(Level::Certificate));
}

/// An exporter is the same at both ends, so that a mutual attester's own evidence can be sent back to it. With
/// one honest end there is nobody else whose evidence it could be.
#[test]
fn exporter_level_falls_to_reflection() {
    let mut scenario = Scenario::mutual(Level::Exporter);
    scenario.endpoints.truncate(1);
    let steps = falls(scenario);
    let accepted_itself = Act::Accept { endpoint: 0, attester: Party::EnclaveA };
    assert_eq!(steps.last(), Some(&accepted_itself), "{steps:?}");
}
