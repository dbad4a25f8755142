//! `start` and `restart`: start services and wait until they are ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures_lite::{FutureExt, future};
use harness_model::spec::{Condition, Probe};
use harness_model::{ProjectSpec, ServiceName, WallTime};
use harness_wire::message::{ErrorBody, Event, Response, ServiceOutcome, StartReport, StartRequest};
use harness_wire::server::Responder;
use service_orchestration::actor::{Operation, OrderError, StartOrder};
use service_orchestration::executor::OrderLink;
use service_orchestration::health::LogMatcher;
use service_orchestration::machine::{OperationOutcome, Outcome};
use service_registry::record::ServiceRecord;

use super::select::Beginning;
use super::stream::{self, Followed, superseded};
use super::{Answer, Context, failure, invalid, targets};
use crate::selection::Starting;
use crate::{convert, looks};

pub(super) async fn start(
    context: &Context,
    request: StartRequest,
    restart: bool,
    responder: &Responder,
) -> Answer {
    let (began, since) = (WallTime::steady(), Instant::now());
    let project = request.project.name.clone();
    let detach = request.detach || request.dry_run;
    let order = order(context, request, restart).await?;
    let operation = ordered(context, order, responder)
        .await
        .map_err(|error| context.refusal(&project, &error))?;
    if detach {
        stream::tell(responder, Event::Plan(convert::plan(&operation.steps))).await;
        if let Some(id) = operation.id {
            context.orchestrator.abandon(&project, id).await;
        }
        return Ok(Response::Start(report(context, &operation, None, since).await));
    }
    let outcome = Followed::new(context, &operation, began)
        .until_finished(responder)
        .await?;
    if outcome.outcome == Outcome::Superseded {
        return Err(superseded(if restart { "restart" } else { "start" }));
    }
    Ok(Response::Start(
        report(context, &operation, Some(&outcome), since).await,
    ))
}

/// Makes the order for a request.
///
/// # Errors
/// When a name is not a service, a pattern exceeds the limits, or the project's name is taken.
pub(super) async fn order(
    context: &Context,
    request: StartRequest,
    restart: bool,
) -> Result<StartOrder, ErrorBody> {
    let targets = targets(&request)?;
    check_patterns(&request.project).await?;
    let (starting, _) = context
        .starting(Beginning {
            name: &request.project.name,
            file: &request.project.source,
            folder: &request.project.base_dir,
            from: None,
            named: request.project_named,
        })
        .await?;
    let (earlier_files, folder) = (
        context.earlier_files(&request.project).await,
        looks::folder(&request.project.base_dir).await,
    );
    Ok(StartOrder {
        project: request.project,
        targets,
        no_deps: request.no_deps,
        restart,
        prune: request.prune,
        dry_run: request.dry_run,
        rollback: request.rollback_on_failure,
        // Whether the project belongs to another file was checked just now.
        take_over: starting != Starting::Again,
        earlier_files,
        folder,
        environment: request.environment,
        umask: request.umask,
        link: OrderLink::default(),
    })
}

/// Gives the order to the orchestrator, and reports what is fetched before there is a plan. If the client goes away
/// before that, the order is dropped.
pub(super) async fn ordered(
    context: &Context,
    order: StartOrder,
    responder: &Responder,
) -> Result<Operation, OrderError> {
    let (link, heard) = OrderLink::new();
    let order = StartOrder {
        link: link.clone(),
        ..order
    };
    let telling = async {
        while let Ok((service, doing)) = heard.recv().await {
            stream::tell(
                responder,
                Event::Preparing {
                    service,
                    doing: doing.into(),
                },
            )
            .await;
        }
        future::pending().await
    };
    let giving_up = async {
        responder.cancelled().await;
        link.give_up();
        future::pending().await
    };
    // If the plan was made just before that, it is carried out all the same.
    let planned = context.orchestrator.start(order);
    planned.or(giving_up).or(telling).await
}

/// Refuses patterns that exceed their limits. A client may not have read them from a file that was checked.
async fn check_patterns(project: &ProjectSpec) -> Result<(), ErrorBody> {
    let mut seen = BTreeSet::new();
    for (name, spec) in &project.services {
        let of_check = spec.health_check.iter().filter_map(|check| match &check.probe {
            Probe::Log(pattern) => Some(pattern),
            _ => check.http.body.as_ref(),
        });
        let awaited = spec.dependencies.iter().filter_map(|d| match &d.condition {
            Condition::Log(pattern) => Some(pattern),
            _ => None,
        });
        for pattern in of_check.chain(awaited).filter(|pattern| seen.insert(*pattern)) {
            let compiled = LogMatcher::compile(pattern).await;
            compiled.map_err(|error| invalid(format!("{name}: {error}")))?;
        }
    }
    Ok(())
}

/// The services to start, with groups replaced by their services. `None`: all. Misspelt names are refused before
/// anything else happens, with a suggestion from the file.
fn targets(request: &StartRequest) -> Result<Option<BTreeSet<ServiceName>>, ErrorBody> {
    if request.services.is_empty() {
        return Ok(None);
    }
    let project = &request.project;
    for name in &request.services {
        targets::refuse_unchosen(name, project)?;
    }
    let known = project.services.keys().collect();
    targets::several(&request.services, &known, &project.groups).map(Some)
}

/// The report about a start: its result, or its current state.
pub(super) async fn report(
    context: &Context,
    operation: &Operation,
    outcome: Option<&OperationOutcome>,
    since: Instant,
) -> StartReport {
    let now = WallTime::steady();
    let project = &operation.project;
    let records: BTreeMap<ServiceName, Arc<ServiceRecord>> = context
        .registry
        .services(project)
        .into_iter()
        .map(|r| (r.name.clone(), r))
        .collect();
    let none = BTreeMap::new();
    let timings = outcome.map_or(&none, |outcome| &outcome.timings);
    let services = operation
        .steps
        .iter()
        .filter_map(|step| {
            let record = records.get(&step.service)?;
            let timing = timings.get(&step.service);
            let ready_after = timing.and_then(|t| Some(t.done?.since(t.launched?)));
            Some(ServiceOutcome {
                view: convert::view(record, now),
                change: convert::change(step.change, &step.differences),
                ready: record.ready,
                ready_after_ms: ready_after.map(convert::millis),
            })
        })
        .collect();
    let failures = match outcome.map(|outcome| &outcome.outcome) {
        Some(Outcome::Failed(roots)) => failure::failures(context, project, roots).await,
        _ => Vec::new(),
    };
    StartReport {
        project: project.clone(),
        services,
        failures,
        critical_path: convert::critical_path(timings, &records),
        not_in_file: operation.not_in_file.clone(),
        elapsed_ms: convert::millis(since.elapsed()),
    }
}
