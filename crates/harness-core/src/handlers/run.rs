//! `run`: keeps services up as long as the caller wants them.
//!
//! ```text
//! start ──▶ started ──▶ kept up ──▶ stop ──▶ response
//!   │                      │          ▲
//!   └─ fails ──────────────┴──────────┤
//!      the client closes stdin, cancels, is interrupted, dies
//! ```
//!
//! However it ends, the daemon stops the services that the start began, because a client that was killed can no
//! longer ask for it.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_lite::FutureExt;
use harness_model::{ServiceName, WallTime};
use harness_wire::message::{ErrorBody, Event, Response, StartRequest};
use harness_wire::server::{Input, Responder};
use service_orchestration::actor::{Operation, StopOrder};
use service_orchestration::machine::{Change, Outcome};

use super::stream::{Followed, superseded, tell};
use super::{Answer, Context, start, stop};

pub(super) async fn run(context: &Context, request: StartRequest, responder: &Responder) -> Answer {
    let (began, since) = (WallTime::steady(), Instant::now());
    let project = request.project.name.clone();
    let order = start::order(context, request, false).await?;
    let operation = start::ordered(context, order, responder)
        .await
        .map_err(|error| context.refusal(&project, &error))?;
    let kept = async {
        let outcome = Followed::new(context, &operation, began)
            .until_finished(responder)
            .await?;
        if outcome.outcome == Outcome::Superseded {
            return Err(superseded("run"));
        }
        let report = start::report(context, &operation, Some(&outcome), since).await;
        tell(responder, Event::Started(Box::new(report))).await;
        futures_lite::future::pending().await
    };
    let let_go = async {
        until_let_go(responder).await;
        Ok(())
    };
    let ended = kept.or(let_go).await;
    if let Some(id) = operation.id {
        context.orchestrator.abandon(&project, id).await;
    }
    let stopped = stop_begun(context, &operation, responder).await;
    ended.and(stopped)
}

/// Waits until the client no longer wants the services, or is gone.
async fn until_let_go(responder: &Responder) {
    let mut inputs = responder.input();
    while let Some(input) = inputs.next().await {
        if input == Input::CloseStdin {
            return;
        }
    }
}

/// Stops the services that this start began, whether or not the client still listens.
async fn stop_begun(context: &Context, started: &Operation, responder: &Responder) -> Answer {
    let (began, since) = (WallTime::steady(), Instant::now());
    let steps = started.steps.iter();
    let begun = steps.filter(|step| step.change == Change::Start);
    let targets: BTreeSet<ServiceName> = begun.map(|step| step.service.clone()).collect();
    let project = &started.project;
    let refused = |error| -> ErrorBody { context.refusal(project, &error) };
    let operation = context
        .orchestrator
        .stop(StopOrder {
            project: project.clone(),
            targets: Some(targets),
        })
        .await
        .map_err(refused)?;
    let outcome = Followed::new(context, &operation, began)
        .until_finished_regardless(responder)
        .await?;
    if outcome.outcome == Outcome::Superseded {
        return Err(superseded("stop"));
    }
    let report = stop::report(context, &operation, &outcome, since).await;
    if responder.stop().is_some() {
        let (project, stopped) = (project.as_str(), report.stopped.len());
        tracing::info!(
            project,
            stopped,
            "the client of a `run` is gone; stopped the services that it had started"
        );
    }
    Ok(Response::Stop(report))
}
