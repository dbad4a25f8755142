//! `logs`: what the services print.

use harness_model::ServiceName;
use harness_wire::message::{
    Channel, Event, LogLine, LogsRequest, ProjectSelector, Purpose, Request, Response, StatusRequest,
};
use jiff::tz::TimeZone;
use serde_json::json;

use crate::cli::args::LogsArgs;
use crate::cli::backend::{Client, Item};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::harmless;
use crate::cli::render::logs::{LogPrinter, gap, json};

pub(crate) async fn run(context: &Context, args: LogsArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let project = context.meant(&session, Purpose::Look).await?;
    let names = if context.ui.json {
        Vec::new()
    } else {
        names(&session.client, &project, &args.services).await?
    };
    let request = LogsRequest {
        project,
        services: args.services,
        follow: args.follow,
        tail: args.tail,
        since: args.since.map(|moment| moment.0),
        until: args.until.map(|moment| moment.0),
        grep: args.grep,
    };
    let mut call = session.client.open(Request::Logs(request)).await?;
    let mut printer = LogPrinter::new(
        &names,
        args.timestamps,
        TimeZone::system(),
        context.ui.out_style(),
    );
    if context.ui.out_tty && !args.raw {
        printer = printer.for_terminal(context.ui.out_colour);
    }
    let mut out = Vec::new();
    loop {
        match call.next().await? {
            Item::Data {
                channel: Channel::Log,
                payload,
            } => {
                for line in LogLine::decode_all(&payload).map_err(CliError::UnreadableLog)? {
                    if context.ui.json {
                        out.extend_from_slice(harmless::json(json(&line).to_string()).as_bytes());
                        out.push(b'\n');
                    } else {
                        printer.line(&line, &mut out);
                    }
                }
            }
            Item::Event(event) => {
                if let Event::LogGap { service, lines } = *event {
                    printer.finish(&mut out);
                    context.ui.out_raw(&std::mem::take(&mut out))?;
                    tell_gap(context, &service, lines)?;
                }
            }
            Item::Response(_) => {
                printer.finish(&mut out);
                context.ui.out_raw(&out)?;
                return Ok(Exit::Ok);
            }
            Item::Data { .. } => {}
        }
        context.ui.out_raw(&out)?;
        out.clear();
    }
}

/// The names of the services, so that the name column has the right width from the first line on.
async fn names(
    client: &Client,
    project: &ProjectSelector,
    services: &[ServiceName],
) -> Result<Vec<ServiceName>, CliError> {
    let request = StatusRequest {
        project: project.clone(),
        services: services.to_vec(),
    };
    match client.request(Request::Status(request)).await? {
        Response::Status(report) => Ok(report.services.into_iter().map(|view| view.name).collect()),
        _ => Err(CliError::Unexpected { verb: "logs" }),
    }
}

fn tell_gap(context: &Context, service: &ServiceName, lines: u64) -> Result<(), CliError> {
    if context.ui.json {
        context
            .ui
            .out_json(&json!({ "service": service, "dropped_lines": lines }))?;
    }
    context.ui.err(&gap(service, lines))
}
