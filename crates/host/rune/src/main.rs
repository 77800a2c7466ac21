//! The program `rune`; see the library of the same name.

#![forbid(unsafe_code)]

fn main() {
    std::process::exit(rune::run(std::env::args().skip(1)));
}
