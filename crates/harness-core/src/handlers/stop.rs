//! `stop`: stops services, dependents first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use harness_model::{ServiceName, WallTime};
use harness_wire::message::{ErrorBody, ErrorCode, Response, StopReport, StopRequest};
use harness_wire::server::Responder;
use service_orchestration::actor::{Operation, PlannedChange, StopOrder};
use service_orchestration::machine::{Change, OperationOutcome, Outcome, Timing};
use service_orchestration::words::chain;

use super::stream::Followed;
use super::{Answer, Context, failure, invalid};
use crate::convert;

pub(super) async fn stop(context: &Context, request: StopRequest, responder: &Responder) -> Answer {
    if request.services.is_empty() && !request.all {
        return Err(invalid("stop needs the names of services, or `all`"));
    }
    if request.volumes && !request.all {
        return Err(invalid(
            "`volumes` needs `all`, because volumes belong to the whole project",
        ));
    }
    let project = context.changed(&request.project).await?;
    // Collect the types now: the stop forgets stopped services that are no longer in the file.
    let types = context.registry.services(&project.name);
    let types: BTreeSet<String> = types
        .iter()
        .map(|service| service.spec.type_name().to_owned())
        .collect();
    let named = context.services(&project.name, &request.services)?;
    let targets: Option<BTreeSet<_>> =
        (!request.all).then(|| named.iter().map(|record| record.name.clone()).collect());
    let (began, since) = (WallTime::steady(), Instant::now());
    let operation = context
        .orchestrator
        .stop(StopOrder {
            project: project.name.clone(),
            targets,
        })
        .await
        .map_err(|error| context.refusal(&project.name, &error))?;
    let outcome = Followed::new(context, &operation, began)
        .until_finished(responder)
        .await?;
    if outcome.outcome == Outcome::Superseded {
        return Err(super::stream::superseded("stop"));
    }
    let mut report = report(context, &operation, &outcome, since).await;
    if request.volumes && report.failures.is_empty() {
        let removed = context.orchestrator.remove_kept(&project.name, &types).await;
        let removed = removed.map_err(|error| ErrorBody {
            code: ErrorCode::Internal,
            message: format!(
                "everything is stopped, but not every volume is removed: {}",
                chain(&error)
            ),
            hint: None,
        })?;
        report.volumes = removed.into_iter().map(Into::into).collect();
        report.elapsed_ms = convert::millis(since.elapsed());
    }
    Ok(Response::Stop(report))
}

/// The report about a stop.
pub(super) async fn report(
    context: &Context,
    operation: &Operation,
    outcome: &OperationOutcome,
    since: Instant,
) -> StopReport {
    let failures = match &outcome.outcome {
        Outcome::Failed(roots) => failure::failures(context, &operation.project, roots).await,
        Outcome::Done | Outcome::Superseded => Vec::new(),
    };
    let idle = operation.steps.iter().filter(|step| step.change != Change::Stop);
    StopReport {
        project: operation.project.clone(),
        stopped: stopped(operation, outcome),
        already: idle.map(|step| step.service.clone()).collect(),
        failures,
        volumes: Vec::new(),
        elapsed_ms: convert::millis(since.elapsed()),
    }
}

/// The services that an operation has stopped.
pub(super) fn stopped(operation: &Operation, outcome: &OperationOutcome) -> Vec<ServiceName> {
    gone(&operation.steps, &outcome.timings)
}

fn gone(steps: &[PlannedChange], timings: &BTreeMap<ServiceName, Timing>) -> Vec<ServiceName> {
    let gone = |name: &ServiceName| timings.get(name).is_some_and(|timing| timing.done.is_some());
    steps
        .iter()
        .filter(|step| step.change == Change::Stop && gone(&step.service))
        .map(|step| step.service.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use service_orchestration::machine::Time;

    use super::*;

    #[test]
    fn only_what_is_gone_counts_as_stopped() {
        let name = |text: &str| ServiceName::new(text).unwrap();
        let all = [
            ("api", Change::Stop, true),
            ("stuck", Change::Stop, false),
            ("waits", Change::Stop, false),
            ("idle", Change::Unchanged, true),
        ];
        let steps = all.map(|(service, change, _)| PlannedChange {
            service: name(service),
            change,
            differences: Vec::new(),
            after: Vec::new(),
        });
        let timings = all.map(|(service, change, done)| {
            let timing = Timing {
                change,
                launched: None,
                done: done.then(Time::default),
            };
            (name(service), timing)
        });
        assert_eq!(gone(&steps, &timings.into()), [name("api")]);
    }
}
