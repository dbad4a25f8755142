//! `events`: changes in the registry, past ones and those from now on.

use futures_lite::FutureExt;
use harness_wire::message::{Event, EventsRequest, Response};
use harness_wire::server::Responder;
use service_registry::{Change, Item};

use super::{Answer, Context, stream};
use crate::convert;

pub(super) async fn events(context: &Context, request: &EventsRequest, responder: &Responder) -> Answer {
    let project = match &request.project {
        Some(selector) => Some(context.looked_at(selector).await?.name.clone()),
        None => None,
    };
    if let Some(project) = &project {
        // Refuses misspelt names, with a suggestion.
        context.services(project, &request.services)?;
    }
    let asked = |change: &Change| {
        project.as_ref().is_none_or(|project| change.project == *project)
            && (request.services.is_empty()
                || change
                    .service
                    .as_ref()
                    .is_some_and(|service| context.means(&change.project, &request.services, service)))
            && request.since.is_none_or(|since| change.time >= since)
    };
    let mut subscription = context.registry.changes().subscribe(Some(0));
    let follow = async {
        loop {
            let item = if request.follow {
                subscription.next().await
            } else {
                match subscription.try_next() {
                    Some(item) => item,
                    None => return Ok(Response::Done {}),
                }
            };
            match item {
                Item::Change(change) if asked(&change) => {
                    let event = convert::change_event(&change);
                    stream::tell(responder, Event::Change(event)).await;
                }
                Item::Change(_) => {}
                Item::Missed(count) => stream::tell(responder, Event::Missed(count)).await,
            }
        }
    };
    let cancelled = async {
        responder.cancelled().await;
        Err(stream::cancelled())
    };
    follow.or(cancelled).await
}
