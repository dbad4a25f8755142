//! `type: compose`: turns the chosen services of a compose file into docker services, before anything else in them is
//! read.
//!
//! - `service: db` is one service, with the name of its entry. `services: [a, b]`, or neither key, is a group: each
//!   of its services has its name from the compose file, and the entry's name stands for all of them in
//!   `dependencies`.
//! - Services that a chosen service needs by `depends_on` are included under their own names, unless an entry has
//!   them already.
//! - The keys of an entry for one service override those of the compose file, as a second `-c` overrides the first:
//!   maps are merged, everything else is replaced. A group can have `dependencies` and `profiles`, which apply to all
//!   its services.

mod choose;
mod extras;
mod files;
mod overlay;

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{NetworkName, ServiceName};

use super::DraftNetwork;
use crate::compose::{self, ComposeFile, Strings};
use crate::diagnostics::Finding;
use crate::read::Reader;
use crate::source::Span;
use crate::tree::{Kind, Node};

pub(super) use choose::Entry;
pub(super) use extras::Extras;

use choose::{Choice, Chosen};

/// A service of a compose file, translated to the keys of a docker service.
pub(super) struct Instance {
    pub name: ServiceName,
    pub span: Span,
    pub node: Node,
    pub extras: Extras,
    /// The service that brought it in by `depends_on`, if no entry names it.
    pub brought_by: Option<ServiceName>,
}

/// The entry of a whole compose file, or of several of its services.
pub(crate) struct Group {
    pub members: Vec<ServiceName>,
}

/// The result of expanding the entries of `type: compose`.
pub(super) struct Expanded {
    pub instances: Vec<Instance>,
    pub groups: BTreeMap<ServiceName, Group>,
    /// Entries that could not be read, because something in them is wrong.
    pub lost: Vec<(ServiceName, Span)>,
}

/// Whether an entry has `type: compose`.
pub(crate) fn is_compose(node: &Node) -> bool {
    matches!(node.get("type").map(|node| &node.kind), Some(Kind::String(word)) if word == "compose")
}

/// Expands the entries, and adds the networks of their compose files.
pub(super) fn expand(
    reader: Reader<'_>,
    profiles: &BTreeSet<String>,
    entries: &[Entry<'_>],
    networks: &mut BTreeMap<NetworkName, DraftNetwork>,
) -> Expanded {
    let Choice {
        files,
        chosen,
        groups,
        lost,
    } = choose::choose(reader, entries);
    let oneshots = oneshots(&files, &chosen);
    let written = choose::profiles(&chosen, &files);
    let mut instances = Vec::new();
    for (one, profile_list) in chosen.iter().zip(written) {
        let file = &files[one.file];
        let Some(entry) = file.service(&one.service) else {
            continue;
        };
        let active = is_active(reader, profiles, profile_list.as_ref());
        let reader = Reader { active, ..reader };
        let called = |service: &str| {
            let found = choose::called(&chosen, one.file, service);
            found.map(|found| found.name.to_string())
        };
        let mut translated = compose::translate(Strings::Known(reader), file, entry, &called);
        for finding in std::mem::take(&mut translated.said) {
            reader.report(finding);
        }
        let oneshot = oneshots.contains(&(one.file, one.service.as_str()));
        let (extras, network) = Extras::of(reader, one, &translated, networks);
        let node = overlay::node(one, entry, translated, oneshot, network, profile_list);
        instances.push(Instance {
            name: one.name.clone(),
            span: one.span,
            node,
            extras,
            brought_by: one.brought_by.first().map(|by| chosen[*by].name.clone()),
        });
    }
    Expanded {
        instances,
        groups,
        lost,
    }
}

/// The services that others wait for to complete.
fn oneshots<'a>(files: &'a [ComposeFile], chosen: &'a [Chosen<'_>]) -> BTreeSet<(usize, &'a str)> {
    let mut out = BTreeSet::new();
    for one in chosen {
        for need in one.needs(files) {
            if need.condition == "completed"
                && let Some((key, _)) = files[one.file].service(&need.service.name)
            {
                out.insert((one.file, key.name.as_str()));
            }
        }
    }
    out
}

fn is_active(reader: Reader<'_>, profiles: &BTreeSet<String>, written: Option<&Node>) -> bool {
    let Some(Kind::List(items)) = written.map(|node| &node.kind) else {
        return true;
    };
    let mut names = items.iter().filter_map(|item| reader.text(item, false));
    items.is_empty() || names.any(|name| profiles.contains(&name.value))
}

/// Refuses an instance with the name of another service.
pub(super) fn refuse_clash(reader: Reader<'_>, instance: &Instance, other: Span) {
    let name = &instance.name;
    let finding = match &instance.brought_by {
        None => Finding::error(
            instance.span,
            format!("two services have the name `{name}`: this one from a compose file, and another one"),
        )
        .help("rename one of them: `NAME: {type: compose, file: …, service: …}` is one service of a compose file"),
        Some(by) => Finding::error(
            instance.span,
            format!("two services have the name `{name}`: this one, which `{by}` needs, and another one"),
        )
        .help(format!(
            "list the `dependencies` of `{by}` in its entry, or give this one an entry with another name: \
                `{{type: compose, file: …, service: {}}}`",
            name
        )),
    };
    reader.report(finding.related(other, "the other one"));
}
