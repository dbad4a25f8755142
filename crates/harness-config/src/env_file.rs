//! The lines of env files: `NAME=value`, quoted or not, `export` allowed, `#` comments.
//!
//! | | env files of services.yaml | of a compose file |
//! |---|---|---|
//! | `value`, `"value"` | taken literally | variables are replaced |
//! | `'value'` | taken literally | taken literally, `\'` is a quote |
//! | `NAME` alone | a mistake | its value is that of the environment |
//! | quotes that close on a later line | a mistake | the value has several lines |

use crate::diagnostics::Finding;
use crate::limits::NUL_HELP;
use crate::source::{Sources, Span};

/// The rules that an env file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The rules of services.yaml.
    Literal,
    /// The rules of Docker Compose.
    Compose,
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
    /// A text with variables, as a compose file has them. Only in [`Dialect::Compose`].
    Text(String),
    /// Nothing, not even `=`. Only in [`Dialect::Compose`].
    Inherited,
}

/// Reads the lines of an env file. Masks all values in diagnostics.
pub(crate) fn lines(
    sources: &Sources,
    file: usize,
    dialect: Dialect,
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
        let line = written.strip_prefix("export ").unwrap_or(written).trim_start();
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value)),
            None if dialect == Dialect::Compose && is_variable_name(line) => (line, None),
            None => {
                source.mask(span.start..span.end);
                findings.push(Finding::error(span, "this line is not `NAME=value`"));
                continue;
            }
        };
        let Some(value) = value else {
            let name = name.to_owned();
            out.push(Line {
                name,
                value: Value::Inherited,
                span,
            });
            continue;
        };
        let begin = span.end - value.len();
        let read = read_value(&text[begin..], line_end(text, begin) - begin, dialect);
        if let Some((_, length)) = &read {
            // A value of several lines.
            at = at.max(line_end(text, begin + length) + 1);
            span.end = span.end.max(begin + length);
        }
        source.mask(begin..span.end);
        if text[span.start..span.end].contains('\0') {
            findings.push(Finding::error(span, "a NUL is not allowed here").help(NUL_HELP));
            continue;
        }
        if !is_variable_name(name) {
            findings.push(Finding::error(span, "this is not the name of a variable"));
            continue;
        }
        match read {
            Some((value, _)) => out.push(Line {
                name: name.to_owned(),
                value,
                span,
            }),
            None => findings.push(Finding::error(
                span,
                format!("a quote in the value of `{name}` is not closed"),
            )),
        }
    }
    out
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

/// Reads the value at the start of `text`, and returns it with its length. `first_line` is the length of the first
/// line. `None` if a quote is not closed, or something follows the closing quote.
fn read_value(text: &str, first_line: usize, dialect: Dialect) -> Option<(Value, usize)> {
    let line = &text[..first_line];
    let quote_at = line.len() - line.trim_start().len();
    let quote = line[quote_at..].chars().next();
    let Some(quote @ ('\'' | '"')) = quote else {
        let line = line.trim();
        let end = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
        return Some((plain(line[..end].trim_end().to_owned(), dialect), 0));
    };
    let inside = quote_at + 1;
    let within = match dialect {
        Dialect::Literal => &line[inside..],
        Dialect::Compose => &text[inside..],
    };
    let (value, length) = if quote == '\'' {
        let (value, length) = single_quoted(within, dialect)?;
        (Value::Literal(value), length)
    } else {
        let (value, length) = double_quoted(within, dialect)?;
        (plain(value, dialect), length)
    };
    let closed = inside + length;
    let tail = text[closed..line_end(text, closed)].trim_start();
    (tail.is_empty() || tail.starts_with('#')).then_some((value, closed))
}

fn plain(text: String, dialect: Dialect) -> Value {
    match dialect {
        Dialect::Literal => Value::Literal(text),
        Dialect::Compose => Value::Text(text),
    }
}

/// The text up to the closing quote, and its length with the quote.
fn single_quoted(text: &str, dialect: Dialect) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((out, at + 1)),
            '\\' if dialect == Dialect::Compose && text[at + 1..].starts_with('\'') => {
                out.extend(chars.next().map(|(_, quote)| quote));
            }
            c => out.push(c),
        }
    }
    None
}

fn double_quoted(text: &str, dialect: Dialect) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '$' if dialect == Dialect::Compose => out.push_str("$$"),
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

    fn read(text: &str, dialect: Dialect) -> (Vec<(String, Value)>, Vec<u32>, String) {
        let sources = Sources::default();
        let file = sources.add(".env".into(), ".".into(), text.into());
        let mut findings = Vec::new();
        let lines = lines(&sources, file, dialect, &mut findings);
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
            Dialect::Literal,
        );
        let expected = [
            ("A", literal("1")),
            ("B", literal("two words")),
            ("C", literal("x # y")),
            ("D", literal("l1\nl2$")),
            ("E", literal("")),
            ("F", literal("a=b#c")),
        ];
        assert_eq!(got, variables(expected));
        assert_eq!(errors, [9, 10, 11, 12, 13]);
        assert!(!shown.contains("open"), "{shown}");
    }

    #[test]
    fn those_of_compose_have_texts_names_alone_and_several_lines() {
        let (got, errors, shown) = read(
            "A=${X}$$ # c\nB=\"a\\$b ${Y}\"\nC='Let\\'s $go\\n'\nexport D\nE\nF=\"one\ntwo\" # c\nG='\n1H=x\n' \nI=1\nbad line\nJ='open\nK=hunter2\n",
            Dialect::Compose,
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
            ("K", text("hunter2")),
        ];
        assert_eq!(got, variables(expected));
        assert_eq!(errors, [12, 13]);
        assert!(!shown.contains("open") && !shown.contains("hunter2"), "{shown}");
    }
}
