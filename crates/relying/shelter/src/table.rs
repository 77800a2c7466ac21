//! A JSON value as text for people: a member a line, nested ones indented, lists of objects one below the other.

use crate::shown::Shown;
use serde_json::Value;

/// Renders an object.
pub(crate) fn render(value: &Value) -> String {
    let mut text = String::new();
    members(value, 0, &mut text);
    text
}

fn members(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::Object(_) => {
                text.push_str(&format!("{indent}{name}\n"));
                members(value, depth + 1, text);
            }
            Value::Array(items) => {
                for item in items {
                    if item.is_object() {
                        members(item, depth, text);
                        text.push('\n');
                    } else {
                        text.push_str(&format!("{indent}{name:<26} {}\n", word(item)));
                    }
                }
            }
            other => text.push_str(&format!("{indent}{name:<26} {}\n", word(other))),
        }
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => Shown(text).to_string(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        other => other.to_string(),
    }
}
