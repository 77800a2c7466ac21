//! The TOML of a policy.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;

use super::{ConfigRule, Level, Policy, PolicyError, SignerRule, SnpRule, TdxRule, TeeRule};
use crate::hex;
use crate::tcb::TcbStatus;

pub(super) fn read(text: &str) -> Result<Policy, PolicyError> {
    let document: Document = toml::from_str(text).map_err(PolicyError::Toml)?;
    document.check()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    inclavared: Option<OneOrMany>,
    roots: Vec<String>,
    #[serde(default)]
    tee: Option<OneOrMany>,
    #[serde(default)]
    mrenclave: Vec<String>,
    #[serde(default)]
    mrsigner: Vec<Signer>,
    #[serde(default)]
    tdx: Vec<Tdx>,
    #[serde(default)]
    snp: Vec<Snp>,
    #[serde(default)]
    snp_platform: Option<super::snp_document::SnpPlatform>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    tcb_status: Option<Vec<TcbStatus>>,
    #[serde(default)]
    advisories_deny: BTreeSet<String>,
    #[serde(default)]
    allow_debug: bool,
    #[serde(default)]
    platforms: Option<Vec<String>>,
    #[serde(default)]
    config_digest: Option<OneOrMany>,
    #[serde(default)]
    min_tcb_eval: u32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn is_any(&self) -> bool {
        matches!(self, Self::One(word) if word == "any")
    }

    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => alloc::vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signer {
    mrsigner: String,
    isvprodid: u16,
    min_isvsvn: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tdx {
    mrtd: String,
    #[serde(default)]
    rtmr0: Option<String>,
    #[serde(default)]
    rtmr1: Option<String>,
    #[serde(default)]
    rtmr2: Option<String>,
    #[serde(default)]
    rtmr3: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snp {
    measurement: String,
    #[serde(default)]
    host_data: Option<String>,
    #[serde(default)]
    min_guest_svn: u32,
}

fn level(word: Option<&str>) -> Result<Level, PolicyError> {
    match word {
        None | Some("bound") => Ok(Level::Bound),
        Some("compat") => Ok(Level::Compat),
        Some("hop-by-hop") => Ok(Level::HopByHop),
        Some(got) => {
            let expected = "bound, compat or hop-by-hop";
            Err(PolicyError::Word { key: "level", expected, got: got.to_string() })
        }
    }
}

impl Document {
    /// What is said in a policy is looked at, or it is none.
    fn check_level(&self, level: Level) -> Result<(), PolicyError> {
        let is_hop = level == Level::HopByHop;
        let named = match &self.inclavared {
            None => false,
            Some(OneOrMany::Many(keys)) => !keys.is_empty(),
            Some(OneOrMany::One(_)) => true,
        };
        if named != is_hop {
            return Err(PolicyError::Level { key: "inclavared", level, is_there: named });
        }
        let digest = self.config_digest.as_ref();
        let untold = [
            ("advisories_deny", !self.advisories_deny.is_empty()),
            ("platforms", self.platforms.is_some()),
            ("config_digest", digest.is_some_and(|it| !it.is_any())),
            ("min_tcb_eval", self.min_tcb_eval > 0),
        ];
        match untold.into_iter().find(|(_, is_there)| is_hop && *is_there) {
            Some((key, is_there)) => Err(PolicyError::Level { key, level, is_there }),
            None => Ok(()),
        }
    }

    fn check(self) -> Result<Policy, PolicyError> {
        let level = level(self.level.as_deref())?;
        self.check_level(level)?;
        let tee = match self.tee {
            None => alloc::vec![TeeRule::Hardware],
            Some(rules) => rules.into_vec().into_iter().map(tee).collect::<Result<_, _>>()?,
        };
        Ok(Policy {
            level,
            inclavared: match self.inclavared {
                None => Vec::new(),
                Some(keys) => list("inclavared", &keys.into_vec())?,
            },
            roots: not_empty("roots", list("roots", &self.roots)?)?,
            tee: not_empty("tee", tee)?,
            mrenclave: list("mrenclave", &self.mrenclave)?,
            mrsigner: self.mrsigner.iter().map(Signer::check).collect::<Result<_, _>>()?,
            tdx: self.tdx.iter().map(Tdx::check).collect::<Result<_, _>>()?,
            snp: self.snp.iter().map(Snp::check).collect::<Result<_, _>>()?,
            snp_platform: match self.snp_platform {
                None => super::SnpPlatformRule::default(),
                Some(platform) => platform.check()?,
            },
            references: self.references,
            tcb_status: match self.tcb_status {
                None => alloc::vec![TcbStatus::UpToDate],
                Some(statuses) => check_statuses(statuses)?,
            },
            advisories_deny: self.advisories_deny,
            allow_debug: self.allow_debug,
            platforms: self.platforms.map(|ids| platforms(&ids)).transpose()?,
            config_digest: match self.config_digest {
                None => ConfigRule::Unsaid,
                Some(digests) if digests.is_any() => ConfigRule::Any,
                Some(digests) => {
                    let digests = list("config_digest", &digests.into_vec())?;
                    ConfigRule::OneOf(not_empty("config_digest", digests)?)
                }
            },
            min_tcb_eval: self.min_tcb_eval,
        })
    }
}

impl Signer {
    fn check(&self) -> Result<SignerRule, PolicyError> {
        Ok(SignerRule {
            mrsigner: array("mrsigner", &self.mrsigner)?,
            isvprodid: self.isvprodid,
            min_isvsvn: self.min_isvsvn,
        })
    }
}

impl Tdx {
    fn check(&self) -> Result<TdxRule, PolicyError> {
        let rtmr =
            |text: &Option<String>| text.as_deref().map(|text| array("rtmr", text)).transpose();
        Ok(TdxRule {
            mrtd: array("mrtd", &self.mrtd)?,
            rtmr: [rtmr(&self.rtmr0)?, rtmr(&self.rtmr1)?, rtmr(&self.rtmr2)?, rtmr(&self.rtmr3)?],
        })
    }
}

impl Snp {
    fn check(&self) -> Result<SnpRule, PolicyError> {
        Ok(SnpRule {
            measurement: array("measurement", &self.measurement)?,
            host_data: self
                .host_data
                .as_deref()
                .map(|text| array("host_data", text))
                .transpose()?,
            min_guest_svn: self.min_guest_svn,
        })
    }
}

fn tee(word: String) -> Result<TeeRule, PolicyError> {
    match word.as_str() {
        "hardware" => Ok(TeeRule::Hardware),
        "sgx" => Ok(TeeRule::Sgx),
        "tdx" => Ok(TeeRule::Tdx),
        "snp" => Ok(TeeRule::Snp),
        "emulated" => Ok(TeeRule::Emulated),
        _ => Err(PolicyError::Word {
            key: "tee",
            expected: "hardware, sgx, tdx, snp or emulated",
            got: word,
        }),
    }
}

/// A revoked platform's keys are in other hands: no policy can take it.
fn check_statuses(statuses: Vec<TcbStatus>) -> Result<Vec<TcbStatus>, PolicyError> {
    if statuses.contains(&TcbStatus::Revoked) {
        return Err(PolicyError::Word {
            key: "tcb_status",
            expected: "a status other than Revoked",
            got: TcbStatus::Revoked.name().to_string(),
        });
    }
    not_empty("tcb_status", statuses)
}

/// PPID and platform instance id have 16 bytes, a chip id 64.
fn platforms(ids: &[String]) -> Result<Vec<Vec<u8>>, PolicyError> {
    let read = |id: &String| match id.len() {
        128 => array::<64>("platforms", id).map(|id| id.to_vec()),
        _ => array::<16>("platforms", id).map(|id| id.to_vec()),
    };
    not_empty("platforms", ids.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) fn array<const N: usize>(key: &'static str, text: &str) -> Result<[u8; N], PolicyError> {
    hex::array(text).map_err(|error| PolicyError::Hex { key, error })
}

pub(super) fn list<const N: usize>(
    key: &'static str,
    texts: &[String],
) -> Result<Vec<[u8; N]>, PolicyError> {
    texts.iter().map(|text| array(key, text)).collect()
}

pub(super) fn not_empty<T>(key: &'static str, list: Vec<T>) -> Result<Vec<T>, PolicyError> {
    if list.is_empty() { Err(PolicyError::Empty { key }) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";

    #[test]
    fn what_a_policy_leaves_out_is_strict() {
        let policy = Policy::from_toml(&alloc::format!("roots = ['{ROOT}']")).expect("a policy");
        assert_eq!(policy, Policy::strict(hex::array(ROOT).expect("hex")));
        assert_eq!(policy.tee, [TeeRule::Hardware]);
        assert_eq!(policy.tcb_status, [TcbStatus::UpToDate]);
        assert_eq!(policy.level, Level::Bound);
        assert_eq!(policy.config_digest, ConfigRule::Unsaid);
        assert!(!policy.allow_debug);
    }

    #[test]
    fn a_policy_names_one_level() {
        let read = |level: &str| {
            Policy::from_toml(&alloc::format!("level = '{level}'\nroots = ['{ROOT}']"))
        };
        assert_eq!(read("compat").expect("a policy").level, Level::Compat);
        assert_eq!(read("bound").expect("a policy").level, Level::Bound);
        assert!(matches!(read("any"), Err(PolicyError::Word { key: "level", .. })));
    }

    #[test]
    fn hop_by_hop_names_inclavared_and_nothing_that_it_does_not_tell() {
        let read = |more: &str| Policy::from_toml(&alloc::format!("roots = ['{ROOT}']\n{more}"));
        let hop = alloc::format!("level = 'hop-by-hop'\ninclavared = '{ROOT}'\n");
        let policy = read(&hop).expect("a policy");
        assert_eq!((policy.level, policy.inclavared.len()), (Level::HopByHop, 1));
        assert!(read(&alloc::format!("{hop}config_digest = 'any'")).is_ok());
        let refusal = |more: &str| read(more).unwrap_err().to_string();
        for (more, key) in [
            ("advisories_deny = ['A']", "advisories_deny"),
            ("platforms = ['00']", "platforms"),
            ("config_digest = ['00']", "config_digest"),
            ("min_tcb_eval = 1", "min_tcb_eval"),
        ] {
            let expected =
                alloc::format!("policy: {key}: expected none at level hop-by-hop, got one");
            assert_eq!(refusal(&alloc::format!("{hop}{more}")), expected);
        }
        for none in ["", "inclavared = []"] {
            let expected = "policy: inclavared: expected one at level hop-by-hop, got none";
            assert_eq!(refusal(&alloc::format!("level = 'hop-by-hop'\n{none}")), expected);
        }
        let expected = "policy: inclavared: expected none at level bound, got one";
        assert_eq!(refusal(&alloc::format!("inclavared = ['{ROOT}']")), expected);
        assert!(refusal("level = 'hop-by-hop'\ninclavared = 'any'").contains("inclavared: "));
    }

    #[test]
    fn every_key_is_read() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(48));
        let policy = Policy::from_toml(&alloc::format!(
            "roots = ['{ROOT}', '{a}']
             tee = ['sgx', 'emulated']
             mrenclave = ['{a}']
             references = ['payroll']
             tcb_status = ['UpToDate', 'SWHardeningNeeded']
             advisories_deny = ['INTEL-SA-00615']
             allow_debug = true
             platforms = ['{p}', '{chip}']
             config_digest = '{a}'
             min_tcb_eval = 17
             [[mrsigner]]
             mrsigner = '{a}'
             isvprodid = 1
             min_isvsvn = 2
             [[tdx]]
             mrtd = '{b}'
             rtmr3 = '{b}'
             [[snp]]
             measurement = '{b}'
             min_guest_svn = 3",
            p = "cc".repeat(16),
            chip = "dd".repeat(64),
        ))
        .expect("a policy");
        assert_eq!(policy.tee, [TeeRule::Sgx, TeeRule::Emulated]);
        assert_eq!(policy.mrenclave, [[0xaa; 32]]);
        assert_eq!(
            policy.mrsigner,
            [SignerRule { mrsigner: [0xaa; 32], isvprodid: 1, min_isvsvn: 2 }]
        );
        assert_eq!(policy.tdx[0].rtmr, [None, None, None, Some([0xbb; 48])]);
        assert_eq!(policy.snp[0].min_guest_svn, 3);
        assert_eq!(policy.config_digest, ConfigRule::OneOf(alloc::vec![[0xaa; 32]]));
        assert_eq!(
            policy.platforms,
            Some(alloc::vec![alloc::vec![0xcc; 16], alloc::vec![0xdd; 64]])
        );
        assert_eq!((policy.min_tcb_eval, policy.allow_debug), (17, true));
    }

    #[test]
    fn unknown_keys_and_empty_or_malformed_lists_are_errors() {
        let with = |line: &str| Policy::from_toml(&alloc::format!("roots = ['{ROOT}']\n{line}"));
        for line in [
            "mrenclaves = []",
            "Tee = 'hardware'",
            "tee = 'hardwre'",
            "tee = []",
            "tcb_status = []",
            "tcb_status = ['Revoked']",
            "tcb_status = ['uptodate']",
            "mrenclave = ['aa']",
            "platforms = []",
            "platforms = ['aabb']",
            "config_digest = []",
            "config_digest = ['any']",
            "[[mrsigner]]\nmrsigner = 'aa'",
            "min_tcb_eval = -1",
            "roots = []",
        ] {
            assert!(with(line).is_err(), "{line}");
        }
        assert!(Policy::from_toml("").is_err(), "a policy without roots trusts nothing");
        assert!(Policy::from_toml("roots = []").is_err());
    }
}
