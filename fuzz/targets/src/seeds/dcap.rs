//! Real quotes and collateral, and policies that use every key.

use attestation::collateral::Collateral;
use attestation::quote::{CertificationData, Quote};
use attestation::x509::{Certificate, PckExtension, chain};

fn documents() -> [Collateral; 2] {
    [vector!("sgx/sgx_quote_collateral.json"), vector!("tdx/tdx_quote_collateral.json")]
        .map(|json| Collateral::from_json(&json).expect("a vector"))
}

pub(crate) fn quote() -> Vec<Vec<u8>> {
    let real =
        [vector!("sgx/sgx_quote"), vector!("sgx/occlum_quote.dat"), vector!("tdx/tdx_quote")];
    let mut seeds = real.to_vec();
    // The TDX report of version 4 as bodies of version 5, with zeros where they are longer.
    for (body_type, longer) in [(2u16, 0), (3, 64), (4, 301)] {
        let quote = &seeds[2];
        let mut made = quote[..48].to_vec();
        made[0] = 5;
        made.extend(body_type.to_le_bytes());
        made.extend((584 + longer as u32).to_le_bytes());
        made.extend(&quote[48..48 + 584]);
        made.extend(vec![0; longer]);
        made.extend(&quote[48 + 584..]);
        seeds.push(made);
    }
    seeds
}

/// The PCK chain of the SGX vector, DER.
fn pck_chain() -> Vec<Vec<u8>> {
    let quote = vector!("sgx/sgx_quote");
    let quote = Quote::parse(&quote).expect("a vector");
    let CertificationData::PckChain(pem) = quote.signature.certification else {
        unreachable!("the vector has a chain")
    };
    chain(pem).expect("a vector")
}

pub(crate) fn certificate() -> Vec<Vec<u8>> {
    let mut seeds = pck_chain();
    seeds.push(vector!("collateral/intel-sgx-root-ca.der"));
    seeds.push(documents()[0].tcb_info_issuer_chain.clone().into_bytes());
    seeds
}

pub(crate) fn pck_extension() -> Vec<Vec<u8>> {
    let chain = pck_chain();
    let leaf = Certificate::parse(&chain[0]).expect("a vector");
    vec![PckExtension::contents(&leaf).expect("a PCK certificate has it").to_vec()]
}

pub(crate) fn crl() -> Vec<Vec<u8>> {
    documents().into_iter().flat_map(|it| [it.root_ca_crl, it.pck_crl]).collect()
}

pub(crate) fn tcb_info() -> Vec<Vec<u8>> {
    documents().map(|it| it.tcb_info.into_bytes()).to_vec()
}

pub(crate) fn qe_identity() -> Vec<Vec<u8>> {
    documents().map(|it| it.qe_identity.into_bytes()).to_vec()
}

pub(crate) fn collateral() -> Vec<Vec<u8>> {
    let [sgx, tdx] = documents();
    let signature = "ab".repeat(64);
    let envelope = |name: &str, document: &str| {
        format!(r#"{{"{name}":{document},"signature":"{signature}"}}"#).into_bytes()
    };
    vec![
        sgx.to_json().into_bytes(),
        envelope("tcbInfo", &tdx.tcb_info),
        envelope("enclaveIdentity", &sgx.qe_identity),
    ]
}

pub(crate) fn policy() -> Vec<Vec<u8>> {
    let (a, b, c) = ("aa".repeat(32), "bb".repeat(48), "cc".repeat(16));
    let policy = format!(
        "roots = ['{a}']\ntee = ['sgx', 'emulated']\nmrenclave = ['{a}']\nreferences = ['payroll']\n\
         tcb_status = ['UpToDate', 'SWHardeningNeeded']\nadvisories_deny = ['INTEL-SA-00615']\n\
         allow_debug = true\nplatforms = ['{c}']\nconfig_digest = ['{a}']\nmin_tcb_eval = 17\n\
         [[mrsigner]]\nmrsigner = '{a}'\nisvprodid = 1\nmin_isvsvn = 2\n\
         [[tdx]]\nmrtd = '{b}'\nrtmr0 = '{b}'\n[[snp]]\nmeasurement = '{b}'\n"
    );
    let references = format!(
        "[[reference]]\nname = 'payroll'\nversion = '1'\nmeasurement = '{b}'\n\
         expires = '2027-01-01T00:00:00Z'\n"
    );
    vec![policy.into_bytes(), references.into_bytes()]
}
