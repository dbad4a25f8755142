//! `run`: start, run a command among the services, stop again what was started.

mod aftermath;
mod foreground;

use std::time::Instant;

use harness_model::{ForeignText, ServiceName, WallTime};
use harness_wire::message::{Change, ProjectSelector, Request, StartReport};

use super::{env, start};
use crate::cli::args::RunArgs;
use crate::cli::backend::Client;
use crate::cli::bring_up::{Follow, OnInterrupt, follow, start_report, start_request, stop};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;
use crate::cli::render::{failure, outcome};
use aftermath::Failed;

pub(crate) async fn run(context: &Context, args: RunArgs) -> Result<Exit, CliError> {
    let since = WallTime::now();
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
        command(context, &session.client, &project, &args.command, since).await
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
    since: WallTime,
) -> Result<Exit, CliError> {
    let variables = env::variables(client, project.clone()).await?;
    let began = Instant::now();
    let status = foreground::run(context, words, variables).await?;
    if !status.success() {
        let failed = Failed {
            program: words.first().map_or("", String::as_str),
            status,
            took: began.elapsed(),
            since,
        };
        if let Err(error) = failed.tell(context, client, project).await {
            // The command's exit code counts, not that its surroundings could not be shown.
            let why = ForeignText::from(error.message());
            context
                .ui
                .err(&format!("  (the services' state cannot be shown: {why})\n"))?;
        }
    }
    Ok(Exit::of_command(status))
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
