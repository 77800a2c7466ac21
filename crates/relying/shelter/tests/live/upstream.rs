//! Upstream's verbs.

use crate::container::lab::Enclave;
use crate::container::{TRUST, count, files, serve};
use crate::run;

#[test]
fn remoteattestation_is_verify_under_its_old_name() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    files(place, &Enclave::new(1, 0x11));
    let (address, _) = serve(Enclave::new(1, 0x11), count);
    let addr = format!("tcp://{address}");
    let with = |more: &[&str]| {
        run(place, &[&["remoteattestation", "--addr", &addr], &TRUST[..], more].concat())
    };
    let upstreams =
        ["--attester", "nullattester", "--verifier", "sgx_ecdsa_qve", "--tls", "openssl"];
    let more =
        [&upstreams[..], &["--crypto", "openssl", "--log-level", "debug", "--json"]].concat();
    let ended = with(&more);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.verdict()["verdict"], "accepted");
    assert!(with(&["--verbose"]).stdout.contains("These hold"));
    for (bad, part) in [
        (&["--mutual"][..], "--mutual: expected none"),
        (&["--verifier", "nullverifier"], "accepts everything"),
        (&["--verifier", "csv"], "--verifier: expected sgx_ecdsa"),
        (&["--attester", "sgx_ecdsa"], "--attester: expected nullattester"),
        (&["--tls", "nulltls"], "--tls: expected rustls"),
        (&["--crypto", "nullcrypto"], "--crypto: expected ring"),
        (&["--log-level", "loud"], "--log-level: expected one of"),
    ] {
        let ended = with(bad);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{bad:?}");
        assert!(ended.stderr.contains(part), "{bad:?}: {}", ended.stderr);
    }
    // Evidence that the policy accepts and the verifier's name does not.
    let ended = with(&["--verifier", "tdx_ecdsa"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("--verifier: expected tdx evidence, got sgx"),
        "{}",
        ended.stderr
    );
    // What upstream did without: a root and a policy.
    let ended = run(place, &["remoteattestation", "--addr", &addr]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--root"), "{}", ended.stderr);
}

#[test]
fn mrverify_wants_something_to_measure_and_to_compare_with() {
    let place = tempfile::tempdir().unwrap();
    for (words, part) in [
        (&["mrverify"][..], "expected an image, pack, bundle or enclave file to measure"),
        (&["mrverify", "x"], "expected --expect HEX or --reference NAME"),
        (&["mrverify", "x", "--expect", "00"], "expected 64 hex digits, got 2"),
        (&["mrverify", "x", "--reference", "y", "--store", "s"], "saved as \"y\""),
    ] {
        let ended = run(place.path(), words);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{words:?}");
        assert!(ended.stderr.contains(part), "{words:?}: {}", ended.stderr);
    }
}
