use alloc::string::ToString;

use super::*;
use crate::collateral::Collateral;

fn vector(json: &str) -> String {
    Collateral::from_json(json.as_bytes()).expect("collateral").tcb_info
}

fn sgx() -> String {
    vector(include_str!("../../../tests/vectors/sgx/sgx_quote_collateral.json"))
}

fn tdx() -> String {
    vector(include_str!("../../../tests/vectors/tdx/tdx_quote_collateral.json"))
}

#[test]
fn real_documents_are_read() {
    let info = TcbInfo::parse(&sgx()).expect("SGX");
    assert_eq!((info.id, info.tcb_evaluation_data_number), (TcbInfoId::Sgx, 17));
    assert_eq!(info.fmspc, [0, 0xa0, 0x67, 0x11, 0, 0]);
    assert_eq!(info.levels.len(), 11);
    assert_eq!(info.levels[0].status, TcbStatus::SWHardeningNeeded);

    let info = TcbInfo::parse(&tdx()).expect("TDX");
    assert_eq!(info.id, TcbInfoId::Tdx);
    let versions: Vec<_> = info.tdx_module_identities.iter().map(|id| id.version).collect();
    assert_eq!(versions, [3, 1]);
    assert!(info.levels.iter().all(|level| level.tdx_components.is_some()));
}

/// Group 17 of what must be refused.
#[test]
fn svn_arrays_of_another_length_are_refused() {
    let json = sgx();
    let short = json.replacen(r#"{"svn":11},"#, "", 1);
    let long = json.replacen(r#"{"svn":11},"#, r#"{"svn":11},{"svn":11},"#, 1);
    for json in [short, long] {
        assert!(matches!(TcbInfo::parse(&json), Err(JsonError::Form(_))));
    }
}

/// Group 18 of what must be refused.
#[test]
fn a_key_that_comes_twice_is_refused() {
    let json = sgx().replacen(r#""pcesvn":13"#, r#""pcesvn":13,"pcesvn":0"#, 1);
    assert!(matches!(TcbInfo::parse(&json), Err(JsonError::DuplicateKey { .. })));
    let json = sgx().replacen('{', r#"{"x":1,"x":2,"#, 1);
    assert!(matches!(TcbInfo::parse(&json), Err(JsonError::DuplicateKey { .. })));
}

#[test]
fn other_versions_ids_dates_and_statuses_are_refused() {
    let json = sgx();
    for (from, to) in [
        (r#""version":3"#, r#""version":2"#),
        (r#""version":3"#, r#""version":4"#),
        (r#""id":"SGX""#, r#""id":"SGY""#),
        (r#""id":"SGX""#, r#""id":"TDX""#),
        (r#""tcbType":0"#, r#""tcbType":1"#),
        (r#""fmspc":"00A067110000""#, r#""fmspc":"00A0671100""#),
        ("2025-06-19T10:56:11Z", "2025-06-19T10:56:11"),
        ("SWHardeningNeeded", "TDRelaunchAdvised"),
        ("SWHardeningNeeded", "Fine"),
    ] {
        assert!(json.contains(from));
        assert!(TcbInfo::parse(&json.replacen(from, to, 1)).is_err(), "{to}");
    }
    let two_of_a_version = tdx().replacen("TDX_03", "TDX_01", 1);
    assert!(TcbInfo::parse(&two_of_a_version).is_err());
}

#[test]
fn levels_are_sorted_whatever_order_they_came_in() {
    let info = TcbInfo::parse(&sgx()).expect("SGX");
    let mut value: serde_json::Value = serde_json::from_str(&sgx()).expect("JSON");
    value["tcbLevels"].as_array_mut().expect("an array").reverse();
    assert_eq!(TcbInfo::parse(&value.to_string()).expect("SGX"), info);
}
