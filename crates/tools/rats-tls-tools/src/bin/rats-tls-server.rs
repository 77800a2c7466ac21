//! `rats-tls-server`: the library says what it does.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rats_tls_tools::rats_server()
}
