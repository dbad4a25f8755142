//! `ports` and `expose`.

use crate::diagnostics::Finding;
use crate::source::Span;
use crate::tree::{Key, Kind, Node};

use super::keys::refuse_others;
use super::nodes::{self, key, split_at_colons};
use super::strings::Strings;

/// The longest range of ports. A longer one is a mistake.
const LONGEST_RANGE: u16 = 1000;

/// Reads `ports`.
pub(super) fn ports(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Vec<Node> {
    let Kind::List(items) = &node.kind else {
        said.push(not_a_list("ports", node));
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in items {
        match &item.kind {
            Kind::Map(entries) => out.extend(long(strings, item.span, entries, said)),
            _ => {
                let Some(text) = strings.plain(item, said) else {
                    continue;
                };
                match short(&text) {
                    Some(ports) => out.extend(ports.iter().map(|port| strings.literal(item.span, port))),
                    None => said.push(
                        Finding::error(item.span, format!("`{text}` is not a port that can be published"))
                            .help("write `8080:80`, `127.0.0.1:8080:80/udp`, or ranges of the same length"),
                    ),
                }
            }
        }
    }
    out
}

/// Reads `expose`.
pub(super) fn expose(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Vec<Node> {
    let Kind::List(items) = &node.kind else {
        said.push(not_a_list("expose", node));
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in items {
        let Some(text) = strings.plain(item, said) else {
            continue;
        };
        let (ports, protocol) = with_protocol(&text);
        match range(ports) {
            Some(ports) => out.extend(
                ports
                    .iter()
                    .map(|port| strings.literal(item.span, &format!("{port}{protocol}"))),
            ),
            None => said.push(Finding::error(item.span, format!("`{text}` is not a port"))),
        }
    }
    out
}

fn not_a_list(name: &str, node: &Node) -> Finding {
    Finding::error(
        node.span,
        format!("`{name}` must be a list, found {}", node.describe()),
    )
}

/// `80/udp` as `80` and `/udp`.
fn with_protocol(text: &str) -> (&str, &str) {
    text.find('/').map_or((text, ""), |at| text.split_at(at))
}

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]` with ranges, each port as services.yaml writes it.
fn short(text: &str) -> Option<Vec<String>> {
    let (rest, protocol) = with_protocol(text);
    let parts = split_at_colons(rest);
    let (address, host, container) = match parts.as_slice() {
        [container] => (None, "", *container),
        [host, container] => (None, *host, *container),
        [address, host, container] => (Some(*address), *host, *container),
        _ => return None,
    };
    let container = range(container)?;
    // Without a port of the host, any free port is used.
    let host = match host {
        "" => vec!["0".to_owned(); container.len()],
        host => range(host)?,
    };
    if host.len() != container.len() {
        return None;
    }
    let address = address.map_or_else(String::new, |address| format!("{address}:"));
    let ports = host.iter().zip(&container);
    Some(
        ports
            .map(|(host, container)| format!("{address}{host}:{container}{protocol}"))
            .collect(),
    )
}

/// `80` or `80-82`. A variable that is not replaced counts as one port.
fn range(text: &str) -> Option<Vec<String>> {
    if text.contains("${") {
        return Some(vec![text.to_owned()]);
    }
    let number = |text: &str| text.parse::<u16>().ok();
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first <= last && last - first < LONGEST_RANGE)
        .then(|| (first..=last).map(|port| port.to_string()).collect())
}

fn long(strings: Strings<'_>, span: Span, entries: &[(Key, Node)], said: &mut Vec<Finding>) -> Option<Node> {
    refuse_others(
        entries,
        "a port",
        &[
            "target",
            "published",
            "host_ip",
            "protocol",
            "app_protocol",
            "name",
            "mode",
        ],
        said,
    );
    let mut out = Vec::new();
    let mut published = false;
    for (name, value) in entries {
        let ours = match name.name.as_str() {
            "published" => "port",
            // Both modes mean the same on one host, and the application protocol changes nothing.
            "mode" | "app_protocol" => continue,
            "target" | "host_ip" | "protocol" | "name" => name.name.as_str(),
            _ => continue,
        };
        published |= ours == "port";
        let text = strings.plain(value, said)?;
        if ours == "port" && text.contains('-') && !text.contains("${") {
            said.push(
                Finding::error(
                    value.span,
                    format!("`{text}` is a range, and it is not known which port of it is used"),
                )
                .help("write one port, or leave `published` out for a free one"),
            );
            return None;
        }
        out.push((key(ours, name.span), strings.literal(value.span, &text)));
    }
    if !entries.iter().any(|(name, _)| name.name == "target") {
        said.push(Finding::error(span, "a port needs `target`"));
        return None;
    }
    if !published {
        out.push((key("port", span), nodes::string(span, "0")));
    }
    Some(nodes::map(span, out))
}
