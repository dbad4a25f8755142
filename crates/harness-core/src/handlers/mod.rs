//! Answers requests: one file per verb, with the name that the verb has in the CLI and on the wire.

mod actions;
mod attach;
mod client;
mod daemon;
mod env;
mod events;
mod exec;
mod failure;
mod graph;
mod logs;
mod project;
mod run;
mod select;
mod service_show;
mod services;
mod start;
mod status;
mod stop;
mod stream;
mod targets;
mod wait;
mod why;

use std::sync::{Arc, Mutex};

use async_channel::Sender;
use harness_model::{ProjectName, Redactor};
use harness_wire::message::{ErrorBody, ErrorCode, Request, Response, Successor};
use harness_wire::server::Responder;
use harness_wire::tls::TlsDir;
use service_orchestration::Orchestrator;
use service_orchestration::layout::Layout;
use service_orchestration::machine::CONTACT_TIMEOUT;
use service_orchestration::words::chain;
use service_registry::Registry;
use service_registry::record::ServiceRecord;

use crate::action::{ActionContext, Actions};
use crate::daemon_info::DaemonInfo;
use crate::home::Home;

pub(crate) use client::Client;
pub(crate) use daemon::{stop_services, successor};

/// What the handlers of a daemon share.
pub struct Context {
    /// The daemon's home.
    pub home: Home,
    /// What the daemon says about itself.
    pub info: DaemonInfo,
    /// The daemon's certificates.
    pub tls: TlsDir,
    /// Knows which service runs where.
    pub registry: Registry,
    /// Starts and stops services.
    pub orchestrator: Orchestrator,
    /// Knows where run directories are.
    pub layout: Layout,
    /// The actions that the daemon offers in addition to the verbs.
    pub actions: Actions,
    /// Asks the daemon to end.
    pub shutdown: Sender<()>,
    /// The daemon to start when this one ends, if a client asked for one.
    pub successor: Mutex<Option<Successor>>,
}

/// The answer of a verb.
type Answer = Result<Response, ErrorBody>;

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing: keep running.
    GoOn,
    /// End the daemon, once the answer has reached the client.
    EndDaemon,
}

/// Answers one request. The client always gets exactly one response.
pub(crate) async fn handle(
    context: Arc<Context>,
    request: Request,
    responder: Responder,
    client: &Client,
) -> After {
    let ends_daemon = matches!(request, Request::DaemonStop(_));
    let answer = dispatch(&context, request, &responder, client).await;
    let after = if ends_daemon && answer.is_ok() {
        After::EndDaemon
    } else {
        After::GoOn
    };
    if let Err(error) = responder.respond(answer).await {
        tracing::debug!(error = chain(&error), "an answer did not reach its client");
    }
    after
}

async fn dispatch(
    context: &Arc<Context>,
    request: Request,
    responder: &Responder,
    client: &Client,
) -> Answer {
    match request {
        Request::Start(request) => start::start(context, *request, false, responder).await,
        Request::Restart(request) => start::start(context, *request, true, responder).await,
        Request::Run(request) => run::run(context, *request, responder).await,
        Request::Stop(request) => stop::stop(context, request, responder).await,
        Request::Status(request) => status::status(context, &request).await,
        Request::Logs(request) => logs::logs(context, request, responder, client).await,
        Request::Wait(request) => wait::wait(context, &request, responder).await,
        Request::Exec(request) => exec::exec(context, request, responder).await,
        Request::Attach(request) => attach::attach(context, request, responder).await,
        Request::Why(request) => why::why(context, &request).await,
        Request::Graph(request) => graph::graph(context, &request).await,
        Request::Events(request) => events::events(context, &request, responder).await,
        Request::Env(request) => env::env(context, &request).await,
        Request::Select(request) => select::select(context, &request).await,
        Request::Projects {} => Ok(Response::Projects(project::projects(context))),
        Request::ProjectForget(request) => project::forget(context, request).await,
        Request::ServiceShow(request) => service_show::service_show(context, &request).await,
        Request::DaemonStatus {} => daemon::status(context),
        Request::DaemonStop(request) => daemon::stop(context, &request, responder).await,
        Request::Actions {} => Ok(Response::Actions(context.actions.list())),
        Request::Action(call) => actions::call(context, call, responder).await,
    }
}

impl Context {
    /// The redactor that hides the secrets of a project in other text.
    fn redactor(&self, project: &ProjectName) -> Arc<Redactor> {
        self.orchestrator.redactors().of(project)
    }
}

impl Context {
    fn action_context(&self) -> ActionContext {
        ActionContext {
            orchestrator: self.orchestrator.clone(),
            registry: self.registry.clone(),
        }
    }
}

/// The error for something that the daemon itself could not do.
fn internal(message: impl Into<String>) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Internal,
        message: message.into(),
        hint: None,
    }
}

/// The error for an invalid request.
fn invalid(message: impl Into<String>) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Invalid,
        message: message.into(),
        hint: None,
    }
}

/// The error for a service whose place does not answer.
fn not_reached(record: &ServiceRecord) -> ErrorBody {
    let within = CONTACT_TIMEOUT.as_secs();
    let why = match &record.error {
        Some(error) if record.is_unreached => error,
        _ => "its place does not answer",
    };
    ErrorBody {
        code: ErrorCode::NotReached,
        message: format!("{} was not reached for {within}s: {why}", record.name),
        hint: None,
    }
}
