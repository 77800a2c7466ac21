//! Every target survives its seeds and thousands of mutations of them.
//!
//! `FUZZ_ITERATIONS` sets how many for each target; a failure names the input so that it can be repeated.

use std::panic::{AssertUnwindSafe, catch_unwind};

use targets::mutate::Mutator;
use targets::{TARGETS, Target};

fn iterations() -> u64 {
    let asked = std::env::var("FUZZ_ITERATIONS").ok();
    asked.map_or(3000, |text| text.parse().expect("FUZZ_ITERATIONS is a number"))
}

fn input(target: &Target, number: u64) -> Vec<u8> {
    let seeds = (target.seeds)();
    let mut input = seeds[number as usize % seeds.len()].clone();
    Mutator::new(number).mutate(&mut input);
    input
}

fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("listed");
    for (index, seed) in (target.seeds)().iter().enumerate() {
        assert!((target.accepts)(seed), "{name}: seed {index} is not accepted");
        (target.run)(seed);
    }
    for number in 0..iterations() {
        let input = input(target, number);
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            let file = std::env::temp_dir().join(format!("fuzz-{name}-{number}"));
            std::fs::write(&file, &input).expect("the temporary directory is writable");
            panic!("{name} fails on mutation {number}, kept in {}", file.display());
        }
    }
}

macro_rules! tests {
    ($($name:ident)+) => {
        $(#[test] fn $name() { smoke(stringify!($name)); })+

        #[test]
        fn every_target_is_tested_and_has_a_program() {
            let tested = [$(stringify!($name)),+];
            let listed: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(listed, tested);
            let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz_targets");
            for name in tested {
                let program = std::fs::read_to_string(format!("{programs}/{name}.rs")).expect(name);
                assert!(program.contains(&format!("targets::run::{name}(bytes)")), "{name}");
            }
            assert_eq!(std::fs::read_dir(programs).unwrap().count(), tested.len());
        }
    };
}

tests! {
    sgxs sigstruct elf enclave_elf manifest request metadata tar layer image_documents
    hostcall_request hostcall_reply host_quote bound_record snp_report snp_key snp_table ear_token
    aesm_request aesm_reply
    quote certificate pck_extension crl tcb_info qe_identity collateral policy
    session_frames session_claims compat_evidence client_hello hop_json hop_reply legacy_certificate
    bus_message route_answer container_config container_state cgroup_mounts seccomp_profile compiled_filter
    saved_measurements shelter_address
}
