//! A value as it may stand in a log: printable, and not too long.

use std::fmt::{self, Write as _};

/// What is kept of a value, in bytes as written.
pub(super) const VALUE_MAX_BYTES: usize = 1_024;

/// A value's text while it is written. Control characters, and those that reorder or break lines,
/// come out escaped; what is past the limit is counted and not kept.
#[derive(Debug, Default)]
pub(super) struct Value {
    text: String,
    cut_bytes: usize,
}

impl Value {
    pub(super) fn of(value: impl fmt::Display) -> String {
        let mut written = Self::default();
        // A value that fails to say what it is says what it has said so far.
        let _ = write!(written, "{value}");
        written.finish()
    }

    pub(super) fn finish(mut self) -> String {
        if self.cut_bytes > 0 {
            self.text.push_str(&format!("… ({} bytes more)", self.cut_bytes));
        }
        self.text
    }

    fn push(&mut self, character: char) {
        if self.cut_bytes > 0 || self.text.len() >= VALUE_MAX_BYTES {
            self.cut_bytes += character.len_utf8();
        } else if is_safe(character) {
            self.text.push(character);
        } else {
            self.text.extend(character.escape_default());
        }
    }
}

impl fmt::Write for Value {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().for_each(|character| self.push(character));
        Ok(())
    }
}

/// Neither a control character (C0, C1) nor one that ends a line or turns its direction.
fn is_safe(character: char) -> bool {
    let reorders = matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    !character.is_control() && !reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_a_line_is_escaped() {
        for (given, expected) in [
            ("plain ünicode ✓", "plain ünicode ✓"),
            ("a\r\nERROR forged", "a\\r\\nERROR forged"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("nul\0del\u{7f}", "nul\\u{0}del\\u{7f}"),
            ("\u{202e}txet\u{2028}", "\\u{202e}txet\\u{2028}"),
        ] {
            assert_eq!(Value::of(given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        let value = Value::of("x".repeat(1_000_000));
        assert_eq!(value, format!("{}… (998976 bytes more)", "x".repeat(VALUE_MAX_BYTES)));
        let value = Value::of("\0".repeat(10_000));
        assert!(value.len() < VALUE_MAX_BYTES + 40, "escapes count: {}", value.len());
        assert_eq!(Value::of("x".repeat(VALUE_MAX_BYTES)).len(), VALUE_MAX_BYTES);
    }
}
