//! Finds the services of a project that a request names.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness_model::{ProjectName, ServiceName};
use harness_wire::message::ErrorBody;
use service_orchestration::actor::OrderError;
use service_registry::record::ServiceRecord;

use super::{Context, targets};
use crate::convert;

impl Context {
    /// The services of a project that a request names. The name of a group stands for its services. All services if
    /// it names none.
    pub(super) fn services(
        &self,
        project: &ProjectName,
        named: &[ServiceName],
    ) -> Result<Vec<Arc<ServiceRecord>>, ErrorBody> {
        let mut records = self.registry.services(project);
        if !named.is_empty() {
            let known = records.iter().map(|record| &record.name).collect();
            let meant = targets::several(named, &known, &self.groups(project))?;
            records.retain(|record| meant.contains(&record.name));
        }
        Ok(records)
    }

    /// One service of a project.
    pub(super) fn service(
        &self,
        project: &ProjectName,
        service: &ServiceName,
    ) -> Result<Arc<ServiceRecord>, ErrorBody> {
        self.registry.service(project, service).ok_or_else(|| {
            let records = self.registry.services(project);
            let known = records.iter().map(|record| &record.name).collect();
            targets::not_one(service, &known, &self.groups(project))
        })
    }

    /// Whether the names include a service, directly or through a group.
    pub(super) fn means(&self, project: &ProjectName, named: &[ServiceName], service: &ServiceName) -> bool {
        named.contains(service)
            || self.registry.project(project).is_some_and(|project| {
                let mut groups = named.iter().filter_map(|name| project.spec.groups.get(name));
                groups.any(|members| members.contains(service))
            })
    }

    /// The groups of a project, from its file as it was at the last start.
    pub(super) fn groups(&self, project: &ProjectName) -> targets::Groups {
        let project = self.registry.project(project);
        project.map_or_else(BTreeMap::new, |project| project.spec.groups.clone())
    }

    /// Turns a refusal of the orchestrator into an error with suggestions.
    pub(super) fn refusal(&self, project: &ProjectName, error: &OrderError) -> ErrorBody {
        let services: Vec<ServiceName> = self
            .registry
            .services(project)
            .iter()
            .map(|record| record.name.clone())
            .collect();
        let projects: Vec<ProjectName> = self.registry.projects().iter().map(|p| p.name.clone()).collect();
        convert::order_error(error, &services, &projects)
    }
}
