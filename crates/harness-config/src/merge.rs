//! Merges several files into one, and finds keys that are written twice in one file.

use std::collections::HashMap;

use crate::diagnostics::Finding;
use crate::tree::{Kind, Node};

/// Merges one file over another: maps are merged deeply, scalars and lists are replaced. No map may have a key twice.
pub(crate) fn merge(base: &mut Node, over: Node) {
    if let Kind::Map(entries) = &mut base.kind
        && let Kind::Map(others) = over.kind
    {
        let places: HashMap<String, usize> = entries
            .iter()
            .enumerate()
            .map(|(at, (key, _))| (key.name.clone(), at))
            .collect();
        for (key, value) in others {
            match places.get(&key.name).and_then(|at| entries.get_mut(*at)) {
                Some((_, existing)) => merge(existing, value),
                None => entries.push((key, value)),
            }
        }
    } else {
        *base = over;
    }
}

/// Reports keys that are written twice in the same map, with both places, and keeps the first.
pub(crate) fn refuse_duplicates(node: &mut Node, findings: &mut Vec<Finding>) {
    match &mut node.kind {
        Kind::List(items) => items
            .iter_mut()
            .for_each(|item| refuse_duplicates(item, findings)),
        Kind::Map(entries) => {
            let mut kept: Vec<(crate::tree::Key, Node)> = Vec::with_capacity(entries.len());
            let mut seen = HashMap::new();
            for (key, mut value) in std::mem::take(entries) {
                refuse_duplicates(&mut value, findings);
                if let Some(first) = seen.get(&key.name) {
                    findings.push(
                        Finding::error(key.span, format!("`{}` is written twice", key.name))
                            .related(*first, "first written here"),
                    );
                } else {
                    seen.insert(key.name.clone(), key.span);
                    kept.push((key, value));
                }
            }
            *entries = kept;
        }
        _ => {}
    }
}
