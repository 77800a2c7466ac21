//! What the verifier must refuse though nobody on the way does anything.

use crate::container::{Container, Served, image_of, refused_environment};
use crate::verifier::Verifier;
use crate::{Relay, Result, Tell};
use fixtures::{Programs, free_port};
use std::net::SocketAddr;
use std::path::Path;

/// The right container, under other policies and collateral.
pub(crate) fn of_the_verifier(
    verifier: &Verifier,
    address: SocketAddr,
    tell: Tell<'_>,
) -> Result<()> {
    tell("refused: signed by somebody else than the policy says");
    let policy = verifier.policy_of_another_signer()?;
    verifier.refuses(address, Some(&policy), None, "policy.measurement", tell)?;
    tell("refused: the platform misses a fix");
    let old = verifier.collateral("old", &["--tcb-status", "OutOfDate"])?;
    verifier.refuses(address, None, Some(&old), "policy.tcb_status", tell)?;
    tell("refused: the platform's key is revoked");
    let revoked = verifier.collateral("revoked", &["--revoke", "pck"])?;
    verifier.refuses(address, None, Some(&revoked), "pck.revocation", tell)
}

/// Other enclaves of the same signer, under the name of the right one.
pub(crate) fn of_other_enclaves(
    verifier: &Verifier,
    programs: &Programs,
    key: &Path,
    directory: &Path,
    tell: Tell<'_>,
) -> Result<()> {
    let binaries = verifier.programs();
    tell(
        "refused: a second genuine enclave, to which a hostile inclavared leads: one byte of its image is another",
    );
    let changed = Served::changed(free_port()?);
    let bundle = changed.bundle(programs, key, &directory.join("changed"))?;
    let container = Container::start(&bundle, changed.port)?;
    let relay = Relay::start(binaries, &[("web", container.address())])?;
    verifier.refuses(relay.address, None, None, "policy.measurement", tell)?;
    drop(container);
    tell("refused: what the host chose where the manifest takes any value");
    let open = Served::open(free_port()?);
    let bundle = open.bundle(programs, key, &directory.join("open"))?;
    verifier.measure(&image_of(&bundle), "open")?;
    let policy = verifier.policy_for("open")?;
    let container = Container::start(&bundle, open.port)?;
    let relay = Relay::start(binaries, &[("web", container.address())])?;
    verifier.refuses(relay.address, Some(&policy), None, "policy.config_digest", tell)?;
    let any = std::fs::read_to_string(&policy)? + "config_digest = \"any\"\n";
    std::fs::write(&policy, any)?;
    let answer = verifier.sends(relay.address, Some(&policy), b"whatever the zone")?;
    tell(&format!("  until the policy says any: {answer}"));
    drop(container);
    tell("refused by the enclave itself: started with another environment");
    let usual = Served::usual(free_port()?);
    let bundle = usual.bundle(programs, key, &directory.join("environment"))?;
    tell(&format!("  {}", refused_environment(&bundle)?));
    tell("refused: a debug enclave, whose memory its host reads; though its measurement is right");
    let debug = Served::debug(free_port()?);
    let bundle = debug.bundle(programs, key, &directory.join("debug"))?;
    verifier.measure(&image_of(&bundle), "debug")?;
    let policy = verifier.policy_for("debug")?;
    let container = Container::start(&bundle, debug.port)?;
    let relay = Relay::start(binaries, &[("web", container.address())])?;
    verifier.refuses(relay.address, Some(&policy), None, "policy.debug", tell)
}
