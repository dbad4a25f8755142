//! The final keys of a service: those of the compose file, overridden by those of the entry.

use harness_model::NetworkName;

use super::choose::Chosen;
use crate::compose::{Translated, entries_of, key, string};
use crate::keys::SERVICE;
use crate::merge::merge;
use crate::tree::{Key, Kind, Node};

/// The keys of an entry that choose the service.
const OF_ENTRY: [&str; 4] = ["type", "file", "service", "services"];

/// A docker service.
pub(super) fn node(
    one: &Chosen<'_>,
    (name, service): &(Key, Node),
    translated: Translated,
    oneshot: bool,
    network: Option<NetworkName>,
    profiles: Option<Node>,
) -> Node {
    let at = name.span;
    let mut entries = vec![(key("type", at), string(at, "docker"))];
    entries.extend(translated.keys);
    if oneshot {
        let kind = Kind::Bool(true);
        entries.push((key("oneshot", at), Node { span: at, kind }));
    }
    if let Some(network) = network {
        let at = service.get("networks").map_or(at, |node| node.span);
        entries.push((key("network", at), string(at, network.as_str())));
    }
    entries.retain(|(key, _)| key.name != "profiles");
    if let Some(profiles) = profiles {
        entries.push((key("profiles", profiles.span), profiles));
    }
    let shared = one.shared.and_then(|shared| shared.get("dependencies"));
    if let Some(Node {
        kind: Kind::List(items),
        span,
    }) = shared
    {
        add_dependencies(&mut entries, *span, items);
    }
    let mut out = Node {
        span: service.span,
        kind: Kind::Map(entries),
    };
    if let Some(own) = one.own {
        lay_over(&mut out, own);
    }
    out
}

fn add_dependencies(entries: &mut Vec<(Key, Node)>, at: crate::source::Span, items: &[Node]) {
    match entries.iter_mut().find(|(key, _)| key.name == "dependencies") {
        Some((
            _,
            Node {
                kind: Kind::List(list),
                ..
            },
        )) => list.extend(items.iter().cloned()),
        _ => {
            let kind = Kind::List(items.to_vec());
            entries.push((key("dependencies", at), Node { span: at, kind }));
        }
    }
}

fn lay_over(base: &mut Node, own: &Node) {
    let Kind::Map(entries) = &mut base.kind else {
        return;
    };
    let has = |key: &str| own.get(key).is_some();
    // A probe replaces another probe, and a policy replaces another policy.
    if let Some(check) = own.get("health_check")
        && ["http", "tcp", "command", "log"]
            .iter()
            .any(|probe| check.get(probe).is_some())
        && let Some((
            _,
            Node {
                kind: Kind::Map(before),
                ..
            },
        )) = entries.iter_mut().find(|(key, _)| key.name == "health_check")
    {
        before.retain(|(key, _)| key.name != "command");
    }
    entries.retain(|(key, _)| match key.name.as_str() {
        "restart" | "max_restarts" => !has("restart"),
        _ => true,
    });
    let over: Vec<(Key, Node)> = entries_of(own)
        .iter()
        .filter(|(key, _)| belongs(key))
        .map(|(key, value)| (key.clone(), as_map(key, value)))
        .collect();
    merge(
        base,
        Node {
            span: own.span,
            kind: Kind::Map(over),
        },
    );
}

/// Whether a key of the entry is a key of a docker service. Other keys have been refused already.
fn belongs(key: &Key) -> bool {
    let known = SERVICE.key(&key.name);
    known.is_some_and(|known| known.types.is_empty() || known.types.contains(&"compose"))
        && !OF_ENTRY.contains(&key.name.as_str())
}

/// Turns variables that are written as a list into a map, so that they are merged like one.
fn as_map(name: &Key, value: &Node) -> Node {
    let Kind::List(items) = &value.kind else {
        return value.clone();
    };
    let pair = |item: &Node| match &item.kind {
        Kind::String(text) => {
            let (name, text) = text.split_once('=')?;
            Some((key(name, item.span), string(item.span, text)))
        }
        _ => None,
    };
    let pairs: Option<Vec<_>> = items.iter().map(pair).collect();
    match pairs {
        Some(pairs) if name.name == "env" => Node {
            span: value.span,
            kind: Kind::Map(pairs),
        },
        _ => value.clone(),
    }
}
