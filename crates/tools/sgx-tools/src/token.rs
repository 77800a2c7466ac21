//! `gen-token`: a launch token, for CPUs whose launch control is not flexible.

use crate::args::GenToken;
use crate::failure::Failure;
use crate::{Say, file};
use core::arch::x86_64::{__cpuid, __cpuid_count};
use serde_json::json;
use sgx::Sigstruct;
use sgx::hash::Portable;

pub(crate) fn run(arguments: &GenToken, say: Say) -> Result<(), Failure> {
    let bytes: [u8; Sigstruct::SIZE] = file::read_exactly("SIGSTRUCT", &arguments.signature)?;
    let sigstruct = Sigstruct::parse_verified::<Portable>(&bytes)
        .map_err(|error| Failure::Refused(format!("{}: {error}", arguments.signature.display())))?;
    if has_flexible_launch_control() {
        return Err(Failure::Refused(
            "launch control: expected locked, got flexible: this CPU needs no launch token"
                .to_owned(),
        ));
    }
    let client = aesm::Client::new(&arguments.daemon.aesm);
    say.step(&format!("asking {} for a launch token", client.socket().display()));
    let token = client.launch_token(
        &sigstruct.enclavehash,
        &sigstruct.modulus,
        &sigstruct.attributes.to_bytes(),
    )?;
    let path =
        arguments.token.clone().unwrap_or_else(|| arguments.signature.with_extension("token"));
    file::write(&path, &token)?;
    say.result(&json!({ "token": path, "bytes": token.len() }))
}

/// CPUID.(EAX=7,ECX=0):ECX.SGX_LC (Intel SDM Vol. 2A, CPUID).
fn has_flexible_launch_control() -> bool {
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ecx & 1 << 30 != 0
}
