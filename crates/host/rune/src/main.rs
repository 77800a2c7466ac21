//! The program `rune`; see the library of the same name.

#![forbid(unsafe_code)]
#![no_main]

container::program!(run);

fn run() -> i32 {
    rune::run(std::env::args().skip(1))
}
