//! The lines of env files: `NAME=value`, quoted or not, read as Docker Compose reads them. Only what a `$` in a value means
//! depends on the file.
//!
//! | | `.env`, and env files of a compose file | env files of services.yaml |
//! |---|---|---|
//! | `value`, `"value"` | variables are replaced | taken literally |
//! | `'value'` | taken literally | taken literally |
//!
//! The rules for people are a table of the YAML reference.

use crate::diagnostics::Finding;
use crate::limits::NUL_HELP;
use crate::source::{Sources, Span};

/// What a `$` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dollar {
    /// Itself.
    Literal,
    /// The beginning of a variable, except in single quotes.
    Variable,
}

/// A variable of an env file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub name: String,
    pub value: Value,
    pub span: Span,
}

/// What stands after the name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text that is taken literally.
    Literal(String),
    /// A text with variables, as a compose file has them. Only with [`Dollar::Variable`].
    Text(String),
    /// Nothing, not even `=`: the value is that of the environment.
    Inherited,
    /// Something that cannot be read, which a finding with the same place tells.
    Unreadable,
}

/// Reads the lines of an env file. Masks all values in diagnostics.
pub(crate) fn lines(
    sources: &Sources,
    file: usize,
    dollar: Dollar,
    findings: &mut Vec<Finding>,
) -> Vec<Line> {
    let source = sources.get(file);
    let text = source.text.as_str();
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let (start, end) = (at, line_end(text, at));
        at = end + 1;
        let written = text[start..end].trim_start_matches('\u{feff}').trim();
        let from = start + text[start..end].find(written).unwrap_or_default();
        let mut span = Span {
            file,
            start: from,
            end: from + written.len(),
        };
        if written.is_empty() || written.starts_with('#') {
            continue;
        }
        let line = without_export(written);
        let Some(separator) = line.find(['=', ':']) else {
            // A name alone may have a comment behind it.
            let name = &line[..comment_start(line)];
            let name = name.trim_end();
            if is_name(name) {
                out.push(Line {
                    name: name.to_owned(),
                    value: Value::Inherited,
                    span,
                });
            } else {
                source.mask(span.start..span.end);
                findings.push(Finding::error(span, "this line is not `NAME=value`"));
            }
            continue;
        };
        let name = line[..separator].trim_end();
        let begin = span.end - (line.len() - separator - 1);
        let read = read_value(&text[begin..], line_end(text, begin) - begin, dollar);
        if let Ok((_, length)) = &read {
            // A value of several lines.
            at = at.max(line_end(text, begin + length) + 1);
            span.end = span.end.max(begin + length);
        }
        source.mask(begin..span.end);
        if !is_name(name) {
            findings.push(
                Finding::error(span, "this is not the name of a variable")
                    .help("letters, digits, `_`, `.`, `-`, `[` and `]` are allowed"),
            );
            continue;
        }
        let value = match read {
            Ok(_) if text[span.start..span.end].contains('\0') => {
                findings.push(Finding::error(span, "a NUL is not allowed here").help(NUL_HELP));
                Value::Unreadable
            }
            // Only `.env` is read so far as it is text.
            Ok(_) if text[span.start..span.end].contains(char::REPLACEMENT_CHARACTER) => {
                findings.push(Finding::error(span, "this is not UTF-8").help("save the file as UTF-8"));
                Value::Unreadable
            }
            Ok((value, _)) => value,
            Err(bad) => {
                findings.push(Finding::error(span, bad.message(name)));
                Value::Unreadable
            }
        };
        out.push(Line {
            name: name.to_owned(),
            value,
            span,
        });
    }
    out
}

/// The line without the word that a shell needs before it.
fn without_export(line: &str) -> &str {
    match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    }
}

/// Whether a text may name a variable in an env file. Some that programs read by themselves have dots in them, as
/// `my.key`; a shell and `${…}` do not know those.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    !name.is_empty() && name.chars().all(fits)
}

/// Where a text outside of quotes ends: at a `#` after a space, or at the beginning.
fn comment_start(text: &str) -> usize {
    let mut before = Some(' ');
    for (at, c) in text.char_indices() {
        if c == '#' && before.is_none_or(char::is_whitespace) {
            return at;
        }
        before = Some(c);
    }
    text.len()
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |found| at + found)
}

/// Whether a text may name an environment variable that the shell and `${…}` can use.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What is wrong with quotes.
#[derive(Debug, Clone, Copy)]
enum BadQuotes {
    /// They have no end.
    Open,
    /// More text stands behind them.
    Followed,
}

impl BadQuotes {
    fn message(self, name: &str) -> String {
        match self {
            Self::Open => format!("a quote in the value of `{name}` is not closed"),
            Self::Followed => format!("text follows the closing quote of `{name}`"),
        }
    }
}

/// The value that a text begins with, whose first line is so long, and how long it is.
fn read_value(text: &str, first_line: usize, dollar: Dollar) -> Result<(Value, usize), BadQuotes> {
    let line = &text[..first_line];
    let quote_at = line.len() - line.trim_start().len();
    let quote = line[quote_at..].chars().next();
    let Some(quote @ ('\'' | '"')) = quote else {
        // `A= # note` has no value, while `A=#note` has one.
        let end = match line.starts_with('#') {
            true => 1 + comment_start(&line[1..]),
            false => comment_start(line),
        };
        return Ok((plain(line[..end].trim().to_owned(), dollar), 0));
    };
    let inside = quote_at + 1;
    let within = &text[inside..];
    let (value, length) = if quote == '\'' {
        let (value, length) = single_quoted(within).ok_or(BadQuotes::Open)?;
        (Value::Literal(value), length)
    } else {
        let (value, length) = double_quoted(within, dollar).ok_or(BadQuotes::Open)?;
        (plain(value, dollar), length)
    };
    let closed = inside + length;
    let tail = text[closed..line_end(text, closed)].trim_start();
    match tail.is_empty() || tail.starts_with('#') {
        true => Ok((value, closed)),
        false => Err(BadQuotes::Followed),
    }
}

fn plain(text: String, dollar: Dollar) -> Value {
    match dollar {
        Dollar::Literal => Value::Literal(text),
        Dollar::Variable => Value::Text(text),
    }
}

/// The text up to the closing quote, and what it took with that.
fn single_quoted(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((out, at + 1)),
            '\\' if text[at + 1..].starts_with('\'') => {
                out.extend(chars.next().map(|(_, quote)| quote));
            }
            c => out.push(c),
        }
    }
    None
}

/// The same where escapes mean what they mean to a shell's `$'…'`.
fn double_quoted(text: &str, dollar: Dollar) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' => match chars.next()?.1 {
                'a' => out.push('\u{7}'),
                'b' => out.push('\u{8}'),
                'f' => out.push('\u{c}'),
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                'v' => out.push('\u{b}'),
                '$' if dollar == Dollar::Variable => out.push_str("$$"),
                c @ ('"' | '\\' | '$' | '`') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, dollar: Dollar) -> (Vec<(String, Value)>, Vec<u32>, String) {
        let sources = Sources::default();
        let file = sources.add(".env".into(), ".".into(), text.into());
        let mut findings = Vec::new();
        let lines = lines(&sources, file, dollar, &mut findings);
        let (errors, _) = crate::diagnostics::finish(findings, &sources);
        (
            lines.into_iter().map(|line| (line.name, line.value)).collect(),
            errors.iter().map(|d| d.line).collect(),
            errors.render(false),
        )
    }

    fn variables<const N: usize>(expected: [(&str, Value); N]) -> Vec<(String, Value)> {
        expected.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn literal(text: &str) -> Value {
        Value::Literal(text.to_owned())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn env_files_are_read_as_people_write_them() {
        let (got, errors, shown) = read(
            "\u{feff}# c\n\nA=1\nexport B = two words # c\r\nC='x # y' # z\nD=\"l1\\nl2\\$\"\nE=\nF=a=b#c\nbad line\nG=\"open\n1H=x\nI='$x\nJ",
            Dollar::Literal,
        );
        let expected = [
            ("A", literal("1")),
            ("B", literal("two words")),
            ("C", literal("x # y")),
            ("D", literal("l1\nl2$")),
            ("E", literal("")),
            ("F", literal("a=b#c")),
            ("G", Value::Unreadable),
            ("1H", literal("x")),
            ("I", Value::Unreadable),
            ("J", Value::Inherited),
        ];
        assert_eq!(got, variables(expected));
        assert_eq!(errors, [9, 10, 12]);
        assert!(!shown.contains("open"), "{shown}");
    }

    #[test]
    fn values_may_have_variables_names_alone_and_several_lines() {
        let (got, errors, shown) = read(
            "A=${X}$$ # c\nB=\"a\\$b ${Y}\"\nC='Let\\'s $go\\n'\nexport D\nE\nF=\"one\ntwo\" # c\nG='\n1H=x\n' \nI=1\nbad line\nJ='open\nK=hunter2\n",
            Dollar::Variable,
        );
        let expected = [
            ("A", text("${X}$$")),
            ("B", text("a$$b ${Y}")),
            ("C", literal("Let's $go\\n")),
            ("D", Value::Inherited),
            ("E", Value::Inherited),
            ("F", text("one\ntwo")),
            ("G", literal("\n1H=x\n")),
            ("I", text("1")),
            ("J", Value::Unreadable),
            ("K", text("hunter2")),
        ];
        assert_eq!(got, variables(expected));
        assert_eq!(errors, [12, 13]);
        assert!(!shown.contains("open") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn names_comments_and_escapes_are_those_of_compose() {
        let (got, errors, shown) = read(
            "A= # note\nB=#note\nC=x#y # z\nD=\t# note\nmy.key=1\na-b[0]=2\nYAML: style\nURL=http://h:1/?a=b\nE=\"\\a\\b\\f\\t\\v\\r\\q\\`\"\nF='\\n' # c\nG\t=x\nexport\tH=x\nexportI=x\nNAME # c\nexport_J=x\n\u{fc}=x\nK=\"x\" y\nL M=x\n=x\nN=\u{a0}\n",
            Dollar::Literal,
        );
        let expected = [
            ("A", literal("")),
            ("B", literal("#note")),
            ("C", literal("x#y")),
            ("D", literal("")),
            ("my.key", literal("1")),
            ("a-b[0]", literal("2")),
            ("YAML", literal("style")),
            ("URL", literal("http://h:1/?a=b")),
            ("E", literal("\u{7}\u{8}\u{c}\t\u{b}\r\\q`")),
            ("F", literal("\\n")),
            ("G", literal("x")),
            ("H", literal("x")),
            ("exportI", literal("x")),
            ("NAME", Value::Inherited),
            ("export_J", literal("x")),
            ("\u{fc}", literal("x")),
            ("K", Value::Unreadable),
            ("N", literal("")),
        ];
        assert_eq!(got, variables(expected), "{shown}");
        assert_eq!(errors, [17, 18, 19]);
    }
}
