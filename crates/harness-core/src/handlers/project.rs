//! `project list` and `project forget`.

use std::sync::Arc;

use harness_wire::message::{ProjectForgetRequest, ProjectForgotten, ProjectSummary, Response};
use service_orchestration::actor::OrderError;
use service_registry::ProjectRecord;

use super::{Answer, Context};
use crate::convert;

pub(super) fn projects(context: &Context) -> Vec<ProjectSummary> {
    let registry = &context.registry;
    let summary =
        |project: &Arc<ProjectRecord>| convert::project_summary(project, &registry.services(&project.name));
    registry.projects().iter().map(summary).collect()
}

/// Once begun, this is completed even if the client goes away.
pub(super) async fn forget(context: &Context, request: ProjectForgetRequest) -> Answer {
    let project = request.project;
    match context.orchestrator.forget_project(&project).await {
        Ok(forgotten) => Ok(Response::ProjectForgotten(ProjectForgotten {
            project,
            services: forgotten.services,
            removed: forgotten.folder,
        })),
        // The project is unknown already, which is what was wanted.
        Err(OrderError::NoSuchProject(_)) => Ok(Response::Done {}),
        Err(error) => Err(context.refusal(&project, &error)),
    }
}
