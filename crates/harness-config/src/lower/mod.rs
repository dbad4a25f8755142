//! Turns the merged tree into specifications, with one module per part of the file. A module reports mistakes and
//! continues with the rest, so that one mistake never hides another.

mod compose;
mod dependencies;
mod health;
mod kinds;
mod network;
mod paths;
mod place;
mod policy;
mod ports;
mod project;
mod service;
mod settings;

use std::collections::BTreeMap;

use harness_model::spec::{Condition, Place, PortSpec};
use harness_model::{NetworkName, ProjectName, ServiceName, ServiceSpec};

pub(crate) use compose::{Group, is_compose};
pub(crate) use network::DraftNetwork;
pub(crate) use project::{lower_project, name as project_name};

use crate::check::Checked;
use crate::source::Span;

/// A project before its services are checked against each other.
pub(crate) struct DraftProject {
    pub name: Option<ProjectName>,
    pub description: Option<String>,
    pub networks: BTreeMap<NetworkName, DraftNetwork>,
    pub services: BTreeMap<ServiceName, DraftService>,
    /// Names that stand for several of the services.
    pub groups: BTreeMap<ServiceName, Group>,
}

/// A service, as far as it is known without looking at other services.
pub(crate) struct DraftService {
    pub name_span: Span,
    /// Whether it belongs to the chosen profiles.
    pub active: bool,
    pub profiles: Vec<String>,
    pub checked: Checked,
    /// Whether its image may declare ports that the file does not.
    pub is_container: bool,
    pub oneshot: bool,
    pub network: Option<NetworkName>,
    pub place: Place,
    pub ports: Vec<DraftPort>,
    /// Ports of a container that are not published.
    pub exposed: Vec<u16>,
    pub dependencies: Vec<DraftDependency>,
    /// `None` when something in it is wrong.
    pub spec: Option<ServiceSpec>,
}

/// A port and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct DraftPort {
    pub spec: PortSpec,
    pub span: Span,
}

/// An entry of `dependencies`.
#[derive(Debug, Clone)]
pub(crate) struct DraftDependency {
    pub service: String,
    pub span: Span,
    /// The condition as written. `None`: the default for the target.
    pub condition: Option<Condition>,
    pub restart: bool,
    pub required: bool,
    /// Whether it was written as a group. Then members with other profiles are left out.
    pub of_group: bool,
}

impl DraftService {
    /// A service about which nothing is known yet.
    pub(crate) fn unknown(name_span: Span) -> Self {
        Self {
            name_span,
            active: true,
            profiles: Vec::new(),
            checked: Checked::No,
            is_container: false,
            oneshot: false,
            network: None,
            place: Place::Here,
            ports: Vec::new(),
            exposed: Vec::new(),
            dependencies: Vec::new(),
            spec: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::keys::SECTIONS;
    use crate::read::Context;
    use crate::source::Sources;
    use crate::variables::Variables;

    /// A file in which every section is written somewhere.
    const EVERYTHING: &str = "\
settings: {logs: {}}
networks: {n: {type: lan, nodes: [{host: h}]}}
services:
  p:
    type: process
    files: [{template: t, target: t}]
    ports: [{port: 1}]
    dependencies: [{service: d}]
    health_check: {}
    restart: {policy: always}
    logs: {}
    hooks: {after_stop: {command: x}}
    limits: {}
  d: {type: docker, resources: {}, build: {}}
  c: {type: compose}
  k: {type: package, network: n}
";

    #[test]
    fn every_key_of_the_table_is_read() {
        let sources = Sources::default();
        let file = sources.add("f.yaml".into(), "/".into(), EVERYTHING.into());
        let tree = crate::tree::parse(&sources, file, &mut Vec::new()).unwrap();
        let variables = Variables::default();
        let context = Context::new(&sources, &variables, None);
        super::lower_project(&context, &BTreeSet::new(), &tree).unwrap();
        let asked = context.asked.take();
        let table: BTreeSet<_> = SECTIONS
            .iter()
            .flat_map(|section| section.keys.iter().map(|key| (section.name, key.name)))
            .collect();
        let unread: Vec<_> = table.difference(&asked).collect();
        assert!(unread.is_empty(), "{unread:?}");
    }
}
