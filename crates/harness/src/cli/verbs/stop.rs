//! `stop`: stop services and leave nothing behind.

use harness_wire::message::{Purpose, Request, Response, StopRequest};
use serde_json::json;

use crate::cli::args::StopArgs;
use crate::cli::bring_up::{Follow, OnInterrupt, follow};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;
use crate::cli::render::{failure, outcome};
use crate::cli::selection::is_unknown;

pub(crate) async fn run(context: &Context, args: StopArgs) -> Result<Exit, CliError> {
    if args.services.is_empty() && !args.all {
        return Err(CliError::StopWhat);
    }
    let session = context.connect(Autostart::Yes).await?;
    let project = match context.meant(&session, Purpose::Change).await {
        Err(error) if args.all && never_started(context, &error)? => return nothing(context),
        other => other?,
    };
    let request = StopRequest {
        project: project.clone(),
        services: args.services,
        all: args.all,
        volumes: args.volumes,
    };
    let how = Follow {
        verb: "stop",
        timeout: None,
        on_interrupt: OnInterrupt::Leave,
        goal: Goal::Down,
        looks_first: false,
    };
    let ended = follow(context, &session.client, &project, Request::Stop(request), how).await?;
    let Response::Stop(report) = ended.response else {
        return Err(CliError::Unexpected { verb: "stop" });
    };
    let ui = &context.ui;
    for failed in &report.failures {
        ui.err(&failure::report(
            failed,
            "could not be stopped",
            ui,
            &ui.err_style(),
        ))?;
    }
    ui.say(&outcome::stopped(&report, &ui.out_style()))?;
    if ui.json {
        ui.out_json_pretty(&report)?;
    }
    Ok(Exit::of_failures(&report.failures, Exit::Error))
}

/// Whether there is a file here from which nothing was ever started. Then everything is stopped already, which is
/// success.
fn never_started(context: &Context, error: &CliError) -> Result<bool, CliError> {
    Ok(context.project().is_none() && is_unknown(error) && context.has_file()?)
}

fn nothing(context: &Context) -> Result<Exit, CliError> {
    context
        .ui
        .say("nothing to stop: nothing was started from this file\n")?;
    if context.ui.json {
        let empty = json!({ "project": null, "stopped": [], "already": [], "failures": [], "volumes": [], "elapsed_ms": 0 });
        context.ui.out_json_pretty(&empty)?;
    }
    Ok(Exit::Ok)
}
