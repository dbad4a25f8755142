//! `status`: show the state of the services.

use harness_wire::message::{Purpose, Request, Response, StatusReport, StatusRequest};

use crate::cli::args::StatusArgs;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::status;
use crate::cli::terminal;

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let request = StatusRequest {
        project: context.meant(&session, Purpose::Look).await?,
        services: args.services,
    };
    match session.answer(Request::Status(request)).await? {
        Response::Status(report) => tell(context, &report),
        _ => Err(CliError::Unexpected { verb: "status" }),
    }
}

/// Prints the state of services.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn tell(context: &Context, report: &StatusReport) -> Result<Exit, CliError> {
    let ui = &context.ui;
    if ui.json {
        ui.out_json_pretty(report)?;
        return Ok(Exit::Ok);
    }
    if report.services.is_empty() {
        ui.out(&format!("project {} has no services\n", report.project))?;
        return Ok(Exit::Ok);
    }
    if ui.verbose {
        ui.out(&format!("project {}\n", report.project))?;
    }
    ui.out(&status::table(
        &report.services,
        ui.out_tty.then(terminal::columns),
        ui.verbose,
        ui,
        &ui.out_style(),
    ))?;
    Ok(Exit::Ok)
}
