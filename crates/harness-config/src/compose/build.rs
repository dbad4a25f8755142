//! `build`, and commands.

use crate::diagnostics::Finding;
use crate::tree::{Kind, Node};

use super::environment;
use super::keys::unsupported;
use super::nodes::{self, entries_of, key};
use super::strings::Strings;

/// Reads `build`.
pub(super) fn build(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Option<Node> {
    if !matches!(node.kind, Kind::Map(_)) {
        return context(strings, node, said);
    }
    let mut out = Vec::new();
    for (name, value) in entries_of(node) {
        match name.name.as_str() {
            "context" => out.extend(context(strings, value, said).map(|value| (name.clone(), value))),
            "dockerfile" | "target" => {
                out.extend(strings.template(value, said).map(|value| (name.clone(), value)));
            }
            "args" => {
                let args = environment::variables(strings, value, "args", said);
                for name in args.inherited {
                    said.push(
                        Finding::error(name.span, "a build argument without a value is not supported")
                            .help("write its value, or `${NAME}`"),
                    );
                }
                out.push((key("args", name.span), nodes::map(value.span, args.pairs)));
            }
            other if other.starts_with("x-") => {}
            _ => said.push(unsupported(
                name,
                "`build`",
                "remove it, or build the image yourself and write `image`",
            )),
        }
    }
    Some(nodes::map(node.span, out))
}

fn context(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Option<Node> {
    let text = strings.plain(node, said)?;
    if text.contains("://") || text.starts_with("git@") {
        said.push(
            Finding::error(node.span, "a build context that is not a folder is not supported")
                .help("check it out, and give its folder"),
        );
        return None;
    }
    Some(strings.literal(node.span, &text))
}

/// A command: a string, which is split after its variables are replaced, or a list of words.
pub(super) fn words(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Option<Node> {
    if let Kind::List(items) = &node.kind {
        let words = items
            .iter()
            .filter_map(|item| strings.template(item, said))
            .collect();
        return Some(nodes::list(node.span, words));
    }
    if let Strings::Kept = strings {
        return strings.template(node, said);
    }
    let text = strings.plain(node, said)?;
    match shell_words::split(&text) {
        Ok(words) => {
            let words = words
                .iter()
                .map(|word| strings.literal(node.span, word))
                .collect();
            Some(nodes::list(node.span, words))
        }
        Err(_) => {
            said.push(Finding::error(node.span, "a quote in this command is not closed"));
            None
        }
    }
}
