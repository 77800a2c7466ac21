//! `attest`: a report of a running enclave, or a quote, under upstream's flags.
//!
//! It is the host that asks, and for nobody's session: the report data are zeros, so that the quote says what runs on
//! which platform and not who presents it. Who relies on a container opens a session with it (`shelter verify`).

use super::Command;
use crate::args::{Args, End, Opt, switch, value};
use crate::enclave::{attest, check_quote_type, hex};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::state::Directory;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, renameat, unlinkat};
use serde_json::{Value, json};
use sgx::AttributeFlags;
use sgx::report::Report;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const OPTIONS: [Opt; 7] = [
    switch("isRA", None, "remote attestation: also have the report quoted"),
    value("quote-type", None, "ecdsa; epidUnlinkable and epidLinkable are retired"),
    value("spid", None, "EPID's, refused"),
    value("subscription-key", None, "EPID's, refused"),
    value("key", None, "as --subscription-key"),
    value("reportFile", None, "write the report, 432 bytes, to this path in the container"),
    value("quoteFile", None, "write the quote to this path of the host"),
];

pub(crate) const COMMAND: Command = Command {
    name: "attest",
    usage: "[options] ID",
    about: "get a report or a quote of a running enclave",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    check(args)?;
    let directory = Directory::open(&globals.root, args.only_word()?)?;
    let state = directory.state()?;
    let id = &state.id;
    let Some(enclave) = &state.enclave else {
        return Err(Failure::new(format!("cannot attest container {id:?}: it has no enclave")));
    };
    let service = attest::service(enclave.emulated)?;
    let report = attest::report(&directory, &state, &*service)?;
    let quote = match args.is("isRA") {
        true => Some(attest::quote(&*service, &report)?),
        false => None,
    };
    if let (Some(path), Some(quote)) = (args.get("quoteFile"), &quote) {
        let failed = |error| Failure::new(format!("--quoteFile: write {path}: {error}"));
        std::fs::write(path, quote).map_err(failed)?;
    }
    if let Some(path) = args.get("reportFile") {
        write_inside(state.pid, Path::new(path), &report)?;
    }
    println!("{}", told(&report, enclave.emulated, quote.as_deref()));
    Ok(0)
}

/// Refuses by name what cannot be done.
fn check(args: &Args) -> Result<(), Failure> {
    if let Some(kind) = args.get("quote-type") {
        check_quote_type("--quote-type", kind)?;
    }
    for option in ["spid", "subscription-key", "key"] {
        if args.get(option).is_some() {
            return Err(Failure::new(format!(
                "--{option}: expected none, which is EPID's, got one"
            )));
        }
    }
    if args.get("quoteFile").is_some() && !args.is("isRA") {
        return Err(Failure::new(
            "--quoteFile: expected --isRA with it: without, nothing is quoted",
        ));
    }
    Ok(())
}

/// What the report says, one line. It is the enclave's word to the host, not yet anybody's proof.
fn told(report: &[u8; 432], emulated: bool, quote: Option<&[u8]>) -> Value {
    let body = Report::from_bytes(report).body;
    json!({
        "emulated": emulated,
        "mrenclave": hex(&body.mrenclave),
        "mrsigner": hex(&body.mrsigner),
        "isvprodid": body.isvprodid,
        "isvsvn": body.isvsvn,
        "debug": body.attributes.flags.contains(AttributeFlags::DEBUG),
        "quote": quote.map(hex),
    })
}

/// Replaces a file in the container's root file system, wherever links in it point.
fn write_inside(pid: i32, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("--reportFile: write {} in the container: {error}", path.display()))
    };
    let errno = |error: rustix::io::Errno| failed(error.into());
    let name =
        path.file_name().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).map_err(errno)?;
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let directory = openat2(&root, parent, flags, Mode::empty(), resolve).map_err(errno)?;
    // Beside it and in its place at once: what was there stays until all is written.
    let temporary = PathBuf::from(format!(".rune-report-{}", std::process::id()));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o664);
    let made =
        openat2(&directory, &temporary, flags, mode, ResolveFlags::BENEATH).map_err(errno)?;
    let written = File::from(made).write_all(bytes);
    let placed = written.and_then(|()| Ok(renameat(&directory, &temporary, &directory, name)?));
    placed.map_err(|error| {
        let _ = unlinkat(&directory, &temporary, AtFlags::empty());
        failed(error)
    })
}
