//! Links the unwinder into the program.
//!
//! rune is started for every operation of every container, and twice for `create`. Loading libgcc_s, whose
//! only use is to print a backtrace, takes a tenth of a start: a file to map, its relocations, and a
//! constructor that asks for every CPUID leaf, each of which a virtual machine traps. The C library stays
//! shared: third parties' enclave runtimes are loaded at run time.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target != "x86_64-unknown-linux-gnu" {
        return;
    }
    // rustc asks for `-lgcc_s`; a linker script of that name, found first, answers with the archives.
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(directory.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")
        .expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search=native={}", directory.display());
}
