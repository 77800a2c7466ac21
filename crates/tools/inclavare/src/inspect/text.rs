//! A JSON value as text for people: one line per member, indented.

use serde_json::Value;

/// Renders an object.
pub(crate) fn render(value: &Value) -> String {
    let mut text = String::new();
    members(value, 0, &mut text);
    text
}

fn members(value: &Value, depth: usize, text: &mut String) {
    let Value::Object(members) = value else { return };
    // What a thing is comes first.
    let kind = members.iter().filter(|(name, _)| *name == "kind");
    for (name, value) in kind.chain(members.iter().filter(|(name, _)| *name != "kind")) {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{indent}{name}\n"));
                self::members(value, depth + 1, text);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{indent}{name}\n"));
                for item in items {
                    text.push_str(&format!(
                        "{indent}  {}\n",
                        range(item).unwrap_or_else(|| line(item))
                    ));
                }
            }
            _ => text.push_str(&format!("{indent}{name:<20} {}\n", line(value))),
        }
    }
}

/// A range of pages, in the order in which people read one.
fn range(value: &Value) -> Option<String> {
    let text = |name: &str| value.get(name)?.as_str();
    let measured = if value.get("measured")?.as_bool()? { "measured" } else { "not measured" };
    Some(format!("{} - {}  {}  {measured}", text("start")?, text("end")?, text("rights")?))
}

/// A value on one line.
fn line(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.chars().flat_map(shown).collect(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(" "),
        Value::Object(members) if members.is_empty() => "none".into(),
        Value::Object(members) => {
            let pairs = members.iter().map(|(name, value)| format!("{name} {}", word(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
    }
}

/// A value among others: text with blanks is quoted.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains(char::is_whitespace) => {
            format!("{text:?}")
        }
        _ => line(value),
    }
}

/// Control characters of an image do not reach the terminal.
fn shown(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let plain = (!character.is_control()).then_some(character);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_members_and_control_characters() {
        let value = json!({
            "argv": ["sh", "-c", "a b"],
            "kind": "x",
            "env": { "A": "\u{1b}[31m" },
            "rules": [{ "a": 1, "b": null }],
            "zones": [{ "start": "0x0", "end": "0x1", "rights": "r--", "measured": true }],
        });
        assert_eq!(
            render(&value),
            "kind                 x\nargv                 sh -c \"a b\"\nenv\n  A                    \
             \\u{1b}[31m\nrules\n  a 1, b none\nzones\n  0x0 - 0x1  r--  measured\n"
        );
    }
}
