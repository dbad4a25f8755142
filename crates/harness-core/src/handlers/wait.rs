//! `wait`: waits until services are in a state, whatever brings them there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use async_io::Timer;
use futures_lite::FutureExt;
use futures_lite::future::pending;
use harness_model::{ServiceName, ServiceState, WallTime};
use harness_wire::message::{Change, Event, Response, StatusReport, WaitFor, WaitRequest};
use harness_wire::server::Responder;
use service_orchestration::machine::CONTACT_TIMEOUT;
use service_registry::Item;
use service_registry::record::ServiceRecord;

use super::{Answer, Context, not_reached, stream};
use crate::convert;

pub(super) async fn wait(context: &Context, request: &WaitRequest, responder: &Responder) -> Answer {
    let project = context.changed(&request.project).await?;
    let began = WallTime::steady();
    // Subscribe first, so that no change is missed between looking and waiting.
    let mut changes = context.registry.changes().subscribe(None);
    let mut patience = None;
    // First report all services, then those that changed.
    let mut news: Option<BTreeSet<ServiceName>> = None;
    let reached = async {
        loop {
            let mut records = context.services(&project.name, &request.services)?;
            // A service of a profile that is not chosen is waited for only while it is wanted, or if the request
            // names it.
            let unchosen = context
                .registry
                .project(&project.name)
                .map_or_else(BTreeSet::new, |project| project.unchosen());
            records.retain(|record| {
                record.wanted || !unchosen.contains(&record.name) || request.services.contains(&record.name)
            });
            let all = records.iter().all(|record| holds(record, request.until));
            // Answer also when a service will never reach the state. Its state in the answer says so.
            if all || records.iter().any(|record| never(context, record, request.until)) {
                let now = WallTime::steady();
                let view = |record: &Arc<ServiceRecord>| convert::view(record, now);
                let services = records.iter().map(view).collect();
                return Ok(Response::Status(StatusReport {
                    project: project.name.clone(),
                    services,
                    groups: context.groups(&project.name),
                }));
            }
            let unreached = records
                .iter()
                .filter(|record| !holds(record, request.until))
                .find_map(|record| unreached(context, record));
            patience = unreached
                .as_ref()
                .map(|_| patience.unwrap_or_else(out_of_patience));
            if let (Some(record), Some(until)) = (&unreached, patience)
                && until <= Instant::now()
            {
                return Err(not_reached(record));
            }
            let tell = |record: &&Arc<ServiceRecord>| {
                !holds(record, request.until) && news.as_ref().is_none_or(|news| news.contains(&record.name))
            };
            for record in records.iter().filter(tell) {
                let progress = convert::progress(record, Change::Unchanged, began, WallTime::steady());
                stream::tell(responder, Event::Progress(progress)).await;
            }
            let change = async { Some(changes.next().await) };
            let over = async {
                match patience {
                    Some(until) => Timer::at(until).await,
                    None => pending().await,
                };
                None
            };
            let mut item = change.or(over).await;
            let mut changed = Some(BTreeSet::new());
            while let Some(next) = item {
                match next {
                    Item::Change(change) if change.project == project.name => {
                        if let Some(changed) = &mut changed {
                            changed.extend(change.service.clone());
                        }
                    }
                    Item::Change(_) => {}
                    Item::Missed(_) => changed = None,
                }
                item = changes.try_next();
            }
            news = changed;
        }
    };
    let cancelled = async {
        responder.cancelled().await;
        Err(stream::cancelled())
    };
    reached.or(cancelled).await
}

fn out_of_patience() -> Instant {
    Instant::now() + CONTACT_TIMEOUT
}

/// What cannot be reached: the service itself, or one that it waits for.
fn unreached(context: &Context, record: &Arc<ServiceRecord>) -> Option<Arc<ServiceRecord>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![Arc::clone(record)];
    while let Some(record) = open.pop() {
        if record.is_unreached {
            return Some(record);
        }
        for waiting in &record.waiting {
            if seen.insert(waiting.service.clone()) {
                open.extend(context.registry.service(&record.project, &waiting.service));
            }
        }
    }
    None
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

/// Whether only another command could still bring the service to this state.
fn never(context: &Context, record: &ServiceRecord, until: WaitFor) -> bool {
    if until == WaitFor::Stopped {
        return false;
    }
    // A service that waits for one that never gets there never gets there either.
    let mut seen = BTreeSet::new();
    let mut open = vec![(record.name.clone(), until)];
    while let Some((name, until)) = open.pop() {
        let Some(record) = context.registry.service(&record.project, &name) else {
            continue;
        };
        match record.state {
            ServiceState::Failed | ServiceState::Stopped => return true,
            ServiceState::Completed if until == WaitFor::Ready && !record.ready => return true,
            ServiceState::Pending if seen.insert(name) => {
                open.extend(
                    record
                        .waiting
                        .iter()
                        .map(|waiting| (waiting.service.clone(), WaitFor::Completed)),
                );
            }
            _ => {}
        }
    }
    false
}
