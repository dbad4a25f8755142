//! `start`: bring services up until everything is healthy.

use std::path::Path;

use harness_wire::message::{Change, ProjectSelector, Request, StartReport};
use serde_json::json;

use crate::cli::args::StartArgs;
use crate::cli::bring_up::{Ended, Follow, OnInterrupt, follow, start_report, start_request};
use crate::cli::context::{Autostart, Context, Daemon};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;
use crate::cli::render::{count, failure, list, outcome, path};
use crate::cli::report;
use crate::cli::ui::WithError;

pub(crate) async fn run(context: &Context, args: StartArgs) -> Result<Exit, CliError> {
    let loaded = context.load(&args.profiles)?;
    let mut request = start_request(context, loaded, args.services)?;
    request.no_deps = args.no_deps;
    request.prune = args.prune;
    request.dry_run = args.dry_run;
    request.rollback_on_failure = args.rollback_on_failure;
    request.detach = args.detach;

    let session = context.connect(Autostart::Yes).await?;
    context.to_be_started(&session, &request).await?;
    let project = ProjectSelector::Named(request.project.name.clone());
    let how = Follow {
        verb: "start",
        timeout: args.timeout,
        on_interrupt: OnInterrupt::Ask,
        goal: Goal::Up,
        looks_first: false,
    };
    let request = Request::Start(Box::new(request));
    let followed = follow(context, &session.client, &project, request, how).await;
    if let (
        Err(CliError::TimedOut {
            after,
            plan,
            nothing_started: false,
            ..
        }),
        Some(folder),
    ) = (&followed, &args.report)
    {
        let late = report::late(&session.client, &project, plan, *after).await;
        // The timeout matters more than a report that cannot be written.
        write_report(context, &session, late, folder).await?;
    }
    let Ended { response, plan } = followed?;
    let report = start_report(response)?;
    if args.dry_run {
        if context.ui.json {
            context
                .ui
                .out_json_pretty(&json!({ "project": report.project, "plan": plan }))?;
        } else {
            context.ui.out(&outcome::plan(&plan))?;
        }
        return Ok(Exit::Ok);
    }
    if args.detach {
        return detached(context, &report);
    }
    let exit = tell(context, &report)?;
    if let Some(folder) = &args.report {
        let written = write_report(context, &session, Ok(report), folder).await?;
        // A failed service matters more than a report that cannot be written.
        return Ok(if !written && exit == Exit::Ok {
            Exit::Error
        } else {
            exit
        });
    }
    Ok(exit)
}

/// Writes a report, and says where it is or why it could not be written. Returns whether it was written.
async fn write_report(
    context: &Context,
    daemon: &Daemon,
    report: Result<StartReport, CliError>,
    folder: &Path,
) -> Result<bool, CliError> {
    let written = match &report {
        Ok(report) => report::write(&daemon.client, report, folder).await,
        Err(_) => report.map(|_| ()),
    };
    match &written {
        Ok(()) => context.ui.note(&format!("report in {}\n", path(folder)))?,
        Err(error) => error.report_words(&context.ui),
    }
    Ok(written.is_ok())
}

/// Prints how a start or restart ended, and chooses the exit code.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn tell(context: &Context, report: &StartReport) -> Result<Exit, CliError> {
    let ui = &context.ui;
    for failed in &report.failures {
        ui.err(&failure::report(failed, "failed", ui, &ui.err_style()))?;
    }
    ui.note(&outcome::not_in_file(report, ui))?;
    let all_ready = report.services.iter().all(|outcome| outcome.ready);
    let exit = match Exit::of_failures(&report.failures, Exit::ServiceFailed) {
        Exit::Ok if !all_ready => Exit::ServiceFailed,
        exit => exit,
    };
    if exit == Exit::Ok || report.failures.is_empty() {
        ui.say(&outcome::summary(report))?;
    }
    if ui.json {
        let names = list(report.failures.iter().map(|failure| &failure.service));
        let message = if names.is_empty() {
            "not everything came up".to_owned()
        } else if exit == Exit::NotReached {
            format!("{names} could not be reached")
        } else {
            format!("{names} failed")
        };
        let code = match exit {
            Exit::NotReached => "not_reached",
            _ => "service_failed",
        };
        ui.out_json_pretty(&WithError::new(report, exit, code, &message))?;
    }
    Ok(exit)
}

fn detached(context: &Context, report: &StartReport) -> Result<Exit, CliError> {
    let ui = &context.ui;
    ui.note(&outcome::not_in_file(report, ui))?;
    if ui.json {
        ui.out_json_pretty(report)?;
    }
    let those = |wanted: fn(&Change) -> bool| {
        let services = report.services.iter();
        services.filter(|outcome| wanted(&outcome.change)).count()
    };
    let stopping = those(|change| *change == Change::Stopped);
    let going = those(|change| !matches!(change, Change::Unchanged | Change::Stopped));
    let mut words = match going {
        0 if stopping == 0 => "nothing changed\n".to_owned(),
        0 => String::new(),
        _ => {
            let all = report.services.len() - stopping;
            format!("{going} of {all} starting; {}\n", ui.command("wait"))
        }
    };
    if stopping > 0 {
        words.push_str(&format!("{} stopping\n", count(stopping, "service")));
    }
    ui.say(&words)?;
    Ok(Exit::Ok)
}
