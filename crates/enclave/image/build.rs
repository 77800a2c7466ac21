//! Linker arguments of the enclave program.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static-pie",
        // What is linked is measured: no build id, no sections that only debuggers read.
        "-Wl,--build-id=none",
        "-Wl,--hash-style=sysv",
        "-Wl,-z,norelro",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noexecstack",
        "-Wl,--gc-sections",
        // The path is relative so that no trace of the checkout's place reaches the link.
        "-Wl,-T,link.ld",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-L{directory}");
    println!("cargo::rerun-if-changed=link.ld");
}
