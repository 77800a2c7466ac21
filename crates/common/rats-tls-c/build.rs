//! Gives the shared library its name: programs that were linked with it ask for this one.
#![forbid(unsafe_code)]

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librats_tls.so.1");
    println!("cargo::rerun-if-changed=build.rs");
}
