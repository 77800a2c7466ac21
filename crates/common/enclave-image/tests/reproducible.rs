//! The enclave program is the same, byte by byte, wherever the sources lie: who verifies a measurement builds in a
//! folder of their own. Builds the program once more, so it runs with `cargo xtask test --all` only.

use std::path::Path;
use std::process::Command;

#[test]
fn built_in_another_folder_it_is_the_same() {
    if std::env::var_os("INCLAVARE_TEST_ALL").is_none() {
        println!("skipped: builds the enclave program a second time; cargo xtask test --all");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("some/other folder");
    std::fs::create_dir_all(&copy).unwrap();
    for source in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "crates", "tests", "xtask"] {
        let copied = Command::new("cp").arg("-a").arg(root.join(source)).arg(&copy).status();
        assert!(copied.unwrap().success(), "cp {source}");
    }
    let target = elsewhere.path().join("target");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "-p", "enclave-image", "--target-dir"])
        .arg(&target)
        .current_dir(&copy)
        .env_remove("INCLAVARE_ENCLAVE_ELF")
        .status();
    assert!(built.unwrap().success(), "cargo build -p enclave-image");
    let product =
        target.join("debug/build/enclave-image-target/x86_64-unknown-linux-gnu/release/enclave");
    let other = std::fs::read(product).unwrap();
    assert!(other == enclave_image::ELF, "the programs differ");
}
