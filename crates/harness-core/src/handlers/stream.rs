//! Follows an operation to its end, and sends its progress as events.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_lite::FutureExt;
use harness_model::{ServiceName, WallTime};
use harness_wire::message::{Change, ErrorBody, ErrorCode, Event, Progress};
use harness_wire::server::Responder;
use service_orchestration::actor::{Operation, OperationEvent};
use service_orchestration::machine::OperationOutcome;
use service_orchestration::words::chain;

use super::Context;
use crate::convert;

/// How long to wait for a client that does not read, where the operation must continue.
const PATIENCE: Duration = Duration::from_secs(2);

/// An operation that is followed.
pub(super) struct Followed<'a> {
    context: &'a Context,
    operation: &'a Operation,
    changes: BTreeMap<&'a ServiceName, Change>,
    began: WallTime,
}

impl<'a> Followed<'a> {
    pub(super) fn new(context: &'a Context, operation: &'a Operation, began: WallTime) -> Self {
        let changes = operation
            .steps
            .iter()
            .map(|step| (&step.service, convert::change(step.change, &step.differences)))
            .collect();
        Self {
            context,
            operation,
            changes,
            began,
        }
    }

    /// Sends the plan, then the progress of each step, until the operation has finished or the client cancels.
    pub(super) async fn until_finished(&self, responder: &Responder) -> Result<OperationOutcome, ErrorBody> {
        let follow = async {
            tell(responder, Event::Plan(convert::plan(&self.operation.steps))).await;
            for name in self.changes.keys() {
                self.send(responder, name).await;
            }
            while let Ok(event) = self.operation.events.recv().await {
                match event {
                    OperationEvent::Changed(service) => self.send(responder, &service).await,
                    OperationEvent::Finished(outcome) => {
                        for name in self.changes.keys() {
                            self.send(responder, name).await;
                        }
                        return Ok(outcome);
                    }
                }
            }
            Err(shutting_down())
        };
        let cancelled = async {
            responder.cancelled().await;
            if let Some(id) = self.operation.id {
                self.context
                    .orchestrator
                    .abandon(&self.operation.project, id)
                    .await;
            }
            Err(cancelled())
        };
        follow.or(cancelled).await
    }

    /// The same for an operation that is completed even if its client goes away, stops reading, or cancels.
    pub(super) async fn until_finished_regardless(
        &self,
        responder: &Responder,
    ) -> Result<OperationOutcome, ErrorBody> {
        let mut listens = true;
        let plan = tell(responder, Event::Plan(convert::plan(&self.operation.steps)));
        patiently(plan, &mut listens).await;
        loop {
            match self.operation.events.recv().await {
                Ok(OperationEvent::Finished(outcome)) => return Ok(outcome),
                Ok(OperationEvent::Changed(service)) if listens => {
                    patiently(self.send(responder, &service), &mut listens).await;
                }
                Ok(OperationEvent::Changed(_)) => {}
                Err(_) => return Err(shutting_down()),
            }
        }
    }

    async fn send(&self, responder: &Responder, service: &ServiceName) {
        if let Some(progress) = self.progress(service) {
            tell(responder, Event::Progress(progress)).await;
        }
    }

    fn progress(&self, service: &ServiceName) -> Option<Progress> {
        let change = self.changes.get(service)?.clone();
        let record = self.context.registry.service(&self.operation.project, service)?;
        Some(convert::progress(&record, change, self.began, WallTime::steady()))
    }
}

/// Sends something, and notes whether the client still reads.
async fn patiently(send: impl Future<Output = ()>, listens: &mut bool) {
    let sent = async {
        send.await;
        true
    };
    let expired = async {
        async_io::Timer::after(PATIENCE).await;
        false
    };
    *listens = sent.or(expired).await;
}

fn shutting_down() -> ErrorBody {
    ErrorBody {
        code: ErrorCode::ShuttingDown,
        message: "the daemon is shutting down; the next daemon continues this".to_owned(),
        hint: None,
    }
}

/// Sends an event. If it cannot be sent, the client is gone, which shows again when the answer is sent.
pub(super) async fn tell(responder: &Responder, event: Event) {
    if let Err(error) = responder.event(event).await {
        tracing::debug!(error = chain(&error), "an event did not reach its client");
    }
}

/// The error for a request that the client cancelled.
pub(super) fn cancelled() -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Cancelled,
        message: "cancelled; what was begun continues".to_owned(),
        hint: None,
    }
}

/// The error for an operation that another one replaced.
pub(super) fn superseded(verb: &str) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Cancelled,
        message: format!("another command took over the services of this {verb}"),
        hint: Some("harness status".to_owned()),
    }
}
