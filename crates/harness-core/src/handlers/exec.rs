//! `exec`: a command that runs where a service runs, with its streams.

use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::FutureExt;
use harness_wire::message::{Channel, ErrorBody, ErrorCode, Event, ExecRequest, ExecResult, Response};
use harness_wire::server::{Input, Inputs, Responder};
use service_orchestration::executor::{
    CommandFailure, LaunchError, PlaceCommand, Session, SessionEvent, SessionStdin,
};
use service_orchestration::machine::CONTACT_TIMEOUT;
use service_orchestration::words::chain;
use service_registry::record::ServiceRecord;

use super::{Answer, Context, internal, invalid, not_reached, stream};

pub(super) async fn exec(context: &Context, request: ExecRequest, responder: &Responder) -> Answer {
    if request.command.is_empty() {
        return Err(invalid("exec needs a command"));
    }
    let project = context.changed(&request.project).await?;
    let record = context.service(&project.name, &request.service)?;
    let place = context
        .orchestrator
        .place(&project.name, &request.service)
        .await
        .map_err(|error| context.refusal(&project.name, &error))?;
    if place.instance.is_none() && !record.is_unreached {
        return Err(not_running(&record));
    }
    let command = PlaceCommand {
        words: request.command,
        env: request.env,
        user: request.user,
        working_dir: request.working_dir,
        terminal: request.terminal.map(|size| (size.columns, size.rows)),
        stdin: request.stdin,
    };
    let opened = async { Some(place.executor.exec(&place.order, &command).await) };
    let late = async {
        Timer::after(CONTACT_TIMEOUT).await;
        None
    };
    let mut session = match opened.or(late).await {
        Some(opened) => opened.map_err(|error| refused(&error))?,
        None => return Err(not_reached(&record)),
    };
    responder
        .event(Event::Opened {})
        .await
        .map_err(|_| stream::cancelled())?;
    let stdin = session.take_stdin();
    let (sender, controls) = async_channel::bounded(16);
    let pump = pump(session.as_mut(), &controls, responder);
    let feed = async {
        feed(responder.input(), stdin, &sender).await;
        // The command continues without more input.
        futures_lite::future::pending().await
    };
    let cancelled = async {
        responder.cancelled().await;
        Err(stream::cancelled())
    };
    // Dropping the session kills the command, because nobody is left who could see or end it.
    pump.or(feed).or(cancelled).await
}

/// Why a command was not run. Shells tell one that is not there from one that cannot be run, and so does the client.
fn refused(error: &LaunchError) -> ErrorBody {
    let code = match error.command_failure() {
        Some(CommandFailure::NotFound) => ErrorCode::CommandNotFound,
        Some(CommandFailure::NotRunnable) => ErrorCode::CommandNotRunnable,
        None => ErrorCode::Invalid,
    };
    ErrorBody {
        code,
        ..invalid(chain(error))
    }
}

/// The error for a service that must run but does not.
pub(super) fn not_running(record: &ServiceRecord) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::NotRunning,
        message: format!("{} is {}", record.name, record.state),
        hint: Some(format!("harness start {}", record.name)),
    }
}

/// Messages to the command other than bytes.
enum Control {
    Resize(u16, u16),
    Signal(i32),
}

/// Passes output to the client and controls to the command, until the command has ended.
async fn pump(session: &mut dyn Session, controls: &Receiver<Control>, responder: &Responder) -> Answer {
    enum Next {
        Said(Option<SessionEvent>),
        Told(Control),
    }
    loop {
        let told = async {
            match controls.recv().await {
                Ok(control) => Next::Told(control),
                Err(_) => futures_lite::future::pending().await,
            }
        };
        let next = told.or(async { Next::Said(session.next().await) }).await;
        let sent = match next {
            Next::Said(Some(SessionEvent::Stdout(bytes))) => responder.data(Channel::Stdout, &bytes).await,
            Next::Said(Some(SessionEvent::Stderr(bytes))) => responder.data(Channel::Stderr, &bytes).await,
            Next::Said(Some(SessionEvent::Exited(exit))) => {
                return Ok(Response::Exec(ExecResult { exit: Some(exit) }));
            }
            Next::Said(None) => return Err(internal("lost the command")),
            Next::Told(Control::Resize(columns, rows)) => {
                if let Err(error) = session.resize(columns, rows) {
                    tracing::debug!(error = chain(&error), "cannot resize");
                }
                Ok(())
            }
            Next::Told(Control::Signal(signal)) => {
                if let Err(error) = session.signal(signal) {
                    tracing::debug!(error = chain(&error), "cannot signal");
                }
                Ok(())
            }
        };
        sent.map_err(|_| stream::cancelled())?;
    }
}

/// Passes the client's input to the command. Credit limits the speed: more is asked for only when the command has
/// read.
async fn feed(mut inputs: Inputs, mut stdin: Option<Box<dyn SessionStdin>>, controls: &Sender<Control>) {
    while let Some(input) = inputs.next().await {
        match input {
            Input::Stdin(bytes) => {
                let gone = match stdin.as_mut() {
                    Some(stdin) => stdin.write(&bytes).await.is_err(),
                    None => false,
                };
                if gone {
                    stdin = None;
                }
            }
            Input::CloseStdin => stdin = None,
            Input::Resize(size) => {
                // A command that has ended needs no more controls.
                let _ = controls.send(Control::Resize(size.columns, size.rows)).await;
            }
            Input::Signal(signal) => {
                let _ = controls.send(Control::Signal(signal)).await;
            }
        }
    }
}
