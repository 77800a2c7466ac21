//! Reports and quotes of a running enclave, for the host that asks. Their report data are zeros.

use super::quotes;
use crate::failure::Failure;
use crate::runelet::client;
use container::state::{Directory, State, Status};
use std::sync::Arc;
use urts::QuoteService;

/// What quotes here.
///
/// # Errors
/// This host has none.
pub(crate) fn service(emulated: bool) -> Result<Arc<dyn QuoteService>, Failure> {
    quotes::open_service(emulated).map_err(failed)
}

/// A report of a running container's enclave, made for the quoting enclave.
///
/// # Errors
/// The container does not run, or its enclave makes none: its program has not begun, or the host has none to make it
/// for.
pub(crate) fn report(
    directory: &Directory,
    state: &State,
    service: &dyn QuoteService,
) -> Result<[u8; 432], Failure> {
    let status = directory.status(state);
    if status != Status::Running {
        let (id, got) = (&state.id, status.name());
        return Err(Failure::new(format!(
            "cannot attest container {id:?}: expected a running container, it is {got}"
        )));
    }
    let target = service.target_info().map_err(failed)?;
    let connection = container::connect_to(directory, "agent.sock")?;
    let report = client::attest(&connection, &target).map_err(Failure::new)?;
    report.try_into().map_err(|report: Vec<u8>| {
        Failure::new(format!("report: expected 432 bytes, got {}", report.len()))
    })
}

/// A quote of a report.
///
/// # Errors
/// The quoting enclave's.
pub(crate) fn quote(service: &dyn QuoteService, report: &[u8; 432]) -> Result<Vec<u8>, Failure> {
    service.quote(report).map_err(failed)
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    Failure::new(format!("this host's quoting enclave: {error}"))
}
