//! The page, top down: the answer, what runs, why that can be believed, what was demanded, every check.

use super::html::Html;
use super::{chain, rules};
use crate::explain::{self, Check, Told, Word};
use crate::failure::Failure;
use crate::measure::Measured;
use crate::trusted::Trusted;
use crate::verify::Judgement;
use attestation::Vendor;
use attestation::hex::Hex;
use attestation::time::Rfc3339;
use collateral::clock::{Clock, Host};
use serde_json::Value;
use std::path::Path;
use workload::digest::Digest;

/// What a page is about.
pub(super) struct Subject<'a> {
    pub(super) judgement: &'a Judgement,
    /// The file that the evidence is from; `None` of a session.
    pub(super) file: Option<&'a Path>,
    /// What was measured for comparison, and where it was.
    pub(super) measured: Option<(&'a str, &'a Measured)>,
}

pub(super) fn render(subject: &Subject<'_>) -> Result<String, Failure> {
    let mut html = Html::default();
    let told = &subject.judgement.told;
    html.markup("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.markup("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    html.markup("<meta name=\"referrer\" content=\"no-referrer\">\n");
    let emulated = if told.emulated { "EMULATED, " } else { "" };
    let about = about(subject);
    let title = format!("{emulated}{}: attestation report on {about}", told.verdict.name());
    html.element("<title>", &title, "</title>\n<style>\n");
    html.markup(include_str!("style.css"));
    // A sheet of paper may be seen without the first.
    if told.emulated {
        html.markup(
            "@page { @top-left { content: \"EMULATED: proves nothing about the machine\"; } }\n",
        );
    }
    html.markup(match told.verdict {
        Word::Accepted => "@page { @bottom-left { content: \"Attestation report: accepted\"; } }\n",
        Word::Authentic => {
            "@page { @bottom-left { content: \"Attestation report: authentic\"; } }\n"
        }
        Word::Refused => "@page { @bottom-left { content: \"Attestation report: refused\"; } }\n",
    });
    html.markup("</style>\n</head>\n<body>\n");
    html.element("<h1>Attestation report on ", &about, "</h1>\n");
    head(&mut html, subject);
    runs(&mut html, subject)?;
    behind(&mut html, subject);
    demanded(&mut html, subject);
    checks(&mut html, told);
    again(&mut html, subject);
    html.markup("<footer>\n");
    let json = Digest::of(subject.judgement.json.as_bytes());
    let version = env!("CARGO_PKG_VERSION");
    let now = Rfc3339(Host.now().seconds);
    html.markup("<p>")
        .value(&format!("Written by shelter {version} at {now} by this machine's clock."));
    html.markup("<br>").value(&format!("SHA-256 of the verdict as JSON: {json}"));
    html.markup("</p>\n</footer>\n</body>\n</html>\n");
    Ok(html.into_string())
}

/// What the page is about, in a few words.
fn about(subject: &Subject<'_>) -> String {
    let of_session = |name| subject.judgement.told.session.as_ref()?.text(name);
    match (of_session("container"), of_session("address"), subject.file) {
        (Some(container), Some(address), _) => format!("{container} at {address}"),
        (None, Some(address), _) => address.into(),
        (_, None, Some(file)) => {
            file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
        }
        (_, None, None) => "evidence".into(),
    }
}

/// The answer.
fn head(html: &mut Html, subject: &Subject<'_>) {
    let told = &subject.judgement.told;
    if told.emulated {
        html.markup(
            "<div class=\"emulated\"><strong>EMULATED</strong><p>No hardware protects this program. Whoever runs \
             the machine can read and change it, and can make evidence like this for anything. Good for tests; \
             proves nothing about the machine.</p></div>\n",
        );
    }
    html.markup(match (told.verdict, told.emulated) {
        (Word::Accepted, false) => "<div class=\"verdict accepted\"><strong>",
        (Word::Accepted, true) | (Word::Authentic, _) => {
            "<div class=\"verdict authentic\"><strong>"
        }
        (Word::Refused, _) => "<div class=\"verdict refused\"><strong>",
    });
    html.text(&told.verdict.name().to_uppercase()).markup("</strong>");
    if told.emulated {
        html.markup(" <em>emulated</em>");
    }
    html.element("<p>", &sentence(explain::meaning(told)), "</p>");
    let cause = told.checks.iter().find(|check| !check.ok && check.not_run().is_none());
    if let Some(Check { id, expected, got, action, .. }) = cause {
        html.markup("\n<dl>\n");
        html.element("<div><dt>failed first</dt><dd><b>", id, "</b></dd></div>\n");
        html.fact("expected", expected).fact("got", got).fact("what to do", action);
        html.markup("</dl>\n");
    }
    html.markup("</div>\n<dl>\n");
    if let Some(session) = &told.session {
        html.fact("asked at", session.text("address").unwrap_or("unknown"));
        html.fact("container", session.text("container").unwrap_or("none named"));
        html.fact(
            "evidence is tied to",
            match session.text("level") {
                Some("bound") => "the very session it was asked in (bound)",
                _ => "the key of a certificate, so that others can relay it (compat)",
            },
        );
    } else {
        let file = subject.file.map(|file| format!(" {}", file.display())).unwrap_or_default();
        html.fact("asked of", &format!("evidence in the file{file}"));
    }
    html.fact("judged for", &explain::moment(told));
    let kind = told.tee.as_deref().unwrap_or("unknown");
    html.fact("kind", &format!("{kind}, {}", if told.emulated { "emulated" } else { "hardware" }));
    if let Some((source, measured)) = subject.measured {
        html.element("<div><dt>compared with</dt><dd>", source, ": ");
        same(html, measured, told).markup("</dd></div>\n");
    }
    let failed = told.checks.iter().filter(|check| !check.ok).count();
    let all = told.checks.len();
    html.fact("checks", &format!("{} of {all} hold", all - failed));
    html.markup("</dl>\n");
}

/// Whether what was measured is what the evidence names. That it runs is for the verdict to say.
fn same<'a>(html: &'a mut Html, measured: &Measured, told: &Told) -> &'a mut Html {
    let named = told.measurement.as_ref().and_then(|it| it.text("mrenclave"));
    let is_same = named == Some(measured.mrenclave.to_string().as_str());
    html.markup(match (is_same, told.verdict) {
        (true, Word::Accepted) => {
            "<span class=\"match\">the same: this, under these rules, is what runs</span>"
        }
        (true, Word::Authentic) => {
            "the same as in the evidence, which nobody has judged by a policy"
        }
        (true, Word::Refused) => "the same as in the evidence, which is refused",
        (false, _) => "<span class=\"differ\">another than in the evidence</span>",
    })
}

/// A sentence out of words.
fn sentence(words: &str) -> String {
    let mut characters = words.chars();
    let first = characters.next().map(|it| it.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// What runs.
fn runs(html: &mut Html, subject: &Subject<'_>) -> Result<(), Failure> {
    let told = &subject.judgement.told;
    html.markup("<h2 id=\"runs\">What runs</h2>\n");
    if told.verdict == Word::Refused {
        html.markup(
            "<p>The verdict is a refusal: what follows is what the evidence says of itself.</p>\n",
        );
    }
    html.markup("<dl>\n");
    for (name, value) in told.measurement.iter().flat_map(|members| &members.0) {
        fact(html, name, value);
    }
    html.markup("</dl>\n");
    if let Some(claims) = &told.claims {
        html.markup("<h3>What it says of how it was started</h3>\n");
        html.markup(
            "<p>Claims of the program and its runtime, which the evidence commits to.</p>\n<dl>\n",
        );
        for (name, value) in &claims.0 {
            match value {
                Value::Object(custom) => {
                    for (name, value) in custom {
                        let value = explain::claim(value.as_str().unwrap_or_default());
                        html.fact(&format!("claim {name}"), &value);
                    }
                }
                other => fact(html, name, other),
            }
        }
        html.markup("</dl>\n");
    }
    let mrenclave = told.measurement.as_ref().and_then(|it| it.text("mrenclave"));
    match subject.measured {
        Some((source, measured)) => compared(html, source, measured, told)?,
        None => recompute(html, told, mrenclave),
    }
    for entry in &subject.judgement.trusted.saved {
        html.element("<h3>Saved measurement ", &entry.name, "</h3>\n<dl>\n");
        let value = serde_json::to_value(entry).map_err(Failure::undecided)?;
        for (name, value) in value.as_object().into_iter().flatten() {
            fact(html, name, value);
        }
        html.markup("</dl>\n");
    }
    Ok(())
}

fn fact(html: &mut Html, name: &str, value: &Value) {
    let name = name.replace('_', " ");
    match value {
        Value::Null => {}
        Value::String(text) => {
            html.fact(&name, text);
        }
        Value::Bool(is) => {
            html.fact(&name, if *is { "yes" } else { "no" });
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                fact(html, &format!("{name} {index}"), item);
            }
        }
        other => {
            html.fact(&name, &other.to_string());
        }
    }
}

/// What was measured, beside what runs.
fn compared(
    html: &mut Html,
    source: &str,
    measured: &Measured,
    told: &Told,
) -> Result<(), Failure> {
    html.markup("<h3>The image that was measured for comparison</h3>\n<dl>\n");
    html.fact("measured from", &format!("{} ({})", source, measured.kind));
    if let Some(image) = measured.image {
        html.fact("image id", &image.to_string());
    }
    html.fact("its mrenclave", &measured.mrenclave.to_string());
    html.markup("<div><dt>compared with the evidence</dt><dd>");
    same(html, measured, told).markup("</dd></div>\n</dl>\n");
    let value = measured.to_json()?;
    if value["manifest"].is_object() {
        html.markup("<h3>Its manifest: what may run, and what the host may choose</h3>\n");
        html.markup(
            "<p>All of this is measured: another value anywhere gives another mrenclave.</p>\n",
        );
        rules::manifest(html, &value["manifest"]);
    }
    Ok(())
}

/// How to find out what the measurement stands for.
fn recompute(html: &mut Html, told: &Told, mrenclave: Option<&str>) {
    let Some(mrenclave) = mrenclave else { return };
    let version = told.claims.as_ref().and_then(|claims| claims.text("runtime_version"));
    html.markup("<h3>What this measurement stands for</h3>\n");
    html.markup(
        "<p>The mrenclave is the digest of a program with all its files and rules. Whoever has the image and the \
         rules it was converted with computes it again, on any machine, and sees that it is the same:</p>\n<pre>",
    );
    let lines = format!("shelter measure IMAGE --policy RULES.toml \\\n    --expect {mrenclave}");
    html.lines(&lines).markup("</pre>\n<p>");
    match version {
        Some(version) => {
            html.text(&format!("This takes shelter of the version that built it, {version}."));
        }
        None => {
            html.markup("This takes shelter of the version that built it.");
        }
    }
    html.markup("</p>\n");
}

/// Why it can be believed.
fn behind(html: &mut Html, subject: &Subject<'_>) {
    let judgement = subject.judgement;
    let (told, anchor) = (&judgement.told, &judgement.trusted.anchor);
    html.markup("<h2 id=\"behind\">What stands behind it</h2>\n<dl>\n");
    html.fact("trust anchor", anchor.name());
    html.fact("its SHA-256", &Hex(anchor.sha256()).to_string());
    html.fact(
        "whose it is",
        match Vendor::of_root(anchor.sha256()) {
            Some(Vendor::Intel) => "Intel's",
            Some(Vendor::Amd) => "AMD's",
            None => "no vendor's: an emulator's, or a test's",
        },
    );
    html.fact("patch level", told.tcb_status.as_deref().unwrap_or("unknown"));
    let advisories = told.advisories.join(" ");
    html.fact("advisories", if advisories.is_empty() { "none" } else { &advisories });
    if told.tee.as_deref() == Some("snp") {
        for (name, value) in told.platform.iter().flat_map(|members| &members.0) {
            fact(html, name, value);
        }
        html.markup("</dl>\n");
        html.markup("<p>A SEV-SNP report: its certificates are among the checks.</p>\n");
        return;
    }
    html.markup("</dl>\n");
    chain::quote(html, &judgement.material, told.emulated);
    html.markup("<h3>What the issuer says of the platform</h3>\n");
    chain::collateral(html, &judgement.material);
}

/// What was demanded.
fn demanded(html: &mut Html, subject: &Subject<'_>) {
    let Trusted { policy_text, saved, .. } = &*subject.judgement.trusted;
    html.markup("<h2 id=\"policy\">Policy</h2>\n");
    match policy_text {
        Some(text) => {
            let digest = Digest::of(text.as_bytes()).to_string();
            html.element(
                "<p>The file that decided, SHA-256 <code>",
                &digest,
                "</code>:</p>\n<pre>",
            );
            html.lines(text).markup("</pre>\n");
        }
        None => {
            html.markup("<p>The strict policy under the trust anchor: hardware, UpToDate, no debugging.</p>\n");
        }
    }
    if !saved.is_empty() {
        html.markup("<p>Besides, measurements that were saved under these names are accepted: ");
        let names: Vec<&str> = saved.iter().map(|it| it.name.as_str()).collect();
        html.text(&names.join(", ")).markup(".</p>\n");
    }
}

/// Every check, those that failed first.
fn checks(html: &mut Html, told: &Told) {
    html.markup("<h2 id=\"checks\">Every check</h2>\n");
    html.markup(
        "<table class=\"checks\"><thead><tr><th>Check</th><th>Result</th><th>Expected</th><th>Got</th></tr>\
         </thead><tbody>\n",
    );
    let order = |check: &&Check| match (check.ok, check.not_run()) {
        (false, None) => 0,
        (false, Some(_)) => 1,
        (true, _) => 2,
    };
    let mut sorted: Vec<&Check> = told.checks.iter().collect();
    sorted.sort_by_key(order);
    for check in sorted {
        html.element("<tr><td class=\"id\">", &check.id, "</td>");
        html.markup(match order(&check) {
            0 => "<td class=\"no\">\u{2717} failed</td>",
            1 => "<td class=\"wait\">\u{2013} not run</td>",
            _ => "<td class=\"ok\">\u{2713} holds</td>",
        });
        html.markup("<td data-name=\"expected\">").value(&check.expected);
        html.markup("</td><td data-name=\"got\">").value(&check.got);
        if order(&check) == 0 {
            html.element("<span class=\"do\">", &sentence(&check.action), "</span>");
        }
        html.markup("</td></tr>\n");
    }
    html.markup("</tbody></table>\n");
}

/// How to check all of it again.
fn again(html: &mut Html, subject: &Subject<'_>) {
    let Judgement { told, material, trusted, .. } = subject.judgement;
    html.markup("<h2 id=\"again\">To check this again</h2>\n");
    html.markup(
        "<p>The evidence is below; collateral and root are public, or saved beside this page by \
         <code class=\"whole\">--save</code>. With the digits in a file as bytes (<code class=\"whole\">xxd -r -p</code>):</p>\n<pre>",
    );
    let bound = match &material.report_data {
        Some(data) => format!("--report-data {}", Hex(data)),
        None if told.is_identified() => "--unbound".into(),
        None => "--authenticate-only".into(),
    };
    let mut words = vec!["shelter verify EVIDENCE".to_owned(), "--root ROOT".into()];
    if told.tee.as_deref() != Some("snp") {
        words.push("--collateral COLLATERAL".into());
    }
    if trusted.policy_text.is_some() {
        words.push("--policy POLICY".into());
    }
    words.extend(trusted.saved.iter().map(|entry| format!("--reference {}", entry.name)));
    words.extend(told.time.map(|time| format!("--at {time}")));
    words.push(bound);
    html.lines(&words.join(" \\\n    ")).markup("</pre>\n");
    if told.session.is_some() {
        html.markup(
            "<p>That the report data are those of the session could be seen by its two ends alone, while it \
             lasted: from a file they can only be compared.</p>\n",
        );
    }
    let digits = Hex(&material.evidence).to_string();
    let summary = format!("Evidence, {} bytes", material.evidence.len());
    html.element("<details open><summary>", &summary, "</summary>\n<pre>");
    // One line, which is broken where the page ends.
    html.text(&digits).markup("</pre></details>\n");
    if !material.claims.is_empty() {
        let claims = Hex(&material.claims).to_string();
        html.markup("<details open class=\"short\"><summary>Claims buffer</summary>\n<pre>")
            .lines(&claims);
        html.markup("</pre></details>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The words of [`same`] beside evidence that names `mrenclave`.
    fn compared_with(verdict: &str, mrenclave: Digest, measured: Digest) -> String {
        let ok = verdict != "refused";
        let check = json!({ "id": "a", "ok": ok, "expected": "x", "got": "y", "action": "act" });
        let told = json!({
            "verdict": verdict, "emulated": true, "tee": "sgx", "advisories": [], "checks": [check],
            "tcb_status": "UpToDate", "platform": {}, "time": 1,
            "measurement": { "mrenclave": mrenclave.to_string() }, "time_source": "given",
        });
        let told = Told::parse(told.to_string().as_bytes()).unwrap();
        let measured = Measured {
            kind: "pack",
            mrenclave: measured,
            manifest: None,
            image: None,
            sigstruct: None,
        };
        let mut html = Html::default();
        same(&mut html, &measured, &told);
        html.into_string()
    }

    /// Evidence that is refused may be forged, and names what its maker likes.
    #[test]
    fn only_what_is_accepted_runs() {
        let (this, other) = (Digest::of(b"this"), Digest::of(b"other"));
        let runs = "is what runs";
        let accepted = compared_with("accepted", this, this);
        assert!(accepted.contains(runs) && accepted.contains("match"), "{accepted}");
        for verdict in ["authentic", "refused"] {
            let text = compared_with(verdict, this, this);
            assert!(text.starts_with("the same as in the evidence"), "{text}");
            assert!(!text.contains(runs) && !text.contains("match"), "{text}");
        }
        for verdict in ["accepted", "authentic", "refused"] {
            let text = compared_with(verdict, this, other);
            assert!(text.contains("another than in the evidence"), "{text}");
        }
    }
}
