//! Text that comes from outside, fully or in part, and how to show it to people.
//!
//! The output of a service, the answer of an engine, the name of a process or a folder: on a terminal all of this
//! could move the cursor, clear the screen, fill the clipboard, or look like a message from Harness. So such text has
//! its own type, and the only way to print it makes every such character visible instead of sending it:
//!
//! ```
//! use harness_model::ForeignText;
//! let answer = ForeignText::from("bad\u{1b}[2Jgateway\r\n✓ api healthy");
//! assert_eq!(answer.to_string(), "bad␛[2Jgateway␍␊✓ api healthy");
//! ```
//!
//! Colour sequences are left out instead of being shown: many programs write them, and nobody wants to read them.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest sequence that counts as a colour sequence, in bytes.
pub const MAX_SGR: usize = 64;

/// Text that comes from outside, fully or in part. `Display` shows it on one line and harmless. Serialization and
/// [`Self::raw`] give the unchanged text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ForeignText(String);

impl ForeignText {
    /// The unchanged text: for programs, never for a terminal.
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for ForeignText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for ForeignText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl PartialEq<str> for ForeignText {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for ForeignText {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&shown(&self.0))
    }
}

/// Makes any text harmless and one line, like the `Display` of [`ForeignText`].
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| is_harmless(c) || c == '\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match sgr(rest.as_bytes()) {
            Sgr::Whole(len) => rest = &rest[len..],
            Sgr::None | Sgr::Begun => {
                if c == '\t' {
                    out.push(c);
                } else {
                    push_shown(c, &mut out);
                }
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal only shows a character and does nothing else. `false` for control characters (also tabs and
/// line breaks), and for characters that change the direction of writing or break lines invisibly.
pub fn is_harmless(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}'))
}

/// Appends a character, or a visible replacement: `␛`, `␍`, `\u{9b}`.
pub fn push_shown(c: char, out: &mut String) {
    match c {
        // The symbols for control characters are in the same order as the characters.
        '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(c))),
        '\u{7f}' => out.push('\u{2421}'),
        c if is_harmless(c) => out.push(c),
        c => out.extend(c.escape_unicode()),
    }
}

/// Whether bytes begin with a colour sequence: `ESC [`, digits separated by `;` or `:`, then `m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sgr {
    /// They do not begin with one.
    None,
    /// They may, if more bytes follow.
    Begun,
    /// They do. Holds the length of the sequence.
    Whole(usize),
}

/// Checks whether bytes begin with a colour sequence.
pub fn sgr(bytes: &[u8]) -> Sgr {
    for (at, byte) in bytes.iter().take(MAX_SGR).enumerate() {
        match (at, byte) {
            (0, 0x1b) | (1, b'[') => {}
            (2.., b'0'..=b'9' | b';' | b':') => {}
            (2.., b'm') => return Sgr::Whole(at + 1),
            _ => return Sgr::None,
        }
    }
    if bytes.len() < MAX_SGR {
        Sgr::Begun
    } else {
        Sgr::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        ForeignText::from(text).to_string()
    }

    #[test]
    fn whatever_a_terminal_would_act_on_is_shown() {
        assert_eq!(text("\u{1b}]52;c;aGk=\u{7}"), "␛]52;c;aGk=␇");
        assert_eq!(text("\u{1b}]0;title\u{1b}\\"), "␛]0;title␛\\");
        assert_eq!(text("over\rwritten\u{8}\u{7f}\n"), "over␍written␈␡␊");
        assert_eq!(text("\u{9b}2J\u{90}x\u{9c}"), "\\u{9b}2J\\u{90}x\\u{9c}");
        assert_eq!(
            text("a\u{202e}b\u{2066}c\u{2028}d"),
            "a\\u{202e}b\\u{2066}c\\u{2028}d"
        );
        assert_eq!(text("a\tb, ünïcödé, 日本, 👍🏽"), "a\tb, ünïcödé, 日本, 👍🏽");
        assert_eq!(format!("[{:<4}]", ForeignText::from("\u{7}")), "[␇   ]");
    }

    #[test]
    fn colours_are_left_out_and_nothing_that_looks_like_them() {
        assert_eq!(
            text("\u{1b}[1;31mred\u{1b}[0m, \u{1b}[38:5:9mtoo\u{1b}[m"),
            "red, too"
        );
        assert_eq!(
            text("\u{1b}[>4;2m \u{1b}[2 m \u{1b}[?1m \u{1b}[3"),
            "␛[>4;2m ␛[2 m ␛[?1m ␛[3"
        );
        let long = format!("\u{1b}[{}m", "1;".repeat(40));
        assert!(text(&long).starts_with("␛[1;"));
    }

    #[test]
    fn programs_get_it_as_it_is() {
        let text = ForeignText::from("a\u{1b}[2J");
        assert_eq!(serde_json::to_value(&text).unwrap(), "a\u{1b}[2J");
        assert_eq!(text.raw(), "a\u{1b}[2J");
    }

    #[test]
    fn nothing_that_comes_out_is_harmful() {
        for c in '\0'..=char::MAX {
            let mut out = String::new();
            push_shown(c, &mut out);
            assert!(!out.is_empty() && out.chars().all(is_harmless), "{c:?}");
        }
    }
}
