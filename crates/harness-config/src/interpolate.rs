//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${service.field}` and `$$` in a string.
//!
//! A dot means a service. `$NAME` without braces is not replaced, because shells and regular expressions need it.

use harness_model::{AddressField, PortName, Reference, ServiceName};

use crate::source::{Sources, Span};

/// The deepest nesting of `${A:-${B:-…}}`.
pub(crate) const MAX_NESTING: usize = 8;

/// A piece of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text to keep, with `$$` already replaced by `$`.
    Text(String),
    /// `${body}`, at this byte of the string.
    Expr { offset: usize, len: usize, body: String },
    /// `${` without its `}`.
    Unclosed { offset: usize, len: usize },
}

/// Cuts a string into its pieces.
pub(crate) fn scan(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let dollar = at + found;
        plain.push_str(&text[at..dollar]);
        let rest = &text[dollar + 1..];
        if rest.starts_with('$') {
            plain.push('$');
            at = dollar + 2;
        } else if rest.starts_with('{') {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            match closing_brace(&text[dollar + 2..]) {
                Some(close) => {
                    pieces.push(Piece::Expr {
                        offset: dollar,
                        len: close + 3,
                        body: text[dollar + 2..dollar + 2 + close].to_owned(),
                    });
                    at = dollar + close + 3;
                }
                None => {
                    pieces.push(Piece::Unclosed {
                        offset: dollar,
                        len: text.len() - dollar,
                    });
                    return pieces;
                }
            }
        } else {
            plain.push('$');
            at = dollar + 1;
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// The position of the `}` that closes an expression, after those of inner expressions.
pub(crate) fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// Finds where parts of a scalar's value are written. Escapes and quotes may have moved them.
pub(crate) struct Locator {
    node: Span,
    raw: String,
    /// The positions of the dollar signs in the source and in the value. Their order is the same.
    raw_dollars: Vec<usize>,
    text_dollars: Vec<usize>,
}

impl Locator {
    /// A locator for the value of a node.
    pub(crate) fn new(sources: &Sources, node: Span, text: &str) -> Self {
        let raw = sources.text(node);
        let dollars = |text: &str| text.match_indices('$').map(|(at, _)| at).collect();
        Self {
            node,
            raw_dollars: dollars(&raw),
            text_dollars: dollars(text),
            raw,
        }
    }

    /// The place of an expression that begins at this byte of the value, or the whole node if it cannot be found.
    pub(crate) fn place(&self, text: &str, offset: usize, len: usize) -> Span {
        let found = self.text_dollars.binary_search(&offset).ok();
        let at = found.and_then(|ordinal| self.raw_dollars.get(ordinal)).copied();
        match (at, text.get(offset..offset + len)) {
            (Some(at), Some(token)) if self.raw[at..].starts_with(token) => self.node.part(at, len),
            _ => self.node,
        }
    }
}

/// What an expression means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr<'a> {
    /// A variable of the environment.
    Variable { name: &'a str, otherwise: Otherwise<'a> },
    /// An address of a service.
    Reference(Reference),
}

/// What an unset or empty variable means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Otherwise<'a> {
    /// Unset is an error, empty is empty.
    Undefined,
    /// This text, with variables in it replaced too.
    Default(&'a str),
    /// An error with this message.
    Error(&'a str),
}

/// An expression without a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadExpr {
    pub message: String,
    pub help: Option<String>,
}

fn bad<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, BadExpr> {
    Err(BadExpr {
        message: message.into(),
        help: Some(help.into()),
    })
}

const FORMS: &str =
    "write `${VAR}`, `${VAR:-default}`, `${VAR:?message}` or `${service.ip}`; `$$` is a plain `$`";

/// Reads the text between the braces.
pub(crate) fn parse(body: &str) -> Result<Expr<'_>, BadExpr> {
    let head_len = body
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .unwrap_or(body.len());
    let (head, rest) = body.split_at(head_len);
    if head.contains('.') && rest.is_empty() {
        return parse_reference(head);
    }
    let name_len = body
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(body.len());
    let (name, rest) = body.split_at(name_len);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return bad(format!("`${{{}}}` does not name a variable", brief(body)), FORMS);
    }
    let otherwise = if rest.is_empty() {
        Otherwise::Undefined
    } else if let Some(default) = rest.strip_prefix(":-") {
        Otherwise::Default(default)
    } else if let Some(message) = rest.strip_prefix(":?") {
        Otherwise::Error(message)
    } else if rest.starts_with('-') || rest.starts_with('?') {
        let operator = &rest[..1];
        return bad(
            format!("`{operator}` after a variable needs a colon"),
            format!("write `${{{name}:{operator}…}}`"),
        );
    } else {
        return bad(format!("`${{{name}…}}` is not understood after the name"), FORMS);
    };
    Ok(Expr::Variable { name, otherwise })
}

fn parse_reference(head: &str) -> Result<Expr<'_>, BadExpr> {
    const FIELDS: &str = "a service has `ip`, `host`, `port` and `port.NAME`";
    let (service, field) = head.split_once('.').unwrap_or((head, ""));
    let service = ServiceName::new(service).map_err(|error| BadExpr {
        message: error.to_string(),
        help: Some(FORMS.to_owned()),
    })?;
    let field = match field {
        "ip" => AddressField::Ip,
        "host" => AddressField::Host,
        "port" => AddressField::Port(None),
        other => match other.strip_prefix("port.") {
            Some(name) => AddressField::Port(Some(PortName::new(name).map_err(|error| BadExpr {
                message: error.to_string(),
                help: Some(FIELDS.to_owned()),
            })?)),
            None => {
                let help = crate::suggest::nearest(other, ["ip", "host", "port"]).map_or_else(
                    || FIELDS.to_owned(),
                    |near| format!("did you mean `${{{service}.{near}}}`?"),
                );
                return bad(format!("a service has no `{other}`"), help);
            }
        },
    };
    Ok(Expr::Reference(Reference { service, field }))
}

/// Enough of an expression to recognize it, and no more, because it could contain a literal secret.
fn brief(body: &str) -> &str {
    let end = body.find(':').unwrap_or(body.len());
    body.get(..end.min(40)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_cut_at_expressions() {
        assert_eq!(
            scan("a$$b $HOME ${X:-${Y}}z$"),
            [
                Piece::Text("a$b $HOME ".into()),
                Piece::Expr {
                    offset: 11,
                    len: 10,
                    body: "X:-${Y}".into()
                },
                Piece::Text("z$".into()),
            ]
        );
        assert_eq!(
            scan("é${X"),
            [Piece::Text("é".into()), Piece::Unclosed { offset: 2, len: 3 }]
        );
        assert_eq!(scan(""), []);
    }

    #[test]
    fn a_dot_means_a_service() {
        let reference = |text: &str| match parse(text) {
            Ok(Expr::Reference(reference)) => reference.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(reference("graph-node.ip"), "${graph-node.ip}");
        assert_eq!(reference("db.port.admin"), "${db.port.admin}");
        assert!(parse("db.prot").unwrap_err().help.unwrap().contains("${db.port}"));
        assert!(parse("db.").is_err());
        assert!(parse(".ip").is_err());
    }

    #[test]
    fn variables_have_defaults_and_messages() {
        let variable = |name, otherwise| Ok(Expr::Variable { name, otherwise });
        assert_eq!(parse("A_1"), variable("A_1", Otherwise::Undefined));
        assert_eq!(parse("A:-x.y"), variable("A", Otherwise::Default("x.y")));
        assert_eq!(parse("A:?no"), variable("A", Otherwise::Error("no")));
        for bad in ["", "1A", "A-b", "A?b", "A b", "-", "é", ":-x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
