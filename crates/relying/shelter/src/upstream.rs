//! Upstream's verbs, for scripts and fingers that know them.
//!
//! Both said yes to anything: `remoteattestation` compared the measurement with nothing and took peers without
//! evidence, `mrverify` measured one program that it built itself. Here they are `verify` and `measure`; an option
//! that asked for the old behaviour is refused by name.

use crate::args::{Conversion, EndorsementFiles, Judged, Measure, MrVerify, RemoteAttestation};
use crate::failure::Failure;
use crate::live::Address;
use crate::store::Store;
use crate::verify::Judgement;
use std::net::TcpStream;
use std::path::PathBuf;

/// Where upstream looks when it is told nothing.
const DEFAULT_TCP: (&str, u16) = ("127.0.0.1", 1234);
const DEFAULT_SOCKET: &str = "/run/enclave-tls/tls.sock";

pub(crate) fn remote_attestation(arguments: &RemoteAttestation) -> Result<(), Failure> {
    check(arguments)?;
    let RemoteAttestation { addr, verifier, verbose, peer, trust, json, .. } = arguments;
    let judged = Judged {
        target: Some(addr.clone().unwrap_or_else(default_address).to_string()),
        evidence: None,
        peer: peer.clone(),
        trust: trust.clone(),
        endorsements: EndorsementFiles::default(),
        report_data: None,
        authenticate_only: false,
        unbound: false,
        save: None,
    };
    let judgement = Judgement::of(&judged)?;
    judgement.print(*json, *verbose);
    judgement.told.end()?;
    let tee = match verifier.as_deref() {
        Some("tdx_ecdsa") => "tdx",
        Some(_) => "sgx",
        None => return Ok(()),
    };
    match judgement.told.tee.as_deref() {
        Some(got) if got == tee => Ok(()),
        got => {
            let got = got.unwrap_or("unknown");
            Err(Failure::Refused(format!("--verifier: expected {tee} evidence, got {got}")))
        }
    }
}

/// Refuses what asks for something else than is done.
fn check(arguments: &RemoteAttestation) -> Result<(), Failure> {
    let RemoteAttestation { log_level, attester, verifier, tls, crypto, mutual, .. } = arguments;
    let bad = |message: String| Err(Failure::Undecided(message));
    if *mutual {
        return bad("--mutual: expected none: shelter runs in no enclave and has nothing to prove; a mutual session \
                    is between two enclaves"
            .into());
    }
    if let Some(got) = attester.as_deref().filter(|it| *it != "nullattester") {
        return bad(format!(
            "--attester: expected nullattester or none, since shelter proves nothing of itself, got {got:?}"
        ));
    }
    match verifier.as_deref() {
        None | Some("sgx_ecdsa" | "sgx_ecdsa_qve" | "tdx_ecdsa") => {}
        Some("nullverifier") => {
            return bad("--verifier: expected sgx_ecdsa, sgx_ecdsa_qve or tdx_ecdsa, got nullverifier, which \
                        accepts everything; `shelter verify --authenticate-only` says what evidence is worth"
                .into());
        }
        Some(got) => {
            return bad(format!(
                "--verifier: expected sgx_ecdsa, sgx_ecdsa_qve or tdx_ecdsa, got {got:?}; for evidence of other \
                 kinds in a file there is `shelter verify --evidence`"
            ));
        }
    }
    for (option, value, own) in [("--tls", tls, "rustls"), ("--crypto", crypto, "ring")] {
        match value.as_deref() {
            // What goes over the wire is the same.
            None | Some("openssl") => {}
            Some(name) if name == own => {}
            Some(got) => {
                return bad(format!("{option}: expected {own}, openssl or none, got {got:?}"));
            }
        }
    }
    let levels = ["off", "fatal", "error", "warn", "info", "debug", "trace"];
    match log_level.as_deref() {
        Some(got) if !levels.contains(&got) => {
            bad(format!("--log-level: expected one of {}, got {got:?}", levels.join(" ")))
        }
        _ => Ok(()),
    }
}

/// The address where somebody listens; the socket's where nobody does.
fn default_address() -> Address {
    match TcpStream::connect(DEFAULT_TCP) {
        Ok(_) => Address::Tcp { host: DEFAULT_TCP.0.into(), port: DEFAULT_TCP.1 },
        Err(_) => Address::Unix(DEFAULT_SOCKET.into()),
    }
}

pub(crate) fn mr_verify(arguments: MrVerify) -> Result<(), Failure> {
    let MrVerify { target, expect, reference, store, policy, json } = arguments;
    let Some(target): Option<PathBuf> = target else {
        return Err(Failure::Undecided(
            "expected an image, pack, bundle or enclave file to measure, got none: which program it should be is \
             yours to say"
                .into(),
        ));
    };
    let expect = match (expect, reference) {
        (Some(expect), _) => expect,
        (None, Some(name)) => Store::open(&store)?.need(&name)?.mrenclave,
        (None, None) => {
            let message = "expected --expect HEX or --reference NAME to compare with, got neither; `shelter \
                           measure` shows what it is";
            return Err(Failure::Undecided(message.into()));
        }
    };
    crate::measure::run(Measure {
        target,
        expect: Some(expect),
        sigstruct: None,
        save: None,
        replace: false,
        store,
        conversion: Conversion::by(policy, None),
        json,
    })
}
