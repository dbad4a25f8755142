//! Resource limits, and the restart policy.

use crate::diagnostics::Finding;
use crate::tree::{Key, Kind, Node};

use super::keys::{refuse_others, unsupported};
use super::nodes::{entries_of, key, scalar, section};
use super::strings::Strings;

/// Reads `deploy` into `resources`.
pub(super) fn deploy(strings: Strings<'_>, node: &Node, out: &mut Vec<(Key, Node)>, said: &mut Vec<Finding>) {
    const OF: &str = "`deploy`";
    for (name, value) in section(node, said) {
        match (name.name.as_str(), scalar(value).as_deref()) {
            ("replicas", Some("1")) | ("mode", Some("replicated")) => {}
            ("replicas", _) => said.push(unsupported(name, OF, "leave it out: a service is one container")),
            ("restart_policy", _) => said.push(unsupported(name, OF, "write `restart`")),
            ("resources", _) => {
                for (name, value) in section(value, said) {
                    if name.name != "limits" {
                        said.push(unsupported(name, "`deploy.resources`", "write `limits`"));
                        continue;
                    }
                    for (name, value) in section(value, said) {
                        match name.name.as_str() {
                            "cpus" | "memory" | "pids" => limit(strings, name, &name.name, value, out, said),
                            _ => said.push(unsupported(name, "`deploy.resources.limits`", "")),
                        }
                    }
                }
            }
            (other, _) if other.starts_with("x-") => {}
            _ => said.push(unsupported(name, OF, "remove it: it is for swarms of hosts")),
        }
    }
}

/// One limit; `ours` is its key in `resources`.
pub(super) fn limit(
    strings: Strings<'_>,
    name: &Key,
    ours: &str,
    value: &Node,
    out: &mut Vec<(Key, Node)>,
    said: &mut Vec<Finding>,
) {
    let Some(text) = strings.plain(value, said) else {
        return;
    };
    let text = match ours {
        "memory" | "shm_size" => size(&text),
        // No limit.
        "pids" if matches!(text.as_str(), "-1" | "0") => return,
        _ => text,
    };
    out.push((key(ours, name.span), strings.literal(value.span, &text)));
}

/// The limits of `ulimits`: a number each, or a map with `soft` and `hard`.
pub(super) fn ulimits(strings: Strings<'_>, node: &Node, said: &mut Vec<Finding>) -> Vec<(Key, Node)> {
    let mut out = Vec::new();
    for (name, value) in section(node, said) {
        let limit = if matches!(value.kind, Kind::Map(_)) {
            refuse_others(entries_of(value), "`ulimits`", &["soft", "hard"], said);
            let mut bound = |bound: &str| strings.plain(value.get(bound)?, said);
            match (bound("soft"), bound("hard")) {
                (Some(soft), Some(hard)) => Some(format!("{soft}:{hard}")),
                _ => {
                    let message = format!("`{}` needs `soft` and `hard`", name.name);
                    said.push(Finding::error(name.span, message));
                    None
                }
            }
        } else {
            strings.plain(value, said)
        };
        out.extend(limit.map(|limit| (name.clone(), strings.literal(value.span, &limit))));
    }
    out
}

/// A size as services.yaml writes it. In a compose file, `kb`, `mb`, … are powers of 1024 too.
pub(super) fn size(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    let plain = lower.strip_suffix('b').unwrap_or(&lower);
    let known = plain.ends_with(|c: char| c.is_ascii_digit() || matches!(c, 'k' | 'm' | 'g' | 't'));
    if known { plain.to_owned() } else { text.to_owned() }
}

/// Reads `restart` into `restart` and `max_restarts`.
pub(super) fn restart(
    strings: Strings<'_>,
    name: &Key,
    value: &Node,
    out: &mut Vec<(Key, Node)>,
    said: &mut Vec<Finding>,
) {
    let Some(text) = strings.plain(value, said) else {
        return;
    };
    let (word, limit) = match text.split_once(':') {
        Some((word, limit)) if word == "on-failure" => (word, Some(limit)),
        _ => (text.as_str(), None),
    };
    out.push((name.clone(), strings.literal(value.span, word)));
    if let Some(limit) = limit {
        out.push((key("max_restarts", name.span), strings.literal(value.span, limit)));
    }
}
