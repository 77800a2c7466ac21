//! HTML that cannot be broken by what it shows: markup is text of this program, known when it is compiled, and
//! everything else is escaped on its way in.

use crate::shown::Shown;

/// A page in the making.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup. Only constants: what came from outside has another lifetime.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, from anywhere.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in Shown(text).to_string().chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // A row of combining marks or of nothing could hide or cover what stands beside it.
                '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                    self.0.push_str(&character.escape_default().to_string());
                }
                other => self.0.push(other),
            }
        }
        self
    }

    /// Text of several lines, for a `pre`.
    pub(super) fn lines(&mut self, text: &str) -> &mut Self {
        for line in text.lines() {
            self.text(&line.replace('\t', "    ")).markup("\n");
        }
        self
    }

    /// An element around text.
    pub(super) fn element(
        &mut self,
        open: &'static str,
        text: &str,
        close: &'static str,
    ) -> &mut Self {
        self.markup(open).text(text).markup(close)
    }

    /// A digest or another long value: it may be broken anywhere.
    pub(super) fn code(&mut self, text: &str) -> &mut Self {
        self.element("<code>", text, "</code>")
    }

    /// A value, word by word: digests in type of one width, moments that are not broken, text.
    pub(super) fn value(&mut self, text: &str) -> &mut Self {
        for (index, word) in text.split(' ').enumerate() {
            if index > 0 {
                self.markup(" ");
            }
            if is_code(word) {
                self.code(word);
            } else if is_moment(word) {
                self.element("<span class=\"whole\">", word, "</span>");
            } else {
                self.text(word);
            }
        }
        self
    }

    /// A row of a list of facts: name, value.
    pub(super) fn fact(&mut self, name: &str, value: &str) -> &mut Self {
        self.element("<div><dt>", name, "</dt><dd>");
        self.value(value).markup("</dd></div>\n")
    }

    /// The page.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Whether a word is a digest, an id or another long number in digits.
fn is_code(word: &str) -> bool {
    let digits = word.trim_end_matches([',', ':']);
    digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a word is a date and time, RFC 3339.
fn is_moment(word: &str) -> bool {
    let is_digit = |at: usize| word.as_bytes()[at].is_ascii_digit();
    word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T' && is_digit(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let mut html = Html::default();
        html.fact("<b onload='x'>", "\"><script>alert(1)</script>&amp;\u{202e}\u{1b}[2J\u{200b}\n");
        let page = html.into_string();
        let markup: String = page.split("<div><dt>").collect::<Vec<_>>().concat();
        let markup = markup.replace("</dt><dd>", "").replace("</dd></div>\n", "");
        assert!(!markup.contains(['<', '>', '"', '\'']), "{markup}");
        assert!(markup.contains("&amp;amp;"), "{markup}");
        assert!(markup.contains("\\u{202e}\\u{1b}[2J\\u{200b}\\n"), "{markup}");
    }

    #[test]
    fn words_of_a_value_look_like_what_they_are() {
        let mut html = Html::default();
        html.value("mrsigner abababababab, until 2049-12-31T23:59:59Z <b>");
        assert_eq!(
            html.into_string(),
            "mrsigner <code>abababababab,</code> until <span class=\"whole\">2049-12-31T23:59:59Z</span> &lt;b&gt;"
        );
    }
}
