//! Sessions with running containers.
//!
//! Every step has its time: to find and reach the address, to open the session, to attest again. Nothing of the
//! caller's leaves this machine before the verdict is `accepted`; a peer that is refused hears which check failed
//! and no more.

mod certificate;
pub(crate) mod connect;
mod hop;
mod judge;
mod open;
pub(crate) mod secret;
pub(crate) mod send;
mod told;
pub(crate) mod watch;

pub(crate) use judge::{Material, Seen};
pub(crate) use open::{Container, Opened, run_to_end};
pub(crate) use shelter::address::Address;
pub(crate) use told::Reached;

use crate::args::Judged;
use crate::failure::Failure;

/// A verdict on a running container, and the container. The session that it was given in is closed.
pub(crate) fn judge(target: &str, judged: &Judged) -> Result<(Seen, Container), Failure> {
    let address: Address =
        target.parse().map_err(|error| Failure::Undecided(format!("TARGET: {error}")))?;
    for (option, is_given) in [
        ("--report-data", judged.report_data.is_some()),
        ("--authenticate-only", judged.authenticate_only),
        ("--unbound", judged.unbound),
        ("--endorsement-key, --authority, --crl", judged.endorsements.is_given()),
    ] {
        if is_given {
            return Err(Failure::Undecided(format!(
                "{address}: expected no {option}: a session has its own binding, and takes quotes"
            )));
        }
    }
    let container = Container::new(address, &judged.peer, &judged.trust)?;
    let seen = run_to_end(container.look())?;
    Ok((seen, container))
}
