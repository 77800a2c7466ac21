//! The program `rune`; see the library of the same name.

#![forbid(unsafe_code)]
#![no_main]

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

container::program!(run);

fn run() -> i32 {
    rune::run(container::sys::arguments().iter().skip(1))
}
