//! `service list` and `service show`.

use harness_wire::message::{Purpose, Request, Response, ServiceShowRequest};
use jiff::tz::TimeZone;

use super::status;
use crate::cli::args::{ServiceShowArgs, ServiceVerb, StatusArgs};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{detail, with_instants};

pub(crate) async fn run(context: &Context, verb: ServiceVerb) -> Result<Exit, CliError> {
    match verb {
        ServiceVerb::List => status::run(context, StatusArgs { services: Vec::new() }).await,
        ServiceVerb::Show(args) => show(context, args).await,
    }
}

async fn show(context: &Context, args: ServiceShowArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let request = ServiceShowRequest {
        project: context.meant(&session, Purpose::Look).await?,
        service: args.service,
    };
    let Response::Service(service) = session.answer(Request::ServiceShow(request)).await? else {
        return Err(CliError::Unexpected { verb: "service show" });
    };
    let ui = &context.ui;
    if ui.json {
        ui.out_json_pretty(&with_instants(&service))?;
    } else {
        ui.out(&detail::service(&service, &TimeZone::system(), &ui.out_style()))?;
    }
    Ok(Exit::Ok)
}
