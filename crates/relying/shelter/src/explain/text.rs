//! The text.

use super::told::{Check, Members, Told, Word};
use crate::shown::Shown;
use attestation::time::Rfc3339;
use serde_json::Value;
use std::fmt::Write;

/// Column at which values begin, and the longest piece of one on a line: a SHA-256 fits in 80 columns.
const COLUMN: usize = 14;
const PIECE: usize = 64;

/// How the word looks.
struct Paint {
    is_on: bool,
}

impl Paint {
    fn word(&self, word: Word) -> String {
        let code = match word {
            Word::Accepted => "1;32",
            Word::Authentic => "1;33",
            Word::Refused => "1;31",
        };
        self.with(code, &word.name().to_uppercase())
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.into() }
    }
}

/// The whole text; `is_all` also lists the checks that hold.
pub(super) fn render(told: &Told, is_coloured: bool, is_all: bool) -> String {
    let paint = Paint { is_on: is_coloured };
    let mut text = String::new();
    writeln!(text, "{}  {}", paint.word(told.verdict), meaning(told)).expect("a string takes it");
    facts(told, &mut text);
    failures(told, &paint, &mut text);
    let holding: Vec<&Check> = told.checks.iter().filter(|check| check.ok).collect();
    if is_all {
        heading(&paint, "These hold", &mut text);
        for check in holding {
            let Check { id, expected, .. } = check;
            writeln!(text, "  {}  {}", Shown(id), Shown(expected)).expect("a string takes it");
        }
    } else {
        let (count, of) = (holding.len(), told.checks.len());
        writeln!(text, "\n{count} of {of} checks hold; --all lists them.")
            .expect("a string takes it");
    }
    text
}

/// One line on whom a session is with.
pub(crate) fn line(told: &Told) -> String {
    let member = |part: &Option<Members>, name: &str| {
        let text =
            part.as_ref().and_then(|members| members.text(name)).map(|it| Shown(it).to_string());
        text.unwrap_or_else(|| "unknown".into())
    };
    let stands =
        if told.emulated { "EMULATED, protects nothing from its host" } else { "hardware" };
    format!(
        "{}: {}, {stands}, mrenclave {}, instance {}",
        told.verdict.name(),
        told.tee.as_deref().unwrap_or("unknown"),
        member(&told.measurement, "mrenclave"),
        member(&told.claims, "instance_id"),
    )
}

/// What a verdict says, in words.
pub(crate) fn meaning(told: &Told) -> &'static str {
    let level = told.session.as_ref().and_then(|session| session.text("level"));
    let is_relayable = level == Some("compat");
    let is_told = level == Some("hop-by-hop");
    match (told.verdict, told.emulated) {
        (Word::Accepted, false) if is_told => {
            "allowed by the policy, as inclavared says, which is trusted (hop-by-hop): no evidence was seen here"
        }
        (Word::Accepted, true) if is_told => {
            "emulated: allowed by the policy, as inclavared says, which is trusted (hop-by-hop), and protects nothing \
             from its host"
        }
        (Word::Refused, _) if is_told => {
            "do not trust this; what follows is what inclavared says (hop-by-hop)"
        }
        (Word::Accepted, false) if is_relayable => {
            "genuine and allowed by the policy; at this level, evidence can be relayed by others"
        }
        (Word::Accepted, false) => "genuine, allowed by the policy, and bound to the report data",
        (Word::Accepted, true) => {
            "emulated: allowed by the policy, and protects nothing from its host"
        }
        (Word::Authentic, false) if told.is_identified() => {
            "genuine, and what the policy names runs there; says nothing of who presents it"
        }
        (Word::Authentic, true) if told.is_identified() => {
            "emulated: named by the policy, and protects nothing from its host; says nothing of who presents it"
        }
        (Word::Authentic, false) => {
            "genuine hardware; says nothing of what runs there or who presents it"
        }
        (Word::Authentic, true) => {
            "emulated: of a known emulator, and protects nothing from its host"
        }
        (Word::Refused, _) => "do not trust this; what follows is what the evidence says of itself",
    }
}

fn facts(told: &Told, text: &mut String) {
    let kind = told.tee.as_deref().map(|tee| {
        let stands = if told.emulated { "emulated" } else { "hardware" };
        format!("{tee}, {stands}")
    });
    text.push('\n');
    fact("tee", kind.as_deref().unwrap_or("unknown"), text);
    fact("tcb status", told.tcb_status.as_deref().unwrap_or("unknown"), text);
    if !told.advisories.is_empty() {
        fact("advisories", &told.advisories.join(" "), text);
    }
    for part in [&told.measurement, &told.platform, &told.session, &told.claims] {
        members(part.as_ref(), text);
    }
    fact("time", &moment(told), text);
}

/// For which moment a verdict was given, and who said that it is now.
pub(crate) fn moment(told: &Told) -> String {
    let source = match told.time_source.as_str() {
        "given" => "as the caller says",
        "host" => "by this machine's clock",
        "newest-signed-date" => "the newest signed date, later than the clock",
        "build" => "when the verifier was built, later than the clock",
        "trusted" => "by a trusted server",
        other => other,
    };
    match told.time {
        Some(time) => format!("{}, {source}", Rfc3339(time)),
        None => source.into(),
    }
}

fn members(part: Option<&Members>, text: &mut String) {
    for (name, value) in part.into_iter().flat_map(|members| &members.0) {
        match value {
            Value::String(value) => fact(name, value, text),
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    let value = value.as_str().map_or_else(|| value.to_string(), String::from);
                    fact(&format!("{name}{index}"), &value, text);
                }
            }
            Value::Object(custom) => {
                for (name, value) in custom {
                    fact(
                        &format!("claim {name}"),
                        &claim(value.as_str().unwrap_or_default()),
                        text,
                    );
                }
            }
            Value::Null => {}
            other => fact(name, &other.to_string(), text),
        }
    }
}

/// A claim of the program's own: as text where it is text, else as it came, in digits.
pub(crate) fn claim(digits: &str) -> String {
    let bytes = attestation::hex::vec(digits).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => digits.into(),
    }
}

/// A line `name  value`. A long value without blanks is cut into pieces below each other; a long name has a line
/// of its own.
fn fact(name: &str, value: &str, text: &mut String) {
    let value = Shown(value).to_string();
    let mut name = Shown(name).to_string();
    if name.len() > COLUMN - 4 {
        writeln!(text, "  {name}").expect("a string takes it");
        name.clear();
    }
    let is_long_word = value.is_ascii() && !value.contains(' ') && value.len() > PIECE;
    let size = if is_long_word { PIECE } else { value.len().max(1) };
    // Cut between bytes only where each is a character.
    let mut rest = &*value;
    loop {
        let (piece, more) = rest.split_at(size.min(rest.len()));
        writeln!(text, "  {name:<width$}{piece}", width = COLUMN - 2).expect("a string takes it");
        if more.is_empty() {
            return;
        }
        (rest, name) = (more, String::new());
    }
}

fn failures(told: &Told, paint: &Paint, text: &mut String) {
    let failed: Vec<&Check> = told.checks.iter().filter(|check| !check.ok).collect();
    // What did not run explains nothing: it follows from one that did.
    let (waiting, mut causes): (Vec<_>, Vec<_>) =
        failed.into_iter().partition(|check| check.not_run().is_some());
    let mut rest = causes.split_off(causes.len().min(1));
    rest.retain(|check| !check.id.is_empty());
    for (title, checks) in [("Failed first", &causes), ("Failed too", &rest)] {
        if checks.is_empty() {
            continue;
        }
        heading(paint, title, text);
        for check in checks {
            writeln!(text, "  {}", paint.bold(&Shown(&check.id).to_string()))
                .expect("a string takes it");
            for (name, value) in
                [("  expected", &check.expected), ("  got", &check.got), ("  do", &check.action)]
            {
                fact(name, value, text);
            }
        }
    }
    if !waiting.is_empty() {
        heading(paint, "Not looked at, because of those", text);
        for check in waiting {
            let because = check.not_run().unwrap_or_default();
            writeln!(text, "  {}  {}", Shown(&check.id), Shown(because))
                .expect("a string takes it");
        }
    }
}

fn heading(paint: &Paint, title: &str, text: &mut String) {
    writeln!(text, "\n{}", paint.bold(title)).expect("a string takes it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(verdict: &str, checks: Value) -> Told {
        let value = json!({
            "verdict": verdict,
            "emulated": true,
            "tee": "sgx",
            "tcb_status": "UpToDate",
            "advisories": ["A-1", "A-2"],
            "measurement": { "isvsvn": 3, "mrownerconfig": "ab".repeat(32) },
            "platform": { "fmspc": "454d55000000" },
            "time_source": "given",
            "time": 1_752_919_277,
            "checks": checks,
        });
        Told::parse(value.to_string().as_bytes()).unwrap()
    }

    fn check(id: &str, ok: bool, expected: &str, got: &str) -> Value {
        let action = if ok { "" } else { "act" };
        json!({ "id": id, "ok": ok, "expected": expected, "got": got, "action": action })
    }

    #[test]
    fn a_refusal_shows_the_cause_before_what_follows_from_it() {
        let checks = json!([
            check("a.holds", true, "x", "x"),
            check("b.waits", false, "y", "not run: c.cause failed"),
            check("c.cause", false, &"1".repeat(128), &"2".repeat(128)),
            check("d.too", false, "p q", "r \u{1b}[2J"),
        ]);
        let text = render(&told("refused", checks), false, false);
        let expected = format!(
            "REFUSED  do not trust this; what follows is what the evidence says of itself

  tee         sgx, emulated
  tcb status  UpToDate
  advisories  A-1 A-2
  isvsvn      3
  mrownerconfig
              {hash}
  fmspc       454d55000000
  time        2025-07-19T10:01:17Z, as the caller says

Failed first
  c.cause
    expected  {ones}
              {ones}
    got       {twos}
              {twos}
    do        act

Failed too
  d.too
    expected  p q
    got       r \\u{{1b}}[2J
    do        act

Not looked at, because of those
  b.waits  c.cause failed

1 of 4 checks hold; --all lists them.
",
            hash = "ab".repeat(32),
            ones = "1".repeat(64),
            twos = "2".repeat(64),
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn colour_and_all() {
        let told = told("accepted", json!([check("a.holds", true, "x", "x")]));
        let text = render(&told, true, true);
        assert!(text.starts_with("\u{1b}[1;32mACCEPTED\u{1b}[0m  emulated: "), "{text}");
        assert!(text.ends_with("These hold\u{1b}[0m\n  a.holds  x\n"), "{text}");
        assert!(!render(&told, false, true).contains('\u{1b}'));
    }

    /// Whatever the word, and whatever was looked at: an emulator's evidence is never shown as a machine's.
    #[test]
    fn emulated_evidence_is_never_called_genuine() {
        let session =
            |level: &str| json!({ "address": "tcp:a:1", "container": null, "level": level });
        for word in ["accepted", "authentic"] {
            for (ids, level) in [
                (vec!["policy.tee"], None),
                (vec!["policy.tee", "policy.measurement"], None),
                (vec!["policy.measurement"], Some("bound")),
                (vec!["policy.measurement"], Some("compat")),
                (vec!["policy.measurement"], Some("hop-by-hop")),
            ] {
                let checks = ids.iter().map(|id| check(id, true, "x", "x")).collect();
                let mut told = told(word, checks);
                told.session = level.map(|it| serde_json::from_value(session(it)).unwrap());
                let text = render(&told, false, true);
                let begins = format!("{}  emulated: ", word.to_uppercase());
                assert!(text.starts_with(&begins), "{ids:?} {level:?}: {text}");
                assert!(!text.contains("genuine") && !text.contains("hardware"), "{text}");
                told.emulated = false;
                let text = render(&told, false, true);
                // Where nobody here saw evidence, a machine's is not called that either.
                let is_seen = level != Some("hop-by-hop") || word == "authentic";
                assert_eq!(text.contains("  genuine"), is_seen, "{ids:?} {level:?}: {text}");
            }
        }
    }

    #[test]
    fn a_verdict_that_contradicts_its_checks_is_not_shown() {
        for checks in [json!([]), json!([check("a", true, "", ""), check("b", false, "", "")])] {
            for word in ["accepted", "authentic"] {
                let value = json!({
                    "verdict": word, "emulated": false, "tee": null, "tcb_status": null,
                    "advisories": [], "measurement": null, "platform": null,
                    "time_source": "host", "checks": checks,
                });
                let error = Told::parse(value.to_string().as_bytes()).unwrap_err().to_string();
                assert!(error.contains(&format!("got {word} with ")), "{error}");
            }
        }
    }
}
