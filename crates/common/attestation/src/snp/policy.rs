//! What a policy asks of an SNP platform and guest, beyond what it asks of any TEE.
//!
//! AMD publishes no verdict on a TCB as Intel does: what is new enough is the policy's to say, per product,
//! for the TCB that signed and for the one that the platform has committed to. A policy that says nothing
//! accepts no SNP evidence. The rest is strict unless it is written: VCEK only, VMPL 0, no migration.

use alloc::string::String;
use alloc::vec::Vec;

use super::genuine::SnpClaims;
use super::product::Product;
use super::report::SigningKey;
use super::tcb::TcbFloor;
use crate::check::{CheckId, Checks, Value};

/// The table `snp_platform` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnpPlatformRule {
    /// `min_tcb`: the oldest acceptable TCB of each product; products without one are refused.
    pub min_tcb: Vec<(Product, TcbFloor)>,
    /// `vmpl`: who in the guest may ask for the report.
    pub vmpl: Vec<u32>,
    /// `allow_vcek`: whether a chip's own key may sign.
    pub allow_vcek: bool,
    /// `csp_ids`: cloud providers whose key may sign. A VLEK does not tell one chip of its provider from
    /// another.
    pub csp_ids: Vec<String>,
    /// `allow_migration`: whether a migration agent may move the guest.
    pub allow_migration: bool,
    /// `allow_smt`: whether the guest may share cores with others.
    pub allow_smt: bool,
    /// `require_alias_check`: whether the firmware must have looked for aliased memory.
    pub require_alias_check: bool,
    /// `author_keys`: digests of author keys, one of which must have certified the ID key; empty for any.
    pub author_keys: Vec<[u8; 48]>,
    /// `id_keys`: digests of ID keys, one of which must have signed the ID block; empty for any.
    pub id_keys: Vec<[u8; 48]>,
}

impl Default for SnpPlatformRule {
    fn default() -> Self {
        Self {
            min_tcb: Vec::new(),
            vmpl: alloc::vec![0],
            allow_vcek: true,
            csp_ids: Vec::new(),
            allow_migration: false,
            allow_smt: true,
            require_alias_check: false,
            author_keys: Vec::new(),
            id_keys: Vec::new(),
        }
    }
}

/// The checks that this module makes.
pub(crate) const CHECKS: [CheckId; 8] = [
    CheckId::PolicySnpTcb,
    CheckId::PolicySnpKey,
    CheckId::PolicySnpVmpl,
    CheckId::PolicySnpMigration,
    CheckId::PolicySnpGuestPolicy,
    CheckId::PolicySnpPlatformInfo,
    CheckId::PolicySnpAuthorKey,
    CheckId::PolicySnpIdKey,
];

/// Checks evidence that could be read.
pub(crate) fn appraise(rule: &SnpPlatformRule, claims: &SnpClaims, checks: &mut Checks) {
    let report = &claims.report;
    check_tcb(rule, claims, checks);
    check_key(rule, claims, checks);

    let vmpl = report.vmpl();
    let list: Vec<_> = rule.vmpl.iter().map(|vmpl| alloc::format!("{vmpl}")).collect();
    let id = CheckId::PolicySnpVmpl;
    checks.add(id, rule.vmpl.contains(&vmpl), list.join(" or "), u64::from(vmpl));

    let policy = report.policy();
    let got = if policy.is_migration_allowed() { "migration" } else { "no migration" };
    let expected = if rule.allow_migration { "any" } else { "no migration" };
    let id = CheckId::PolicySnpMigration;
    checks.add(id, rule.allow_migration || !policy.is_migration_allowed(), expected, got);

    let holds = policy.is_well_formed() && (rule.allow_smt || !policy.is_smt_allowed());
    let expected = if rule.allow_smt {
        "bit 17 set, none above 25"
    } else {
        "bit 17 set, bit 16 (SMT) clear, none above 25"
    };
    let id = CheckId::PolicySnpGuestPolicy;
    checks.add(id, holds, expected, alloc::format!("{:#x}", policy.0));

    let info = report.platform_info();
    let holds = !rule.require_alias_check || info.is_alias_check_complete();
    let expected = if rule.require_alias_check { "bit 5 (ALIAS_CHECK_COMPLETE)" } else { "any" };
    let id = CheckId::PolicySnpPlatformInfo;
    checks.add(id, holds, expected, alloc::format!("{:#x}", info.0));

    // AUTHOR_KEY_EN says whether the digest means anything.
    let author = report.has_author_key().then(|| report.author_key_digest());
    digest(checks, CheckId::PolicySnpAuthorKey, &rule.author_keys, author);
    let id_key = Some(report.id_key_digest()).filter(|digest| **digest != [0; 48]);
    digest(checks, CheckId::PolicySnpIdKey, &rule.id_keys, id_key);
}

/// Lists a check for each TCB that must reach the floor, and each part that does not.
fn check_tcb(rule: &SnpPlatformRule, claims: &SnpClaims, checks: &mut Checks) {
    let product = claims.product;
    let id = CheckId::PolicySnpTcb;
    let Some((_, floor)) = rule.min_tcb.iter().find(|(named, _)| *named == product) else {
        let got = alloc::format!("none for {product}");
        checks.add(id, false, "a floor in `snp_platform.min_tcb` for the product", got);
        return;
    };
    let report = &claims.report;
    for (name, bytes) in [
        // What the key was derived from; what the platform cannot go back behind; what runs.
        ("reported", report.reported_tcb()),
        ("committed", report.committed_tcb()),
        ("current", report.current_tcb()),
    ] {
        let tcb = claims.tcb(bytes);
        let below: Vec<_> = tcb.below(*floor).map(|part| part.name).collect();
        let got = if below.is_empty() {
            alloc::format!("{name}: {tcb}")
        } else {
            alloc::format!("{name}: {tcb}, too old: {}", below.join(", "))
        };
        checks.add(id, below.is_empty(), Value::display(floor), got);
    }
}

fn check_key(rule: &SnpPlatformRule, claims: &SnpClaims, checks: &mut Checks) {
    let mut allowed: Vec<String> = Vec::new();
    if rule.allow_vcek {
        allowed.push("VCEK".into());
    }
    allowed.extend(rule.csp_ids.iter().map(|csp_id| alloc::format!("VLEK of {csp_id}")));
    let got = match (&claims.csp_id, claims.report.signing_key()) {
        (Some(csp_id), SigningKey::Vlek) => alloc::format!("VLEK of {csp_id}"),
        (None, key) | (Some(_), key) => alloc::format!("{key}"),
    };
    let id = CheckId::PolicySnpKey;
    checks.add(id, allowed.contains(&got), allowed.join(" or "), got);
}

fn digest(checks: &mut Checks, id: CheckId, allowed: &[[u8; 48]], got: Option<&[u8; 48]>) {
    let holds = allowed.is_empty() || got.is_some_and(|digest| allowed.contains(digest));
    let expected: Value = match allowed {
        [] => "any".into(),
        [one] => one.into(),
        _ => id.expectation().into(),
    };
    checks.add(id, holds, expected, got.map_or(Value::None, Value::from));
}
