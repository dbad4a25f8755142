//! From the merged tree to specifications, one room per part of the file. Rooms report what is wrong and go on with
//! what is left, so that one mistake never hides another.

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

use std::collections::BTreeMap;

use harness_model::spec::{Condition, PortSpec};
use harness_model::{NetworkName, ProjectName, ServiceName, ServiceSpec};

pub(crate) use network::DraftNetwork;
pub(crate) use project::lower_project;

use crate::source::Span;

/// A project whose services have not been checked against each other.
pub(crate) struct DraftProject {
    pub name: Option<ProjectName>,
    pub description: Option<String>,
    pub networks: BTreeMap<NetworkName, DraftNetwork>,
    pub services: BTreeMap<ServiceName, DraftService>,
}

/// A service as far as it can be told without looking at others.
pub(crate) struct DraftService {
    pub name_span: Span,
    /// Whether it belongs to the chosen profiles.
    pub active: bool,
    pub profiles: Vec<String>,
    pub has_health_check: bool,
    pub oneshot: bool,
    pub network: Option<NetworkName>,
    pub host: Option<String>,
    pub ports: Vec<DraftPort>,
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
    /// As written; otherwise what the target suggests.
    pub condition: Option<Condition>,
    pub restart: bool,
    pub required: bool,
}
