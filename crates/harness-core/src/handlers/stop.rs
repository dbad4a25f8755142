//! `stop`: take services down, dependents first.

use std::collections::BTreeSet;

use harness_model::WallTime;
use harness_wire::message::{ErrorBody, ErrorCode, Response, StopReport, StopRequest};
use harness_wire::server::Responder;
use service_orchestration::actor::StopOrder;
use service_orchestration::machine::{Change, Outcome};
use service_orchestration::words::chain;

use super::stream::Followed;
use super::{Answer, Context, failure, invalid};
use crate::convert;

pub(super) async fn stop(context: &Context, request: StopRequest, responder: &Responder) -> Answer {
    if request.services.is_empty() && !request.all {
        return Err(invalid("stop needs the names of services, or `all`"));
    }
    if request.volumes && !request.all {
        return Err(invalid("`volumes` needs `all`: they belong to the whole project"));
    }
    let project = context.select(&request.project)?;
    // Those of stopped services that are not in the file any more are forgotten with the stop.
    let types = context.registry.services(&project.name);
    let types: BTreeSet<_> = types
        .iter()
        .map(|service| service.spec.kind.type_name())
        .collect();
    let named = context.services(&project.name, &request.services)?;
    let targets: Option<BTreeSet<_>> =
        (!request.all).then(|| named.iter().map(|record| record.name.clone()).collect());
    let began = WallTime::now();
    let operation = context
        .orchestrator
        .stop(StopOrder {
            project: project.name.clone(),
            targets,
        })
        .await
        .map_err(|error| context.refusal(&project.name, &error))?;
    let (mut stopped, mut already) = (Vec::new(), Vec::new());
    for step in &operation.steps {
        let list = if step.change == Change::Stop {
            &mut stopped
        } else {
            &mut already
        };
        list.push(step.service.clone());
    }
    let outcome = Followed::new(context, &operation, began)
        .until_finished(responder)
        .await?;
    let failures = match &outcome.outcome {
        Outcome::Done => Vec::new(),
        Outcome::Failed(roots) => failure::failures(context, &project.name, roots).await,
        Outcome::Superseded => return Err(super::stream::superseded("stop")),
    };
    let volumes = if request.volumes && failures.is_empty() {
        let removed = context.orchestrator.remove_volumes(&project.name, &types).await;
        removed.map_err(|error| ErrorBody {
            code: ErrorCode::Internal,
            message: format!(
                "everything is stopped, but not every volume is removed: {}",
                chain(&error)
            ),
            hint: None,
        })?
    } else {
        Vec::new()
    };
    Ok(Response::Stop(StopReport {
        project: project.name.clone(),
        stopped,
        already,
        failures,
        volumes: volumes.into_iter().map(Into::into).collect(),
        elapsed_ms: convert::millis(WallTime::now().since(began)),
    }))
}
