//! A workload manifest for people: what may run, and what the host may choose.

use super::html::Html;
use serde_json::Value;

/// What readers look for first; the rest follows by name.
const FIRST: [&str; 9] =
    ["process", "debug", "root", "network", "attester", "mounts", "exec", "inputs", "signals"];

/// Members that count bytes.
const SIZES: [&str; 3] = ["root.size", "enclave.size", "enclave.heap_max"];

/// All members of a manifest; nested ones below a name of several parts.
pub(super) fn manifest(html: &mut Html, manifest: &Value) {
    html.markup("<dl>\n");
    for name in FIRST {
        if let Some(value) = manifest.get(name) {
            member(html, name.into(), value);
        }
    }
    for (name, value) in manifest.as_object().into_iter().flatten() {
        if !FIRST.contains(&name.as_str()) {
            member(html, name.clone(), value);
        }
    }
    html.markup("</dl>\n");
}

fn member(html: &mut Html, name: String, value: &Value) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            for (key, value) in inner {
                member(html, format!("{name}.{key}"), value);
            }
        }
        Value::Number(bytes) if SIZES.contains(&name.as_str()) => {
            html.fact(&name, &size(bytes.as_u64().unwrap_or_default()));
        }
        other => {
            html.fact(&name, &words(other));
        }
    }
}

/// Bytes, and in a larger unit where they are a whole number of it.
fn size(bytes: u64) -> String {
    let whole = |(name, shift): &(&str, u32)| {
        let unit = 1_u64 << shift;
        (bytes >= unit && bytes.is_multiple_of(unit)).then(|| format!("{} {name}", bytes / unit))
    };
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)].iter().find_map(whole);
    unit.map_or_else(|| format!("{bytes} bytes"), |unit| format!("{unit} ({bytes} bytes)"))
}

/// A value without the signs that only JSON needs.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) if items.iter().all(|item| item.is_string() || item.is_number()) => {
            let items: Vec<String> = items.iter().map(quoted).collect();
            items.join(" ")
        }
        Value::Array(items) if items.iter().all(|item| destination(item).is_some()) => {
            items.iter().filter_map(destination).collect::<Vec<_>>().join(" ")
        }
        Value::Object(inner) if inner.is_empty() => "none".into(),
        other => other.to_string(),
    }
}

/// A rule of `network.connect`, as a policy spells it.
fn destination(value: &Value) -> Option<String> {
    let inner = value.as_object().filter(|inner| inner.len() == 2)?;
    let address = inner.get("address")?.as_str()?;
    let port = inner.get("port")?.as_u64()?;
    Some(if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    })
}

/// A word of a list, in quotes where it would run into its neighbours.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains([' ', '"', '\'']) => {
            format!("{text:?}")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manifest_reads_as_lines() {
        let mut html = Html::default();
        let value = json!({
            "process": { "argv": { "exact": ["sh", "-c", "echo a"] }, "env": {}, "cwd": "/" },
            "exec": [], "debug": false, "attester": null,
            "root": { "size": 16385 }, "enclave": { "size": 68_719_476_736_u64, "threads": 64 },
            "network": { "connect": [
                { "address": "10.0.0.5", "port": 443 }, { "address": "::1", "port": 80 },
            ] },
        });
        manifest(&mut html, &value);
        let page = html.into_string();
        for (name, text) in [
            ("process.argv.exact", "sh -c &quot;echo a&quot;"),
            ("process.cwd", "/"),
            ("process.env", "none"),
            ("exec", "none"),
            ("debug", "no"),
            ("attester", "none"),
            ("root.size", "16385 bytes"),
            ("enclave.size", "64 GiB (68719476736 bytes)"),
            ("enclave.threads", "64"),
            ("network.connect", "10.0.0.5:443 [::1]:80"),
        ] {
            let row = format!("<div><dt>{name}</dt><dd>{text}</dd></div>");
            assert!(page.contains(&row), "{row}: {page}");
        }
    }
}
