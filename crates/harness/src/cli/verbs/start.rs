//! `start`: bring services up until everything is healthy.

use harness_wire::message::{Change, ProjectSelector, Request, StartReport};
use serde_json::json;

use crate::cli::args::StartArgs;
use crate::cli::bring_up::{Ended, Follow, OnInterrupt, follow, start_report, start_request};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;
use crate::cli::render::{failure, list, outcome};
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
    let project = ProjectSelector::Named(request.project.name.clone());
    let how = Follow {
        verb: "start",
        timeout: args.timeout,
        on_interrupt: OnInterrupt::Ask,
        goal: Goal::Up,
    };
    let Ended { response, plan } = follow(
        context,
        &session.client,
        &project,
        Request::Start(Box::new(request)),
        how,
    )
    .await?;
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
        match report::write(&session.client, &report, folder).await {
            Ok(()) => context.ui.note(&format!("report in {}\n", folder.display()))?,
            Err(error) => {
                error.report_words(&context.ui);
                // That a service failed weighs more than that the report did.
                return Ok(if exit == Exit::Ok { Exit::Error } else { exit });
            }
        }
    }
    Ok(exit)
}

/// Tells how a start or restart ended, and chooses the exit code.
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
    let exit = if report.failures.is_empty() && all_ready {
        Exit::Ok
    } else {
        Exit::ServiceFailed
    };
    if exit == Exit::Ok || report.failures.is_empty() {
        ui.say(&outcome::summary(report))?;
    }
    if ui.json {
        let names = list(report.failures.iter().map(|failure| &failure.service));
        let message = if names.is_empty() {
            "not everything came up".to_owned()
        } else {
            format!("{names} failed")
        };
        ui.out_json_pretty(&WithError::new(report, exit, "service_failed", &message))?;
    }
    Ok(exit)
}

fn detached(context: &Context, report: &StartReport) -> Result<Exit, CliError> {
    let ui = &context.ui;
    ui.note(&outcome::not_in_file(report, ui))?;
    if ui.json {
        ui.out_json_pretty(report)?;
    }
    let going = report
        .services
        .iter()
        .filter(|outcome| outcome.change != Change::Unchanged)
        .count();
    let words = match going {
        0 => "nothing changed\n".to_owned(),
        _ => format!(
            "{going} of {} starting; {}\n",
            report.services.len(),
            ui.command("wait")
        ),
    };
    ui.say(&words)?;
    Ok(Exit::Ok)
}
