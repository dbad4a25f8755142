//! `run`: start, run a command among the services, stop again what was started.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus as SystemStatus;
use std::time::{Duration, Instant};

use async_signal::Signal;
use futures_lite::future;
use harness_model::{ExitStatus, ServiceName};
use harness_wire::message::{
    Change, Channel, LogLine, LogsRequest, ProjectSelector, Request, Response, ServiceView, StartReport,
    StatusRequest,
};
use jiff::tz::TimeZone;

use super::{env, start};
use crate::cli::args::RunArgs;
use crate::cli::backend::{Client, Item};
use crate::cli::bring_up::{Follow, OnInterrupt, follow, start_report, start_request, stop};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::logs::LogPrinter;
use crate::cli::render::progress::Goal;
use crate::cli::render::{failure, outcome, seconds};
use crate::cli::signals::Incoming;

/// How many lines of the services a failure shows.
const LAST_LINES: u64 = 20;

pub(crate) async fn run(context: &Context, args: RunArgs) -> Result<Exit, CliError> {
    let loaded = context.load(&args.profiles)?;
    let request = start_request(context, loaded, args.services)?;
    let project = ProjectSelector::Named(request.project.name.clone());
    let session = context.connect(Autostart::Yes).await?;
    let how = Follow {
        verb: "run",
        timeout: args.timeout,
        on_interrupt: OnInterrupt::StopBegun,
        goal: Goal::Up,
    };
    let started = follow(
        context,
        &session.client,
        &project,
        Request::Start(Box::new(request)),
        how,
    )
    .await?;
    let report = start_report(started.response)?;
    let ours: Vec<ServiceName> = ours(&report);
    let ended = if report.failures.is_empty() {
        context.ui.note(&outcome::summary(&report))?;
        command(context, &session.client, &project, &args.command).await
    } else {
        start::tell(context, &report)
    };
    // Whatever came of the command, what was started for it goes again.
    let stopped = clean_up(context, &session.client, project, ours).await;
    match (ended, stopped) {
        (Ok(Exit::Ok | Exit::Command(0)), Err(error)) => Err(error),
        (ended, Err(error)) => {
            error.report_words(&context.ui);
            ended
        }
        (ended, Ok(())) => ended,
    }
}

/// Those that this start brought up: the others were somebody else's before.
fn ours(report: &StartReport) -> Vec<ServiceName> {
    let started = report
        .services
        .iter()
        .filter(|outcome| outcome.change == Change::Started);
    started.map(|outcome| outcome.view.name.clone()).collect()
}

async fn command(
    context: &Context,
    client: &Client,
    project: &ProjectSelector,
    words: &[String],
) -> Result<Exit, CliError> {
    let variables = env::variables(client, project.clone()).await?;
    let began = Instant::now();
    let status = foreground(context, words, variables).await?;
    if !status.success() {
        let program = words.first().map_or("", String::as_str);
        if let Err(error) = tell_failure(context, client, project, program, status, began.elapsed()).await {
            // The command's exit code counts, not that its surroundings could not be shown.
            context.ui.err(&format!(
                "  (the services' state cannot be shown: {})\n",
                error.message()
            ))?;
        }
    }
    Ok(Exit::of_command(status))
}

/// The user's command, with this process's streams and terminal.
async fn foreground(
    context: &Context,
    words: &[String],
    variables: BTreeMap<String, String>,
) -> Result<ExitStatus, CliError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(CliError::Usage {
            message: "run what?".to_owned(),
            hint: "harness run -- COMMAND…".to_owned(),
        });
    };
    let mut signals = Incoming::ending()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own command belongs to the terminal of this CLI, not to the daemon's command layer"
    )]
    let mut command = async_process::Command::new(program);
    command.args(arguments).envs(variables);
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CliError::CommandNotFound {
            program: program.clone(),
        },
        _ => CliError::CommandNotRunnable {
            program: program.clone(),
            source,
        },
    })?;
    let pid = child.id();
    let ended = child.status();
    let passing = async {
        loop {
            let signal = signals.next().await;
            // On a terminal Ctrl-C has reached the command already, which is in our process group.
            if !(signal == Signal::Int && context.ui.in_tty) {
                pass_on(pid, signal);
            }
        }
    };
    let status = future::or(ended, passing)
        .await
        .map_err(|source| CliError::CommandNotRunnable {
            program: program.clone(),
            source,
        })?;
    Ok(exit_status(status))
}

fn pass_on(pid: u32, signal: Signal) {
    use rustix::process::{Pid, Signal as Number, kill_process};
    let number = match signal {
        Signal::Int => Number::INT,
        Signal::Hup => Number::HUP,
        _ => Number::TERM,
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // If it has ended in the meantime, that is what was wanted.
        let _ = kill_process(pid, number);
    }
}

fn exit_status(status: SystemStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Code(1),
    }
}

async fn tell_failure(
    context: &Context,
    client: &Client,
    project: &ProjectSelector,
    program: &str,
    status: ExitStatus,
    took: Duration,
) -> Result<(), CliError> {
    let (ui, style) = (&context.ui, context.ui.err_style());
    ui.err(&format!(
        "\n{} {} {status} after {}\n",
        style.bad("✗"),
        style.bold(program),
        seconds(took)
    ))?;
    for view in unwell(client, project).await? {
        let why = view
            .error
            .as_deref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        ui.err(&format!(
            "  not well    {} is {}, {}{why}\n",
            view.name, view.status, view.health
        ))?;
    }
    ui.err(&failure::last_lines(&last_lines(client, project).await?, &style))?;
    Ok(())
}

/// Services that are not as they were when the command began.
async fn unwell(client: &Client, project: &ProjectSelector) -> Result<Vec<ServiceView>, CliError> {
    use harness_model::{Health, ServiceState};
    let request = StatusRequest {
        project: project.clone(),
        services: Vec::new(),
    };
    let Response::Status(report) = client.request(Request::Status(request)).await? else {
        return Err(CliError::Unexpected { verb: "status" });
    };
    let well = |view: &ServiceView| match view.status {
        ServiceState::Running => matches!(view.health, Health::None | Health::Healthy),
        ServiceState::Completed | ServiceState::Stopped => true,
        _ => false,
    };
    Ok(report.services.into_iter().filter(|view| !well(view)).collect())
}

async fn last_lines(client: &Client, project: &ProjectSelector) -> Result<Vec<String>, CliError> {
    let request = LogsRequest {
        project: project.clone(),
        services: Vec::new(),
        follow: false,
        tail: Some(LAST_LINES),
        since: None,
        until: None,
        grep: None,
    };
    let mut call = client.open(Request::Logs(request)).await?;
    let mut lines = Vec::new();
    loop {
        match call.next().await? {
            Item::Data {
                channel: Channel::Log,
                payload,
            } => lines.extend(LogLine::decode_all(&payload).map_err(CliError::UnreadableLog)?),
            Item::Response(_) => break,
            Item::Data { .. } | Item::Event(_) => {}
        }
    }
    let style = crate::cli::render::Style::new(false);
    let mut printer = LogPrinter::new(
        lines.iter().map(|line| &line.service),
        false,
        TimeZone::UTC,
        style,
    );
    let mut out = Vec::new();
    for line in &lines {
        printer.line(line, &mut out);
    }
    printer.finish(&mut out);
    Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
}

async fn clean_up(
    context: &Context,
    client: &Client,
    project: ProjectSelector,
    services: Vec<ServiceName>,
) -> Result<(), CliError> {
    if services.is_empty() {
        return Ok(());
    }
    let report = stop(client, project, services).await?;
    let (ui, style) = (&context.ui, context.ui.err_style());
    for failed in &report.failures {
        ui.err(&failure::report(failed, "could not be stopped", ui, &style))?;
    }
    ui.note(&outcome::stopped(&report, &style))
}
