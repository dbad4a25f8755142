//! `why`: the chain of causes from a service to the root cause, with the report about the root.

use std::collections::BTreeSet;
use std::sync::Arc;

use harness_model::{Health, ServiceName, ServiceState};
use harness_wire::message::{ChangeEvent, Response, WhyReport, WhyRequest};
use service_registry::Item;
use service_registry::record::ServiceRecord;

use super::{Answer, Context, failure, service_show};
use crate::convert;

/// How many events the answer has.
const EVENTS: usize = 20;

pub(super) async fn why(context: &Context, request: &WhyRequest) -> Answer {
    let project = context.looked_at(&request.project).await?;
    let record = context.service(&project.name, &request.service)?;
    let chain = causes(context, &record);
    let root = chain.last().map_or(&record, |(_, record)| record);
    let failure = if is_bad(root) {
        let failed = failure::Failed::now(root);
        Some(failure::report(context, root, failed, blocked_by(context, root)).await)
    } else {
        None
    };
    let summary = sentence(&record).into();
    let report = WhyReport {
        service: service_show::detail(context, &record),
        summary,
        chain: chain.into_iter().map(|(line, _)| line.into()).collect(),
        failure,
        events: events(context, &record),
    };
    Ok(Response::Why(Box::new(report)))
}

/// The chain from the service to the root. Each line describes a service, which waits for the next one or fails
/// because of it.
fn causes(context: &Context, record: &Arc<ServiceRecord>) -> Vec<(String, Arc<ServiceRecord>)> {
    let mut chain = vec![(sentence(record), Arc::clone(record))];
    let mut seen = BTreeSet::from([record.name.clone()]);
    let mut at = Arc::clone(record);
    while let Some(next) = cause(context, &at).filter(|next| seen.insert(next.name.clone())) {
        chain.push((sentence(&next), Arc::clone(&next)));
        at = next;
    }
    chain
}

/// The dependency that a service waits for, or fails because of.
fn cause(context: &Context, record: &ServiceRecord) -> Option<Arc<ServiceRecord>> {
    let waits = record.waiting.iter().map(|waiting| &waiting.service);
    let needs = record
        .spec
        .dependencies
        .iter()
        .filter(|d| d.required)
        .map(|d| &d.service);
    let waited_for = waits.filter_map(|name| context.registry.service(&record.project, name));
    let suffered = needs
        .filter_map(|name| context.registry.service(&record.project, name))
        .filter(|r| is_bad(r));
    // A failed service explains more than one that only waits.
    let mut candidates: Vec<Arc<ServiceRecord>> = waited_for.chain(suffered).collect();
    candidates.sort_by_key(|record| !is_bad(record));
    candidates.into_iter().next()
}

fn is_bad(record: &ServiceRecord) -> bool {
    matches!(
        record.state,
        ServiceState::Failed | ServiceState::Restarting | ServiceState::Unknown
    ) || record.health == Health::Unhealthy
}

fn blocked_by(context: &Context, root: &ServiceRecord) -> Vec<ServiceName> {
    let records = context.registry.services(&root.project);
    let mut blocked = BTreeSet::from([root.name.clone()]);
    loop {
        let more: Vec<ServiceName> = records
            .iter()
            .filter(|r| r.state == ServiceState::Pending && !blocked.contains(&r.name))
            .filter(|r| r.waiting.iter().any(|waiting| blocked.contains(&waiting.service)))
            .map(|r| r.name.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        blocked.extend(more);
    }
    blocked.remove(&root.name);
    blocked.into_iter().collect()
}

/// The state of a service and the reason, in one sentence.
fn sentence(record: &ServiceRecord) -> String {
    let name = &record.name;
    match record.state {
        ServiceState::Pending if !record.waiting.is_empty() => {
            let waits: Vec<String> = record
                .waiting
                .iter()
                .map(|w| format!("{} to {}", w.service, w.condition))
                .collect();
            format!("{name} is pending: it waits for {}", waits.join(" and for "))
        }
        ServiceState::Running if record.health == Health::Healthy && record.error.is_none() => {
            format!("{name} is running and healthy")
        }
        ServiceState::Stopped if record.error.is_none() => format!("{name} is stopped, as requested"),
        state => {
            let health = match record.health {
                Health::None => String::new(),
                health => format!(", {health}"),
            };
            let probe = convert::probe_line(record)
                .map(|line| format!("; last probe {line}"))
                .unwrap_or_default();
            let error = record
                .error
                .as_ref()
                .map(|error| format!(": {error}"))
                .unwrap_or_default();
            format!("{name} is {state}{health}{error}{probe}")
        }
    }
}

fn events(context: &Context, record: &ServiceRecord) -> Vec<ChangeEvent> {
    let mut subscription = context.registry.changes().subscribe(Some(0));
    let mut events = Vec::new();
    while let Some(item) = subscription.try_next() {
        if let Item::Change(change) = item
            && change.project == record.project
            && change.service.as_ref() == Some(&record.name)
        {
            events.push(convert::change_event(&change));
        }
    }
    let surplus = events.len().saturating_sub(EVENTS);
    events.split_off(surplus)
}
