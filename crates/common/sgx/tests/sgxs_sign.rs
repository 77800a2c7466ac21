//! The program sgxs-sign as oracle: the same stream and key give the same SIGSTRUCT, byte for byte.
//!
//! `cargo install sgxs-tools --bin sgxs-sign` (needs the headers of OpenSSL, and protoc) puts it on PATH;
//! without it the test says that it is skipped. Its output for the toy enclave is kept in `data/toy.sig`.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use sgx::Sigstruct;
use sgx::hash::Portable;
use sgx::sgxs::{Ecreate, mrenclave};
use sgx::sigstruct::Body;
use support::{random_enclave, signer, toy_body};

#[test]
fn sgxs_sign_makes_the_same_sigstruct() {
    if Command::new("sgxs-sign").arg("--help").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: sgxs-sign is not on PATH (cargo install sgxs-tools)");
        return;
    }
    let directory = std::env::temp_dir().join(format!("sgxs-sign-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let toy =
        support::write(Ecreate { ssaframesize_pages: 1, size: 0x10000 }, &support::toy_pages());
    let streams = (0..5).map(|seed| random_enclave(seed).2).chain([toy]);
    for stream in streams {
        let body =
            Body { enclavehash: mrenclave::<Portable, _>(&stream[..]).unwrap(), ..toy_body() };
        let ours = signer().sign::<Portable>(&Sigstruct::unsigned(&body)).unwrap().to_bytes();
        assert!(sgxs_sign(&directory, &stream)[..] == ours, "MRENCLAVE {:02x?}", body.enclavehash);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Signs with the fields of [`toy_body`]. Masks are given inverted.
fn sgxs_sign(directory: &Path, stream: &[u8]) -> Vec<u8> {
    let (input, output) = (directory.join("in.sgxs"), directory.join("out.sig"));
    std::fs::write(&input, stream).unwrap();
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/signer.pem");
    let status = Command::new("sgxs-sign")
        .args(["--key", key.to_str().unwrap(), "--date", "20261120", "--swdefined", "0x5a"])
        .args(["--attributes", "0x84/0", "--xfrm", "7/0", "--miscselect", "1/0"])
        .args(["--isvextprodid", "0x0102030405060708090a0b0c0d0e0f10"])
        .args(["--isvprodid", "0x1234", "--isvsvn", "7"])
        .args([&input, &output])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "sgxs-sign: {status}");
    std::fs::read(output).unwrap()
}
