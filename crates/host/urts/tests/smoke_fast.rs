//! The run time inside an enclave, in the emulator's fast mode.

mod smoke;

use sgx_emulator::{Emulator, Mode};

#[test]
fn the_run_time_works_in_fast_mode() {
    let driver = Emulator::new(Mode::Fast).with_fresh_secret();
    smoke::run(&driver).must_be_good();
}
