//! A second genuine enclave between the verifier and the right one: it ends the verifier's session under its own key,
//! and has a session of its own with the right one.
//!
//! It can pass on the right one's evidence, which was made for another session, or its own, which says what it is.
//! There is no third way, and it is all the same which image it has: one of the right image that passes on evidence
//! has another key than the evidence names, and one that proves itself is the right image, as another instance.

use crate::container::{Container, image_of};
use crate::verifier::Verifier;
use crate::{Relay, Result, Tell};
use fixtures::{Bundle, Image, Programs, busybox_tree, debian_tree_with, free_port, own_address};
use std::net::SocketAddr;
use std::path::Path;

/// Enclaves before the right one, of which its bundle and its attester's port are given.
pub(crate) fn second_enclaves(
    verifier: &Verifier,
    programs: &Programs,
    key: &Path,
    directory: &Path,
    (right, port): (&Bundle, u16),
    tell: Tell<'_>,
) -> Result<()> {
    let Some(host) = own_address() else {
        // Loopback inside is the enclave's own: it would not reach the right one.
        tell(
            "skipped: a second genuine enclave in between: this machine has no address but loopback",
        );
        return Ok(());
    };
    let right_one = SocketAddr::from((host, port));
    let make = |name: &str, image: &Image, rules: &str| -> Result<Bundle> {
        let bundle = programs.bundle(image, rules, key, &directory.join(name))?;
        bundle.join_host_network()?;
        Ok(bundle)
    };

    tell("refused: a second genuine enclave in between, which passes on the right one's evidence");
    let port = free_port()?;
    let image = ends_tls(verifier, port, right_one)?;
    let rules = format!("[network]\nlisten = [{port}]\nconnect = [\"{right_one}\"]\n");
    let bundle = make("passes-on", &image, &rules)?;
    let container = Container::start(&bundle, port)?;
    let relay = Relay::start(verifier.programs(), &[("web", container.address())])?;
    verifier.refuses(relay.address, None, None, "binding.report_data", tell)?;
    drop(container);

    tell("refused: a second genuine enclave in between, which proves itself");
    let port = free_port()?;
    let image = attests_both_ways(verifier, right, right_one)?;
    let rules = format!(
        "[attester]\nlisten = {port}\nforward = \"127.0.0.1:9000\"\n\
         [network]\nconnect = [\"{right_one}\"]\n"
    );
    let bundle = make("proves-itself", &image, &rules)?;
    let container = Container::start(&bundle, port)?;
    let relay = Relay::start(verifier.programs(), &[("web", container.address())])?;
    verifier.refuses(relay.address, None, None, "policy.measurement", tell)?;
    verifier.measure(&image_of(&bundle), "proves-itself")?;
    let policy = verifier.policy_for("proves-itself")?;
    let answer = verifier.sends(relay.address, Some(&policy), b"for the one in between")?;
    tell(&format!("  only who accepts it as well is led on to the right one: {answer}"));
    Ok(())
}

/// Its program ends TLS, and passes on every frame.
fn ends_tls(verifier: &Verifier, port: u16, right_one: SocketAddr) -> Result<Image> {
    let mut tree = debian_tree_with(&["libgcc-s1"])?;
    tree.copy_from("usr/bin/hostile-relay", &verifier.programs().join("hostile-relay"))?;
    let command = ["/usr/bin/hostile-relay", &port.to_string(), &right_one.to_string()];
    Ok(Image::new("passes-on:1", tree, &command))
}

/// It has the attester twice: one proves this enclave to the verifier, the other verifies the right one.
fn attests_both_ways(verifier: &Verifier, right: &Bundle, right_one: SocketAddr) -> Result<Image> {
    let mut tree = busybox_tree()?;
    tree.copy_from("bin/attester", &right.directory().join("rootfs/.inclavare/attester"))?;
    let [root, policy, collateral] = verifier.files();
    tree.copy_from("peer/root.pem", root)?;
    tree.copy_from("peer/policy.toml", policy)?;
    tree.copy_from("peer/collateral.json", collateral)?;
    let right_one = right_one.to_string();
    let command = [
        &["/bin/attester", "--listen", "127.0.0.1:9000", "--connect", &right_one][..],
        &["--verify", "/peer/policy.toml", "--root", "/peer/root.pem"],
        &["--collateral", "/peer/collateral.json"],
    ];
    Ok(Image::new("proves-itself:1", tree, &command.concat()))
}
