//! Variables in the strings of a compose file. They are rewritten as services.yaml writes them, because the readers
//! know only that form.
//!
//! | compose | means |
//! |---|---|
//! | `$VAR`, `${VAR}` | the variable; empty, with a warning, if it is unset |
//! | `${VAR:-x}`, `${VAR-x}` | `x` if it is unset (or empty, with the colon) |
//! | `${VAR:?x}`, `${VAR?x}` | an error if it is unset (or empty, with the colon) |
//! | `${VAR:+x}`, `${VAR+x}` | `x` if it is set (and not empty, with the colon), else nothing |
//! | `$$` | a plain `$` |

use crate::diagnostics::Finding;
use crate::interpolate::closing_brace;
use crate::read::{Allow, Reader};
use crate::source::Span;
use crate::tree::{Kind, Node};

use super::nodes;

/// How the strings of a compose file are read.
#[derive(Clone, Copy)]
pub(crate) enum Strings<'a> {
    /// Variables have values.
    Known(Reader<'a>),
    /// Variables are kept, for a file that is written now and read later.
    Kept,
}

impl Strings<'_> {
    /// A text with its variables written as in services.yaml.
    pub(super) fn respelled(&self, text: &str, span: Span, said: &mut Vec<Finding>) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                out.push_str("$$");
                rest = tail;
            } else if let Some(inner) = after.strip_prefix('{') {
                let Some(end) = closing_brace(inner) else {
                    said.push(Finding::error(span, "this `${` has no `}`").help("`$${` is a plain `${`"));
                    return out;
                };
                out.push_str(&self.expression(&inner[..end], span, said));
                rest = &inner[end + 1..];
            } else {
                let len = name_len(after);
                if len == 0 {
                    out.push('$');
                } else {
                    out.push_str(&self.expression(&after[..len], span, said));
                }
                rest = &after[len..];
            }
        }
        out.push_str(rest);
        out
    }

    fn expression(&self, body: &str, span: Span, said: &mut Vec<Finding>) -> String {
        let (name, rest) = body.split_at(name_len(body));
        let (colon, operator) = match rest.strip_prefix(':') {
            Some(operator) => (true, operator),
            None => (false, rest),
        };
        let value = match self {
            Self::Known(reader) => reader.context.variable(name, span.file),
            Self::Kept => None,
        };
        if let Self::Known(reader) = self
            && let Some(finding) = reader.context.unreadable(name, span)
        {
            said.push(finding);
            return String::new();
        }
        let there = value.as_ref().is_some_and(|value| !(colon && value.is_empty()));
        let kept = matches!(self, Self::Kept);
        match operator.chars().next() {
            None if !colon && !name.is_empty() => {
                if value.is_none() && !kept {
                    said.push(
                        Finding::warning(span, format!("variable `{name}` is not set: it is empty here"))
                            .help(format!("set it, or write `${{{name}:-default}}`")),
                    );
                    return String::new();
                }
                format!("${{{name}}}")
            }
            // A default stays with its variable, because the default of a secret is secret too.
            Some('-') if there && value.as_deref() == Some("") => String::new(),
            Some('-') => {
                let default = self.respelled(&operator[1..], span, said);
                format!("${{{name}:-{default}}}")
            }
            Some('?') if there => format!("${{{name}}}"),
            Some('?') => format!("${{{name}:?{}}}", &operator[1..]),
            Some('+') if !kept && there => self.respelled(&operator[1..], span, said),
            Some('+') if !kept => String::new(),
            _ => {
                said.push(
                    Finding::error(span, format!("`${{{name}…}}` is not understood after the name"))
                        .help("a compose file has `${VAR}`, `${VAR:-default}`, `${VAR:?message}`; `$$` is a plain `$`"),
                );
                String::new()
            }
        }
    }

    /// A scalar as a string, with its variables written as in services.yaml.
    pub(super) fn template(&self, node: &Node, said: &mut Vec<Finding>) -> Option<Node> {
        let text = scalar(node, said)?;
        Some(nodes::string(node.span, self.respelled(&text, node.span, said)))
    }

    /// The text of a scalar that is parsed further, with variables replaced where they are known. None of them may be
    /// secret, because messages about mistakes show the text.
    pub(super) fn plain(&self, node: &Node, said: &mut Vec<Finding>) -> Option<String> {
        let text = self.respelled(&scalar(node, said)?, node.span, said);
        match self {
            Self::Known(reader) => reader.template_text(node.span, &text, Allow::Literal)?.expose(),
            Self::Kept => Some(text),
        }
    }

    /// How to read a string that may contain secrets: if it does, without replacing its variables, so that it can be
    /// parsed and shown.
    pub(super) fn discreet(self, node: &Node) -> Self {
        let (Self::Known(reader), Kind::String(text)) = (self, &node.kind) else {
            return self;
        };
        let is_secret = |after: &str| {
            let after = after.strip_prefix('{').unwrap_or(after);
            let name = &after[..name_len(after)];
            !name.is_empty() && reader.context.is_secret(name, node.span.file)
        };
        match text.split('$').skip(1).any(is_secret) {
            true => Self::Kept,
            false => self,
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, node: &Node, said: &mut Vec<Finding>) -> bool {
        let text = self.plain(node, said);
        if let Some(text) = &text
            && !matches!(text.as_str(), "true" | "false")
        {
            said.push(Finding::error(
                node.span,
                format!("expected `true` or `false`, found `{text}`"),
            ));
        }
        text.as_deref() == Some("true")
    }

    /// Makes a string node from the result of `plain`.
    pub(super) fn literal(&self, span: Span, text: &str) -> Node {
        match self {
            Self::Known(_) => nodes::string(span, text.replace('$', "$$")),
            Self::Kept => nodes::string(span, text),
        }
    }

    /// Whether a variable without a value (`- NAME`) has one in the environment to pass on. `None`: not known yet.
    pub(super) fn has(&self, name: &str, span: Span) -> Option<bool> {
        match self {
            Self::Known(reader) => Some(reader.context.variable(name, span.file).is_some()),
            Self::Kept => None,
        }
    }
}

fn scalar(node: &Node, said: &mut Vec<Finding>) -> Option<String> {
    let text = nodes::scalar(node);
    if text.is_none() {
        said.push(Finding::error(
            node.span,
            format!("expected a string, found {}", node.describe()),
        ));
    }
    text
}

fn name_len(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len())
}
