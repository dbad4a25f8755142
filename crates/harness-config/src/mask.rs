//! Finds the literals of a file that a diagnostic's source line must not show.

use std::collections::BTreeSet;
use std::ops::Range;

use harness_model::secret::is_secret_name;

use crate::interpolate::{Locator, Piece, scan};
use crate::source::{Sources, Span};
use crate::tree::{Kind, Node};

/// The names under `secrets:` of a tree.
pub(crate) fn listed_secrets(tree: &Node) -> BTreeSet<String> {
    match tree.get("secrets").map(|node| &node.kind) {
        Some(Kind::List(items)) => items
            .iter()
            .filter_map(|item| match &item.kind {
                Kind::String(name) => Some(name.clone()),
                _ => None,
            })
            .collect(),
        _ => BTreeSet::new(),
    }
}

/// Whether what an HTTP header says must not be shown.
pub(crate) fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(
        name.as_str(),
        "authorization" | "proxy-authorization" | "cookie" | "set-cookie"
    ) || is_secret_name(&name.replace('-', "_"))
}

/// Whether the value of a key must not be shown, in whatever map it stands: a misplaced secret is one too.
pub(crate) fn is_secret_key(name: &str, listed: &BTreeSet<String>) -> bool {
    // The path of a key is no secret.
    listed.contains(name) || (name != "ssh_key" && (is_secret_name(name) || is_secret_header(name)))
}

/// Masks the literal values of secret names, in `NAME: value` and `- NAME=value`, and the credentials in URLs. Looks
/// at every map, not only at `env`, because a secret may be in the wrong place.
pub(crate) fn mask_literals(sources: &Sources, tree: &Node, secrets: &BTreeSet<String>) {
    let secret = |name: &str| is_secret_key(name, secrets);
    match &tree.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                match &value.kind {
                    Kind::String(text) if secret(&key.name) => {
                        mask_value(sources, value.span, text, value.span);
                    }
                    Kind::Number(_) if secret(&key.name) => hide(sources, value.span),
                    _ => mask_literals(sources, value, secrets),
                }
            }
        }
        Kind::List(items) => {
            for item in items {
                if let Kind::String(text) = &item.kind
                    && let Some((name, _)) = text.split_once('=')
                    && secret(name.trim())
                    && let Some(at) = sources.text(item.span).find('=')
                {
                    let value = item.span.part(at + 1, usize::MAX / 2);
                    mask_value(sources, item.span, text, value);
                } else {
                    mask_literals(sources, item, secrets);
                }
            }
        }
        Kind::String(text) => {
            for part in url_credentials(&sources.text(tree.span)) {
                let part = tree.span.part(part.start, part.len());
                mask_value(sources, tree.span, text, part);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
    }
}

/// The ranges of users and passwords of URLs in a text: what is between `://` and `@`.
pub(crate) fn url_credentials(text: &str) -> Vec<Range<usize>> {
    let part = |(at, scheme_end): (usize, &str)| {
        let start = at + scheme_end.len();
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c));
        let authority = &rest[..end.unwrap_or(rest.len())];
        Some(start..start + authority.rfind('@')?)
    };
    text.match_indices("://").filter_map(part).collect()
}

/// Masks a value except for the `${NAME` of its variables, because messages point at those.
fn mask_value(sources: &Sources, node: Span, text: &str, value: Span) {
    let locator = Locator::new(sources, node, text);
    let mut from = value.start;
    for piece in scan(text) {
        if let Piece::Expr { offset, len, body } = piece {
            let token = locator.place(text, offset, len);
            if token.start < from || token.end > value.end || token == node {
                continue;
            }
            hide(
                sources,
                Span {
                    end: token.start,
                    start: from,
                    ..value
                },
            );
            let name = body.find(':').unwrap_or(body.len());
            hide(
                sources,
                Span {
                    start: (token.start + 2 + name + 2).min(token.end.saturating_sub(1)),
                    end: token.end.saturating_sub(1),
                    ..value
                },
            );
            from = token.end;
        }
    }
    hide(sources, Span { start: from, ..value });
}

fn hide(sources: &Sources, span: Span) {
    // The span of a block scalar reaches to the next key.
    let end = span.start + sources.text(span).trim_end().len();
    if span.start < end {
        sources.get(span.file).mask(span.start..end);
    }
}
