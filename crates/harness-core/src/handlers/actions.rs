//! Calls registered actions.

use futures_lite::FutureExt;
use harness_wire::message::{ActionCall, ErrorBody, ErrorCode, Event, Response};
use harness_wire::server::Responder;
use service_orchestration::words::chain;

use super::{Answer, Context, stream};
use crate::action::ActionError;

/// How many events of an action may wait for a slow caller before the action itself waits.
const EVENTS_QUEUED: usize = 64;

pub(super) async fn call(context: &Context, call: ActionCall, responder: &Responder) -> Answer {
    let (sender, events) = async_channel::bounded(EVENTS_QUEUED);
    let action_context = context.action_context();
    let work = async {
        let output = context
            .actions
            .call(&action_context, &call.name, call.input, sender)
            .await;
        output.map(Response::Action).map_err(refusal)
    };
    let forward = async {
        while let Ok(event) = events.recv().await {
            stream::tell(responder, Event::Action(event)).await;
        }
        futures_lite::future::pending().await
    };
    let cancelled = async {
        responder.cancelled().await;
        Err(stream::cancelled())
    };
    let answer = work.or(forward).or(cancelled).await;
    while let Ok(event) = events.try_recv() {
        stream::tell(responder, Event::Action(event)).await;
    }
    answer
}

fn refusal(error: ActionError) -> ErrorBody {
    let code = match &error {
        ActionError::Unknown(_) | ActionError::Input { .. } => ErrorCode::Invalid,
        ActionError::Output { .. } | ActionError::Failed { .. } => ErrorCode::Internal,
    };
    ErrorBody {
        code,
        message: chain(&error),
        hint: None,
    }
}
