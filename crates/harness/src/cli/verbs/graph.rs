//! `graph`: show which services depend on which.

use harness_wire::message::{GraphRequest, Purpose, Request, Response};

use crate::cli::args::{GraphArgs, GraphFormat};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::graph;

pub(crate) async fn run(context: &Context, args: &GraphArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let request = GraphRequest {
        project: context.meant(&session, Purpose::Look).await?,
    };
    let Response::Graph(report) = session.answer(Request::Graph(request)).await? else {
        return Err(CliError::Unexpected { verb: "graph" });
    };
    let ui = &context.ui;
    match args.format {
        _ if ui.json => ui.out_json_pretty(&report)?,
        GraphFormat::Json => ui.out_json_pretty(&report)?,
        GraphFormat::Text => ui.out(&graph::text(&report, &ui.out_style()))?,
        GraphFormat::Mermaid => ui.out_exact(&graph::mermaid(&report))?,
    }
    Ok(Exit::Ok)
}
