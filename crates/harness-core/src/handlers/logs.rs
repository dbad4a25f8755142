//! `logs`: the output of services, from all their generations, merged in the order of time.

use std::sync::Arc;

use futures_lite::FutureExt;
use harness_wire::message::{Channel, Event, LogLine, LogsRequest, Response};
use harness_wire::server::{Responder, SendError};
use service_orchestration::health::LogMatcher;
use service_orchestration::logs::{self, LogItem, LogQuery};
use service_orchestration::words::chain;

use super::{Answer, Client, Context, internal, invalid, stream};

/// The size of a frame of lines, in bytes. If a client does not read, a few frames stay in memory.
const FRAME: usize = 64 << 10;

pub(super) async fn logs(
    context: &Arc<Context>,
    request: LogsRequest,
    responder: &Responder,
    client: &Client,
) -> Answer {
    let project = context.looked_at(&request.project).await?.name.clone();
    let services = context.services(&project, &request.services)?;
    // Held until the last line is sent, because the compiled pattern is kept that long.
    let _place = match &request.grep {
        Some(_) => Some(client.search()?),
        None => None,
    };
    let query = LogQuery {
        follow: request.follow,
        tail: request.tail,
        since: request.since,
        until: request.until,
        grep: match &request.grep {
            Some(pattern) => {
                let matcher = LogMatcher::compile(pattern).await;
                Some(matcher.map_err(|error| invalid(error.to_string()))?)
            }
            None => None,
        },
    };
    let redactors = {
        let (context, project) = (Arc::clone(context), project.clone());
        Arc::new(move || context.redactor(&project))
    };
    let (mut lines, reading) = logs::open(
        context.layout.clone(),
        context.registry.changes(),
        project,
        services.iter().map(|record| record.name.clone()),
        request.services.is_empty(),
        query,
        redactors,
    );
    let pump = async {
        loop {
            match lines.next(FRAME).await {
                Ok(Some(items)) => send(items, responder).await.map_err(|_| stream::cancelled())?,
                Ok(None) => return Ok(Response::Done {}),
                Err(error) => return Err(internal(chain(&error))),
            }
        }
    };
    let reading = async {
        reading.await;
        Err(internal("lost the logs"))
    };
    let cancelled = async {
        responder.cancelled().await;
        Err(stream::cancelled())
    };
    pump.or(reading).or(cancelled).await
}

/// Sends lines and gaps in their order, in as few frames as possible.
async fn send(items: Vec<LogItem>, responder: &Responder) -> Result<(), SendError> {
    let mut frame = Vec::new();
    for item in items {
        match item {
            LogItem::Line(line) => {
                LogLine {
                    time: line.time,
                    generation: line.generation,
                    stderr: line.stderr,
                    partial: line.partial,
                    service: line.service,
                    text: line.text,
                }
                .encode_into(&mut frame);
                if frame.len() >= FRAME {
                    responder.data(Channel::Log, &frame).await?;
                    frame.clear();
                }
            }
            LogItem::Gap { service, lines } => {
                if !frame.is_empty() {
                    responder.data(Channel::Log, &frame).await?;
                    frame.clear();
                }
                responder.event(Event::LogGap { service, lines }).await?;
            }
        }
    }
    if !frame.is_empty() {
        responder.data(Channel::Log, &frame).await?;
    }
    Ok(())
}
