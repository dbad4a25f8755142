//! Which project, and which of its services, a request means.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use harness_model::{ProjectName, ServiceName};
use harness_wire::message::{ErrorBody, ErrorCode, ProjectSelector};
use service_orchestration::actor::OrderError;
use service_registry::record::{ProjectRecord, ServiceRecord};

use super::{Context, targets};
use crate::convert;

impl Context {
    /// The project that a selector means.
    pub(super) fn select(&self, selector: &ProjectSelector) -> Result<Arc<ProjectRecord>, ErrorBody> {
        let projects = self.registry.projects();
        let none = |message: String, hint: Option<String>| ErrorBody {
            code: ErrorCode::NoSuchProject(projects.iter().map(|p| p.name.clone()).collect()),
            message,
            hint,
        };
        match selector {
            ProjectSelector::Named(name) => self
                .registry
                .project(name)
                .ok_or_else(|| none(format!("there is no project `{name}`"), known(&projects))),
            ProjectSelector::Near { config, directory } => {
                match near(&projects, config.as_deref(), directory) {
                    Near::One(project) => Ok(project),
                    Near::Several => Err(none(
                        "several projects could be meant".to_owned(),
                        Some(format!("say which with -p: {}", names(&projects))),
                    )),
                    Near::None if projects.is_empty() => Err(none(
                        "no project has been started".to_owned(),
                        Some("harness start".to_owned()),
                    )),
                    Near::None => Err(none(
                        format!(
                            "no project was started from {}",
                            config.as_deref().unwrap_or(directory).display()
                        ),
                        known(&projects),
                    )),
                }
            }
        }
    }

    /// The services of a project that a request names, those of a group by its name; all when it names none.
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

    /// Whether names mean a service, by itself or by a group.
    pub(super) fn means(&self, project: &ProjectName, named: &[ServiceName], service: &ServiceName) -> bool {
        named.contains(service)
            || self.registry.project(project).is_some_and(|project| {
                let mut groups = named.iter().filter_map(|name| project.spec.groups.get(name));
                groups.any(|members| members.contains(service))
            })
    }

    /// The groups of a project, by its file as it was when it was last started.
    pub(super) fn groups(&self, project: &ProjectName) -> targets::Groups {
        let project = self.registry.project(project);
        project.map_or_else(BTreeMap::new, |project| project.spec.groups.clone())
    }

    /// A refusal of the orchestrator, with what could have been meant.
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

enum Near {
    One(Arc<ProjectRecord>),
    Several,
    None,
}

/// The project started from the file; else one from a file in this folder or above, the nearest first; else the
/// only one.
fn near(projects: &[Arc<ProjectRecord>], config: Option<&Path>, directory: &Path) -> Near {
    let from =
        |path: &Path| -> Vec<&Arc<ProjectRecord>> { projects.iter().filter(|p| p.source == path).collect() };
    if let Some(config) = config {
        match from(config).as_slice() {
            [one] => return Near::One(Arc::clone(one)),
            [] => {}
            _ => return Near::Several,
        }
    }
    for folder in directory.ancestors() {
        let here: Vec<_> = projects
            .iter()
            .filter(|p| p.source.parent() == Some(folder))
            .collect();
        match here.as_slice() {
            [one] => return Near::One(Arc::clone(one)),
            [] => {}
            _ => return Near::Several,
        }
    }
    match projects {
        [one] => Near::One(Arc::clone(one)),
        [] => Near::None,
        _ if config.is_some() => Near::None,
        _ => Near::Several,
    }
}

fn names(projects: &[Arc<ProjectRecord>]) -> String {
    projects
        .iter()
        .map(|p| p.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn known(projects: &[Arc<ProjectRecord>]) -> Option<String> {
    (!projects.is_empty()).then(|| format!("say which with -p: {}", names(projects)))
}
