//! Builds nodes for translated values. Each has the place of the original.

use crate::diagnostics::Finding;
use crate::source::Span;
use crate::tree::{Key, Kind, Node};

/// A string at a place.
pub(crate) fn string(span: Span, text: impl Into<String>) -> Node {
    Node {
        span,
        kind: Kind::String(text.into()),
    }
}

/// A list at a place.
pub(super) fn list(span: Span, items: Vec<Node>) -> Node {
    Node {
        span,
        kind: Kind::List(items),
    }
}

/// A map at a place.
pub(super) fn map(span: Span, entries: Vec<(Key, Node)>) -> Node {
    Node {
        span,
        kind: Kind::Map(entries),
    }
}

/// A key at a place.
pub(crate) fn key(name: &str, span: Span) -> Key {
    Key {
        name: name.to_owned(),
        span,
    }
}

/// The text of a scalar node, whatever its type.
pub(super) fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::String(text) | Kind::Number(text) => Some(text.clone()),
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// The entries of a map; none if it is something else.
pub(crate) fn entries_of(node: &Node) -> &[(Key, Node)] {
    match &node.kind {
        Kind::Map(entries) => entries,
        _ => &[],
    }
}

/// The entries of a node that must be a map or empty. Reports a mistake if it is something else.
pub(super) fn section<'n>(node: &'n Node, said: &mut Vec<Finding>) -> &'n [(Key, Node)] {
    if !matches!(node.kind, Kind::Map(_) | Kind::Null) {
        said.push(Finding::error(
            node.span,
            format!("expected a map, found {}", node.describe()),
        ));
    }
    entries_of(node)
}

/// The parts of a text between colons. Colons within `${…}` and `[…]` do not count.
pub(super) fn split_at_colons(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
