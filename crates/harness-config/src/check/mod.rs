//! Checks that need more than one service: references, dependencies and their conditions, cycles, ports, unused
//! networks.

mod conditions;
mod cycles;
mod names;
mod references;
mod unused;

use std::collections::BTreeMap;

use harness_model::spec::Dependency;
use harness_model::{ServiceName, ServiceSpec};

use crate::lower::DraftProject;
use crate::read::Context;
use crate::source::Span;

pub(crate) use conditions::{Checked, default_condition};
pub(crate) use cycles::{find_cycle, ordering_edges};

/// The explicit and implied dependencies of the active services, and where each is written.
pub(crate) type Dependencies = BTreeMap<ServiceName, Vec<(Dependency, Span)>>;

/// Checks the services against each other.
pub(crate) fn check(context: &Context<'_>, project: &DraftProject) -> Dependencies {
    references::check(context, project);
    let dependencies = conditions::resolve(context, project);
    cycles::check(context, &dependencies);
    unused::networks(context, project);
    unused::ports(context, project);
    names::check(context, project);
    dependencies
}

/// Puts dependencies into the specs they belong to.
pub(crate) fn assign(services: &mut BTreeMap<ServiceName, ServiceSpec>, dependencies: Dependencies) {
    for (name, list) in dependencies {
        if let Some(spec) = services.get_mut(&name) {
            spec.dependencies = list.into_iter().map(|(dependency, _)| dependency).collect();
        }
    }
}
