//! The last step before a terminal: text that leaves here can only be read, and cannot control the terminal.
//!
//! | what | gate |
//! |---|---|
//! | a value from outside | [`harness_model::ForeignText`]: its `Display` is harmless and one line |
//! | finished text for people | [`words`]: line breaks and our own colours pass, other control characters are made visible |
//! | the output of services | [`TerminalText`]: colours pass, and end with their line |
//! | JSON | [`json`]: also escapes what JSON need not escape, which changes nothing for programs |

use std::borrow::Cow;
use std::path::Path;

use harness_model::foreign::{self, MAX_SGR, Sgr, is_harmless, push_shown, sgr};

/// Ends every colour.
const RESET: &[u8] = b"\x1b[0m";

/// How many bytes of colour sequences to keep for a line that continues. No colour needs more.
const KEPT_COLOURS: usize = 4 * MAX_SGR;

/// Makes finished text harmless.
pub(crate) fn words(text: &str) -> Cow<'_, str> {
    let passes = |c: char| is_harmless(c) || matches!(c, '\n' | '\t');
    if text.chars().all(passes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = match sgr(rest.as_bytes()) {
            Sgr::Whole(len) => {
                out.push_str(&rest[..len]);
                len
            }
            Sgr::None | Sgr::Begun => {
                if passes(c) {
                    out.push(c);
                } else {
                    push_shown(c, &mut out);
                }
                c.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    Cow::Owned(out)
}

/// A path, harmless, for use in a sentence.
pub(crate) fn path(path: &Path) -> String {
    foreign::shown(&path.display().to_string()).into_owned()
}

/// Escapes every character in JSON that a terminal would act on. Such characters are only in strings.
pub(crate) fn json(text: String) -> String {
    let passes = |c: char| is_harmless(c) || c == '\n';
    if text.chars().all(passes) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if passes(c) {
            out.push(c);
        } else {
            // None of these characters needs more than four digits.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    out
}

/// Makes the output of a service harmless for a terminal, however it is cut into pieces.
#[derive(Debug)]
pub(crate) struct TerminalText {
    /// Whether to keep its colours; otherwise they are left out.
    colours: bool,
    /// The beginning of a character or of a colour, or a carriage return that may end the line.
    held: Vec<u8>,
    /// The colours in effect, to set again when the line continues.
    active: Vec<u8>,
}

/// What some bytes begin with.
enum Next {
    Char(char),
    Invalid(u8),
    /// A character that is not complete yet.
    Begun,
}

impl TerminalText {
    /// Starts with an empty line.
    pub(crate) fn new(colours: bool) -> Self {
        Self {
            colours,
            held: Vec::new(),
            active: Vec::new(),
        }
    }

    /// Appends the next piece of a line. After it no colour is in effect, so that none stays when this process ends.
    pub(crate) fn piece(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.active);
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            self.show(text, out);
        } else {
            self.show(&[&held, text].concat(), out);
        }
        self.reset(out);
    }

    /// Appends the rest of the line. The next piece begins a new one.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if held != b"\r" {
            held.iter().for_each(|byte| show_byte(*byte, out));
        }
        self.active.clear();
    }

    fn reset(&self, out: &mut Vec<u8>) {
        if !self.active.is_empty() {
            out.extend_from_slice(RESET);
        }
    }

    fn show(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut rest = text;
        while !rest.is_empty() {
            let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
            if plain > 0 {
                out.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
                continue;
            }
            match sgr(rest) {
                Sgr::Whole(len) => {
                    self.colour(&rest[..len], out);
                    rest = &rest[len..];
                    continue;
                }
                Sgr::Begun => break,
                Sgr::None if rest == b"\r" => break,
                Sgr::None => {}
            }
            let len = match next(rest) {
                Next::Begun => break,
                Next::Char(c) => {
                    let mut shown = String::new();
                    push_shown(c, &mut shown);
                    out.extend_from_slice(shown.as_bytes());
                    c.len_utf8()
                }
                Next::Invalid(byte) => {
                    show_byte(byte, out);
                    1
                }
            };
            rest = &rest[len..];
        }
        self.held = rest.to_vec();
    }

    fn colour(&mut self, sequence: &[u8], out: &mut Vec<u8>) {
        if !self.colours {
            return;
        }
        if matches!(sequence, b"\x1b[m" | b"\x1b[0m") {
            self.active.clear();
        } else if self.active.len() + sequence.len() <= KEPT_COLOURS {
            self.active.extend_from_slice(sequence);
        } else {
            return;
        }
        out.extend_from_slice(sequence);
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// Shows a byte that is not a character on its own.
fn show_byte(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii() {
        let mut shown = String::new();
        push_shown(char::from(byte), &mut shown);
        out.extend_from_slice(shown.as_bytes());
    } else {
        out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
    }
}

fn next(bytes: &[u8]) -> Next {
    let head = &bytes[..bytes.len().min(4)];
    let error = match std::str::from_utf8(head) {
        Ok(text) => return text.chars().next().map_or(Next::Begun, Next::Char),
        Err(error) => error,
    };
    let valid = std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default();
    match (valid.chars().next(), error.error_len()) {
        (Some(c), _) => Next::Char(c),
        (None, None) => Next::Begun,
        (None, Some(_)) => Next::Invalid(head[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output for the pieces of one line.
    fn line(pieces: &[&[u8]], colours: bool) -> String {
        let (mut text, mut out) = (TerminalText::new(colours), Vec::new());
        for piece in pieces {
            text.piece(piece, &mut out);
        }
        text.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn colours_pass_and_end_with_the_line() {
        assert_eq!(line(&[b"\x1b[31mred"], true), "\u{1b}[31mred\u{1b}[0m");
        assert_eq!(line(&[b"\x1b[31mred\x1b[0m."], true), "\u{1b}[31mred\u{1b}[0m.");
        assert_eq!(line(&[b"\x1b[31mred\x1b[0m."], false), "red.");
        // A line that continues sets its colours again.
        assert_eq!(
            line(&[b"\x1b[1m\x1b[31mre", b"d\x1b[m."], true),
            "\u{1b}[1m\u{1b}[31mre\u{1b}[0m\u{1b}[1m\u{1b}[31md\u{1b}[m."
        );
        let many = b"\x1b[38;5;196m".repeat(1_000);
        assert!(line(&[&many], true).len() < 400);
    }

    #[test]
    fn everything_else_is_shown() {
        assert_eq!(line(&[b"\x1b]52;c;aGk=\x07"], true), "␛]52;c;aGk=␇");
        assert_eq!(line(&[b"\x1b[2J\x1b[1;1H\x1bc"], true), "␛[2J␛[1;1H␛c");
        assert_eq!(
            line(&["\u{9b}31m".as_bytes(), b"\x9b31m"], true),
            "\\u{9b}31m\\x9b31m"
        );
        assert_eq!(line(&[b"10%\r20%\r"], true), "10%␍20%");
        assert_eq!(line(&[b"open \x1b[3"], true), "open ␛[3");
        assert_eq!(line(&[b"cut \xc3"], true), "cut \\xc3");
        assert_eq!(line(&["\u{202e}gpj.exe".as_bytes()], true), "\\u{202e}gpj.exe");
        assert_eq!(line(&["ünï\t日本 👍🏽".as_bytes()], true), "ünï\t日本 👍🏽");
    }

    #[test]
    fn it_does_not_matter_where_a_line_is_cut() {
        let whole = "a\u{1b}[1;32mok\u{1b}[0m \u{1b}[2J ü\u{9b}K 👍 \r\u{7}\u{1b}[".as_bytes();
        let plain = |text: String| text.replace("\u{1b}[0m\u{1b}[1;32m", "");
        let wanted = line(&[whole], true);
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let pieces = [&whole[..first], &whole[first..second], &whole[second..]];
                assert_eq!(plain(line(&pieces, true)), wanted, "{first} {second}");
            }
        }
    }

    #[test]
    fn words_keep_their_lines_and_colours_alone() {
        assert_eq!(
            words("\u{1b}[31m✗\u{1b}[0m api\tfailed\n"),
            "\u{1b}[31m✗\u{1b}[0m api\tfailed\n"
        );
        assert_eq!(words("a\u{1b}[2J\r\u{9b}\n"), "a␛[2J␍\\u{9b}\n");
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "line": "\u{7f}\u{9b}31m\u{202e}\u{1b}ü" });
        let text = json(value.to_string());
        assert!(text.chars().all(is_harmless), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
