//! The table `snp_platform` of a policy.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;

use super::document::{list, not_empty};
use super::{PolicyError, SnpPlatformRule};
use crate::snp::product::Product;
use crate::snp::tcb::TcbFloor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SnpPlatform {
    #[serde(default)]
    min_tcb: MinTcb,
    #[serde(default)]
    vmpl: Option<Vec<u32>>,
    #[serde(default)]
    allow_vcek: Option<bool>,
    #[serde(default)]
    csp_ids: Vec<String>,
    #[serde(default)]
    allow_migration: bool,
    #[serde(default)]
    allow_smt: Option<bool>,
    #[serde(default)]
    require_alias_check: bool,
    #[serde(default)]
    author_keys: Option<Vec<String>>,
    #[serde(default)]
    id_keys: Option<Vec<String>>,
}

/// One floor for each product. Every part must be written: one left out would read as any.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MinTcb {
    milan: Option<Floor>,
    genoa: Option<Floor>,
    turin: Option<FloorWithFmc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorWithFmc {
    fmc: u8,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

impl Floor {
    const fn floor(&self) -> TcbFloor {
        let Self { bootloader, tee, snp, microcode } = *self;
        TcbFloor { fmc: 0, bootloader, tee, snp, microcode }
    }
}

impl FloorWithFmc {
    const fn floor(&self) -> TcbFloor {
        let Self { fmc, bootloader, tee, snp, microcode } = *self;
        TcbFloor { fmc, bootloader, tee, snp, microcode }
    }
}

impl SnpPlatform {
    pub(super) fn check(self) -> Result<SnpPlatformRule, PolicyError> {
        let strict = SnpPlatformRule::default();
        let MinTcb { milan, genoa, turin } = self.min_tcb;
        let min_tcb = [
            (Product::Milan, milan.map(|floor| floor.floor())),
            (Product::Genoa, genoa.map(|floor| floor.floor())),
            (Product::Turin, turin.map(|floor| floor.floor())),
        ];
        let digests = |key, texts: Option<Vec<String>>| match texts {
            None => Ok(Vec::new()),
            Some(texts) => not_empty(key, list(key, &texts)?),
        };
        Ok(SnpPlatformRule {
            min_tcb: min_tcb
                .into_iter()
                .filter_map(|(product, floor)| Some((product, floor?)))
                .collect(),
            vmpl: match self.vmpl {
                None => strict.vmpl,
                Some(vmpl) => not_empty("snp_platform.vmpl", vmpl)?,
            },
            allow_vcek: self.allow_vcek.unwrap_or(strict.allow_vcek),
            csp_ids: self.csp_ids,
            allow_migration: self.allow_migration,
            allow_smt: self.allow_smt.unwrap_or(strict.allow_smt),
            require_alias_check: self.require_alias_check,
            author_keys: digests("snp_platform.author_keys", self.author_keys)?,
            id_keys: digests("snp_platform.id_keys", self.id_keys)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn policy(table: &str) -> Result<Policy, PolicyError> {
        Policy::from_toml(&alloc::format!("roots = ['{}']\n{table}", "aa".repeat(32)))
    }

    #[test]
    fn what_is_left_out_is_strict() {
        assert_eq!(policy("").expect("a policy").snp_platform, SnpPlatformRule::default());
        let empty = policy("[snp_platform]").expect("a policy");
        assert_eq!(empty.snp_platform, SnpPlatformRule::default());
        assert!(empty.snp_platform.min_tcb.is_empty(), "no floor: nothing is new enough");
    }

    #[test]
    fn every_key_is_read() {
        let digest = "bb".repeat(48);
        let rule = policy(&alloc::format!(
            "[snp_platform]
             vmpl = [0, 2]
             allow_vcek = false
             csp_ids = ['CN=a provider']
             allow_migration = true
             allow_smt = false
             require_alias_check = true
             author_keys = ['{digest}']
             id_keys = ['{digest}']
             [snp_platform.min_tcb]
             milan = {{ bootloader = 4, tee = 0, snp = 24, microcode = 219 }}
             turin = {{ fmc = 1, bootloader = 2, tee = 3, snp = 4, microcode = 73 }}"
        ))
        .expect("a policy")
        .snp_platform;
        let milan = TcbFloor { fmc: 0, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
        let turin = TcbFloor { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 73 };
        let expected = SnpPlatformRule {
            min_tcb: alloc::vec![(Product::Milan, milan), (Product::Turin, turin)],
            vmpl: alloc::vec![0, 2],
            allow_vcek: false,
            csp_ids: alloc::vec!["CN=a provider".into()],
            allow_migration: true,
            allow_smt: false,
            require_alias_check: true,
            author_keys: alloc::vec![[0xbb; 48]],
            id_keys: alloc::vec![[0xbb; 48]],
        };
        assert_eq!(rule, expected);
    }

    #[test]
    fn misspelt_partial_and_empty_rules_are_errors() {
        for line in [
            "vmpls = [0]",
            "vmpl = []",
            "vmpl = [-1]",
            "author_keys = []",
            "id_keys = ['aa']",
            "min_tcb = { rome = { bootloader = 0, tee = 0, snp = 0, microcode = 0 } }",
            "min_tcb = { milan = { bootloader = 0, tee = 0, snp = 0 } }",
            "min_tcb = { milan = { fmc = 0, bootloader = 0, tee = 0, snp = 0, microcode = 0 } }",
            "min_tcb = { turin = { bootloader = 0, tee = 0, snp = 0, microcode = 0 } }",
            "min_tcb = { milan = { bootloader = 256, tee = 0, snp = 0, microcode = 0 } }",
        ] {
            assert!(policy(&alloc::format!("[snp_platform]\n{line}")).is_err(), "{line}");
        }
    }
}
