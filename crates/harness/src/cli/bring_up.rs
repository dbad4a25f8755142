//! Follows a request that starts, stops or waits for services (start, restart, stop, wait) until it ends, its
//! timeout passes, or Ctrl-C is pressed.
//!
//! ```text
//! open -> preparing* -> [plan] -> progress* -> response
//!            |          |
//!            |          +-- timeout: cancelled, services keep running
//!            +------------- Ctrl-C: cancelled, or asked about; `run` stops what it began
//! ```

use std::time::{Duration, Instant};

use async_io::Timer;
use async_signal::Signal;
use futures_lite::future;
use harness_model::{ProjectSpec, ServiceName};
use harness_wire::message::{
    Change, Event, PlanStep, ProjectSelector, Request, Response, StartReport, StartRequest, StopReport,
    StopRequest,
};

use super::backend::{Call, Client, ClientError, Item, LoadError, Loaded};
use super::context::{Context, encoded_environment, environment, umask};
use super::display::Display;
use super::error::{CliError, NOTHING_STARTED};
use super::render::progress::Goal;
use super::signals::Incoming;
use super::terminal::confirm;

/// What to do when interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// Ask on a terminal; elsewhere let the services continue.
    Ask,
    /// End at once: the caller handles the services.
    End,
    /// Let the services continue.
    Leave,
}

/// How to follow a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follow {
    /// The verb, for messages.
    pub(crate) verb: &'static str,
    /// Give up after this time.
    pub(crate) timeout: Option<Duration>,
    /// What Ctrl-C means.
    pub(crate) on_interrupt: OnInterrupt,
    /// The state that the services are to reach.
    pub(crate) goal: Goal,
    /// The timeout waits for the daemon's first answer, so that a timeout of zero still looks at the services.
    pub(crate) looks_first: bool,
}

/// How long the daemon may take for its first answer, where the timeout waits for it.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// The answer, and the plan that came before it.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The answer.
    pub(crate) response: Response,
    /// What the daemon planned to do.
    pub(crate) plan: Vec<PlanStep>,
}

enum Happened {
    Item(Result<Item, ClientError>),
    Tick,
    Deadline,
    Signal(Signal),
}

/// Follows a request to its end, showing progress.
///
/// # Errors
/// The daemon's refusal, the timeout, or the interruption.
pub(crate) async fn follow(
    context: &Context,
    client: &Client,
    project: &ProjectSelector,
    request: Request,
    follow: Follow,
) -> Result<Ended, CliError> {
    let mut call = client.open(request).await?;
    let mut plan = Vec::new();
    let response = follow_call(context, client, &mut call, project, follow, &mut plan).await?;
    Ok(Ended { response, plan })
}

/// Follows an open request until it ends, or until the services that it started are up. `plan` receives what
/// the daemon planned to do, also when this fails.
///
/// # Errors
/// The daemon's refusal, the timeout, or the interruption.
pub(crate) async fn follow_call(
    context: &Context,
    client: &Client,
    call: &mut Call,
    project: &ProjectSelector,
    follow: Follow,
    plan: &mut Vec<PlanStep>,
) -> Result<Response, CliError> {
    let mut signals = match follow.on_interrupt {
        OnInterrupt::End => Incoming::ending_or_quitting()?,
        OnInterrupt::Ask | OnInterrupt::Leave => Incoming::ending()?,
    };
    let began = Instant::now();
    let last = follow.timeout.and_then(|timeout| began.checked_add(timeout));
    let mut deadline = match follow.looks_first {
        true => last.map(|last| last.max(began + FIRST_ANSWER)),
        false => last,
    };
    let mut display = Display::new(&context.ui, follow.goal);
    let mut tick = Instant::now() + display.tick_after();
    loop {
        match next(call, &mut signals, deadline, tick).await {
            Happened::Item(item) => {
                deadline = last;
                match item.inspect_err(|_| display.prepared())? {
                    Item::Event(event) => match *event {
                        Event::Plan(steps) => {
                            display.plan(&steps)?;
                            *plan = steps;
                        }
                        Event::Preparing { service, doing } => display.preparing(service, doing)?,
                        Event::Progress(progress) => display.progress(progress)?,
                        Event::Started(report) => {
                            display.finish()?;
                            return Ok(Response::Start(*report));
                        }
                        _ => {}
                    },
                    Item::Response(response) => {
                        display.finish()?;
                        return Ok(*response);
                    }
                    Item::Data { .. } => {}
                }
            }
            Happened::Tick => {
                display.tick()?;
                tick = Instant::now() + display.tick_after();
            }
            Happened::Deadline => {
                let (waiting, nothing_started) = (display.unsettled(), display.is_preparing());
                display.finish()?;
                return Err(CliError::TimedOut {
                    what: follow.verb.to_owned(),
                    after: follow.timeout.unwrap_or_default(),
                    waiting,
                    nothing_started,
                    plan: plan.clone(),
                });
            }
            Happened::Signal(signal) => {
                let preparing = display.is_preparing();
                display.clear();
                if preparing {
                    // Before there is a plan, the daemon drops the request when its client goes.
                    let hint = Some(NOTHING_STARTED.to_owned());
                    return Err(CliError::Interrupted { hint });
                }
                if follow.on_interrupt == OnInterrupt::End {
                    return Err(CliError::Interrupted { hint: None });
                }
                let begun = begun(plan);
                return Err(
                    interrupted(context, client, project, &begun, follow, signal, &mut signals).await?,
                );
            }
        }
    }
}

async fn next(call: &mut Call, signals: &mut Incoming, deadline: Option<Instant>, tick: Instant) -> Happened {
    let item = async { Happened::Item(call.next().await) };
    let signal = async { Happened::Signal(signals.next().await) };
    let time = async {
        match deadline.filter(|deadline| *deadline <= tick) {
            Some(deadline) => {
                Timer::at(deadline).await;
                Happened::Deadline
            }
            None => {
                Timer::at(tick).await;
                Happened::Tick
            }
        }
    };
    // The answer first: a request that has ended is neither late nor interrupted.
    future::or(item, future::or(signal, time)).await
}

/// The services that were not up before and are being started.
pub(crate) fn begun(plan: &[PlanStep]) -> Vec<ServiceName> {
    let started = plan.iter().filter(|step| step.change == Change::Started);
    started.map(|step| step.service.clone()).collect()
}

async fn interrupted(
    context: &Context,
    client: &Client,
    project: &ProjectSelector,
    begun: &[ServiceName],
    follow: Follow,
    signal: Signal,
    signals: &mut Incoming,
) -> Result<CliError, CliError> {
    let ui = &context.ui;
    let leave = match follow.on_interrupt {
        OnInterrupt::Leave | OnInterrupt::End => true,
        OnInterrupt::Ask if begun.is_empty() => true,
        OnInterrupt::Ask if signal == Signal::Int && ui.in_tty && ui.err_tty => {
            ui.err("\n")?;
            confirm("Leave the services running?", true, ui, signals).await?
        }
        OnInterrupt::Ask => true,
    };
    if leave {
        let hint = format!(
            "the services continue; {} · {}",
            ui.command("status"),
            ui.command("stop --all")
        );
        return Ok(CliError::Interrupted { hint: Some(hint) });
    }
    if !begun.is_empty() {
        ui.note("stopping what was started\n")?;
        stop(client, project.clone(), begun.to_vec()).await?;
    }
    Ok(CliError::Interrupted { hint: None })
}

/// Stops services without showing progress.
///
/// # Errors
/// When the daemon refuses or is gone.
pub(crate) async fn stop(
    client: &Client,
    project: ProjectSelector,
    services: Vec<ServiceName>,
) -> Result<StopReport, CliError> {
    let request = StopRequest {
        project,
        services,
        all: false,
        volumes: false,
    };
    match client.request(Request::Stop(request)).await? {
        Response::Stop(report) => Ok(report),
        _ => Err(CliError::Unexpected { verb: "stop" }),
    }
}

/// A start request for a loaded file, with file templates rendered and the environment added.
///
/// # Errors
/// When a file template or an env file cannot be used.
pub(crate) fn start_request(
    context: &Context,
    loaded: Loaded,
    services: Vec<ServiceName>,
) -> Result<StartRequest, CliError> {
    if !loaded.missing_files.is_empty() {
        return Err(LoadError::Invalid(loaded.missing_files).into());
    }
    let mut project: ProjectSpec = loaded.project;
    let ours = environment();
    harness_config::load_files(&mut project, &ours)?;
    let environment = harness_config::inherited_environment(&project, &encoded_environment());
    Ok(StartRequest {
        project,
        services,
        no_deps: false,
        prune: false,
        dry_run: false,
        rollback_on_failure: false,
        detach: false,
        project_named: context.project().is_some(),
        environment,
        umask: umask(),
    })
}

/// The report in an answer to `start` or `restart`.
///
/// # Errors
/// When the answer is of another kind.
pub(crate) fn start_report(response: Response) -> Result<StartReport, CliError> {
    match response {
        Response::Start(report) => Ok(report),
        _ => Err(CliError::Unexpected { verb: "start" }),
    }
}
