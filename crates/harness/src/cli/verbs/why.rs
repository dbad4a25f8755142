//! `why`: explain why a service is in its state.

use harness_wire::message::{Purpose, Request, Response, WhyRequest};
use jiff::tz::TimeZone;

use crate::cli::args::WhyArgs;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{detail, with_instants};

pub(crate) async fn run(context: &Context, args: WhyArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let request = WhyRequest {
        project: context.meant(&session, Purpose::Look).await?,
        service: args.service,
    };
    let Response::Why(report) = session.answer(Request::Why(request)).await? else {
        return Err(CliError::Unexpected { verb: "why" });
    };
    let ui = &context.ui;
    if ui.json {
        ui.out_json_pretty(&with_instants(&report))?;
    } else {
        ui.out(&detail::why(&report, &TimeZone::system(), ui, &ui.out_style()))?;
    }
    Ok(Exit::Ok)
}
