//! Servers and clients of one container talk over loopback, which never leaves the enclave.
//!
//! What each script writes was compared with what it writes on Linux, in the same root.

use e2e::{MODES, Workbench};
use fixtures::{Bundle, Image};
use std::path::Path;

/// Packages of redis and of Python, with the libraries that they need beside a small Debian's.
const REDIS: &[&str] = &[
    "redis-server",
    "redis-tools",
    "libatomic1",
    "libcap2",
    "libgcc-s1",
    "libgcrypt20",
    "libgpg-error0",
    "libjemalloc2",
    "liblz4-1",
    "liblzf1",
    "liblzma5",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
];
const PYTHON: &[&str] = &[
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libexpat1",
    "libffi8",
    "libssl3",
    "zlib1g",
];

fn writes(bundle: &Bundle, modes: &[&str], expected: &str) {
    for mode in modes {
        let mut command = bundle.run_command();
        let got = fixtures::outcome(command.env("RUNE_EMULATOR_MODE", mode), b"").unwrap();
        assert_eq!(got.stdout, expected, "{mode}: stderr: {}", got.stderr);
        assert_eq!(got.code, 0, "{mode}: stderr: {}", got.stderr);
    }
}

#[test]
fn busybox_serves_pages_to_its_clients() {
    let Some(workbench) = Workbench::new() else { return };
    let tree = fixtures::busybox_tree().unwrap();
    let script = include_str!("../scripts/httpd.sh");
    let bundle =
        workbench.bundle("httpd", &Image::new("httpd:test", tree, &["sh", "-c", script]), "");
    writes(&bundle, &MODES, include_str!("../scripts/httpd.out"));
}

#[test]
fn a_tokio_server_and_its_clients() {
    let Some(workbench) = Workbench::new() else { return };
    let mut tree = fixtures::debian_tree_with(&["libgcc-s1"]).unwrap();
    tree.copy_from("echo", Path::new(env!("CARGO_BIN_EXE_echo"))).unwrap();
    let bundle = workbench.bundle("echo", &Image::new("echo:test", tree, &["/echo"]), "");
    let expected = "echoed 16800000\nsilence true\nafter the server Ok(0)\n\
                    nobody Some(ConnectionRefused)\ndatagram true\n";
    writes(&bundle, &MODES, expected);
}

#[test]
fn redis_serves_its_clients() {
    if is_left_out() {
        return;
    }
    let Some(workbench) = Workbench::new() else { return };
    let tree = fixtures::debian_tree_with(REDIS).unwrap();
    let script = include_str!("../scripts/redis.sh");
    let image = Image::new("redis:test", tree, &["bash", "-c", script]);
    let bundle = workbench.bundle("redis", &image, "");
    writes(&bundle, &["fast"], include_str!("../scripts/redis.out"));
}

#[test]
fn python_serves_pages_to_its_clients() {
    if is_left_out() {
        return;
    }
    let Some(workbench) = Workbench::new() else { return };
    let mut tree = fixtures::debian_tree_with(PYTHON).unwrap();
    tree.file("server.py", 0o644, include_bytes!("../scripts/python.py"));
    let image = Image::new("python:test", tree, &["/usr/bin/python3.11", "/server.py"]);
    let bundle = workbench.bundle("python", &image, "");
    writes(&bundle, &["fast"], include_str!("../scripts/python.out"));
}

fn is_left_out() -> bool {
    let is_left_out = std::env::var_os("INCLAVARE_TEST_ALL").is_none();
    if is_left_out {
        eprintln!("skipped: only with --all");
    }
    is_left_out
}
