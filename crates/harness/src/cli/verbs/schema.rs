//! `schema`: the JSON Schema of services.yaml.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

pub(crate) fn run(context: &Context) -> Result<Exit, CliError> {
    context
        .ui
        .out_json_pretty(&harness_config::json_schema_with(&context.types))?;
    Ok(Exit::Ok)
}
