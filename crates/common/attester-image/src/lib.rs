//! The attester as a program of enclaves: built once with this crate, static, and embedded.
//!
//! [`ELF`] is the same, byte by byte, for the same sources, lock file, toolchain and C compiler, whatever the
//! directory and the profile of the outer build: conversion makes it a measured file of images that ask for it.
#![forbid(unsafe_code)]

/// The program, a static-pie ELF file for Linux.
pub const ELF: &[u8] = include_bytes!(env!("ATTESTER_ELF"));

#[cfg(test)]
mod tests {
    use super::ELF;

    fn contains(text: &str) -> bool {
        ELF.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// ET_DYN, and no program header that asks for an interpreter (PT_INTERP).
    #[test]
    fn it_is_static_and_for_any_address() {
        assert_eq!(&ELF[..4], b"\x7fELF");
        assert_eq!(ELF[16..18], [3, 0]);
        let number = |at: usize| u16::from_le_bytes([ELF[at], ELF[at + 1]]) as usize;
        let table = u64::from_le_bytes(ELF[32..40].try_into().unwrap()) as usize;
        for index in 0..number(56) {
            let header = table + index * number(54);
            assert_ne!(ELF[header..header + 4], [3, 0, 0, 0]);
        }
    }

    #[test]
    fn no_path_of_this_machine_is_in_it() {
        assert!(contains("--forward-anywhere"), "the search finds what is there");
        for path in [env!("CARGO_MANIFEST_DIR"), "/.cargo/registry", "/.rustup/"] {
            assert!(!contains(path), "{path}");
        }
    }
}
