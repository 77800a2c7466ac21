//! The run time inside an enclave, in the emulator's fast mode.

mod smoke;

#[test]
fn the_run_time_works_in_fast_mode() {
    smoke::run(sgx_emulator::Mode::Fast);
}
