//! sgx-emulator
