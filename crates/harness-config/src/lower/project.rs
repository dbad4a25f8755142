//! Reads the file as a whole.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{NetworkName, ProjectName, ServiceName};

use super::compose::{self, Entry, Group};
use super::service::Surroundings;
use super::{DraftDependency, DraftNetwork, DraftProject, DraftService, network, policy, service};
use crate::check::Checked;
use crate::diagnostics::Finding;
use crate::env_file::is_variable_name;
use crate::fields::Fields;
use crate::keys::PROJECT;
use crate::read::{Context, Reader};
use crate::tree::{Kind, Node};

/// Reads a merged tree.
pub(crate) fn lower_project(
    context: &Context<'_>,
    profiles: &BTreeSet<String>,
    tree: &Node,
) -> Option<DraftProject> {
    let reader = Reader {
        context,
        service: None,
        active: true,
    };
    let fields = Fields::open(reader, &PROJECT, tree)?;
    fields.check_keys("a services.yaml", tree.span, None);
    version(&fields);
    for name in fields.texts("secrets") {
        if !is_variable_name(&name.value) {
            reader.report(
                Finding::error(name.span, "this is not the name of a variable")
                    .help("list names; the values come from the environment"),
            );
        }
    }
    let settings = policy::settings(reader, fields.get("settings"));
    let mut networks = networks(&fields);
    let mut named = Vec::new();
    for (key, node) in fields.pairs("services") {
        match ServiceName::new(&key.name) {
            Ok(name) => named.push(Entry {
                name,
                span: key.span,
                node,
            }),
            Err(error) => reader.report(Finding::error(key.span, error.to_string())),
        }
    }
    let (composed, own): (Vec<_>, Vec<_>) = named
        .into_iter()
        .partition(|entry| compose::is_compose(entry.node));
    let expanded = compose::expand(reader, profiles, &composed, &mut networks);
    let around = Surroundings {
        context,
        profiles,
        settings: &settings,
        networks: &networks,
    };
    let mut services: BTreeMap<ServiceName, DraftService> = BTreeMap::new();
    for entry in own {
        let draft = service::lower(&around, &entry.name, entry.span, entry.node, None);
        services.insert(entry.name, draft);
    }
    for instance in expanded.instances {
        if let Some(other) = services.get(&instance.name) {
            compose::refuse_clash(reader, &instance, other.name_span);
            continue;
        }
        let draft = service::lower(
            &around,
            &instance.name,
            instance.span,
            &instance.node,
            Some(instance.extras),
        );
        services.insert(instance.name, draft);
    }
    for (name, span) in expanded.lost {
        services.entry(name).or_insert_with(|| DraftService {
            // It is not known which conditions it can meet, so allow all of them.
            checked: Checked::Written,
            oneshot: true,
            ..DraftService::unknown(span)
        });
    }
    for draft in services.values_mut() {
        name_members(draft, &expanded.groups);
    }
    Some(DraftProject {
        name: name(&fields),
        description: fields.text("description").map(|text| text.value),
        networks,
        services,
        groups: expanded.groups,
    })
}

/// Replaces names of groups with their members. A member that is also written by its own name keeps that dependency.
fn name_members(draft: &mut DraftService, groups: &BTreeMap<ServiceName, Group>) {
    let written = std::mem::take(&mut draft.dependencies);
    let mut named: BTreeSet<String> = written
        .iter()
        .map(|dependency| dependency.service.clone())
        .collect();
    for dependency in written {
        let Some(group) = groups.get(dependency.service.as_str()) else {
            draft.dependencies.push(dependency);
            continue;
        };
        for member in &group.members {
            if named.insert(member.to_string()) {
                draft.dependencies.push(DraftDependency {
                    service: member.to_string(),
                    of_group: true,
                    ..dependency.clone()
                });
            }
        }
    }
}

fn version(fields: &Fields<'_>) {
    let Some(node) = fields.get("version") else { return };
    let good = matches!(&node.kind, Kind::String(text) | Kind::Number(text) if text == "1.0");
    if !good {
        let found = match &node.kind {
            Kind::String(text) | Kind::Number(text) => format!("version `{text}`"),
            _ => node.describe(),
        };
        fields.reader.report(
            Finding::error(node.span, format!("{found} of the file format is not known"))
                .help("the version is \"1.0\""),
        );
    }
}

/// The name that the files give their project.
pub(crate) fn name(fields: &Fields<'_>) -> Option<ProjectName> {
    let text = fields.text("name")?;
    match ProjectName::new(&text.value) {
        Ok(name) => Some(name),
        Err(error) => {
            let nearest = ProjectName::from_lossy(&text.value);
            fields
                .reader
                .report(Finding::error(text.span, error.to_string()).help(format!("use `{nearest}`")));
            None
        }
    }
}

fn networks(fields: &Fields<'_>) -> BTreeMap<NetworkName, DraftNetwork> {
    let mut out = BTreeMap::from([(NetworkName::local(), DraftNetwork::implied())]);
    for (key, node) in fields.pairs("networks") {
        match NetworkName::new(&key.name) {
            Ok(name) => {
                out.insert(name, network::lower(fields.reader, &key.name, key.span, node));
            }
            Err(error) => fields.reader.report(Finding::error(key.span, error.to_string())),
        }
    }
    out
}
