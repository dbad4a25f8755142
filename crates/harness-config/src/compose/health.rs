//! `healthcheck`.

use crate::diagnostics::Finding;
use crate::source::Span;
use crate::tree::{Key, Kind, Node};

use super::keys::unsupported;
use super::nodes::{self, key, section};
use super::strings::Strings;

/// What a compose file says about a health check.
pub(super) enum Health {
    /// The service has its own command.
    Check(Node),
    /// No health check, and the image's is turned off too.
    Off,
    /// Nothing usable.
    Nothing,
}

/// Reads `healthcheck`.
pub(super) fn health(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Health {
    let mut out = Vec::new();
    let mut off = false;
    let mut tested = false;
    for (name, value) in section(node, said) {
        match name.name.as_str() {
            "test" => {
                tested = true;
                match test(strings, value, said) {
                    Some(command) => out.push((key("command", name.span), command)),
                    None => off |= is_none(value),
                }
            }
            "disable" => off |= strings.flag(value, said),
            "interval" | "timeout" | "retries" | "start_period" => {
                let value = strings.template(value, said);
                out.extend(value.map(|value| (name.clone(), value)));
            }
            "start_interval" => said.push(
                Finding::warning(name.span, "`start_interval` has no effect here")
                    .help("while a service starts it is probed several times a second"),
            ),
            other if other.starts_with("x-") => {}
            _ => said.push(unsupported(name, "`healthcheck`", "")),
        }
    }
    if off {
        return Health::Off;
    }
    if !out.iter().any(|(key, _)| key.name == "command") {
        // The image's own check with other figures. We do not know its command.
        if !out.is_empty() && !tested {
            said.push(
                Finding::error(node.span, "this `healthcheck` has no `test`")
                    .help("write the `test` of the image here too"),
            );
        }
        return Health::Nothing;
    }
    Health::Check(nodes::map(node.span, out))
}

fn is_none(test: &Node) -> bool {
    match &test.kind {
        Kind::List(items) => {
            matches!(items.as_slice(), [Node { kind: Kind::String(only), .. }] if only == "NONE")
        }
        Kind::String(text) => text == "NONE",
        _ => false,
    }
}

fn test(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Option<Node> {
    if is_none(node) {
        return None;
    }
    let words = match &node.kind {
        Kind::String(_) => shell(node.span, strings.template(node, said)?),
        Kind::List(items) => {
            let first = items.first().and_then(nodes::scalar);
            let rest = items.get(1..).unwrap_or_default();
            match (first.as_deref(), rest) {
                (Some("CMD"), [_, ..]) => rest
                    .iter()
                    .filter_map(|word| strings.template(word, said))
                    .collect(),
                (Some("CMD-SHELL"), [command]) => shell(node.span, strings.template(command, said)?),
                _ => return bad(node, said),
            }
        }
        _ => return bad(node, said),
    };
    Some(nodes::list(node.span, words))
}

fn bad(node: &Node, said: &mut Vec<Finding>) -> Option<Node> {
    said.push(
        Finding::error(node.span, "this is not the test of a health check")
            .help("write `[CMD, program, …]`, `[CMD-SHELL, command]`, `[NONE]`, or a command of the shell"),
    );
    None
}

fn shell(span: Span, command: Node) -> Vec<Node> {
    vec![nodes::string(span, "sh"), nodes::string(span, "-c"), command]
}

/// `logging`: only the limits of its size are translated.
pub(super) fn logging(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Vec<(Key, Node)> {
    const REMEDY: &str = "remove it: harness keeps the output, and `logs` in services.yaml says how much";
    let mut out = Vec::new();
    for (name, value) in section(node, said) {
        match name.name.as_str() {
            "driver" => {
                let driver = strings.plain(value, said);
                if !matches!(driver.as_deref(), Some("json-file" | "local")) {
                    said.push(
                        Finding::error(value.span, "this `logging` driver is not supported").help(REMEDY),
                    );
                }
            }
            "options" => {
                for (option, value) in section(value, said) {
                    let ours = match option.name.as_str() {
                        "max-size" => "max_size",
                        "max-file" => "max_files",
                        _ => {
                            said.push(unsupported(option, "`logging`", REMEDY));
                            continue;
                        }
                    };
                    let value = strings.plain(value, said).map(|text| (value.span, text));
                    out.extend(value.map(|(span, text)| {
                        let text = if ours == "max_size" {
                            super::deploy::size(&text)
                        } else {
                            text
                        };
                        (key(ours, option.span), strings.literal(span, &text))
                    }));
                }
            }
            _ => said.push(unsupported(name, "`logging`", REMEDY)),
        }
    }
    out
}
