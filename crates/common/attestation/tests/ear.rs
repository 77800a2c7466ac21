//! EAR tokens: both spellings are read, and each way to forge, confuse or stretch one is refused.

use attestation::check::CheckId;
use attestation::crypto;
use attestation::ear::{P256Key, Spelling, Tier, TokenPolicy, TokenVerdict, verify};
use attestation::time::Now;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use made_evidence::key::Key;
use ring::hmac;
use serde_json::{Value, json};

const NOW: u64 = 1_767_225_600;

/// A verifier with its key, and a relying party that pins it.
struct Setup {
    key: Key,
    policy: TokenPolicy,
}

fn setup() -> Setup {
    let key = Key::p256();
    let policy = TokenPolicy::new(point(&key));
    Setup { key, policy }
}

fn point(key: &Key) -> P256Key {
    key.public().try_into().expect("a point of P-256")
}

impl Setup {
    fn sign(&self, header: &Value, payload: &str) -> String {
        let signed = format!("{}.{}", encode(&header.to_string()), encode(payload));
        let signature = self.key.sign_fixed(signed.as_bytes());
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
    }

    fn token(&self, payload: &Value) -> String {
        self.sign(&json!({"typ": "JWT", "alg": "ES256"}), &payload.to_string())
    }

    fn verify(&self, token: &str) -> TokenVerdict {
        self.verify_at(token, NOW)
    }

    fn verify_at(&self, token: &str, now: u64) -> TokenVerdict {
        let verdict = verify(token, &self.policy, Now::given(now), &crypto::Default::default());
        let portable = verify(token, &self.policy, Now::given(now), &crypto::RustCrypto);
        assert_eq!(verdict.checks, portable.checks, "both backends say the same");
        assert_eq!(verdict.token.is_some(), verdict.checks.all_hold());
        verdict
    }

    fn accepts(&self, payload: &Value) -> bool {
        self.verify(&self.token(payload)).token.is_some()
    }

    /// Refused, and for this alone.
    #[track_caller]
    fn refuses(&self, token: &str, id: CheckId) {
        let verdict = self.verify(token);
        let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
        assert!(!failed.is_empty() && failed.iter().all(|got| *got == id), "{failed:?}");
    }
}

fn encode(text: &str) -> String {
    Base64UrlUnpadded::encode_string(text.as_bytes())
}

/// As trustee makes it, with crate ear 0.5.
fn dotted() -> Value {
    json!({
        "eat_profile": "tag:github.com,2024:confidential-containers/Trustee",
        "iat": NOW - 10, "exp": NOW + 290,
        "ear.verifier-id": {"developer": "https://confidentialcontainers.org", "build": "1"},
        "submods": {"cpu0": {
            "ear.status": "affirming",
            "ear.trustworthiness-vector": {"configuration": 2, "executables": 3, "hardware": 2},
            "ear.appraisal-policy-id": "default",
            "ear.veraison.annotated-evidence": {"snp": {}, "runtime_data_claims": {"nonce": "n"}},
        }},
    })
}

/// As crate ear 0.6 serialises it; `exp` is the signer's to add.
fn underscored() -> Value {
    let mut token: Value = serde_json::from_str(include_str!("vectors/ear/ear-0.6.json")).unwrap();
    token["exp"] = (NOW + 290).into();
    token
}

#[test]
fn both_spellings_are_read() {
    let setup = setup();
    let token = setup.verify(&setup.token(&dotted())).token.expect("trustee's is accepted");
    assert_eq!((token.issued, token.expires), (NOW - 10, NOW + 290));
    assert_eq!(token.claims.spelling, Spelling::Dotted);
    assert_eq!(token.claims.verifier.developer, "https://confidentialcontainers.org");
    let submod = &token.claims.submods[0];
    assert_eq!((submod.name.as_str(), submod.status), ("cpu0", Tier::Affirming));
    assert_eq!(submod.claims.len(), 3);
    assert_eq!(submod.policy_ids, ["default"]);

    let token = setup.verify(&setup.token(&underscored())).token.expect("the draft's is accepted");
    assert_eq!(token.claims.spelling, Spelling::Underscored);
    assert_eq!(token.claims.submods[0].claims.len(), 3);
    assert_eq!(token.claims.submods[0].policy_ids, ["default"]);
}

/// The token in the documentation of crate ear 0.5.0: genuine, and it says nothing good and never ends.
#[test]
fn the_token_of_crate_ear_is_genuine_and_not_good_enough() {
    let token = include_str!("vectors/ear/ear-0.5.jwt").trim_end();
    let mut key = [4; 65];
    for (half, text) in key[1..].chunks_exact_mut(32).zip([
        "G8fAud93NgCg8C_0bY1YqVZ5zNlkb-cNsGTQia7m0is",
        "RK1gonvUKKQOCSHDwz3SiN9EijCqmXS4sDeRbc8RnL0",
    ]) {
        Base64UrlUnpadded::decode(text, half).unwrap();
    }
    let policy = TokenPolicy::new(key);
    let verdict = verify(token, &policy, Now::given(NOW), &crypto::Default::default());
    let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    assert_eq!(failed, [CheckId::TokenValidity, CheckId::TokenStatus]);
}

#[test]
fn group_30_alg_none_is_refused() {
    let setup = setup();
    for name in ["none", "None", "NONE", ""] {
        let signed = setup.sign(&json!({"alg": name}), &dotted().to_string());
        setup.refuses(&signed, CheckId::TokenAlgorithm);
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        let verdict = setup.verify(&unsigned);
        assert!(!verdict.checks.holds(CheckId::TokenAlgorithm));
        assert!(!verdict.checks.holds(CheckId::TokenSignature));
    }
    setup.refuses(&setup.sign(&json!({}), &dotted().to_string()), CheckId::TokenAlgorithm);
}

#[test]
fn group_30_hs256_with_the_public_key_is_refused() {
    let setup = setup();
    for secret in [setup.key.public().to_vec(), setup.key.spki()] {
        let header = encode(&json!({"alg": "HS256", "typ": "JWT"}).to_string());
        let signed = format!("{header}.{}", encode(&dotted().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        let token = format!("{signed}.{}", Base64UrlUnpadded::encode_string(tag.as_ref()));
        let verdict = setup.verify(&token);
        assert!(!verdict.checks.holds(CheckId::TokenAlgorithm));
        assert!(!verdict.checks.holds(CheckId::TokenSignature));
    }
    for name in ["ES384", "RS256", "PS256", "es256", "EdDSA"] {
        let token = setup.sign(&json!({"alg": name}), &dotted().to_string());
        setup.refuses(&token, CheckId::TokenAlgorithm);
    }
}

fn jwk(key: &Key) -> Value {
    let coordinate = |range| Base64UrlUnpadded::encode_string(&key.public()[range]);
    json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)})
}

#[test]
fn group_30_a_key_in_the_header_is_no_key() {
    let (honest, thief) = (setup(), setup());
    // The thief's own token, with the thief's key beside it.
    let header = json!({"alg": "ES256", "jwk": jwk(&thief.key)});
    let token = thief.sign(&header, &dotted().to_string());
    let verdict = honest.verify(&token);
    assert!(!verdict.checks.holds(CheckId::TokenKey));
    assert!(!verdict.checks.holds(CheckId::TokenSignature));
    // An honest token whose header leads elsewhere.
    for header in [
        json!({"alg": "ES256", "jwk": jwk(&thief.key)}),
        json!({"alg": "ES256", "jwk": {"kty": "oct", "k": "AAAA"}}),
        json!({"alg": "ES256", "jku": "https://thief.example/keys"}),
        json!({"alg": "ES256", "x5u": "https://thief.example/chain"}),
        json!({"alg": "ES256", "x5c": ["AAAA"]}),
        json!({"alg": "ES256", "crit": ["exp"]}),
    ] {
        honest.refuses(&honest.sign(&header, &dotted().to_string()), CheckId::TokenKey);
    }
    // trustee repeats the right key.
    let header = json!({"alg": "ES256", "jwk": jwk(&honest.key), "kid": "1"});
    assert!(honest.verify(&honest.sign(&header, &dotted().to_string())).token.is_some());
}

#[test]
fn group_30_another_key_or_a_changed_token_is_refused() {
    let (setup, other) = (setup(), setup());
    setup.refuses(&other.token(&dotted()), CheckId::TokenSignature);
    let token = setup.token(&dotted());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut changed = dotted();
    changed["exp"] = (NOW + 100_000).into();
    let (forged, _) =
        setup.token(&changed).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    setup.refuses(&format!("{forged}.{signature}"), CheckId::TokenSignature);
    for length in [0, 63] {
        let raw = Base64UrlUnpadded::decode_vec(signature).unwrap();
        let short = Base64UrlUnpadded::encode_string(&raw[..length]);
        setup.refuses(&format!("{signed}.{short}"), CheckId::TokenSignature);
    }
}

#[test]
fn group_30_a_wrong_audience_is_refused() {
    let mut setup = setup();
    let with = |audience: Value| {
        let mut token = dotted();
        token["aud"] = audience;
        token
    };
    // Nobody's name is ours: a token for somebody is not for us.
    setup.refuses(&setup.token(&with("somebody".into())), CheckId::TokenAudience);
    setup.policy.audience = Some("broker".into());
    for wrong in [json!("Broker"), json!(["a", "b"]), json!([]), json!({"broker": 1}), json!(null)]
    {
        setup.refuses(&setup.token(&with(wrong)), CheckId::TokenAudience);
    }
    setup.refuses(&setup.token(&dotted()), CheckId::TokenAudience);
    assert!(setup.accepts(&with("broker".into())));
    assert!(setup.accepts(&with(json!(["another", "broker"]))));
}

#[test]
fn group_30_an_expired_or_endless_token_is_refused() {
    let mut setup = setup();
    let token = setup.token(&dotted());
    assert!(setup.verify_at(&token, NOW + 289).token.is_some());
    for late_or_early in [NOW + 290, NOW + 100_000, NOW - 11, 0] {
        let verdict = setup.verify_at(&token, late_or_early);
        assert!(!verdict.checks.holds(CheckId::TokenValidity), "{late_or_early}");
    }
    for (name, value) in [
        ("exp", Value::Null),
        ("exp", json!("1767225890")),
        ("exp", json!(1_767_225_890.5)),
        ("exp", json!(-1)),
        ("iat", Value::Null),
        ("nbf", json!(NOW + 1)),
        ("nbf", json!("soon")),
    ] {
        let mut payload = dotted();
        payload[name] = value;
        setup.refuses(&setup.token(&payload), CheckId::TokenValidity);
    }
    setup.policy.max_age = Some(9);
    setup.refuses(&token, CheckId::TokenValidity);
    setup.policy.max_age = Some(10);
    assert!(setup.verify(&token).token.is_some());
    // A verifier whose clock is ahead, by no more than was granted.
    setup.policy.leeway = 5;
    assert!(setup.verify_at(&token, NOW - 15).token.is_some());
    assert!(setup.verify_at(&token, NOW - 16).token.is_none());
    assert!(setup.verify_at(&token, NOW + 290).token.is_none(), "the end is the end");
}

#[test]
fn group_30_what_is_not_affirmed_is_refused() {
    let mut setup = setup();
    for (mut token, status, vector) in [
        (dotted(), "ear.status", "ear.trustworthiness-vector"),
        (underscored(), "ear_status", "ear_trustworthiness_vector"),
    ] {
        for bad in ["contraindicated", "none", "warning"] {
            token["submods"]["cpu0"][status] = bad.into();
            setup.refuses(&setup.token(&token), CheckId::TokenStatus);
        }
        for (bad, refused) in
            [(97, true), (-97, true), (33, true), (1, true), (0, false), (-2, false)]
        {
            // A status that is better than one of its claims.
            token["submods"]["cpu0"][status] = "affirming".into();
            token["submods"]["cpu0"][vector]["hardware"] = bad.into();
            assert_eq!(setup.accepts(&token), !refused, "{bad}");
        }
        token["submods"]["cpu0"][vector]["a-claim-of-tomorrow"] = 96.into();
        setup.refuses(&setup.token(&token), CheckId::TokenStatus);
    }
    let mut token = dotted();
    token["submods"]["gpu0"] = json!({"ear.status": "contraindicated"});
    setup.refuses(&setup.token(&token), CheckId::TokenStatus);
    let mut token = underscored();
    token["ear_status"] = "contraindicated".into();
    setup.refuses(&setup.token(&token), CheckId::TokenStatus);

    setup.policy.allow_warning = true;
    let mut token = dotted();
    token["submods"]["cpu0"]["ear.status"] = "warning".into();
    assert!(setup.accepts(&token));
    token["submods"]["cpu0"]["ear.status"] = "none".into();
    setup.refuses(&setup.token(&token), CheckId::TokenStatus);
}

#[test]
fn group_30_a_missing_submodule_is_refused() {
    let mut setup = setup();
    setup.policy.submods = vec!["cpu0".into(), "gpu0".into()];
    setup.refuses(&setup.token(&dotted()), CheckId::TokenSubmods);
    setup.policy.submods = vec!["cpu0".into()];
    assert!(setup.accepts(&dotted()));
    for submods in [json!({}), Value::Null, json!([])] {
        let mut token = dotted();
        token["submods"] = submods;
        let verdict = setup.verify(&setup.token(&token));
        assert!(!verdict.checks.holds(CheckId::TokenClaims));
        assert!(!verdict.checks.holds(CheckId::TokenStatus), "nothing is affirmed");
    }
}

#[test]
fn group_30_mixed_spellings_are_refused() {
    let setup = setup();
    for (mut token, path, name) in [
        (dotted(), "/submods/cpu0", "ear_status"),
        (dotted(), "", "ear_verifier_id"),
        (underscored(), "/submods/cpu0", "ear.status"),
        (underscored(), "", "ear.verifier-id"),
    ] {
        token.pointer_mut(path).unwrap()[name] = "affirming".into();
        let verdict = setup.verify(&setup.token(&token));
        let check = verdict.checks.find(CheckId::TokenClaims).unwrap();
        assert!(!check.ok && check.got.to_string().contains("two spellings"), "{check}");
    }
    let mut token = dotted();
    token["submods"]["gpu0"] = json!({"ear_status": "affirming"});
    assert!(!setup.accepts(&token), "one spelling per token, not per submodule");
}

#[test]
fn a_key_twice_is_refused() {
    let setup = setup();
    let payload = dotted().to_string();
    for twice in [
        payload.replacen('{', &format!("{{\"exp\":{},", NOW + 100_000), 1),
        payload.replace(r#""ear.status":"#, r#""ear.status":"contraindicated","ear.status":"#),
        payload.replace(r#""ear.status":"#, r#""\u0065ar.status":"contraindicated","ear.status":"#),
    ] {
        assert_ne!(twice, payload);
        let verdict = setup.verify(&setup.sign(&json!({"alg": "ES256"}), &twice));
        let check = verdict.checks.find(CheckId::TokenFormat).unwrap();
        assert!(!check.ok && check.got.to_string().contains("comes twice"), "{check}");
    }
}

#[test]
fn what_is_no_token_is_refused_and_nothing_else_is_said_to_hold() {
    let setup = setup();
    let token = setup.token(&dotted());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for text in [
        String::new(),
        "..".into(),
        signed.into(),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!(" {token}"),
        token.replace('.', ".."),
        setup.sign(&json!([]), &dotted().to_string()),
        setup.sign(&json!({"alg": "ES256"}), "[]"),
        setup.sign(&json!({"alg": "ES256"}), &format!("{} ,", dotted())),
        setup.sign(&json!({"alg": "ES256"}), &"[".repeat(100_000)),
        "a".repeat((1 << 20) + 1),
    ] {
        let verdict = setup.verify(&text);
        assert!(verdict.checks.iter().all(|check| !check.ok), "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn only_the_pinned_verifier_counts() {
    let mut setup = setup();
    setup.policy.developer = Some("https://inclavare-containers.io".into());
    setup.refuses(&setup.token(&dotted()), CheckId::TokenVerifier);
    assert!(setup.accepts(&underscored()));
}
