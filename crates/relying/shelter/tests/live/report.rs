//! The page.

use crate::container::lab::Enclave;
use crate::container::{TRUST, count, files, policy, serve};
use crate::{run, run_with_input, target};
use std::path::Path;

/// The page that was written, and the exit code.
fn page(place: &Path, words: &[&str]) -> (i32, String) {
    let output = ["--output", "page.html"];
    let ended = run(place, &[&["report"], words, &TRUST[..], &output].concat());
    let page = std::fs::read_to_string(place.join("page.html"));
    (ended.code, page.unwrap_or_else(|_| panic!("{}", ended.stderr)))
}

/// Markup that a page of ours has: nothing that loads, runs or leads elsewhere.
fn is_inert(page: &str) {
    let lower = page.to_lowercase();
    for part in
        ["<script", "<img", "<link", "<iframe", "<object", "<form", "javascript:", "@import"]
    {
        assert!(!lower.contains(part), "{part}");
    }
    // Every attribute is one of this program's own.
    for tag in lower.split('<').skip(1).filter_map(|piece| piece.split('>').next()) {
        assert!(!tag.contains(" on") && !tag.contains("href") && !tag.contains("src="), "{tag}");
    }
}

#[test]
fn a_page_says_what_the_verdict_says() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let enclave = Enclave::new(1, 0x11);
    files(place, &enclave);
    let (address, _) = serve(enclave, count);
    let (code, text) = page(place, &[&target(address), "--container", "web"]);
    assert_eq!(code, 0);
    is_inert(&text);
    for part in [
        "<strong>EMULATED</strong>",
        // Neither green nor without the word, and on every sheet of paper.
        "verdict authentic\"><strong>ACCEPTED</strong> <em>emulated</em>",
        "@top-left { content: \"EMULATED: ",
        "Attestation report on web at tcp:127.0.0.1:",
        &"11".repeat(32),
        &"01".repeat(16),
        "&quot;billing&quot;",
        "EMULATED SGX",
        "--expect 1111",
        "roots = [&#39;",
        "binding.report_data",
        "\u{2713} holds",
        "no vendor&#39;s",
    ] {
        assert!(text.contains(part), "{part}");
    }
    // The same from files, and for a refusal.
    let kept = run(place, &[&["verify", &target(address), "--save", "kept"], &TRUST[..]].concat());
    assert_eq!(kept.code, 0, "{}", kept.stderr);
    let data = std::fs::read_to_string(place.join("kept/report-data")).unwrap();
    let (code, text) = page(place, &["kept/evidence", "--report-data", data.trim()]);
    assert_eq!(code, 0);
    is_inert(&text);
    assert!(text.contains("evidence in the file kept/evidence"));
    policy(place, "policy", &"12".repeat(32), "");
    let (code, text) = page(place, &[&target(address)]);
    assert_eq!(code, 1);
    for part in ["<strong>REFUSED</strong>", "\u{2717} failed", "<strong>EMULATED</strong>"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(text.contains(&"12".repeat(32)) && text.contains(&"11".repeat(32)));
}

/// The files are read once: a page that read its policy again could show one that did not decide.
#[test]
fn the_policy_that_is_shown_is_the_one_that_decided() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let enclave = Enclave::new(1, 0x11);
    files(place, &enclave);
    let (address, _) = serve(enclave, count);
    let target = target(address);
    let words = ["report", &target, "--root", "root", "--collateral", "collateral"];
    let policy = std::fs::read(place.join("policy")).unwrap();
    let words = [&words[..], &["--policy", "/dev/stdin", "--output", "page.html"]].concat();
    let ended = run_with_input(place, &words, &policy);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let page = std::fs::read_to_string(place.join("page.html")).unwrap();
    assert!(page.contains("roots = [&#39;"), "{page}");
}

/// Claims and names are the container's words: none of them becomes markup, or hides what stands beside it.
#[test]
fn hostile_words_stay_words() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let mut enclave = Enclave::new(1, 0x11);
    let bad =
        "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}\u{1b}[2J'\"";
    enclave.claims.custom =
        [(bad.to_owned(), bad.as_bytes().to_vec()), ("b".into(), b"\xff<b>".to_vec())].into();
    enclave.claims.runtime_version = format!("0.1{bad}");
    files(place, &enclave);
    let (address, _) = serve(enclave, count);
    let target = target(address);
    let (code, text) = page(place, &[&target]);
    assert_eq!(code, 0);
    is_inert(&text);
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!text.contains(['\u{202e}', '\u{1b}']));
    // Nor do they drive a terminal.
    let shown = run(place, &[&["verify", &target], &TRUST[..]].concat());
    assert_eq!(shown.code, 0);
    assert!(!shown.stdout.contains(['\u{202e}', '\u{1b}']), "{}", shown.stdout);
}

#[test]
fn a_page_that_cannot_be_made_leaves_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    files(place, &Enclave::new(1, 0x11));
    std::fs::write(place.join("page.html"), "before").unwrap();
    let (code, text) = page(place, &["tcp:127.0.0.1:1"]);
    assert_eq!((code, text.as_str()), (2, "before"));
}
