//! Throughput of measuring fully extended pages, in bytes of page content.
//!
//! `cargo bench -p sgx`; compare with `openssl speed -evp sha256`. Each 256 bytes of a page are hashed with a
//! 64-byte record, so 0.8 of the hash's own throughput is the most there can be.

use sgx::hash::{Fast, Portable, Sha256};
use sgx::measure::Measurement;
use sgx::{PAGE_SIZE, Secinfo, SecinfoFlags};

fn main() {
    if std::env::args().any(|argument| argument == "--bench") {
        println!("measure with ring: {:.0} MB/s", megabytes_per_second::<Fast>());
        println!("measure with sha2: {:.0} MB/s", megabytes_per_second::<Portable>());
    }
}

/// Time of this thread on a CPU in ns: what other load takes does not count.
fn cpu_time_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("it starts with a number")
}

/// Best of three runs over 256 MiB.
fn megabytes_per_second<H: Sha256>() -> f64 {
    let size = 256u64 << 20;
    let page = [0x5a; PAGE_SIZE];
    let secinfo = Secinfo::reg(SecinfoFlags::R);
    let run = || {
        let start = cpu_time_ns();
        let mut measurement = Measurement::<H>::ecreate(1, size);
        for offset in (0..size).step_by(PAGE_SIZE) {
            measurement.add_page(offset, &secinfo, &page, true);
        }
        std::hint::black_box(measurement.finish());
        size as f64 * 1e3 / (cpu_time_ns() - start) as f64
    };
    (0..3).map(|_| run()).fold(0.0, f64::max)
}
