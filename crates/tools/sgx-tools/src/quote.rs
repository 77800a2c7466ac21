//! `gen-qe-target-info` and `gen-quote`: the two steps from an enclave's report to a quote.

use crate::args::{GenQeTargetInfo, GenQuote};
use crate::failure::Failure;
use crate::quote_type::warn_unused;
use crate::{Say, file, inspect};
use aesm::{Client, REPORT_SIZE};
use serde_json::json;

pub(crate) fn target_info(arguments: &GenQeTargetInfo, say: Say) -> Result<(), Failure> {
    arguments.quote_type.expect_ecdsa()?;
    let client = Client::new(&arguments.daemon.aesm);
    say.step(&format!("asking {} for target information", client.socket().display()));
    let target = client.target_info()?;
    file::write(&arguments.targetinfo, &target)?;
    let shown = inspect::target_info(&target).map_err(Failure::refused)?;
    say.result(&json!({ "targetinfo": arguments.targetinfo, "contents": shown }))
}

pub(crate) fn quote(arguments: &GenQuote, say: Say) -> Result<(), Failure> {
    arguments.quote_type.expect_ecdsa()?;
    warn_unused("spid", arguments.spid.as_ref());
    let report: [u8; REPORT_SIZE] = file::read_exactly("REPORT", &arguments.report)?;
    let client = Client::new(&arguments.daemon.aesm);
    say.step(&format!("asking {} for a quote", client.socket().display()));
    let quote = client.quote(&report)?;
    // What cannot be read is written nevertheless: it is what the daemon gave.
    file::write(&arguments.quote, &quote)?;
    let is_emulated = inspect::is_from_emulator(&quote).map_err(Failure::refused)?;
    say.result(&json!({
        "quote": arguments.quote,
        "bytes": quote.len(),
        "emulated": is_emulated,
    }))
}
