//! Variables and labels: maps, or lists of `NAME=value`.

use crate::diagnostics::Finding;
use crate::tree::{Key, Kind, Node};

use super::nodes::{self, key};
use super::strings::Strings;

/// Variables with values, and the names of variables that get their values from the environment of the user who
/// starts the service.
#[derive(Default)]
pub(super) struct Variables {
    pub(super) pairs: Vec<(Key, Node)>,
    pub(super) inherited: Vec<Node>,
}

/// Reads `environment`, or the `args` of a build.
pub(super) fn variables(strings: Strings<'_>, node: &Node, what: &str, said: &mut Vec<Finding>) -> Variables {
    let mut out = Variables::default();
    for (name, value) in pairs(node, what, said) {
        match value {
            Some(value) => out
                .pairs
                .extend(strings.template(&value, said).map(|value| (name, value))),
            None => match strings.has(&name.name, name.span) {
                Some(true) => {
                    let value = nodes::string(name.span, format!("${{{}}}", name.name));
                    out.pairs.push((name, value));
                }
                Some(false) => {}
                None => out.inherited.push(nodes::string(name.span, name.name)),
            },
        }
    }
    out
}

/// Reads `labels`.
pub(super) fn labels(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Vec<(Key, Node)> {
    let pairs = pairs(node, "labels", said).into_iter();
    pairs
        .filter_map(|(name, value)| {
            let value = match value {
                Some(value) => strings.template(&value, said)?,
                None => nodes::string(name.span, ""),
            };
            Some((name, value))
        })
        .collect()
}

/// The entries of a map or of a list of `NAME=value`; one without a value has `None`.
fn pairs(node: &Node, what: &str, said: &mut Vec<Finding>) -> Vec<(Key, Option<Node>)> {
    let mut out = Vec::new();
    match &node.kind {
        Kind::Map(entries) => {
            for (name, value) in entries {
                match &value.kind {
                    Kind::Null => out.push((name.clone(), None)),
                    Kind::List(_) | Kind::Map(_) => said.push(Finding::error(
                        value.span,
                        format!("expected a string or a number, found {}", value.describe()),
                    )),
                    _ => out.push((name.clone(), Some(value.clone()))),
                }
            }
        }
        Kind::List(items) => {
            for item in items {
                let Some(text) = nodes::scalar(item) else {
                    said.push(Finding::error(
                        item.span,
                        format!("expected `NAME=value`, found {}", item.describe()),
                    ));
                    continue;
                };
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Some(nodes::string(item.span, value))),
                    None => (text.as_str(), None),
                };
                out.push((key(name, item.span), value));
            }
        }
        _ => said.push(Finding::error(
            node.span,
            format!("`{what}` must be a map or a list, found {}", node.describe()),
        )),
    }
    out
}
