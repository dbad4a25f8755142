//! `graph`: who needs whom.

use harness_wire::message::{GraphRequest, Request, Response};

use crate::cli::args::{GraphArgs, GraphFormat};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::graph;

pub(crate) async fn run(context: &Context, args: &GraphArgs) -> Result<Exit, CliError> {
    let request = GraphRequest {
        project: context.selector()?,
    };
    let Response::Graph(report) = context.ask(Request::Graph(request)).await? else {
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
