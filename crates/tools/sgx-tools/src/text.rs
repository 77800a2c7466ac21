//! A JSON value as text for people: one line per member, indented.

use serde_json::Value;

/// Renders an object. Control characters, which may come from a file, are escaped.
pub(crate) fn render(value: &Value) -> String {
    let mut text = String::new();
    members(value, 0, &mut text);
    text
}

fn members(value: &Value, depth: usize, text: &mut String) {
    let Value::Object(members) = value else { return };
    let indent = "  ".repeat(depth);
    for (name, value) in members {
        match value {
            Value::Object(_) => {
                text.push_str(&format!("{indent}{name}\n"));
                self::members(value, depth + 1, text);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{indent}{name}\n"));
                for item in items {
                    self::members(item, depth + 1, text);
                }
            }
            _ => text.push_str(&format!("{indent}{name:<22} {}\n", line(value))),
        }
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => {
            let shown =
                |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
            text.chars().map(shown).collect()
        }
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(line).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_lines_in_their_order() {
        let value = json!({
            "kind": "quote", "emulated": true, "advisories": [],
            "qe": { "mrsigner": "a\u{1b}[2Jb" }, "certificates": [{ "subject": "x" }],
        });
        let expected = "\
kind                   quote
emulated               yes
advisories             none
qe
  mrsigner               a\\u{1b}[2Jb
certificates
  subject                x
";
        assert_eq!(render(&value), expected);
    }
}
