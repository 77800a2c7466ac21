//! Every parser of outside bytes as a function of bytes, with seeds to start from.
//!
//! A target asserts only what its parser promises of any input: that it returns, and what holds of what it
//! accepts. The same functions are driven by cargo-fuzz (`../fuzz_targets`) and by the smoke test, which
//! needs nothing but stable Rust and runs with the other tests.
#![forbid(unsafe_code)]

pub mod mutate;
pub mod run;
mod seeds;

use rats_tls::Role;

/// One parser.
pub struct Target {
    /// Its name: the program of cargo-fuzz and the folder of its corpus.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Inputs that it accepts, to mutate.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Whether it accepts an input: the seeds must be accepted, or mutations of them test nothing.
    pub accepts: fn(&[u8]) -> bool,
}

macro_rules! targets {
    ($($name:ident: $accepts:expr;)+) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$(
            Target {
                name: stringify!($name),
                run: run::$name,
                seeds: seeds::$name,
                accepts: $accepts,
            },
        )+];
    };
}

targets! {
    sgxs: |bytes| sgx::sgxs::mrenclave::<sgx::hash::Portable, _>(bytes).is_ok();
    sigstruct: |bytes| sgx::Sigstruct::parse_verified::<sgx::hash::Portable>(bytes).is_ok();
    elf: |bytes| libos::elf::parse(bytes).is_ok();
    enclave_elf: |bytes| enclave_image::load(bytes, run::ENCLAVE_BASE).is_ok();
    manifest: |bytes| workload::manifest::Manifest::parse(bytes).is_ok();
    request: |bytes| workload::request::Request::parse(bytes).is_ok();
    metadata: |bytes| run::open_metadata(bytes).is_ok();
    tar: |bytes| run::entries(bytes) > 0;
    layer: |bytes| run::entries(bytes) > 0;
    image_documents: |bytes| !bytes.is_empty();
    hostcall_request: |bytes| !bytes.is_empty();
    hostcall_reply: |bytes| !bytes.is_empty();
    host_quote: |bytes| libos::attestation::quote::check(bytes, &run::a_report()).is_ok();
    bound_record: |bytes| libos::attestation::bound::Record::parse(bytes).is_ok();
    snp_report: |bytes| attestation::snp::report::Report::parse(bytes).is_ok();
    snp_key: |bytes| run::endorsement_key(bytes).is_some();
    snp_table: |bytes| attestation::snp::table::CertificateTable::parse(bytes).is_ok();
    ear_token: |bytes| run::is_token(bytes);
    aesm_request: |bytes| aesm::server::answer(&run::FakeQuoting, bytes).refusal.is_none();
    aesm_reply: |bytes| aesm::fuzz_reply(bytes);
    quote: |bytes| attestation::quote::Quote::parse(bytes).is_ok();
    certificate: |bytes| run::is_certificate(bytes);
    pck_extension: |bytes| attestation::x509::PckExtension::parse(bytes).is_ok();
    crl: |bytes| attestation::x509::SignedCrl::parse(bytes).is_ok();
    tcb_info: |bytes| run::is_tcb_info(bytes);
    qe_identity: |bytes| run::is_qe_identity(bytes);
    collateral: |bytes| run::is_collateral(bytes);
    policy: |bytes| run::is_policy(bytes);
    session_frames: |bytes| [Role::Client, Role::Server].iter().any(|role| {
        run::feed(*role, bytes) == (bytes.len(), true)
    });
    session_claims: |bytes| rats_tls::claims::Claims::decode(bytes).is_ok();
    compat_evidence: |bytes| rats_tls::compat::decode_evidence(bytes).is_ok();
    client_hello: |bytes| inclavared::hello::fuzz(bytes);
    hop_json: rats_tls::hop::fuzz_json;
    hop_reply: rats_tls::hop::fuzz_reply;
    legacy_certificate: |bytes| rats_tls::compat::Legacy::find(bytes).is_some();
    bus_message: container::fuzz_bus;
    route_answer: container::fuzz_route;
    container_config: |bytes| container::Spec::parse("config.json".as_ref(), bytes).is_ok();
    container_state: run::is_state;
    cgroup_mounts: run::has_cgroups;
    seccomp_profile: run::is_profile;
    compiled_filter: container::seccomp::cache::fuzz;
    saved_measurements: run::is_saved;
    shelter_address: |bytes| run::address(bytes).is_some();
}
