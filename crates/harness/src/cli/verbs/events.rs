//! `events`: what happened to the services.

use harness_wire::message::{Event, EventsRequest, Purpose, Request};
use jiff::tz::TimeZone;

use crate::cli::args::EventsArgs;
use crate::cli::backend::Item;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{events, with_instants};

pub(crate) async fn run(context: &Context, args: EventsArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let request = EventsRequest {
        project: if args.all_projects {
            None
        } else {
            Some(context.meant(&session, Purpose::Look).await?)
        },
        services: args.services,
        follow: args.follow,
        since: args.since.map(|moment| moment.0),
    };
    let mut call = session.client.open(Request::Events(request)).await?;
    let (ui, zone, style) = (&context.ui, TimeZone::system(), context.ui.out_style());
    loop {
        match call.next().await? {
            Item::Event(event) => match *event {
                Event::Change(change) if ui.json => ui.out_json(&with_instants(&change))?,
                Event::Change(change) => ui.out(&events::line(&change, args.all_projects, &zone, &style))?,
                Event::Missed(count) => {
                    if ui.json {
                        ui.out_json(&serde_json::json!({ "missed_events": count }))?;
                    }
                    ui.err(&format!("-- {count} events came too fast and were dropped\n"))?;
                }
                _ => {}
            },
            Item::Response(_) => return Ok(Exit::Ok),
            Item::Data { .. } => {}
        }
    }
}
