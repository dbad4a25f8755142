//! `attach`: the streams of a running service from now on, until it ends or the client detaches.

use std::sync::Arc;

use futures_lite::FutureExt;
use harness_wire::message::{AttachRequest, Channel, ErrorBody, ErrorCode, Event, ExecResult, Response};
use harness_wire::server::{Input, Inputs, Responder, SendError};
use service_orchestration::executor::Instance;
use service_orchestration::logs::{LiveOutput, Output};
use service_orchestration::machine::Ended;
use service_orchestration::words::chain;

use super::exec::not_running;
use super::{Answer, Context, internal, stream};

pub(super) async fn attach(context: &Context, request: AttachRequest, responder: &Responder) -> Answer {
    let project = context.changed(&request.project).await?;
    let record = context.service(&project.name, &request.service)?;
    let place = context
        .orchestrator
        .place(&project.name, &request.service)
        .await
        .map_err(|error| context.refusal(&project.name, &error))?;
    let Some(instance) = place.instance else {
        return Err(not_running(&record));
    };
    let spec = &place.order.spec;
    if request.stdin && !spec.stdin && !spec.tty {
        return Err(ErrorBody {
            code: ErrorCode::Invalid,
            message: format!("{} has no stdin: add \"stdin: true\"", record.name),
            hint: Some(format!("harness attach --no-stdin {}", record.name)),
        });
    }
    let mut output = LiveOutput::open(&place.order.run_dir, &context.redactor(&project.name))
        .await
        .map_err(|error| internal(chain(&error)))?;
    if let Some(size) = request.terminal.filter(|_| spec.tty) {
        instance.resize(size.columns, size.rows).await;
    }
    responder
        .event(Event::Opened {})
        .await
        .map_err(|_| stream::cancelled())?;
    let pump = async {
        loop {
            let sent = match output.next().await {
                Ok(Some(Output::Stdout(bytes))) => responder.data(Channel::Stdout, &bytes).await,
                Ok(Some(Output::Stderr(bytes))) => responder.data(Channel::Stderr, &bytes).await,
                Ok(Some(Output::Gap { lines })) => {
                    let service = record.name.clone();
                    responder.event(Event::LogGap { service, lines }).await
                }
                Ok(None) => return ended(instance.as_ref(), record.name.as_str()).await,
                Err(error) => return Err(internal(chain(&error))),
            };
            match sent {
                Ok(()) => {}
                Err(SendError::Cancelled | SendError::Disconnected) => return Ok(detached()),
                Err(error) => return Err(internal(chain(&error))),
            }
        }
    };
    let feed = async {
        feed(responder.input(), &instance, spec.tty).await;
        // Output continues without more input.
        futures_lite::future::pending().await
    };
    let cancelled = async {
        responder.cancelled().await;
        Ok(detached())
    };
    pump.or(feed).or(cancelled).await
}

/// The client detached; the service keeps running.
fn detached() -> Response {
    Response::Exec(ExecResult { exit: None })
}

/// The answer when the output is over: how the service ended.
async fn ended(instance: &dyn Instance, name: &str) -> Answer {
    match instance.wait().await {
        Ended::Exit(exit)
        | Ended::OutOfMemory(exit)
        | Ended::Unsupervised(exit)
        | Ended::Background { exit, .. } => Ok(Response::Exec(ExecResult { exit: Some(exit) })),
        Ended::Lost(reason) => Err(internal(format!("lost {name}: {reason}"))),
        Ended::Rebooted => Err(internal(format!("the machine of {name} was rebooted"))),
        Ended::SupervisorDied => Err(internal(format!("the supervisor of {name} died"))),
    }
}

/// Passes the client's input to the service. Credit limits the speed: more is asked for only when the service has
/// read.
async fn feed(mut inputs: Inputs, instance: &Arc<dyn Instance>, tty: bool) {
    let mut open = true;
    while let Some(input) = inputs.next().await {
        match input {
            Input::Stdin(bytes) if open => {
                if let Err(error) = instance.write_stdin(&bytes).await {
                    tracing::debug!(error = chain(&error), "stdin is closed");
                    open = false;
                }
            }
            Input::Stdin(_) => {}
            Input::CloseStdin => {
                instance.close_stdin().await;
                open = false;
            }
            Input::Resize(size) if tty => instance.resize(size.columns, size.rows).await,
            Input::Resize(_) => {}
            Input::Signal(signal) => {
                if let Err(error) = instance.signal(signal).await {
                    tracing::debug!(error = chain(&error), "cannot signal");
                }
            }
        }
    }
}
