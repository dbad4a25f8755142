//! The file as a whole.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{NetworkName, ProjectName, ServiceName};

use super::service::Surroundings;
use super::{DraftNetwork, DraftProject, network, policy, service};
use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::PROJECT;
use crate::read::{Context, Reader};
use crate::tree::{Kind, Node};
use crate::variables::is_variable_name;

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
    let networks = networks(&fields);
    let around = Surroundings {
        context,
        profiles,
        settings: &settings,
        networks: &networks,
    };
    let mut services = BTreeMap::new();
    for (key, node) in fields.pairs("services") {
        match ServiceName::new(&key.name) {
            Ok(name) => {
                let draft = service::lower(&around, &name, key.span, node);
                services.insert(name, draft);
            }
            Err(error) => reader.report(Finding::error(key.span, error.to_string())),
        }
    }
    Some(DraftProject {
        name: name(&fields),
        description: fields.text("description").map(|text| text.value),
        networks,
        services,
    })
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

fn name(fields: &Fields<'_>) -> Option<ProjectName> {
    let text = fields.text("name")?;
    match ProjectName::new(&text.value) {
        Ok(name) => Some(name),
        Err(error) => {
            let nearest = ProjectName::from_lossy(&text.value);
            fields
                .reader
                .report(Finding::error(text.span, error.to_string()).help(format!("`{nearest}` would do")));
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
