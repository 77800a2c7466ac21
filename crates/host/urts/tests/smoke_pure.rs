//! The run time inside an enclave, in the emulator's pure mode: every ENCLU traps.

mod smoke;

use sgx_emulator::{Emulator, Mode};

#[test]
fn the_run_time_works_in_pure_mode() {
    let driver = Emulator::new(Mode::Pure).with_fresh_secret();
    smoke::run(&driver).must_be_good();
}
