//! Writes YAML that reads back as the same text.

use std::fmt::Write as _;

use crate::env_file::is_variable_name;
use crate::tree::{Kind, Node};

/// A scalar, quoted where YAML would otherwise read it as something else.
pub(crate) fn scalar(text: &str) -> String {
    let plain = !text.is_empty()
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.' | '_'))
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
        && text.parse::<f64>().is_err()
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | ".nan" | ".inf" | "y" | "n"
        );
    if plain { text.to_owned() } else { quoted(text) }
}

/// A double-quoted scalar. JSON strings are valid YAML, except for some characters that YAML wants escaped.
pub(super) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A text that means itself where variables are replaced.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, run) = rest.split_at(at);
        let after = run.trim_start_matches('$');
        let dollars = run.len() - after.len();
        out.push_str(before);
        // A single one means itself, unless a brace follows.
        let times = if dollars == 1 && !after.starts_with('{') {
            1
        } else {
            2
        };
        out.push_str(&"$".repeat(times * dollars));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The text of a compose file with every `${NAME}` as `${NAME:-}`: there a variable that is not set is empty.
fn with_defaults(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let name = after.strip_prefix("${").and_then(|inner| inner.split_once('}'));
        rest = match name {
            Some((name, behind)) if is_variable_name(name) => {
                out.push_str(&format!("${{{name}:-}}"));
                behind
            }
            // One that is doubled means itself.
            _ => {
                let length = if after.starts_with("$$") { 2 } else { 1 };
                out.push_str(&after[..length]);
                &after[length..]
            }
        };
    }
    out.push_str(rest);
    out
}

/// The text of a scalar node, whatever its type.
pub(super) fn text_of(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::String(text) | Kind::Number(text) => Some(text.clone()),
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// Writes `key: value`; a map gets one line per entry.
pub(super) fn entry(lines: &mut Lines, depth: usize, key: &str, node: &Node) {
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            lines.put(depth, key, "");
            for (key, value) in entries {
                entry(lines, depth + 1, &key.name, value);
            }
        }
        _ => lines.put(depth, key, &inline(node)),
    }
}

/// A value on one line.
fn inline(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number(text) => text.clone(),
        Kind::String(text) => scalar(&with_defaults(text)),
        Kind::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(&key.name), inline(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The lines of a YAML file.
#[derive(Debug, Default)]
pub(super) struct Lines(String);

impl Lines {
    /// Writes `key: value`, indented by two blanks per level.
    pub(super) fn put(&mut self, depth: usize, key: &str, value: &str) {
        let blanks = "  ".repeat(depth);
        let gap = if value.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{blanks}{}:{gap}{value}", scalar(key));
    }

    /// Writes `# text` on one line.
    pub(super) fn comment(&mut self, depth: usize, text: &str) {
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let _ = writeln!(self.0, "{}# {text}", "  ".repeat(depth));
    }

    /// All lines as text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_quoted() {
        for plain in ["sh", "./bin/x", "a-b_c.d", "/x"] {
            assert_eq!(scalar(plain), plain);
        }
        for text in [
            "", "1", "1.5", "true", "No", "a: b", "- x", "#x", "a\nb", "*x", "~", "1e3", ".5", "infinity",
        ] {
            assert_eq!(scalar(text), quoted(text), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_made_literal_means_itself() {
        for (text, expected) in [
            ("$HOME", "$HOME"),
            ("${A}", "$${A}"),
            ("$$", "$$$$"),
            ("$${A}$", "$$$${A}$"),
            ("$$${A", "$$$$$${A"),
        ] {
            assert_eq!(literal(text), expected);
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_empty() {
        for (text, expected) in [
            ("${A}", "${A:-}"),
            ("x$${A}y${B}", "x$${A}y${B:-}"),
            ("${A:-b}${C:?d}", "${A:-b}${C:?d}"),
            ("$$$${A}$", "$$$${A}$"),
            ("${A:-${B}}", "${A:-${B:-}}"),
        ] {
            assert_eq!(with_defaults(text), expected);
        }
    }

    #[test]
    fn what_yaml_refuses_is_escaped() {
        assert_eq!(
            quoted("\u{7f}\u{85}\u{feff}é\u{2028}\n"),
            r#""\u007f\u0085\ufeffé\u2028\n""#
        );
    }
}
