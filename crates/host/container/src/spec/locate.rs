//! Which field of a JSON text a parser stopped at.
//!
//! The parser knows line and column only; users know fields. This runs on the error path alone, so that
//! the ordinary path does not pay for tracking. It is total: any bytes and any position give a string.

/// The path of the value at or just before a position (1-based, columns in bytes), such as
/// `process.args[1]`. Empty at the top.
pub(super) fn field_at(text: &[u8], line: usize, column: usize) -> String {
    let offset = text
        .split_inclusive(|b| *b == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>()
        .saturating_add(column)
        .min(text.len());
    path(&text[..offset])
}

/// The parser's message without its position.
pub(super) fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

enum Level {
    Object { key: Option<String>, is_value: bool },
    Array { index: usize },
}

/// The path that is open at the end of a prefix of a JSON text.
fn path(prefix: &[u8]) -> String {
    let mut levels: Vec<Level> = Vec::new();
    let mut position = 0;
    while position < prefix.len() {
        let byte = prefix[position];
        position += 1;
        match byte {
            b'{' => levels.push(Level::Object { key: None, is_value: false }),
            b'[' => levels.push(Level::Array { index: 0 }),
            b'}' | b']' => drop(levels.pop()),
            b',' => match levels.last_mut() {
                Some(Level::Array { index }) => *index += 1,
                Some(Level::Object { is_value, .. }) => *is_value = false,
                None => {}
            },
            b':' => {
                if let Some(Level::Object { is_value, .. }) = levels.last_mut() {
                    *is_value = true;
                }
            }
            b'"' => {
                let start = position;
                while position < prefix.len() && prefix[position] != b'"' {
                    position += if prefix[position] == b'\\' { 2 } else { 1 };
                }
                let end = position.min(prefix.len());
                position += 1;
                if let Some(Level::Object { key, is_value: false }) = levels.last_mut() {
                    *key = Some(String::from_utf8_lossy(&prefix[start..end]).into_owned());
                }
            }
            _ => {}
        }
    }
    let mut out = String::new();
    for level in &levels {
        match level {
            Level::Object { key: Some(key), .. } => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Level::Object { key: None, .. } => {}
            Level::Array { index } => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_position_gives_a_path() {
        let text = b"{\"a\": [1, {\"b\\\"c\": null}],\n\"d\": \"x\\";
        for line in 0..4 {
            for column in 0..40 {
                let _ = field_at(text, line, column);
            }
        }
        assert_eq!(field_at(text, 1, 20), "a[1].b\\\"c");
        assert_eq!(field_at(text, 2, 6), "d");
    }
}
