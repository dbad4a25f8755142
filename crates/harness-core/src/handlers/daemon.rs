//! `daemon status` and `daemon stop`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use harness_model::{ProjectName, ServiceName, WallTime};
use harness_wire::message::{
    DaemonStatus, DaemonStopReport, DaemonStopRequest, ErrorBody, Response, StoppedServices, Successor,
};
use harness_wire::server::Responder;
use service_orchestration::actor::{Operation, OperationEvent, StopOrder};
use service_orchestration::machine::Outcome;
use service_orchestration::words::chain;

use super::stream::Followed;
use super::{Answer, Context, internal, invalid, project};
use crate::background;

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
        projects: project::projects(context),
    }))
}

/// Prepares the end of the daemon. The daemon ends after the answer has been sent. Once begun, this is completed even
/// if the client goes away.
pub(super) async fn stop(context: &Context, request: &DaemonStopRequest, responder: &Responder) -> Answer {
    if let Some(successor) = &request.successor {
        background::check(successor).map_err(|error| invalid(chain(&error)))?;
    }
    let answer = if request.services {
        Response::DaemonStop(services_stopped(context, responder).await?)
    } else {
        Response::Done {}
    };
    context
        .registry
        .flush()
        .await
        .map_err(|error| internal(chain(&error)))?;
    *lock(&context.successor) = request.successor.clone();
    Ok(answer)
}

/// Stops every service of every project, and reports which services were stopped.
async fn services_stopped(context: &Context, responder: &Responder) -> Result<DaemonStopReport, ErrorBody> {
    let mut stopped: BTreeMap<ProjectName, BTreeSet<ServiceName>> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    for operation in stop_every_service(context).await? {
        let outcome = Followed::new(context, &operation, WallTime::steady())
            .until_finished_regardless(responder)
            .await?;
        if outcome.outcome != Outcome::Done {
            failed.insert(operation.project.clone());
        }
        let services = super::stop::stopped(&operation, &outcome);
        stopped
            .entry(operation.project.clone())
            .or_default()
            .extend(services);
    }
    let stopped = stopped.into_iter().filter(|(_, services)| !services.is_empty());
    let report = DaemonStopReport {
        stopped: stopped
            .map(|(project, services)| StoppedServices {
                project,
                services: services.into_iter().collect(),
            })
            .collect(),
    };
    if failed.is_empty() {
        Ok(report)
    } else {
        Err(not_stopped(&failed))
    }
}

/// Starts to stop every service of every project.
async fn stop_every_service(context: &Context) -> Result<Vec<Operation>, ErrorBody> {
    // A daemon that was started to stop services has begun already.
    let mut operations = context.orchestrator.begun().await;
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

/// Stops every service without a client, as far as possible.
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

fn not_stopped(projects: &BTreeSet<ProjectName>) -> ErrorBody {
    let names: Vec<String> = projects.iter().map(|project| format!("`{project}`")).collect();
    ErrorBody {
        hint: projects
            .first()
            .map(|project| format!("harness status -p {project}")),
        ..internal(format!(
            "not every service of {} could be stopped; the daemon keeps running",
            names.join(", ")
        ))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The daemon that is to take over from this one.
pub(crate) fn successor(context: &Context) -> Option<Successor> {
    lock(&context.successor).take()
}
