//! `wait`: until services are in a state, however they get there.

use std::sync::Arc;

use futures_lite::FutureExt;
use harness_model::{ServiceState, WallTime};
use harness_wire::message::{
    Change, ErrorBody, ErrorCode, Event, Response, StatusReport, WaitFor, WaitRequest,
};
use harness_wire::server::Responder;
use service_registry::record::ServiceRecord;

use super::{Answer, Context, stream};
use crate::convert;

pub(super) async fn wait(context: &Context, request: &WaitRequest, responder: &Responder) -> Answer {
    let project = context.select(&request.project)?;
    let began = WallTime::now();
    // Subscribed first, so that nothing happens between the look and the wait.
    let mut changes = context.registry.changes().subscribe(None);
    let reached = async {
        loop {
            let records = context.services(&project.name, &request.services)?;
            if records.iter().all(|record| holds(record, request.until)) {
                let now = WallTime::now();
                let services = records.iter().map(|record| convert::view(record, now)).collect();
                return Ok(Response::Status(StatusReport {
                    project: project.name.clone(),
                    services,
                }));
            }
            if let Some(record) = records.iter().find(|record| never(record, request.until)) {
                return Err(in_vain(record, request.until));
            }
            for record in records.iter().filter(|record| !holds(record, request.until)) {
                let progress = convert::progress(record, Change::Unchanged, began, WallTime::now());
                stream::tell(responder, Event::Progress(progress)).await;
            }
            changes.next().await;
        }
    };
    let cancelled = async {
        responder.cancelled().await;
        Err(stream::cancelled())
    };
    reached.or(cancelled).await
}

fn holds(record: &Arc<ServiceRecord>, until: WaitFor) -> bool {
    match until {
        WaitFor::Ready => record.ready,
        WaitFor::Completed => record.state == ServiceState::Completed,
        WaitFor::Stopped => {
            matches!(
                record.state,
                ServiceState::Stopped | ServiceState::Completed | ServiceState::Failed
            )
        }
    }
}

/// Whether only another command could still bring it there.
fn never(record: &Arc<ServiceRecord>, until: WaitFor) -> bool {
    match until {
        WaitFor::Ready => matches!(record.state, ServiceState::Failed),
        WaitFor::Completed => record.state == ServiceState::Failed,
        WaitFor::Stopped => false,
    }
}

fn in_vain(record: &ServiceRecord, until: WaitFor) -> ErrorBody {
    let what = match until {
        WaitFor::Ready => "become ready",
        WaitFor::Completed => "complete",
        WaitFor::Stopped => "stop",
    };
    let why = record
        .error
        .clone()
        .unwrap_or_else(|| format!("it is {}", record.state));
    ErrorBody {
        code: ErrorCode::NotRunning,
        message: format!("{} will not {what}: {why}", record.name),
        hint: Some(format!("harness why {}", record.name)),
    }
}
