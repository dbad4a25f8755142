//! Which processes exist, and which descends from which.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::identity::Stat;

/// The pids of all processes.
pub(crate) fn pids() -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        all.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(all)
}

/// All processes, zombies included, as they were one after the other.
pub(crate) fn snapshot() -> io::Result<Vec<Stat>> {
    // Gone since, or not to be read: then it is not ours.
    let stats = pids()?.into_iter().filter_map(|pid| Stat::read(pid).ok());
    Ok(stats.collect())
}

/// The descendants of `roots` in a snapshot, without the roots.
pub(super) fn descendants_in(all: &[Stat], roots: impl IntoIterator<Item = u32>) -> Vec<Stat> {
    let mut children: BTreeMap<u32, Vec<&Stat>> = BTreeMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(stat);
    }
    let mut found = Vec::new();
    let mut queue: Vec<u32> = roots.into_iter().collect();
    while let Some(parent) = queue.pop() {
        // Remove it, so that a snapshot with reused pids cannot form a circle.
        for child in children.remove(&parent).unwrap_or_default() {
            found.push(*child);
            queue.push(child.pid);
        }
    }
    found
}

/// How many times a family is listed at most, until two listings agree.
const LISTINGS: usize = 5;

/// The descendants of a process, including zombies, but without the process itself. This follows the kernel's lists
/// of children, so its cost depends on the size of the family and not on how many processes the machine runs.
/// Otherwise a thousand services that stop at once would each read all of `/proc`.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn family_of(root: u32) -> io::Result<Vec<Stat>> {
    let mut before = None;
    for _ in 0..LISTINGS {
        let Some(family) = list_family(root) else {
            return Ok(descendants_in(&snapshot()?, [root]));
        };
        // If a child ends while the list is read, it can hide the one after it, but hardly twice.
        if before.as_ref() == Some(&family) {
            break;
        }
        before = Some(family);
    }
    Ok(before.unwrap_or_default())
}

/// `None` if the kernel has no lists of children.
fn list_family(root: u32) -> Option<Vec<Stat>> {
    let mut found: BTreeMap<u32, Stat> = BTreeMap::new();
    let mut queue = vec![root];
    while let Some(parent) = queue.pop() {
        let children = match children_of(parent) {
            Ok(children) => children,
            Err(_) if parent == root => return None,
            // It is gone. Its children now belong to another process on the list.
            Err(_) => continue,
        };
        for child in children {
            if let Ok(stat) = Stat::read(child)
                && found.insert(child, stat).is_none()
            {
                queue.push(child);
            }
        }
    }
    Some(found.into_values().collect())
}

/// The children of all threads of a process.
fn children_of(pid: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(
            text.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Ok(children)
}
