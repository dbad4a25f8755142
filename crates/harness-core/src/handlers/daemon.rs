//! `daemon status`, `daemon stop`, and the list of projects.

use harness_model::WallTime;
use harness_wire::message::{DaemonStatus, DaemonStopRequest, ErrorBody, ProjectSummary, Response};
use harness_wire::server::Responder;
use service_orchestration::actor::StopOrder;
use service_orchestration::machine::Outcome;
use service_orchestration::words::chain;

use super::stream::Followed;
use super::{Answer, Context, internal};
use crate::convert;

pub(super) fn projects(context: &Context) -> Vec<ProjectSummary> {
    let registry = &context.registry;
    let summary = |project: &std::sync::Arc<service_registry::ProjectRecord>| {
        convert::project_summary(project, &registry.services(&project.name))
    };
    registry.projects().iter().map(summary).collect()
}

pub(super) fn status(context: &Context) -> Answer {
    let certificate_expires_at = context
        .tls
        .server_certificate_expiry()
        .map_err(|error| internal(chain(&error)))?;
    Ok(Response::DaemonStatus(DaemonStatus {
        pid: context.info.pid,
        port: context.info.port,
        version: context.info.version.clone(),
        home: context.home.path().to_owned(),
        started_at: context.info.started_at,
        certificate_expires_at,
        projects: projects(context),
    }))
}

/// Prepares the end of the daemon; the end itself comes after the answer has been sent.
pub(super) async fn stop(context: &Context, request: &DaemonStopRequest, responder: &Responder) -> Answer {
    if request.services {
        for project in context.registry.projects() {
            let order = StopOrder {
                project: project.name.clone(),
                targets: None,
            };
            let operation = context
                .orchestrator
                .stop(order)
                .await
                .map_err(|error| context.refusal(&project.name, &error))?;
            let outcome = Followed::new(context, &operation, WallTime::now())
                .until_finished(responder)
                .await?;
            if outcome.outcome != Outcome::Done {
                return Err(not_stopped(&project.name));
            }
        }
    }
    context
        .registry
        .flush()
        .await
        .map_err(|error| internal(chain(&error)))?;
    Ok(Response::Done {})
}

fn not_stopped(project: &harness_model::ProjectName) -> ErrorBody {
    ErrorBody {
        hint: Some(format!("harness status -p {project}")),
        ..internal(format!(
            "not everything of `{project}` could be stopped; the daemon goes on"
        ))
    }
}
