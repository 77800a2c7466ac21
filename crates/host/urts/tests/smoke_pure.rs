//! The run time inside an enclave, in the emulator's pure mode: every ENCLU traps.

mod smoke;

#[test]
fn the_run_time_works_in_pure_mode() {
    smoke::run(sgx_emulator::Mode::Pure);
}
