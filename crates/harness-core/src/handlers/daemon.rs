//! `daemon status`, `daemon stop`, and the list of projects.

use harness_model::WallTime;
use harness_wire::message::{DaemonStatus, DaemonStopRequest, ErrorBody, ProjectSummary, Response};
use harness_wire::server::Responder;
use service_orchestration::actor::{Operation, OperationEvent, StopOrder};
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
        damaged_stores: context.home.damaged_stores(),
        projects: projects(context),
    }))
}

/// Prepares the end of the daemon; the end itself comes after the answer has been sent. Once begun it is carried
/// out, even if its client goes away.
pub(super) async fn stop(context: &Context, request: &DaemonStopRequest, responder: &Responder) -> Answer {
    if request.services {
        for operation in stop_every_service(context).await? {
            let outcome = Followed::new(context, &operation, WallTime::now())
                .until_finished_regardless(responder)
                .await?;
            if outcome.outcome != Outcome::Done {
                return Err(not_stopped(&operation.project));
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

/// Begins to stop every service of every project.
async fn stop_every_service(context: &Context) -> Result<Vec<Operation>, ErrorBody> {
    let mut operations = Vec::new();
    for project in context.registry.projects() {
        let order = StopOrder {
            project: project.name.clone(),
            targets: None,
        };
        let operation = context.orchestrator.stop(order).await;
        operations.push(operation.map_err(|error| context.refusal(&project.name, &error))?);
    }
    Ok(operations)
}

/// Stops every service without a client, as well as that can be done.
pub(crate) async fn stop_services(context: &Context) {
    let operations = match stop_every_service(context).await {
        Ok(operations) => operations,
        Err(error) => return tracing::error!(error = error.message, "services cannot be stopped"),
    };
    for operation in operations {
        while let Ok(event) = operation.events.recv().await {
            if let OperationEvent::Finished(outcome) = event {
                let project = operation.project.as_str();
                tracing::info!(project, outcome = ?outcome.outcome, "its services were stopped");
                break;
            }
        }
    }
}

fn not_stopped(project: &harness_model::ProjectName) -> ErrorBody {
    ErrorBody {
        hint: Some(format!("harness status -p {project}")),
        ..internal(format!(
            "not everything of `{project}` could be stopped; the daemon goes on"
        ))
    }
}
