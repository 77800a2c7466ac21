//! Text from outside on its way to a terminal.

use std::fmt;

/// Shows control characters as escapes: what is printed may have been chosen by an attacker, and a terminal obeys
/// some of them.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            // Marks that reorder text would let one value pose as another.
            let is_bidi = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}');
            if character.is_control() || is_bidi {
                write!(f, "{}", character.escape_default())
            } else {
                write!(f, "{character}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        let text = Shown("a\u{1b}[31m\n\u{202e}\u{9b}é").to_string();
        assert_eq!(text, "a\\u{1b}[31m\\n\\u{202e}\\u{9b}é");
    }
}
