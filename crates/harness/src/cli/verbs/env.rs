//! `env`: the services' addresses as environment variables.

use std::collections::BTreeMap;

use harness_wire::message::{EnvRequest, ProjectSelector, Purpose, Request, Response};

use crate::cli::args::{EnvArgs, EnvFormat};
use crate::cli::backend::Client;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::env;

pub(crate) async fn run(context: &Context, args: &EnvArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let project = context.meant(&session, Purpose::Change).await?;
    let variables = variables(&session.client, project).await?;
    let ui = &context.ui;
    match args.format {
        _ if ui.json => ui.out_json_pretty(&variables)?,
        EnvFormat::Json => ui.out_json_pretty(&variables)?,
        EnvFormat::Shell => ui.out_exact(&env::shell(&variables))?,
        EnvFormat::Dotenv => ui.out_exact(&env::dotenv(&variables))?,
    }
    Ok(Exit::Ok)
}

/// The variables of a project, with addresses that are reachable from this machine.
///
/// # Errors
/// When the daemon refuses or is gone.
pub(crate) async fn variables(
    client: &Client,
    project: ProjectSelector,
) -> Result<BTreeMap<String, String>, CliError> {
    match client.request(Request::Env(EnvRequest { project })).await? {
        Response::Env(report) => Ok(report.variables),
        _ => Err(CliError::Unexpected { verb: "env" }),
    }
}
