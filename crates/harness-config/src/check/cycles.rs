//! Finds cycles in the dependencies.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::ServiceName;
use harness_model::spec::{Condition, Dependency};

use super::Dependencies;
use crate::diagnostics::Finding;
use crate::read::Context;

/// Which service waits for which. A dependency with `condition: none` does not wait, so it is left out.
pub(crate) fn ordering_edges<'a>(
    services: impl Iterator<Item = (&'a ServiceName, &'a Dependency)>,
) -> BTreeMap<&'a ServiceName, Vec<&'a ServiceName>> {
    let mut out: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, dependency) in services {
        if dependency.condition != Condition::None {
            out.entry(name).or_default().push(&dependency.service);
        }
    }
    out
}

/// Reports each cycle once, with its whole path, at the place where its first service names the second.
pub(super) fn check(context: &Context<'_>, dependencies: &Dependencies) {
    let all = dependencies
        .iter()
        .flat_map(|(name, list)| list.iter().map(move |(dependency, _)| (name, dependency)));
    let mut edges = ordering_edges(all);
    while let Some(cycle) = find_cycle(&edges) {
        let path: Vec<&str> = cycle
            .iter()
            .chain(cycle.first())
            .map(|name| name.as_str())
            .collect();
        let span_of = |from: &ServiceName, to: &ServiceName| {
            dependencies
                .get(from)
                .and_then(|list| list.iter().find(|(dependency, _)| dependency.service == *to))
                .map(|(_, span)| *span)
        };
        let mut spans = (0..cycle.len()).filter_map(|at| {
            let (from, to) = (cycle[at], cycle[(at + 1) % cycle.len()]);
            Some((span_of(from, to)?, format!("`{from}` needs `{to}`")))
        });
        if let Some((first, _)) = spans.next() {
            let mut finding = Finding::error(first, format!("dependency cycle: {}", path.join(" -> ")))
                .help("remove one of these dependencies; `condition: none` uses only the address");
            for (span, label) in spans {
                finding = finding.related(span, label);
            }
            context.report(finding);
        }
        // The other services may have another cycle.
        let found: BTreeSet<&ServiceName> = cycle.into_iter().collect();
        edges.retain(|name, _| !found.contains(name));
    }
}

/// Finds a cycle. It begins with the service that is first in the order of names.
pub(crate) fn find_cycle<'a>(
    edges: &BTreeMap<&'a ServiceName, Vec<&'a ServiceName>>,
) -> Option<Vec<&'a ServiceName>> {
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    for start in edges.keys() {
        // The path from `start` to the current service, each with the next edge to follow. Not recursive, because a
        // file may have a chain of thousands.
        let mut path: Vec<(&'a ServiceName, usize)> = vec![(start, 0)];
        let mut on_path: BTreeSet<&ServiceName> = BTreeSet::from([*start]);
        while let Some((name, next)) = path.last_mut() {
            let follow = edges.get(*name).and_then(|list| list.get(*next)).copied();
            *next += 1;
            match follow {
                None => {
                    done.insert(name);
                    on_path.remove(*name);
                    path.pop();
                }
                Some(to) if on_path.contains(to) => {
                    let from = path.iter().position(|(name, _)| *name == to).unwrap_or(0);
                    let mut cycle: Vec<&ServiceName> = path[from..].iter().map(|(name, _)| *name).collect();
                    let first = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
                    cycle.rotate_left(first);
                    return Some(cycle);
                }
                Some(to) if done.contains(to) => {}
                Some(to) => {
                    on_path.insert(to);
                    path.push((to, 0));
                }
            }
        }
    }
    None
}
